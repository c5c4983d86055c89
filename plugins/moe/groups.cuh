// Which expert's pairs a block of a grouped product works on: `groups` and `order` are moe_group's.
#pragma once
#include "tiles.cuh"

struct Group { int expert, used; };

// Finds the tile of blockIdx.x and writes its pairs to `pairs` (-1: none). An expert of -1: there is no such tile,
// for all threads alike. All threads must call, and meet before they read the pairs of others.
__device__ __forceinline__ Group find_group(const int* order, const int* groups, int count, int* pairs, int* found) {
    const int tile = blockIdx.x;
    if (threadIdx.x == 0) *found = -1;
    __syncthreads();
    for (int e = threadIdx.x; e < count; e += TILE_THREADS) {
        const int first = groups[e * 3 + 2], tiles = (groups[e * 3 + 1] + TILE_COLUMNS - 1) / TILE_COLUMNS;
        if (tile >= first && tile < first + tiles) *found = e;
    }
    __syncthreads();
    Group group = {*found, 0};
    if (group.expert < 0) return group;
    const int done = (tile - groups[group.expert * 3 + 2]) * TILE_COLUMNS;
    group.used = min(groups[group.expert * 3 + 1] - done, TILE_COLUMNS);
    const int i = threadIdx.x;
    if (i < TILE_COLUMNS) pairs[i] = i < group.used ? order[groups[group.expert * 3] + done + i] : -1;
    return group;
}
