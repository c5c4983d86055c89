// 128 rows of a stored weight times 64 columns, by a block of four warps: the inner part of every matrix product.
//
// The columns (activations) are gathered slice by slice into shared memory, in the order the tensor core's right
// operand wants; each warp reads its own 32 rows of weights straight from memory into registers, so that nothing
// of the weights passes through shared memory.
#pragma once
#include "weights.cuh"

constexpr int TILE_COLUMNS = 64, TILE_WARPS = 4, TILE_THREADS = 32 * TILE_WARPS, TILE_ROWS = 32 * TILE_WARPS;
constexpr int TILE_CHUNKS = Weights::SLICE / 8;  // of eight numbers, of each column

// Declare both in the kernel itself.
#define TILE_SHARED                                       \
    __shared__ Eight tile_columns[64 * TILE_CHUNKS];      \
    __shared__ int tile_places[64]

typedef float TileSums[2][TILE_COLUMNS / 8][4];

// Where chunk (step, quarter) of a column lies. Columns of odd number are turned by half a line, so that the eight
// lanes that read at once (two columns, four quarters) meet no bank twice.
__device__ __forceinline__ int tile_position(int column, int step, int quarter) {
    return column * TILE_CHUNKS + ((step * 4 + quarter) ^ (column % 2 * 4));
}

// sums += rows `row(r, half)` (of this lane, < 0: none) times the columns whose places in x [.., width] are in
// `places` (< 0: none), of which the first `used` are real. All threads must call.
template <class T, class RowOf>
__device__ __forceinline__ void multiply_tile(TileSums& sums, const Weights& weights, const RowOf& row, const T* x,
                                              int width, const int* places, int used, Eight* columns) {
    const int lane = threadIdx.x % 32;
    for (int start = 0; start < width; start += Weights::SLICE) {
        Weights::Slice slices[2];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            weights.load(slices[r], 0, row(r, 0), start);
            weights.load(slices[r], 1, row(r, 1), start);
        }
        __syncthreads();  // the slice before has been read, and the places are there
        for (int i = threadIdx.x; i < (used + 7) / 8 * 8 * TILE_CHUNKS; i += TILE_THREADS) {
            const int column = i / TILE_CHUNKS, chunk = i % TILE_CHUNKS;
            const long long place = places[column];
            const Eight eight = load_eight(place < 0 ? nullptr : x + place * width, start + chunk * 8, width);
            // The chunk that lane `quarter` wants at `step` begins at Weights::offset(step).
            constexpr bool by_quarter = Weights::CHUNKS_BY_QUARTER;
            const int step = by_quarter ? chunk % 4 : chunk / 4, quarter = by_quarter ? chunk / 4 : chunk % 4;
            columns[tile_position(column, step, quarter)] = Weights::arranged(eight);
        }
        __syncthreads();
        add_slice<T, Weights, 2, TILE_COLUMNS / 8>(
            sums, slices,
            [&](int c, int step) { return columns[tile_position(c * 8 + lane / 4, step, lane % 4)]; },
            [&](int c) { return c * 8 < used; });
    }
}

// Calls write(column, r, low, high) for every sum of this lane: `low` of row g of row tile r, `high` of row g + 8.
template <class Write> __device__ __forceinline__ void each_sum(const TileSums& sums, const Write& write) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int r = 0; r < 2; ++r)
#pragma unroll
        for (int c = 0; c < TILE_COLUMNS / 8; ++c)
#pragma unroll
            for (int i = 0; i < 2; ++i) write(c * 8 + lane % 4 * 2 + i, r, sums[r][c][i], sums[r][c][i + 2]);
}
