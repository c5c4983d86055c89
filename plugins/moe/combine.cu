// y[t] = sum over s of weight[t, s] * parts[t, s], in the order of choices. See __init__.py.
#include "limits.cuh"
#include "numbers.cuh"

constexpr int THREADS = 128;

extern "C" __global__ void __launch_bounds__(THREADS)
    moe_combine(const ACTIVATION* __restrict__ parts, const int* __restrict__ experts, const float* __restrict__ weights,
                int choices, int width, ACTIVATION* __restrict__ y) {
    const int i = blockIdx.y * THREADS + threadIdx.x, token = blockIdx.x;
    if (i >= width) return;
    float sum = 0.0f;
    for (int s = 0; s < choices; ++s) {
        const int pair = token * choices + s;
        const bool known = experts[pair] >= 0 && experts[pair] < EXPERTS;
        sum += known ? weights[pair] * to_float(parts[(long long)pair * width + i]) : not_a_number();
    }
    y[(long long)token * width + i] = from_float<ACTIVATION>(sum);
}
