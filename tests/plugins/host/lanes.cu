// What each warp-wide operation gives each of 64 threads, a row an operation.
#include "numbers.cuh"

extern "C" __global__ void lanes(const int* given, int* got) {
    const unsigned all = 0xffffffffu;
    const int thread = threadIdx.x, x = given[thread];
    got[0 * 64 + thread] = __shfl_sync(all, x, 5);
    got[1 * 64 + thread] = __shfl_sync(all, x, 9, 8);
    got[2 * 64 + thread] = __shfl_xor_sync(all, x, 6);
    got[3 * 64 + thread] = __shfl_up_sync(all, x, 3);
    got[4 * 64 + thread] = __shfl_down_sync(all, x, 3, 16);
    got[5 * 64 + thread] = (int)__ballot_sync(all, x % 3 == 0);
    got[6 * 64 + thread] = __any_sync(all, x == 7);
    got[7 * 64 + thread] = __all_sync(all, x >= 0);
    got[8 * 64 + thread] = (int)sum_over_lanes((float)x);
    got[9 * 64 + thread] = (int)max_over_lanes<8>((float)x);
}
