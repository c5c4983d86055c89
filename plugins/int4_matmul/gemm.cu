// y [T, N] = x [T, K] times W [N, K] transposed, W in 4-bit blocks; for many rows of x. See __init__.py.
#include "tiles.cuh"

extern "C" __global__ void __launch_bounds__(TILE_THREADS, 2)
    NAMED(gemm)(const ACTIVATION* __restrict__ x, WEIGHT_PARAMETERS, int rows, int outputs, int width,
         ACTIVATION* __restrict__ y) {
    TILE_SHARED;
    const int g = threadIdx.x % 32 / 4;
    // Blocks that run at the same time share rows of W, which memory then gives once.
    const int first_row = blockIdx.x * TILE_COLUMNS;
    const int first_output = blockIdx.y * TILE_ROWS + threadIdx.x / 32 * 32 + g;
    const int used = min(rows - first_row, TILE_COLUMNS);
    const int i = threadIdx.x;
    if (i < TILE_COLUMNS) tile_places[i] = i < used ? first_row + i : -1;
    const auto output = [&](int r, int half) -> long long {
        const int found = first_output + r * 16 + half * 8;
        return found < outputs ? found : -1;
    };
    TileSums sums = {};
    multiply_tile(sums, WEIGHTS(width), output, x, width, tile_places, used, tile_columns);
    each_sum(sums, [&](int column, int r, float low, float high) {
        if (column >= used) return;
        ACTIVATION* to = y + (long long)(first_row + column) * outputs;
        if (output(r, 0) >= 0) to[output(r, 0)] = from_float<ACTIVATION>(low);
        if (output(r, 1) >= 0) to[output(r, 1)] = from_float<ACTIVATION>(high);
    });
}
