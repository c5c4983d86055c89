// A chunk of 64 tokens in shared memory, as the tensor cores want it (who holds what: numbers.cuh, multiply_add).
#pragma once
#include "numbers.cuh"

constexpr int CHUNK = 64;
// Rows in shared memory are 16 bytes longer than their numbers, so that 8 rows start in 8 different banks.
constexpr int HEAD_ROW = HEAD + 8, CHUNK_ROW = CHUNK + 8;

// Two neighbours of a row: both operands of multiply_add are made of such pairs.
__device__ __forceinline__ unsigned pair_at(const ACTIVATION* row, int column) {
    return *reinterpret_cast<const unsigned*>(row + column);
}

// 16 rows by 16 columns from `rows`, starting at row 0 and `column`.
__device__ __forceinline__ void left_operand(unsigned (&to)[4], const ACTIVATION* rows, int stride, int column) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    to[0] = pair_at(rows + g * stride, column + 2 * t);
    to[1] = pair_at(rows + (g + 8) * stride, column + 2 * t);
    to[2] = pair_at(rows + g * stride, column + 2 * t + 8);
    to[3] = pair_at(rows + (g + 8) * stride, column + 2 * t + 8);
}

// 16 by 8, from its transpose: 8 rows by 16 columns from `rows`.
__device__ __forceinline__ void right_operand(unsigned (&to)[2], const ACTIVATION* rows, int stride, int column) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    to[0] = pair_at(rows + g * stride, column + 2 * t);
    to[1] = pair_at(rows + g * stride, column + 2 * t + 8);
}

// Two neighbouring 16x8 results of multiply_add are the 16x16 left operand of the next one, already in place.
__device__ __forceinline__ void as_left_operand(unsigned (&to)[4], const float (&first)[4], const float (&second)[4]) {
    to[0] = pack_two(from_float<ACTIVATION>(first[0]), from_float<ACTIVATION>(first[1]));
    to[1] = pack_two(from_float<ACTIVATION>(first[2]), from_float<ACTIVATION>(first[3]));
    to[2] = pack_two(from_float<ACTIVATION>(second[0]), from_float<ACTIVATION>(second[1]));
    to[3] = pack_two(from_float<ACTIVATION>(second[2]), from_float<ACTIVATION>(second[3]));
}

typedef Pack<ACTIVATION, 8> Eight;

// `count` rows of HEAD numbers, `stride` apart in memory, into rows of HEAD_ROW; zero up to CHUNK rows.
__device__ __forceinline__ void copy_rows(
    ACTIVATION* to, const ACTIVATION* from, size_t stride, int count, int thread, int threads) {
    for (int i = thread; i < CHUNK * HEAD / 8; i += threads) {
        const int row = i / (HEAD / 8), column = i % (HEAD / 8) * 8;
        Eight eight = {};
        if (row < count) eight = *reinterpret_cast<const Eight*>(from + (size_t)row * stride + column);
        *reinterpret_cast<Eight*>(to + row * HEAD_ROW + column) = eight;
    }
}

// The same rows turned: HEAD rows of CHUNK numbers, CHUNK_ROW apart.
__device__ __forceinline__ void turn_rows(
    ACTIVATION* to, const ACTIVATION* from, size_t stride, int count, int thread, int threads) {
    for (int i = thread; i < CHUNK / 2 * (HEAD / 8); i += threads) {
        const int row = i % (CHUNK / 2) * 2, column = i / (CHUNK / 2) * 8;  // a warp stores 32 pairs side by side
        Eight first = {}, second = {};
        if (row < count) first = *reinterpret_cast<const Eight*>(from + (size_t)row * stride + column);
        if (row + 1 < count) second = *reinterpret_cast<const Eight*>(from + (size_t)(row + 1) * stride + column);
#pragma unroll
        for (int c = 0; c < 8; ++c)
            *reinterpret_cast<unsigned*>(to + (column + c) * CHUNK_ROW + row) = pack_two(first.at[c], second.at[c]);
    }
}

__device__ __forceinline__ void store_pair(ACTIVATION* to, float first, float second) {
    *reinterpret_cast<unsigned*>(to) = pack_two(from_float<ACTIVATION>(first), from_float<ACTIVATION>(second));
}

// Sums of log decay and betas of a chunk's tokens; beyond the last of `count` they change nothing.
__device__ __forceinline__ void copy_gates(float* to, const float* from, int count, bool keep_last) {
    for (int i = threadIdx.x; i < CHUNK; i += blockDim.x)
        to[i] = i < count ? from[i] : keep_last ? from[count - 1] : 0.0f;
}
