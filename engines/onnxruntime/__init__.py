"""The ONNX Runtime engine: sessions, states in bound buffers, prefix snapshots and decoding."""
