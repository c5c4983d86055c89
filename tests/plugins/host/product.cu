// One tensor-core product: d [16, 8] = a [16, 16] times b [16, 8], b given by columns.
#include "numbers.cuh"

extern "C" __global__ void product(const ACTIVATION* a, const ACTIVATION* b, float* d) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    const unsigned* const left = reinterpret_cast<const unsigned*>(a);
    const unsigned* const right = reinterpret_cast<const unsigned*>(b);
    const unsigned rows[4] = {left[g * 8 + t], left[(g + 8) * 8 + t], left[g * 8 + t + 4], left[(g + 8) * 8 + t + 4]};
    const unsigned columns[2] = {right[g * 8 + t], right[g * 8 + t + 4]};
    float sums[4] = {};
    multiply_add<ACTIVATION>(sums, rows, columns);
    for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
}
