// Every 16-bit pattern to float, and floats to both 16-bit types.
#include "numbers.cuh"

extern "C" __global__ void convert(
    const unsigned short* patterns, const float* floats, int count, float* halves, float* bfloats,
    unsigned short* to_half, unsigned short* to_bfloat) {
    for (int i = threadIdx.x; i < 65536; i += blockDim.x) {
        halves[i] = to_float(float16{patterns[i]});
        bfloats[i] = to_float(bfloat16{patterns[i]});
    }
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        to_half[i] = from_float<float16>(floats[i]).bits;
        to_bfloat[i] = from_float<bfloat16>(floats[i]).bits;
    }
}
