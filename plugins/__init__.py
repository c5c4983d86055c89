"""Our own CUDA operators: one folder each, with the same file names in every one.

`naive.py` is the mathematics in NumPy, `shapes.py` what goes in and comes out and how it is launched,
`*.cu` the kernels, `tensorrt.py` the definition TensorRT compiles into an engine. `operator.py` says what
these files must offer. Everything here runs without a GPU up to the launch: `host/` gives the CUDA
built-ins a meaning for g++, `ptx/` compiles with NVRTC and nvcc, `check/` settles the rest on a GPU.
"""
