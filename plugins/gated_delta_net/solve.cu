// Second of three nodes of the chunked prefill: what each chunk of 64 tokens needs of itself alone, all chunks at once.
//
// A = beta K Kt o D below the diagonal, M = (I + A)^-1, U = M beta V, W = M beta (K o exp G), P = Q Kt o D
// (chunks.py says what D and G are). A block of 4 warps per chunk, value head and sequence. Products on tensor
// cores with float32 sums; A and its inverse in float32, by forward substitution of blocks of 16.
// Macros: ACTIVATION (float16 or bfloat16), HEAD (32, 64 or 128).
#include "chunk.cuh"
#include "numbers.cuh"

constexpr int INVERSE_ROW = CHUNK + 4, BLOCK = 16;  // floats; numbers a side
constexpr int WIDE = CHUNK * HEAD_ROW > HEAD * CHUNK_ROW ? CHUNK * HEAD_ROW : HEAD * CHUNK_ROW;
constexpr int SECOND = CHUNK * HEAD_ROW * 2 > CHUNK * INVERSE_ROW * 4 ? CHUNK * HEAD_ROW * 2 : CHUNK * INVERSE_ROW * 4;

// Row I of M's blocks below the diagonal, where A's still stand: M_IJ = -M_II sum over L of A_IL M_LJ. 8 threads share
// a row; blocks above the diagonal are zero, so that the sums may run over all of them.
template <int I> __device__ __forceinline__ void invert_row(float* inverse) {
    const int row = threadIdx.x / 8, column = threadIdx.x % 8;
    float* const rows = inverse + I * BLOCK * INVERSE_ROW;
    float sums[2 * I] = {};
    for (int m = 0; m < I * BLOCK; ++m)
#pragma unroll
        for (int c = 0; c < 2 * I; ++c)
            sums[c] += rows[row * INVERSE_ROW + m] * inverse[m * INVERSE_ROW + column + 8 * c];
    __syncthreads();
#pragma unroll
    for (int c = 0; c < 2 * I; ++c) rows[row * INVERSE_ROW + column + 8 * c] = sums[c];
    __syncthreads();
    float products[2 * I] = {};
    for (int m = 0; m < BLOCK; ++m)
#pragma unroll
        for (int c = 0; c < 2 * I; ++c)
            products[c] += rows[row * INVERSE_ROW + I * BLOCK + m] * rows[m * INVERSE_ROW + column + 8 * c];
    __syncthreads();
#pragma unroll
    for (int c = 0; c < 2 * I; ++c) rows[row * INVERSE_ROW + column + 8 * c] = -products[c];
    __syncthreads();
}

// M with its columns scaled, in 16 bits, ready to be an operand.
__device__ __forceinline__ void scale_columns(ACTIVATION* to, const float* inverse, const float* scale) {
    for (int i = threadIdx.x; i < CHUNK * CHUNK / 2; i += blockDim.x) {
        const int row = i / (CHUNK / 2), column = i % (CHUNK / 2) * 2;
        const float* const from = inverse + row * INVERSE_ROW + column;
        store_pair(to + row * CHUNK_ROW + column, from[0] * scale[column], from[1] * scale[column + 1]);
    }
}

extern "C" __global__ void __launch_bounds__(128) gated_delta_net_solve(
    const ACTIVATION* __restrict__ mixed, const float* __restrict__ log_decays, const float* __restrict__ betas,
    int tokens, int key_heads, int value_heads, ACTIVATION* __restrict__ u, ACTIVATION* __restrict__ w,
    ACTIVATION* __restrict__ p) {
    __shared__ __align__(16) ACTIVATION wide[WIDE];                          // K, then K turned, then V turned
    __shared__ __align__(16) unsigned char second[SECOND];                   // Q, then A, then M
    __shared__ __align__(16) ACTIVATION operand[CHUNK * CHUNK_ROW];          // M with scaled columns
    __shared__ float log_decay[CHUNK], beta[CHUNK], beta_decay[CHUNK];

    const int chunk = blockIdx.x, head = blockIdx.y, sequence = blockIdx.z;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int key_head = head / (value_heads / key_heads), channels = (2 * key_heads + value_heads) * HEAD;
    const int first = chunk * CHUNK, count = min(CHUNK, tokens - first);
    const size_t this_head = (size_t)sequence * value_heads + head;
    const size_t this_chunk = this_head * gridDim.x + chunk;
    const ACTIVATION* const rows = mixed + ((size_t)sequence * tokens + first) * channels;
    const ACTIVATION* const keys = rows + (key_heads + key_head) * HEAD;
    ACTIVATION* const queries = reinterpret_cast<ACTIVATION*>(second);
    float* const inverse = reinterpret_cast<float*>(second);

    copy_rows(wide, keys, channels, count, threadIdx.x, blockDim.x);
    copy_rows(queries, rows + key_head * HEAD, channels, count, threadIdx.x, blockDim.x);
    copy_gates(log_decay, log_decays + this_head * tokens + first, count, true);
    copy_gates(beta, betas + this_head * tokens + first, count, false);
    __syncthreads();
    if (threadIdx.x < CHUNK) beta_decay[threadIdx.x] = beta[threadIdx.x] * expf(log_decay[threadIdx.x]);

    // A warp has 16 rows of Q Kt and K Kt. Column blocks above the diagonal are zero and not computed.
    const int row = 16 * warp;
    float of_keys[CHUNK / 8][4] = {};
#pragma unroll
    for (int n = 0; n < CHUNK / 8; ++n) {
        float of_queries[4] = {};
        if (8 * n < row + 16)
#pragma unroll
            for (int c = 0; c < HEAD; c += 16) {
                unsigned left[4], right[2];
                right_operand(right, wide + 8 * n * HEAD_ROW, HEAD_ROW, c);
                left_operand(left, queries + row * HEAD_ROW, HEAD_ROW, c);
                multiply_add<ACTIVATION>(of_queries, left, right);
                left_operand(left, wide + row * HEAD_ROW, HEAD_ROW, c);
                multiply_add<ACTIVATION>(of_keys[n], left, right);
            }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int i = row + g + 8 * half, j = 8 * n + 2 * t;
#pragma unroll
            for (int next = 0; next < 2; ++next) {
                const float between = j + next <= i ? expf(log_decay[i] - log_decay[j + next]) : 0.0f;
                of_queries[2 * half + next] *= between;
                of_keys[n][2 * half + next] *= j + next < i ? beta[i] * between : 0.0f;
            }
            store_pair(p + (this_chunk * CHUNK + i) * CHUNK + j, of_queries[2 * half], of_queries[2 * half + 1]);
        }
    }
    __syncthreads();  // all have read Q and K
#pragma unroll
    for (int n = 0; n < CHUNK / 8; ++n)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float* const to = inverse + (row + g + 8 * half) * INVERSE_ROW + 8 * n + 2 * t;
            to[0] = of_keys[n][2 * half], to[1] = of_keys[n][2 * half + 1];
        }
    __syncthreads();

    // The inverse in place, by blocks of 16. First the four on the diagonal, a column a thread: x_j = 1, and below it
    // x_i = -sum over m < i of A_im x_m. Meanwhile the other warps turn K.
    float x[BLOCK];
    if (threadIdx.x < CHUNK) {
        const float* const block = inverse + (int)threadIdx.x / BLOCK * BLOCK * (INVERSE_ROW + 1);
#pragma unroll
        for (int i = 0; i < BLOCK; ++i) {
            float sum = 0.0f;
#pragma unroll
            for (int m = 0; m < i; ++m) sum += block[i * INVERSE_ROW + m] * x[m];
            x[i] = (i == (int)threadIdx.x % BLOCK ? 1.0f : 0.0f) - sum;
        }
    } else {
        turn_rows(wide, keys, channels, count, threadIdx.x - CHUNK, blockDim.x - CHUNK);
    }
    __syncthreads();
    if (threadIdx.x < CHUNK)
#pragma unroll
        for (int i = 0; i < BLOCK; ++i)
            inverse[((int)threadIdx.x / BLOCK * BLOCK + i) * INVERSE_ROW + threadIdx.x] = x[i];
    __syncthreads();
    invert_row<1>(inverse);
    invert_row<2>(inverse);
    invert_row<3>(inverse);

    // W = (M o beta exp G) K: 16 rows a warp; M is lower triangular, so that only columns up to them count.
    scale_columns(operand, inverse, beta_decay);
    __syncthreads();
    for (int n = 0; n < HEAD / 8; ++n) {
        float sum[4] = {};
#pragma unroll
        for (int m = 0; m < CHUNK; m += 16)
            if (m <= row) {
                unsigned left[4], right[2];
                left_operand(left, operand + row * CHUNK_ROW, CHUNK_ROW, m);
                right_operand(right, wide + 8 * n * CHUNK_ROW, CHUNK_ROW, m);
                multiply_add<ACTIVATION>(sum, left, right);
            }
        ACTIVATION* const to = w + (this_chunk * CHUNK + row + g) * HEAD + 8 * n + 2 * t;
        store_pair(to, sum[0], sum[1]);
        store_pair(to + 8 * HEAD, sum[2], sum[3]);
    }
    __syncthreads();

    // U transposed = V turned times (M o beta) transposed: 16 values at a time.
    turn_rows(wide, rows + (2 * key_heads + head) * HEAD, channels, count, threadIdx.x, blockDim.x);
    scale_columns(operand, inverse, beta);
    __syncthreads();
    for (int value = 16 * warp; value < HEAD; value += 64)
        for (int n = 0; n < CHUNK / 8; ++n) {
            float sum[4] = {};
#pragma unroll
            for (int m = 0; m < CHUNK; m += 16)
                if (m < 8 * n + 8) {
                    unsigned left[4], right[2];
                    left_operand(left, wide + value * CHUNK_ROW, CHUNK_ROW, m);
                    right_operand(right, operand + 8 * n * CHUNK_ROW, CHUNK_ROW, m);
                    multiply_add<ACTIVATION>(sum, left, right);
                }
            ACTIVATION* const to = u + (this_chunk * HEAD + value + g) * CHUNK + 8 * n + 2 * t;
            store_pair(to, sum[0], sum[1]);
            store_pair(to + 8 * CHUNK, sum[2], sum[3]);
        }
}
