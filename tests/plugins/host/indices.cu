// Where every thread thinks it is: thread, block, both sizes, in the order of the launch.
#include "numbers.cuh"

extern "C" __global__ void indices(const float* unused, int* found) {
    const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    int* const mine = found + (block * (int)(blockDim.x * blockDim.y * blockDim.z) + thread) * 6;
    mine[0] = threadIdx.x, mine[1] = threadIdx.y, mine[2] = threadIdx.z;
    mine[3] = blockIdx.x, mine[4] = blockIdx.y, mine[5] = blockIdx.z;
}
