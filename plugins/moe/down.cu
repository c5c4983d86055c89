// y[t] = sum over s of weight[t, s] * (down of the s-th expert) hidden[t, s]; for few tokens. See __init__.py.
#include "limits.cuh"
#include "weights.cuh"

constexpr int WARPS = 8;

extern "C" __global__ void __launch_bounds__(32 * WARPS, 2)
    NAMED(moe_down)(const ACTIVATION* __restrict__ hidden, const int* __restrict__ experts,
                    const float* __restrict__ weights, WEIGHT_PARAMETERS, int inner, int choices, int count, int width,
                    ACTIVATION* __restrict__ y) {
    __shared__ float parts[WARPS][16];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4;
    const int token = blockIdx.x, first = blockIdx.y * 16;
    const int slices = (inner + Weights::SLICE - 1) / Weights::SLICE;
    const Weights stored = WEIGHTS(inner);
    // The warps share the slices of all choices: warp w has every WARPS-th, in the order of choices.
    const auto load = [&](Weights::Slice& slice, int unit) {
        const int choice = unit / slices, expert = choice < choices ? experts[token * choices + choice] : -1;
        const bool known = expert >= 0 && expert < count;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int row = first + g + half * 8;
            stored.load(slice, half, known && row < width ? (long long)expert * width + row : -1,
                        unit % slices * Weights::SLICE);
        }
        return choice < choices ? (known ? weights[token * choices + choice] : not_a_number()) : 0.0f;
    };
    float low = 0.0f, high = 0.0f;
    Weights::Slice now, next;
    float weight = load(now, warp);
    for (int unit = warp; unit < choices * slices; unit += WARPS) {
        const float next_weight = load(next, unit + WARPS);
        const ACTIVATION* column = hidden + ((long long)token * choices + unit / slices) * inner;
        Eight numbers[Weights::STEPS];
        load_column<ACTIVATION, Weights>(numbers, g == 0 ? column : nullptr, unit % slices * Weights::SLICE, inner);
        float sums[4] = {};
        add_slice<ACTIVATION, Weights>(sums, now, numbers);
        low += weight * sums[0], high += weight * sums[2];
        now = next, weight = next_weight;
    }
    if (lane % 4 == 0) parts[warp][g] = low, parts[warp][g + 8] = high;
    __syncthreads();
    if (threadIdx.x < 16 && first + threadIdx.x < width) {
        float sum = 0.0f;
#pragma unroll
        for (int w = 0; w < WARPS; ++w) sum += parts[w][threadIdx.x];
        y[(long long)token * width + first + threadIdx.x] = from_float<ACTIVATION>(sum);
    }
}
