// Third of three nodes of the chunked prefill: the state from chunk to chunk, the outputs and their gated norm.
//
// N = U - W St; O = (Q o exp G) St + P N; S <- exp(G_last) S + Nt (K o exp(G_last - G)), all of it transposed, so
// that the state [values, keys] stays in the registers that multiply_add sums in and is handed on as an operand from
// there: a warp has 16 values of it, in float32. A block per value head and sequence, HEAD / 16 warps: the norm needs
// the whole head. Macros: ACTIVATION (float16 or bfloat16), HEAD (32, 64 or 128).
#include "chunk.cuh"
#include "numbers.cuh"
#include "tokens.cuh"

constexpr int WARPS = HEAD / 16;
constexpr int WIDE = CHUNK * HEAD_ROW > HEAD * CHUNK_ROW ? CHUNK * HEAD_ROW : HEAD * CHUNK_ROW;

extern "C" __global__ void __launch_bounds__(2 * HEAD) gated_delta_net_scan(
    const ACTIVATION* __restrict__ mixed, const float* __restrict__ log_decays, const ACTIVATION* __restrict__ u,
    const ACTIVATION* __restrict__ w, const ACTIVATION* __restrict__ p, const ACTIVATION* __restrict__ z,
    const float* __restrict__ norm_weight, const float* __restrict__ state, int tokens, int key_heads,
    int value_heads, ACTIVATION* __restrict__ y, float* __restrict__ next_state) {
    __shared__ __align__(16) ACTIVATION wide[WIDE];                    // W, then K turned
    __shared__ __align__(16) ACTIVATION queries[CHUNK * HEAD_ROW];     // Q, then the normed output
    __shared__ __align__(16) ACTIVATION p_rows[CHUNK * CHUNK_ROW];
    __shared__ float log_decay[CHUNK], squares[WARPS][CHUNK];

    const int head = blockIdx.x, sequence = blockIdx.y;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int key_head = head / (value_heads / key_heads), channels = (2 * key_heads + value_heads) * HEAD;
    const int chunks = (tokens + CHUNK - 1) / CHUNK, value = 16 * warp + g;
    const size_t this_head = (size_t)sequence * value_heads + head;

    float s[HEAD / 8][4];
#pragma unroll
    for (int n = 0; n < HEAD / 8; ++n)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const float* const from = state + (this_head * HEAD + value + 8 * half) * HEAD + 8 * n + 2 * t;
            s[n][2 * half] = from[0], s[n][2 * half + 1] = from[1];
        }
    const float weight[2] = {norm_weight[value], norm_weight[value + 8]};

    for (int chunk = 0; chunk < chunks; ++chunk) {
        const int first = chunk * CHUNK, count = min(CHUNK, tokens - first);
        const size_t this_chunk = this_head * chunks + chunk;
        const ACTIVATION* const rows = mixed + ((size_t)sequence * tokens + first) * channels;
        copy_rows(wide, w + this_chunk * CHUNK * HEAD, HEAD, CHUNK, threadIdx.x, blockDim.x);
        copy_rows(queries, rows + key_head * HEAD, channels, count, threadIdx.x, blockDim.x);
        for (int i = threadIdx.x; i < CHUNK * CHUNK / 8; i += blockDim.x)
            *reinterpret_cast<Eight*>(p_rows + i / 8 * CHUNK_ROW + i % 8 * 8) =
                *reinterpret_cast<const Eight*>(p + this_chunk * CHUNK * CHUNK + i * 8);
        copy_gates(log_decay, log_decays + this_head * tokens + first, count, true);
        __syncthreads();

        float fresh[CHUNK / 8][4], out[CHUNK / 8][4];  // N and O transposed: 16 values by 64 tokens
#pragma unroll
        for (int n = 0; n < CHUNK / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) fresh[n][i] = out[n][i] = 0.0f;
#pragma unroll
        for (int c = 0; c < HEAD; c += 16) {
            unsigned left[4], right[2];
            as_left_operand(left, s[c / 8], s[c / 8 + 1]);
#pragma unroll
            for (int n = 0; n < CHUNK / 8; ++n) {
                right_operand(right, wide + 8 * n * HEAD_ROW, HEAD_ROW, c);
                multiply_add<ACTIVATION>(fresh[n], left, right);
                right_operand(right, queries + 8 * n * HEAD_ROW, HEAD_ROW, c);
                multiply_add<ACTIVATION>(out[n], left, right);
            }
        }
#pragma unroll
        for (int n = 0; n < CHUNK / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int token = 8 * n + 2 * t + i % 2;
                const size_t at = (this_chunk * HEAD + value + i / 2 * 8) * CHUNK + token;
                fresh[n][i] = to_float(u[at]) - fresh[n][i];
                out[n][i] *= expf(log_decay[token]);
            }
#pragma unroll
        for (int m = 0; m < CHUNK; m += 16) {
            unsigned left[4], right[2];
            as_left_operand(left, fresh[m / 8], fresh[m / 8 + 1]);
#pragma unroll
            for (int n = 0; n < CHUNK / 8; ++n)
                if (8 * n + 8 > m) {  // P is lower triangular
                    right_operand(right, p_rows + 8 * n * CHUNK_ROW, CHUNK_ROW, m);
                    multiply_add<ACTIVATION>(out[n], left, right);
                }
        }

        // The mean square over the head: over this lane's two values, the warp's sixteen, then all warps.
#pragma unroll
        for (int n = 0; n < CHUNK / 8; ++n)
#pragma unroll
            for (int next = 0; next < 2; ++next) {
                float sum = out[n][next] * out[n][next] + out[n][next + 2] * out[n][next + 2];
#pragma unroll
                for (int step = 4; step < 32; step *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
                if (g == 0) squares[warp][8 * n + 2 * t + next] = sum;
            }
        __syncthreads();  // and W and Q have been read
        turn_rows(wide, rows + (key_heads + key_head) * HEAD, channels, count, threadIdx.x, blockDim.x);
#pragma unroll
        for (int n = 0; n < CHUNK / 8; ++n)
#pragma unroll
            for (int next = 0; next < 2; ++next) {
                const int token = 8 * n + 2 * t + next;
                float sum = 0.0f;
#pragma unroll
                for (int other = 0; other < WARPS; ++other) sum += squares[other][token];
                const float scale = rsqrtf(sum * (1.0f / HEAD) + EPSILON);
                assign(queries[token * HEAD_ROW + value], out[n][next] * scale * weight[0]);
                assign(queries[token * HEAD_ROW + value + 8], out[n][next + 2] * scale * weight[1]);
            }

        const float last = log_decay[CHUNK - 1], kept = expf(last);
#pragma unroll
        for (int n = 0; n < HEAD / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) s[n][i] *= kept;
#pragma unroll
        for (int n = 0; n < CHUNK / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) fresh[n][i] *= expf(last - log_decay[8 * n + 2 * t + i % 2]);
        __syncthreads();
#pragma unroll
        for (int m = 0; m < CHUNK; m += 16) {
            unsigned left[4], right[2];
            as_left_operand(left, fresh[m / 8], fresh[m / 8 + 1]);
#pragma unroll
            for (int n = 0; n < HEAD / 8; ++n) {
                right_operand(right, wide + 8 * n * CHUNK_ROW, CHUNK_ROW, m);
                multiply_add<ACTIVATION>(s[n], left, right);
            }
        }

        // The gate, and out: a warp has one token at a time again.
        for (int token = warp; token < count; token += WARPS) {
            const size_t at = (((size_t)sequence * tokens + first + token) * value_heads + head) * HEAD +
                              lane * LANE_CHANNELS;
            float normed[LANE_CHANNELS], gate[LANE_CHANNELS];
            load_floats(normed, queries + token * HEAD_ROW + lane * LANE_CHANNELS);
            load_floats(gate, z + at);
#pragma unroll
            for (int c = 0; c < LANE_CHANNELS; ++c) normed[c] *= silu(gate[c]);
            store_floats(y + at, normed);
        }
        __syncthreads();
    }

#pragma unroll
    for (int n = 0; n < HEAD / 8; ++n)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float* const to = next_state + (this_head * HEAD + value + 8 * half) * HEAD + 8 * n + 2 * t;
            to[0] = s[n][2 * half], to[1] = s[n][2 * half + 1];
        }
}
