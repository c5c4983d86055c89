// y [T, N] = x [T, K] times W [N, K] transposed, W in 4-bit blocks; for one to eight rows of x. See __init__.py.
#include "weights.cuh"

constexpr int WARPS = 8;

extern "C" __global__ void __launch_bounds__(32 * WARPS, 2)
    NAMED(gemv)(const ACTIVATION* __restrict__ x, WEIGHT_PARAMETERS, int rows, int outputs, int width,
         ACTIVATION* __restrict__ y) {
    __shared__ float parts[WARPS][16][8];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4;
    const int first_output = blockIdx.y * 16, first_row = blockIdx.x * 8;
    const auto output = [&](int i) -> long long { return first_output + i < outputs ? first_output + i : -1; };
    const ACTIVATION* column = first_row + g < rows ? x + (long long)(first_row + g) * width : nullptr;
    float sums[4] = {};
    add_rows<ACTIVATION>(sums, WEIGHTS(width), output(g), output(g + 8), column, width, warp * Weights::SLICE,
                         WARPS * Weights::SLICE);
#pragma unroll
    for (int i = 0; i < 4; ++i) parts[warp][g + i / 2 * 8][lane % 4 * 2 + i % 2] = sums[i];
    __syncthreads();
    const int i = threadIdx.x % 16, row = threadIdx.x / 16;
    if (row < 8 && first_row + row < rows && first_output + i < outputs) {
        float sum = 0.0f;
#pragma unroll
        for (int w = 0; w < WARPS; ++w) sum += parts[w][i][row];
        y[(long long)(first_row + row) * outputs + first_output + i] = from_float<ACTIVATION>(sum);
    }
}
