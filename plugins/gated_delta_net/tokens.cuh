// What one token brings to one head: its convolution with SiLU, the unit length of queries and keys, its gates,
// and the gated norm at the end. One warp works on one head of one token; a lane has HEAD / 32 channels in a row.
#pragma once
#include "numbers.cuh"

constexpr int TAPS = 4;                   // of the convolution; the state keeps TAPS - 1 tokens
constexpr int LANE_CHANNELS = HEAD / 32;
constexpr float EPSILON = 1e-6f;          // of the L2 norm and of the gated norm

// Where a head's queries (0), keys (1) or values (2) lie among the channels, in heads.
__device__ __forceinline__ int place(int which, int key_head, int head, int key_heads) {
    return which == 0 ? key_head : which == 1 ? key_heads + key_head : 2 * key_heads + head;
}

__device__ __forceinline__ float silu(float x) { return x / (1.0f + expf(-x)); }

// The causal convolution of some channels: `tokens` [T, channels] and what came `before` [TAPS - 1, channels], both
// from the lane's first channel on.
struct Convolution {
    typedef Pack<ACTIVATION, LANE_CHANNELS> Lane;
    const ACTIVATION* tokens;
    const ACTIVATION* before;
    int channels;

    __device__ __forceinline__ const ACTIVATION* row(int token) const {
        return token < 0 ? before + (size_t)(token + TAPS - 1) * channels : tokens + (size_t)token * channels;
    }

    // SiLU of the convolution at `token`; `weight` [channels, TAPS] from the lane's first channel on.
    __device__ __forceinline__ void at(int token, const ACTIVATION* weight, float (&y)[LANE_CHANNELS]) const {
        Pack<ACTIVATION, TAPS> taps[LANE_CHANNELS];  // kept packed: registers are what the state needs
#pragma unroll
        for (int c = 0; c < LANE_CHANNELS; ++c) {
            taps[c] = *reinterpret_cast<const Pack<ACTIVATION, TAPS>*>(weight + c * TAPS);
            y[c] = 0.0f;
        }
#pragma unroll
        for (int tap = 0; tap < TAPS; ++tap) {
            const Lane x = *reinterpret_cast<const Lane*>(row(token - (TAPS - 1) + tap));
#pragma unroll
            for (int c = 0; c < LANE_CHANNELS; ++c) y[c] += to_float(taps[c].at[tap]) * to_float(x.at[c]);
        }
#pragma unroll
        for (int c = 0; c < LANE_CHANNELS; ++c) y[c] = silu(y[c]);
    }

    // The last TAPS - 1 of `count` tokens, bit for bit, for whoever goes on from here.
    __device__ __forceinline__ void keep_last(int count, ACTIVATION* kept) const {
#pragma unroll
        for (int i = 0; i < TAPS - 1; ++i)
            *reinterpret_cast<Lane*>(kept + (size_t)i * channels) =
                *reinterpret_cast<const Lane*>(row(count - (TAPS - 1) + i));
    }
};

__device__ __forceinline__ float sum_of_squares(const float (&x)[LANE_CHANNELS]) {
    float sum = 0.0f;
#pragma unroll
    for (int c = 0; c < LANE_CHANNELS; ++c) sum += x[c] * x[c];
    return sum_over_lanes(sum);
}

// To the given length, over the head: all lanes call.
__device__ __forceinline__ void set_length(float (&x)[LANE_CHANNELS], float length) {
    const float scale = rsqrtf(sum_of_squares(x) + EPSILON) * length;
#pragma unroll
    for (int c = 0; c < LANE_CHANNELS; ++c) x[c] *= scale;
}

// log of what a token leaves of the state: -exp(A_log) softplus(a + dt_bias), never above zero.
__device__ __forceinline__ float log_decay(float a, float A_log, float dt_bias) {
    const float x = a + dt_bias;
    return -expf(A_log) * (x > 20.0f ? x : log1pf(expf(x)));
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// o / rms(o) over the head, times `factor`, which is norm_weight * silu(z): all lanes call.
__device__ __forceinline__ void norm(float (&o)[LANE_CHANNELS], const float (&factor)[LANE_CHANNELS]) {
    const float scale = rsqrtf(sum_of_squares(o) * (1.0f / HEAD) + EPSILON);
#pragma unroll
    for (int c = 0; c < LANE_CHANNELS; ++c) o[c] = o[c] * scale * factor[c];
}
