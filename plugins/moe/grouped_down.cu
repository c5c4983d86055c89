// parts[pair] = (down of the pair's expert) hidden[pair]; pairs grouped by expert, for many tokens. See __init__.py.
#include "groups.cuh"

extern "C" __global__ void __launch_bounds__(TILE_THREADS, 2)
    NAMED(moe_grouped_down)(const ACTIVATION* __restrict__ hidden, const int* __restrict__ order,
                            const int* __restrict__ groups, WEIGHT_PARAMETERS, int inner, int count, int width,
                            ACTIVATION* __restrict__ parts) {
    TILE_SHARED;
    __shared__ int tile_expert;
    const Group group = find_group(order, groups, count, tile_places, &tile_expert);
    if (group.expert < 0) return;
    const int first = blockIdx.y * TILE_ROWS + threadIdx.x / 32 * 32 + threadIdx.x % 32 / 4;
    const auto row = [&](int r, int half) -> long long {
        const int i = first + r * 16 + half * 8;
        return i < width ? (long long)group.expert * width + i : -1;
    };
    TileSums sums = {};
    multiply_tile(sums, WEIGHTS(inner), row, hidden, inner, tile_places, group.used, tile_columns);
    each_sum(sums, [&](int column, int r, float low, float high) {
        if (column >= group.used) return;
        ACTIVATION* to = parts + (long long)tile_places[column] * width + first + r * 16;
        if (first + r * 16 < width) to[0] = from_float<ACTIVATION>(low);
        if (first + r * 16 + 8 < width) to[8] = from_float<ACTIVATION>(high);
    });
}
