// One token through a Gated DeltaNet layer: convolution, gates, unit-length queries and keys, delta rule, gated norm.
//
// A block per value head and sequence, 4 * HEAD threads: the gated norm needs the whole head, and 16 or 32 blocks of
// 64 KiB of state each keep the memory of every supported chip busy. Layouts and bytes: __init__.py.
// Macros: ACTIVATION, HEAD (32, 64 or 128).
#include "numbers.cuh"
#include "state.cuh"
#include "tokens.cuh"

extern "C" __global__ void __launch_bounds__(4 * HEAD, 2) gated_delta_net_decode(
    const ACTIVATION* __restrict__ qkv, const ACTIVATION* __restrict__ z, const ACTIVATION* __restrict__ b,
    const ACTIVATION* __restrict__ a, const ACTIVATION* __restrict__ conv_weight, const float* __restrict__ A_log,
    const float* __restrict__ dt_bias, const float* __restrict__ norm_weight,
    const ACTIVATION* __restrict__ conv_state, const float* __restrict__ state, int key_heads, int value_heads,
    ACTIVATION* __restrict__ y, ACTIVATION* __restrict__ next_conv_state, float* __restrict__ next_state) {
    __shared__ __align__(16) float vectors[3][HEAD];  // q, k, v
    __shared__ __align__(16) float o[HEAD];
    __shared__ __align__(16) float gate[HEAD];  // norm_weight * silu(z), made while the state is under way
    __shared__ float decay_shared, beta_shared;

    const int head = blockIdx.x, sequence = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int heads_per_key = value_heads / key_heads, key_head = head / heads_per_key;
    const int channels = (2 * key_heads + value_heads) * HEAD;
    const size_t this_head = (size_t)sequence * value_heads + head;
    const int lane_channel = lane * LANE_CHANNELS;

    StateTile tile;
    tile.load(state + this_head * HEAD * HEAD);  // first: it is nearly all that this kernel waits for

    if (warp < 3) {
        const int channel = place(warp, key_head, head, key_heads) * HEAD + lane_channel;
        const Convolution convolution = {qkv + (size_t)sequence * channels + channel,
                                         conv_state + (size_t)sequence * (TAPS - 1) * channels + channel, channels};
        float x[LANE_CHANNELS];
        convolution.at(0, conv_weight + (size_t)channel * TAPS, x);
        if (warp == 0) set_length(x, rsqrtf((float)HEAD));
        if (warp == 1) set_length(x, 1.0f);
        store_floats(&vectors[warp][lane_channel], x);
        // Value heads that share a key head would all write the same: the first of them does.
        if (warp == 2 || head % heads_per_key == 0)
            convolution.keep_last(1, next_conv_state + (size_t)sequence * (TAPS - 1) * channels + channel);
    } else if (warp == 3) {
        float x[LANE_CHANNELS], weight[LANE_CHANNELS];
        load_floats(x, z + this_head * HEAD + lane_channel);
        load_floats(weight, norm_weight + lane_channel);
#pragma unroll
        for (int c = 0; c < LANE_CHANNELS; ++c) x[c] = weight[c] * silu(x[c]);
        store_floats(gate + lane_channel, x);
        if (lane == 0) {
            decay_shared = expf(log_decay(to_float(a[this_head]), A_log[head], dt_bias[head]));
            beta_shared = sigmoid(to_float(b[this_head]));
        }
    }
    __syncthreads();

    float q_dot_k = 0.0f;
#pragma unroll
    for (int c = 0; c < LANE_CHANNELS; ++c) q_dot_k += vectors[0][lane_channel + c] * vectors[1][lane_channel + c];
    q_dot_k = sum_over_lanes(q_dot_k);
    tile.step(vectors[0], vectors[1], vectors[2], o, decay_shared, beta_shared, q_dot_k);
    tile.store(next_state + this_head * HEAD * HEAD);
    __syncthreads();

    if (warp == 3) {
        float out[LANE_CHANNELS], factor[LANE_CHANNELS];
        load_floats(out, o + lane_channel);
        load_floats(factor, gate + lane_channel);
        norm(out, factor);
        store_floats(y + this_head * HEAD + lane_channel, out);
    }
}
