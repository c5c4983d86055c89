"""Kernels on the CPU: the very source that NVRTC compiles, compiled by g++, so that tests can run it.

`cuda_on_host.h` gives the CUDA built-ins a meaning, `build.py` compiles one variant of a kernel (plain, under
AddressSanitizer with UBSan, or under ThreadSanitizer), `run.py` takes the launch from the kernel's own
description, runs it on NumPy arrays and checks what it was not allowed to touch. This shows that a kernel's
arithmetic, indices and barriers are right. It cannot show speed, the device's own rounding of `expf` and its
like, or what a compiler for another machine makes of the source.
"""
