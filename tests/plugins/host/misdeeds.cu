// One of the things that no kernel may do, by number: each must be seen by what watches for it.
#include "numbers.cuh"

enum {
    NOTHING,
    WRITE_BEYOND_OUTPUT,
    WRITE_BEFORE_OUTPUT,
    WRITE_INPUT,
    READ_BEYOND_INPUT,
    READ_BEYOND_SHARED,
    READ_BEYOND_DYNAMIC_SHARED,
    UNALIGNED_LOAD,
    READ_UNSET_SHARED,
    LEAVE_BEFORE_BARRIER_OF_WARP,
    WAIT_APART,
    NAME_HALF_A_WARP,
    TRAP,
    FORGET_BARRIER,
    ORDER_BY_SHUFFLE,
    WRITE_FROM_TWO_BLOCKS,
    FORGET_SECOND_BARRIER,
    SHIFT_TOO_FAR,
};

extern "C" __global__ void misdeeds(const float* x, int misdeed, int number, float* y) {
    __shared__ float kept[64];
    __shared__ float fence[64];
    DYNAMIC_SHARED(float, more);
    const int i = threadIdx.x, at = blockIdx.x * 64;
    fence[i] = 0.0f;
    more[i] = x[at + i];
    if (misdeed != READ_UNSET_SHARED) kept[i] = x[at + i];
    if (misdeed == LEAVE_BEFORE_BARRIER_OF_WARP && i == 40) return;
    if (misdeed == LEAVE_BEFORE_BARRIER_OF_WARP) __syncwarp();
    if (misdeed == WAIT_APART && i < 32) __syncthreads();
    else if (misdeed == ORDER_BY_SHUFFLE) __shfl_sync(0xffffffffu, 1, 0);
    else if (misdeed != FORGET_BARRIER) __syncthreads();
    if (misdeed == NAME_HALF_A_WARP) __syncwarp(0xffffu);
    if (misdeed == TRAP) __trap();
    if (misdeed == ORDER_BY_SHUFFLE) y[at + i] = kept[i ^ 1];
    else y[at + i] = kept[63 - i];
    if (misdeed == FORGET_SECOND_BARRIER) kept[i] = 0.0f;
    if (i != 0) return;
    if (misdeed == WRITE_BEYOND_OUTPUT) y[number] = 1.0f;
    if (misdeed == WRITE_BEFORE_OUTPUT) y[-1] = 1.0f;
    if (misdeed == WRITE_INPUT) const_cast<float*>(x)[3] = 9.0f;
    if (misdeed == READ_BEYOND_INPUT) y[at] = x[number];
    if (misdeed == READ_BEYOND_SHARED) y[at] = kept[number - 64];
    if (misdeed == READ_BEYOND_DYNAMIC_SHARED) y[at] = more[number - 64];
    if (misdeed == UNALIGNED_LOAD) y[at] = reinterpret_cast<const float4*>(x + 1)->x;
    if (misdeed == WRITE_FROM_TWO_BLOCKS) y[0] = 1.0f;
    if (misdeed == SHIFT_TOO_FAR) y[at] = (float)(1 << number);
}
