// One head's state [HEAD values, HEAD keys] spread over a block of 4 * HEAD threads, and one step of the delta rule.
//
// A warp has 8 rows (values), 8 lanes share 2 of them: lane i of the 8 has columns 32c + 4i .. 32c + 4i + 3, so that
// every load of a warp covers whole 128-byte lines and both sums over keys stay inside the 8 lanes.
#pragma once
#include "numbers.cuh"

constexpr int ROWS = 2, GROUPS = HEAD / 32;

// Four numbers in one store. Written out, because the compiler splits some of these into four when left to itself.
__device__ __forceinline__ void store_four(float* to, const float (&four)[4]) {
#ifdef __CUDACC__
    asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "f"(four[0]),
                 "f"(four[1]), "f"(four[2]), "f"(four[3])
                 : "memory");
#else
    store_floats(to, four);
#endif
}

struct StateTile {
    float at[ROWS][GROUPS][4];

    __device__ __forceinline__ static int row() { return threadIdx.x / 32 * 8 + threadIdx.x % 32 / 8 * ROWS; }
    __device__ __forceinline__ static int column() { return threadIdx.x % 8 * 4; }

    // `head` [HEAD, HEAD], values by keys.
    __device__ __forceinline__ void load(const float* head) {
#pragma unroll
        for (int r = 0; r < ROWS; ++r)
#pragma unroll
            for (int g = 0; g < GROUPS; ++g) load_floats(at[r][g], head + (row() + r) * HEAD + 32 * g + column());
    }

    __device__ __forceinline__ void store(float* head) const {
#pragma unroll
        for (int r = 0; r < ROWS; ++r)
#pragma unroll
            for (int g = 0; g < GROUPS; ++g) store_four(head + (row() + r) * HEAD + 32 * g + column(), at[r][g]);
    }

    // S <- decay S;  d = beta (v - S k);  S <- S + d kT;  o = S q. With q.k known, o needs no second pass over S:
    // S q after the step is decay (S q) before it, plus (q.k) d. All threads call; q, k, v, o [HEAD] in shared memory.
    __device__ __forceinline__ void step(
        const float* q, const float* k, const float* v, float* o, float decay, float beta, float q_dot_k) {
        float sk[ROWS] = {}, sq[ROWS] = {};
#pragma unroll
        for (int g = 0; g < GROUPS; ++g) {
            float keys[4], queries[4];
            load_floats(keys, k + 32 * g + column());
            load_floats(queries, q + 32 * g + column());
#pragma unroll
            for (int r = 0; r < ROWS; ++r)
#pragma unroll
                for (int c = 0; c < 4; ++c) {
                    sk[r] += at[r][g][c] * keys[c];
                    sq[r] += at[r][g][c] * queries[c];
                }
        }
        // Four sums over 8 lanes in four shuffles: at each step a lane gives away half of what it still holds. In
        // the end lanes 0, 2, 4, 6 of the 8 (and their neighbours) hold sk[0], sk[1], sq[0], sq[1].
        const unsigned all = 0xffffffffu;
        const int lane = threadIdx.x % 32;
        const bool queries_half = lane & 4, second_row = lane & 2;
        float mine[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; ++r)
            mine[r] = (queries_half ? sq[r] : sk[r]) + __shfl_xor_sync(all, queries_half ? sk[r] : sq[r], 4);
        float sum = (second_row ? mine[1] : mine[0]) + __shfl_xor_sync(all, second_row ? mine[0] : mine[1], 2);
        sum += __shfl_xor_sync(all, sum, 1);

        float d[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; ++r)
            d[r] = beta * (v[row() + r] - decay * __shfl_sync(all, sum, (lane & ~7) + 2 * r));
        if (queries_half && lane % 2 == 0)
            o[row() + second_row] = decay * sum + q_dot_k * (second_row ? d[1] : d[0]);
#pragma unroll
        for (int g = 0; g < GROUPS; ++g) {
            float keys[4];
            load_floats(keys, k + 32 * g + column());
#pragma unroll
            for (int r = 0; r < ROWS; ++r)
#pragma unroll
                for (int c = 0; c < 4; ++c) at[r][g][c] = decay * at[r][g][c] + d[r] * keys[c];
        }
    }
};
