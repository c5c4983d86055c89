// Pairs (token, choice) in the order of their experts, so that each expert's weights are read once for all of its
// tokens. One block an expert; counting only, so that the order is the same every time. See __init__.py.
#include "tiles.cuh"

constexpr int THREADS = 128;

extern "C" __global__ void __launch_bounds__(THREADS)
    moe_group(const int* __restrict__ experts, int pairs, int* __restrict__ order, int* __restrict__ groups) {
    __shared__ int counts[EXPERTS];
    __shared__ int mine[THREADS];
    __shared__ int before[2];  // pairs and tiles of the experts before this one
    const int expert = blockIdx.x, i = threadIdx.x;
    for (int e = i; e < EXPERTS; e += THREADS) counts[e] = 0;
    if (i < 2) before[i] = 0;
    __syncthreads();
    // Each thread looks at neighbours, so that those before it are those of the threads before it.
    const int each = (pairs + THREADS - 1) / THREADS, first = i * each, last = min(first + each, pairs);
    int found = 0;
    for (int pair = first; pair < last; ++pair) {
        const int e = experts[pair];
        if (e >= 0 && e < EXPERTS) atomicAdd(&counts[e], 1);
        found += e == expert;
    }
    mine[i] = found;
    __syncthreads();
    int earlier = 0, tiles = 0;
    for (int e = i; e < expert; e += THREADS) earlier += counts[e], tiles += (counts[e] + TILE_COLUMNS - 1) / TILE_COLUMNS;
    atomicAdd(&before[0], earlier);
    atomicAdd(&before[1], tiles);
    __syncthreads();
    int at = before[0];
    for (int j = 0; j < i; ++j) at += mine[j];
    for (int pair = first; pair < last; ++pair)
        if (experts[pair] == expert) order[at++] = pair;
    if (i == 0) {
        groups[expert * 3] = before[0];
        groups[expert * 3 + 1] = counts[expert];
        groups[expert * 3 + 2] = before[1];
    }
}
