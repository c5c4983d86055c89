// y[t] = silu(sum over j of w[j] * x[t - (KERNEL - 1) + j]), each channel on its own; the state stands before x.
// See __init__.py.
#include "numbers.cuh"

constexpr int PAST = KERNEL - 1;

// Channels c and c + 1 of a row; the second may not be there.
__device__ __forceinline__ void load_two(float (&to)[2], const ACTIVATION* row, int c, int channels) {
    if (channels % 2 == 0) {
        load_floats(to, row + c);
    } else {
        to[0] = to_float(row[c]);
        to[1] = c + 1 < channels ? to_float(row[c + 1]) : 0.0f;
    }
}

__device__ __forceinline__ void store_two(ACTIVATION* row, int c, int channels, const float (&from)[2]) {
    if (channels % 2 == 0) {
        store_floats(row + c, from);
    } else {
        row[c] = from_float<ACTIVATION>(from[0]);
        if (c + 1 < channels) row[c + 1] = from_float<ACTIVATION>(from[1]);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    causal_convolution(const ACTIVATION* __restrict__ x, const ACTIVATION* __restrict__ weight,
                       const ACTIVATION* __restrict__ state, int tokens, int channels, ACTIVATION* __restrict__ y,
                       ACTIVATION* __restrict__ present) {
    const int c = (blockIdx.x * THREADS + threadIdx.x) * 2;
    if (c >= channels) return;
    const int first = blockIdx.y * TOKENS, last = min(first + TOKENS, tokens);
    x += (long long)blockIdx.z * tokens * channels;
    y += (long long)blockIdx.z * tokens * channels;
    state += (long long)blockIdx.z * PAST * channels;
    present += (long long)blockIdx.z * PAST * channels;
    // Token t of x, or of the state where t < 0.
    const auto load = [&](float (&to)[2], int t) {
        load_two(to, t < 0 ? state + (long long)(t + PAST) * channels : x + (long long)t * channels, c, channels);
    };

    float taps[2][KERNEL] = {};
#pragma unroll
    for (int channel = 0; channel < 2; ++channel)
#pragma unroll
        for (int j = 0; j < KERNEL; ++j)
            if (c + channel < channels) taps[channel][j] = to_float(weight[(c + channel) * KERNEL + j]);
    float window[KERNEL][2];  // what the newest KERNEL tokens hold, the newest last
#pragma unroll
    for (int j = 0; j < PAST; ++j) load(window[j + 1], first - PAST + j);
#pragma unroll
    for (int i = 0; i < TOKENS; ++i) {
        const int t = first + i;
        if (t >= last) break;
#pragma unroll
        for (int j = 0; j < PAST; ++j) window[j][0] = window[j + 1][0], window[j][1] = window[j + 1][1];
        load(window[PAST], t);
        float out[2];
#pragma unroll
        for (int channel = 0; channel < 2; ++channel) {
            float sum = 0.0f;
#pragma unroll
            for (int j = 0; j < KERNEL; ++j) sum += taps[channel][j] * window[j][channel];
            out[channel] = sum / (1.0f + expf(-sum));
        }
        store_two(y + (long long)t * channels, c, channels, out);
    }
    if (last != tokens) return;
#pragma unroll
    for (int j = 0; j < PAST; ++j) {
        float kept[2];
        load(kept, tokens - PAST + j);
        store_two(present + (long long)j * channels, c, channels, kept);
    }
}
