"""TensorRT: compiling graphs into plans, and running plans on an NVIDIA GPU."""
