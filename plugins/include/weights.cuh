// Sixteen rows of a stored weight as a tensor core's left operand, times up to COLUMNS * 8 columns.
//
// A warp walks its 16 rows in slices of Weights::STEPS * 32 numbers. Within a slice the order of the numbers is
// free as long as both operands keep the same one, so each lane reads what lies together in memory: of row g and
// row g + 8 (g = lane / 4) eight numbers a step, starting at `offset(step)`; and of column g the same eight.
// Integers enter the tensor core as (integer - zero point), which is exact in 16 bits; the scale is applied to
// the float32 sum of a block. Nothing is rounded that is not rounded in the reference but the order of sums.
#pragma once
#include "numbers.cuh"

// Eight neighbouring 16-bit numbers of one column, in the order the weights' operand wants them.
struct Eight { unsigned words[4]; };

// ---- two 16-bit numbers at once: (16-bit integers w + bias) - (zero + bias), exact ---------------------------

template <class T> struct Bias;
template <> struct Bias<float16> { static constexpr unsigned BITS = 0x6400, ONES = 0x3c003c00; };  // 1024
template <> struct Bias<bfloat16> { static constexpr unsigned BITS = 0x4300, ONES = 0x3f803f80; };  // 128

#ifdef __CUDACC__

__device__ __forceinline__ unsigned subtract_two(unsigned a, unsigned b, float16) {
    unsigned d;
    asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
    return d;
}
__device__ __forceinline__ unsigned subtract_two(unsigned a, unsigned b, bfloat16) {
    // sub.bf16x2 came with sm_90; the fused form is everywhere: a * 1 - b.
    unsigned d;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(Bias<bfloat16>::ONES), "r"(b ^ 0x80008000u));
    return d;
}

#else

template <class T> inline unsigned subtract_two(unsigned a, unsigned b, T) {
    const auto half = [](unsigned pair) { return to_float(T{(unsigned short)pair}); };
    return pack_two(from_float<T>(half(a) - half(b)), from_float<T>(half(a >> 16) - half(b >> 16)));
}

#endif

// ---- columns ------------------------------------------------------------------------------------------------

// Numbers k to k + 7 of a row of `width`; zeros beyond its end, and everywhere if there is no row.
template <class T> __device__ __forceinline__ Eight load_eight(const T* row, int k, int width) {
    Eight eight = {};
    if (row == nullptr || k >= width) return eight;
    if (width % 8 == 0) {  // then every row starts at a multiple of 16 bytes
        const uint4 found = *reinterpret_cast<const uint4*>(row + k);
        eight = {{found.x, found.y, found.z, found.w}};
    } else {
#pragma unroll
        for (int i = 0; i < 8; ++i)
            if (k + i < width) eight.words[i / 2] |= (unsigned)row[k + i].bits << (i % 2 * 16);
    }
    return eight;
}

// ---- 16-bit weights -----------------------------------------------------------------------------------------

template <class T> struct DenseWeights {
    static constexpr int STEPS = 2, SLICE = 32 * STEPS;
    static constexpr bool SCALED = false, CHUNKS_BY_QUARTER = false;
    struct Slice { Eight rows[2][STEPS]; };

    const T* values;  // [rows, width]
    int width;

    __device__ __forceinline__ static int offset(int step) { return step * 32 + threadIdx.x % 4 * 8; }
    __device__ __forceinline__ static Eight arranged(Eight x) { return x; }

    // `row` < 0: there is none.
    __device__ __forceinline__ void load(Slice& slice, int half, long long row, int start) const {
        const T* from = row < 0 ? nullptr : values + row * width;
#pragma unroll
        for (int step = 0; step < STEPS; ++step) slice.rows[half][step] = load_eight(from, start + offset(step), width);
    }
    // The left operands of a step's two products.
    __device__ __forceinline__ static void operands(const Slice& slice, int step, unsigned (&a)[2][4]) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            a[i][0] = slice.rows[0][step].words[2 * i];
            a[i][1] = slice.rows[1][step].words[2 * i];
            a[i][2] = slice.rows[0][step].words[2 * i + 1];
            a[i][3] = slice.rows[1][step].words[2 * i + 1];
        }
    }
    __device__ __forceinline__ static bool begins_block(int) { return false; }
    __device__ __forceinline__ static bool ends_block(int) { return false; }
    __device__ __forceinline__ static float scale(const Slice&, int, int) { return 1.0f; }
};

// ---- 4-bit weights ------------------------------------------------------------------------------------------

// values [rows, blocks, SIZE / 2], the first of a pair in the low half of a byte; scales [rows, blocks];
// zeros [rows, (blocks + 1) / 2], packed alike, if there are POINTS; otherwise the zero point is 8.
template <class T, int SIZE, bool POINTS> struct Int4Weights {
    static_assert(SIZE == 32 || SIZE == 128, "blocks have 32 or 128 numbers");
    static constexpr int STEPS = 4, SLICE = 128, BLOCKS = SLICE / SIZE;
    static constexpr bool SCALED = true, CHUNKS_BY_QUARTER = SIZE == 128;
    struct Slice { unsigned rows[2][STEPS]; float16 scales[2][BLOCKS]; unsigned zeros[2]; };

    const unsigned char* values;
    const float16* scales;
    const unsigned char* zeros;
    int blocks;

    // A block must be summed on its own: four lanes share each step of a block of 32, and each has its 16 bytes of
    // a block of 128.
    __device__ __forceinline__ static int offset(int step) {
        const int quarter = threadIdx.x % 4;
        return SIZE == 128 ? quarter * 32 + step * 8 : step * 32 + quarter * 8;
    }
    // Integers come apart as (0, 4), (1, 5), (2, 6), (3, 7): see operands.
    __device__ __forceinline__ static Eight arranged(Eight x) {
        return {{__byte_perm(x.words[0], x.words[2], 0x5410), __byte_perm(x.words[0], x.words[2], 0x7632),
                 __byte_perm(x.words[1], x.words[3], 0x5410), __byte_perm(x.words[1], x.words[3], 0x7632)}};
    }

    __device__ __forceinline__ void load(Slice& slice, int half, long long row, int start) const {
        const int first = start / SIZE;
#pragma unroll
        for (int step = 0; step < STEPS; ++step) slice.rows[half][step] = 0;
#pragma unroll
        for (int i = 0; i < BLOCKS; ++i) slice.scales[half][i].bits = 0;
        slice.zeros[half] = 0x8888;
        if (row < 0 || first >= blocks) return;
        const unsigned char* bytes = values + (row * blocks * SIZE + start) / 2;
        const float16* scale = scales + row * blocks + first;
        const unsigned char* zero = POINTS ? zeros + row * ((blocks + 1) / 2) + first / 2 : nullptr;
        if constexpr (SIZE == 128) {
            const uint4 found = *reinterpret_cast<const uint4*>(bytes + offset(0) / 2);
            slice.rows[half][0] = found.x, slice.rows[half][1] = found.y;
            slice.rows[half][2] = found.z, slice.rows[half][3] = found.w;
            slice.scales[half][0] = *scale;
            if (POINTS) slice.zeros[half] = *zero >> (first % 2 * 4);
        } else if (blocks % 4 == 0) {  // then a row's scales start at a multiple of 8 bytes
            const Pack<float16, 4> four = *reinterpret_cast<const Pack<float16, 4>*>(scale);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                slice.rows[half][i] = *reinterpret_cast<const unsigned*>(bytes + offset(i) / 2);
                slice.scales[half][i] = four.at[i];
            }
            if (POINTS) slice.zeros[half] = *reinterpret_cast<const unsigned short*>(zero);
        } else {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                if (first + i >= blocks) continue;
                slice.rows[half][i] = *reinterpret_cast<const unsigned*>(bytes + offset(i) / 2);
                slice.scales[half][i] = scale[i];
            }
            if (POINTS) slice.zeros[half] = zero[0] | (first + 2 < blocks ? (unsigned)zero[1] << 8 : 0u);
        }
    }
    __device__ __forceinline__ static void operands(const Slice& slice, int step, unsigned (&a)[2][4]) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const unsigned zero = POINTS ? slice.zeros[half] >> (SIZE == 128 ? 0 : step * 4) & 15 : 8;
            const unsigned biased = (Bias<T>::BITS | zero) * 0x10001u, word = slice.rows[half][step];
#pragma unroll
            for (int i = 0; i < 4; ++i)
                a[i / 2][half + i % 2 * 2] =
                    subtract_two((word >> 4 * i & 0x000f000f) | Bias<T>::BITS * 0x10001u, biased, T{});
        }
    }
    __device__ __forceinline__ static bool begins_block(int step) { return SIZE == 32 || step == 0; }
    __device__ __forceinline__ static bool ends_block(int step) { return SIZE == 32 || step == STEPS - 1; }
    __device__ __forceinline__ static float scale(const Slice& slice, int half, int step) {
        return to_float(slice.scales[half][SIZE == 32 ? step : 0]);
    }
};

// ---- the product --------------------------------------------------------------------------------------------

// sums[r][c] += rows of slices[r] times columns(c, step), all 32 lanes together; a tile of columns that is not
// `wanted(c)` is left out, for all lanes alike.
template <class T, class Weights, int ROWS, int COLUMNS, class Columns, class Wanted>
__device__ __forceinline__ void add_slice(float (&sums)[ROWS][COLUMNS][4], const typename Weights::Slice (&slices)[ROWS],
                                          const Columns& columns, const Wanted& wanted) {
    float parts[ROWS][COLUMNS][4];  // of the block that is being summed
#pragma unroll
    for (int step = 0; step < Weights::STEPS; ++step) {
        unsigned a[ROWS][2][4];
#pragma unroll
        for (int r = 0; r < ROWS; ++r) Weights::operands(slices[r], step, a[r]);
#pragma unroll
        for (int c = 0; c < COLUMNS; ++c) {
            if (!wanted(c)) continue;
            const Eight x = columns(c, step);
            const unsigned b[2][2] = {{x.words[0], x.words[1]}, {x.words[2], x.words[3]}};
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                float (&sum)[4] = sums[r][c], (&part)[4] = parts[r][c];
                float (&into)[4] = Weights::SCALED ? part : sum;
                if (Weights::SCALED && Weights::begins_block(step)) part[0] = part[1] = part[2] = part[3] = 0.0f;
                multiply_add<T>(into, a[r][0], b[0]);
                multiply_add<T>(into, a[r][1], b[1]);
                if (!Weights::SCALED || !Weights::ends_block(step)) continue;
                const float low = Weights::scale(slices[r], 0, step), high = Weights::scale(slices[r], 1, step);
                sum[0] += low * part[0], sum[1] += low * part[1];
                sum[2] += high * part[2], sum[3] += high * part[3];
            }
        }
    }
}

// One column tile, its eight numbers a step already in registers.
template <class T, class Weights>
__device__ __forceinline__ void add_slice(float (&sums)[4], const typename Weights::Slice& slice,
                                          const Eight (&column)[Weights::STEPS]) {
    float (&tile)[1][1][4] = reinterpret_cast<float (&)[1][1][4]>(sums);
    const typename Weights::Slice (&slices)[1] = reinterpret_cast<const typename Weights::Slice (&)[1]>(slice);
    add_slice<T, Weights, 1, 1>(
        tile, slices, [&](int, int step) { return column[step]; }, [](int) { return true; });
}

// Where lane g's column stands in the slice at `start`: its eight numbers of every step.
template <class T, class Weights>
__device__ __forceinline__ void load_column(Eight (&to)[Weights::STEPS], const T* column, int start, int width) {
#pragma unroll
    for (int step = 0; step < Weights::STEPS; ++step)
        to[step] = Weights::arranged(load_eight(column, start + Weights::offset(step), width));
}

// sums += rows `low` (of lanes' row g) and `high` (row g + 8) times `column`, over every `stride`-th slice from
// `start`. The next slice of weights is on its way while one is multiplied.
template <class T, class Weights>
__device__ __forceinline__ void add_rows(float (&sums)[4], const Weights& weights, long long low, long long high,
                                         const T* column, int width, int start, int stride) {
    typename Weights::Slice now, next;
    weights.load(now, 0, low, start);
    weights.load(now, 1, high, start);
    for (; start < width; start += stride) {
        weights.load(next, 0, low, start + stride);
        weights.load(next, 1, high, start + stride);
        Eight numbers[Weights::STEPS];
        load_column<T, Weights>(numbers, column, start, width);
        add_slice<T, Weights>(sums, now, numbers);
        now = next;
    }
}

// ---- the form a kernel is compiled for ------------------------------------------------------------------------
//
// Without BLOCK weights are of the activation's type; with it they are integers, with zero points if ZEROS is 1.
// A kernel takes WEIGHT_PARAMETERS among its inputs, makes WEIGHTS(width), and is called NAMED(its name).

#if !defined(BLOCK)
typedef DenseWeights<ACTIVATION> Weights;
#define WEIGHT_PARAMETERS const ACTIVATION* __restrict__ values
#define WEIGHTS(width) Weights{values, width}
#define NAMED(name) name
#elif ZEROS
typedef Int4Weights<ACTIVATION, BLOCK, true> Weights;
#define WEIGHT_PARAMETERS \
    const unsigned char* __restrict__ values, const float16* __restrict__ scales, const unsigned char* __restrict__ zeros
#define WEIGHTS(width) Weights{values, scales, zeros, ((width) + BLOCK - 1) / BLOCK}
#define NAMED(name) name##_int4_zeros
#else
typedef Int4Weights<ACTIVATION, BLOCK, false> Weights;
#define WEIGHT_PARAMETERS const unsigned char* __restrict__ values, const float16* __restrict__ scales
#define WEIGHTS(width) Weights{values, scales, nullptr, ((width) + BLOCK - 1) / BLOCK}
#define NAMED(name) name##_int4
#endif
