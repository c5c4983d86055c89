"""What makes a part of the stream an inspection: pure state machines, fed with frames."""
