// Any number of tokens through a Gated DeltaNet layer, one after another, the state in registers throughout.
//
// The same arguments as decode.cu, and the same sums: a prompt walked by this kernel and continued by that one gives
// what that one alone would give. A block per value head and sequence, 4 * HEAD threads. It goes by groups of as many
// tokens as it has warps: each warp prepares one token (convolution, norms, gates) in shared memory, then all step
// through the group without a barrier, then each warp norms and writes one token.
// Macros: ACTIVATION, HEAD (32, 64 or 128).
#include "numbers.cuh"
#include "state.cuh"
#include "tokens.cuh"

constexpr int WARPS = HEAD / 8;  // and tokens in a group

extern "C" __global__ void __launch_bounds__(4 * HEAD, 2) gated_delta_net_recurrent(
    const ACTIVATION* __restrict__ qkv, const ACTIVATION* __restrict__ z, const ACTIVATION* __restrict__ b,
    const ACTIVATION* __restrict__ a, const ACTIVATION* __restrict__ conv_weight, const float* __restrict__ A_log,
    const float* __restrict__ dt_bias, const float* __restrict__ norm_weight,
    const ACTIVATION* __restrict__ conv_state, const float* __restrict__ state, int tokens, int key_heads,
    int value_heads, ACTIVATION* __restrict__ y, ACTIVATION* __restrict__ next_conv_state,
    float* __restrict__ next_state) {
    __shared__ __align__(16) float vectors[3][WARPS][HEAD];  // q, k, v
    __shared__ __align__(16) float o[WARPS][HEAD];
    __shared__ float decay[WARPS], beta[WARPS], q_dot_k[WARPS];

    const int head = blockIdx.x, sequence = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int heads_per_key = value_heads / key_heads, key_head = head / heads_per_key;
    const int channels = (2 * key_heads + value_heads) * HEAD;
    const int lane_channel = lane * LANE_CHANNELS;
    const size_t this_head = (size_t)sequence * value_heads + head;
    const size_t before = (size_t)sequence * (TAPS - 1) * channels, rows = (size_t)sequence * tokens * channels;

    StateTile tile;
    tile.load(state + this_head * HEAD * HEAD);

    for (int first = 0; first < tokens; first += WARPS) {
        const int token = first + warp;
        if (token < tokens) {
            if (lane == 0) {
                const size_t token_head = ((size_t)sequence * tokens + token) * value_heads + head;
                decay[warp] = expf(log_decay(to_float(a[token_head]), A_log[head], dt_bias[head]));
                beta[warp] = sigmoid(to_float(b[token_head]));
            }
            // One after another, not all three at once: registers are what the state needs.
#pragma unroll 1
            for (int which = 0; which < 3; ++which) {
                const int channel = place(which, key_head, head, key_heads) * HEAD + lane_channel;
                const Convolution convolution = {qkv + rows + channel, conv_state + before + channel, channels};
                float x[LANE_CHANNELS];
                convolution.at(token, conv_weight + (size_t)channel * TAPS, x);
                if (which == 0) set_length(x, rsqrtf((float)HEAD));
                if (which == 1) set_length(x, 1.0f);
                store_floats(&vectors[which][warp][lane_channel], x);
            }
            float product = 0.0f;
#pragma unroll
            for (int c = 0; c < LANE_CHANNELS; ++c)
                product += vectors[0][warp][lane_channel + c] * vectors[1][warp][lane_channel + c];
            product = sum_over_lanes(product);
            if (lane == 0) q_dot_k[warp] = product;
        }
        __syncthreads();

        const int count = min(WARPS, tokens - first);
#pragma unroll 1
        for (int i = 0; i < count; ++i)
            tile.step(
                vectors[0][i], vectors[1][i], vectors[2][i], o[i], decay[i], beta[i], q_dot_k[i]);
        __syncthreads();

        if (token < tokens) {
            const size_t at = (((size_t)sequence * tokens + token) * value_heads + head) * HEAD + lane_channel;
            float out[LANE_CHANNELS], factor[LANE_CHANNELS], gate[LANE_CHANNELS];
            load_floats(out, &o[warp][lane_channel]);
            load_floats(factor, norm_weight + lane_channel);
            load_floats(gate, z + at);
#pragma unroll
            for (int c = 0; c < LANE_CHANNELS; ++c) factor[c] *= silu(gate[c]);
            norm(out, factor);
            store_floats(y + at, out);
        }
    }

    tile.store(next_state + this_head * HEAD * HEAD);
    if (warp < 3 && (warp == 2 || head % heads_per_key == 0)) {
        const int channel = place(warp, key_head, head, key_heads) * HEAD + lane_channel;
        const Convolution convolution = {qkv + rows + channel, conv_state + before + channel, channels};
        convolution.keep_last(tokens, next_conv_state + before + channel);
    }
}
