// hidden[t, s] = silu(gate x) * up x of the expert that token t chose s-th; for few tokens. See __init__.py.
#include "limits.cuh"
#include "weights.cuh"

constexpr int WARPS = 4;

extern "C" __global__ void __launch_bounds__(32 * WARPS, 4)
    NAMED(moe_gate_up)(const ACTIVATION* __restrict__ x, const int* __restrict__ experts, WEIGHT_PARAMETERS, int width,
                       int choices, int count, int inner, ACTIVATION* __restrict__ hidden) {
    __shared__ float parts[WARPS][16];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4;
    const int pair = blockIdx.x, expert = experts[pair], first = blockIdx.y * 8;
    const bool known = expert >= 0 && expert < count;
    // Gate and up of one inner number are neighbours in memory and rows g and g + 8 here: one lane gets both sums.
    const long long gate = known && first + g < inner ? ((long long)expert * inner + first + g) * 2 : -1;
    const ACTIVATION* column = g == 0 ? x + (long long)(pair / choices) * width : nullptr;
    float sums[4] = {};
    add_rows<ACTIVATION>(sums, WEIGHTS(width), gate, gate < 0 ? -1 : gate + 1, column, width, warp * Weights::SLICE,
                         WARPS * Weights::SLICE);
    if (lane % 4 == 0) parts[warp][g] = sums[0], parts[warp][g + 8] = sums[2];
    __syncthreads();
    if (threadIdx.x < 8 && first + threadIdx.x < inner) {
        float gated = known ? 0.0f : not_a_number(), up = 0.0f;
#pragma unroll
        for (int w = 0; w < WARPS; ++w) gated += parts[w][threadIdx.x], up += parts[w][threadIdx.x + 8];
        hidden[(long long)pair * inner + first + threadIdx.x] = from_float<ACTIVATION>(gated / (1.0f + expf(-gated)) * up);
    }
}
