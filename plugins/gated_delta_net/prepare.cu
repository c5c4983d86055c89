// First of three nodes of the chunked prefill: every token's convolution, unit-length queries and keys, and gates.
//
// A block per chunk of 64 tokens, head (of queries, keys or values: they lie one after another in the channels) and
// sequence; 4 warps of 16 tokens each. The block of a value head also sums its log decays from the chunk's start.
// Macros: ACTIVATION, HEAD (32, 64 or 128).
#include "numbers.cuh"
#include "tokens.cuh"

constexpr int CHUNK = 64, WARP_TOKENS = 16;

extern "C" __global__ void __launch_bounds__(128) gated_delta_net_prepare(
    const ACTIVATION* __restrict__ qkv, const ACTIVATION* __restrict__ b, const ACTIVATION* __restrict__ a,
    const ACTIVATION* __restrict__ conv_weight, const float* __restrict__ A_log, const float* __restrict__ dt_bias,
    const ACTIVATION* __restrict__ conv_state, int tokens, int key_heads, int value_heads,
    ACTIVATION* __restrict__ mixed, float* __restrict__ log_decays, float* __restrict__ betas,
    ACTIVATION* __restrict__ next_conv_state) {
    const int chunk = blockIdx.x, slot = blockIdx.y, sequence = blockIdx.z;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int channels = (2 * key_heads + value_heads) * HEAD;
    const int channel = slot * HEAD + lane * LANE_CHANNELS;
    const size_t before = (size_t)sequence * (TAPS - 1) * channels + channel;
    const size_t from = (size_t)sequence * tokens * channels + channel;
    const Convolution convolution = {qkv + from, conv_state + before, channels};

    const int first = chunk * CHUNK + warp * WARP_TOKENS, end = min(first + WARP_TOKENS, tokens);
    for (int token = first; token < end; ++token) {
        float x[LANE_CHANNELS];
        convolution.at(token, conv_weight + (size_t)channel * TAPS, x);
        if (slot < key_heads) set_length(x, rsqrtf((float)HEAD));
        else if (slot < 2 * key_heads) set_length(x, 1.0f);
        store_floats(mixed + from + (size_t)token * channels, x);
    }
    if (chunk == gridDim.x - 1 && warp == 0) convolution.keep_last(tokens, next_conv_state + before);

    // The gates, two tokens a lane: the sum over a chunk is a sum over lanes.
    const int head = slot - 2 * key_heads;
    if (head >= 0 && warp == 1) {
        const int token = chunk * CHUNK + 2 * lane;
        float decay[2] = {0.0f, 0.0f}, beta[2] = {0.0f, 0.0f};
#pragma unroll
        for (int i = 0; i < 2; ++i)
            if (token + i < tokens) {
                const size_t at = ((size_t)sequence * tokens + token + i) * value_heads + head;
                // exp(-100) is nothing beside 1, and a sum of such numbers still resolves small ones after them.
                decay[i] = fmaxf(log_decay(to_float(a[at]), A_log[head], dt_bias[head]), -100.0f);
                beta[i] = sigmoid(to_float(b[at]));
            }
        float sum = decay[0] + decay[1];
#pragma unroll
        for (int step = 1; step < 32; step *= 2) {
            const float earlier = __shfl_up_sync(0xffffffffu, sum, step);
            if (lane >= step) sum += earlier;
        }
        float earlier = __shfl_up_sync(0xffffffffu, sum, 1);
        if (lane == 0) earlier = 0.0f;
        const size_t at = ((size_t)sequence * value_heads + head) * tokens + token;
        if (token < tokens) log_decays[at] = earlier + decay[0], betas[at] = beta[0];
        if (token + 1 < tokens) log_decays[at + 1] = earlier + decay[0] + decay[1], betas[at + 1] = beta[1];
    }
}
