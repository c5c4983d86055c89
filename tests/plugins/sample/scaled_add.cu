// sum = a + SCALE * b, for the tests: small, with a ragged end, a scalar and dynamic shared memory.
#include "numbers.cuh"

extern "C" __global__ void scaled_add(const ACTIVATION* __restrict__ a, const float* __restrict__ b, int count,
                                      ACTIVATION* __restrict__ sum) {
    DYNAMIC_SHARED(float, row);
    const int i = blockIdx.x * BLOCK + threadIdx.x;
    row[threadIdx.x] = i < count ? b[i] : 0.0f;
    __syncthreads();
    if (i < count) sum[i] = from_float<ACTIVATION>(to_float(a[i]) + SCALE * row[threadIdx.x]);
}
