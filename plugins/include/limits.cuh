// The two numbers that a kernel must not get from a header it has not: NVRTC brings none.
#pragma once

__device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }
__device__ __forceinline__ float not_a_number() { return __int_as_float(0x7fffffff); }
