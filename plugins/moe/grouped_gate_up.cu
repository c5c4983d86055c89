// hidden[pair] = silu(gate x) * up x of the pair's expert; pairs grouped by expert, for many tokens. See __init__.py.
#include "groups.cuh"

extern "C" __global__ void __launch_bounds__(TILE_THREADS, 2)
    NAMED(moe_grouped_gate_up)(const ACTIVATION* __restrict__ x, const int* __restrict__ order,
                               const int* __restrict__ groups, WEIGHT_PARAMETERS, int width, int choices, int count,
                               int inner, ACTIVATION* __restrict__ hidden) {
    TILE_SHARED;
    __shared__ int tile_pairs[TILE_COLUMNS];
    __shared__ int tile_expert;
    const Group group = find_group(order, groups, count, tile_pairs, &tile_expert);
    if (group.expert < 0) return;
    if (threadIdx.x < TILE_COLUMNS) {
        const int pair = tile_pairs[threadIdx.x];
        tile_places[threadIdx.x] = pair < 0 ? -1 : pair / choices;
    }
    const int first = blockIdx.y * (TILE_ROWS / 2) + threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
    const auto row = [&](int r, int half) -> long long {  // gate in the upper half of a row tile, up in the lower
        const int i = first + r * 8;
        return i < inner ? ((long long)group.expert * inner + i) * 2 + half : -1;
    };
    TileSums sums = {};
    multiply_tile(sums, WEIGHTS(width), row, x, width, tile_places, group.used, tile_columns);
    each_sum(sums, [&](int column, int r, float gate, float up) {
        const int i = first + r * 8;
        if (column < group.used && i < inner)
            hidden[(long long)tile_pairs[column] * inner + i] =
                from_float<ACTIVATION>(gate / (1.0f + expf(-gate)) * up);
    });
}
