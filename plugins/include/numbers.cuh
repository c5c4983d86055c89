// 16-bit floats, wide loads, warp reductions, dynamic shared memory and tensor cores for every kernel.
//
// The one header a kernel includes. Two sides: a CUDA compiler (NVRTC, nvcc) gets PTX; g++ gets plain C++,
// and has read plugins/host/cuda_on_host.h before this file. Nothing of CUDA's own headers is needed.
// A kernel is compiled once per activation type: -DACTIVATION=float16, bfloat16 or float32.
#pragma once

struct float16 { unsigned short bits; };
struct bfloat16 { unsigned short bits; };
typedef float float32;

// ---- conversions: to_float(x), from_float<T>(f) (round to nearest even) -----------------------------------

#ifdef __CUDACC__

__device__ __forceinline__ float to_float(float16 x) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(x.bits));
    return f;
}
__device__ __forceinline__ float to_float(bfloat16 x) { return __uint_as_float((unsigned)x.bits << 16); }
__device__ __forceinline__ void assign(float16& x, float f) {
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(x.bits) : "f"(f));
}
__device__ __forceinline__ void assign(bfloat16& x, float f) {
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(x.bits) : "f"(f));
}

#else

inline float to_float(float16 x) { return cuda_on_host::half_to_float(x.bits); }
inline float to_float(bfloat16 x) { return __uint_as_float((unsigned)x.bits << 16); }
inline void assign(float16& x, float f) { x.bits = cuda_on_host::float_to_half(f); }
inline void assign(bfloat16& x, float f) { x.bits = cuda_on_host::float_to_bfloat(f); }

#endif

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ void assign(float& x, float f) { x = f; }

template <class T> __device__ __forceinline__ T from_float(float f) {
    T x;
    assign(x, f);
    return x;
}

// ---- wide loads and stores: the address must be a multiple of the whole size --------------------------------

template <class T, int N> struct alignas(sizeof(T) * N) Pack { T at[N]; };

template <int N, class T> __device__ __forceinline__ void load_floats(float (&to)[N], const T* from) {
    const Pack<T, N> pack = *reinterpret_cast<const Pack<T, N>*>(from);
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] = to_float(pack.at[i]);
}

template <int N, class T> __device__ __forceinline__ void store_floats(T* to, const float (&from)[N]) {
    Pack<T, N> pack;
#pragma unroll
    for (int i = 0; i < N; ++i) assign(pack.at[i], from[i]);
    *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// Two 16-bit numbers in one register, the first in the low half.
template <class T> __device__ __forceinline__ unsigned pack_two(T low, T high) {
    return (unsigned)low.bits | (unsigned)high.bits << 16;
}

// ---- sums over the lanes of a warp: all 32 lanes must call; every lane gets the result ------------------------

template <int LANES = 32> __device__ __forceinline__ float sum_over_lanes(float x) {
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}
template <int LANES = 32> __device__ __forceinline__ float max_over_lanes(float x) {
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}

// ---- dynamic shared memory: DYNAMIC_SHARED(float, rows); declares `float* rows`, 16-byte aligned ----------------

#ifdef __CUDACC__
#define DYNAMIC_SHARED(type, name)                                  \
    extern __shared__ __align__(16) unsigned char name##_bytes[];   \
    type* const name = reinterpret_cast<type*>(name##_bytes)
#else
#define DYNAMIC_SHARED(type, name) type* const name = static_cast<type*>(cuda_on_host::dynamic_shared())
#endif

// ---- tensor cores: d[16x8] += a[16x16] b[16x8], float32 sums ------------------------------------------------
//
// Who holds what, with g = lane / 4 and t = lane % 4 (each register holds two neighbours, low half first):
//   a[0]: row g,   columns 2t, 2t+1       a[1]: row g+8, columns 2t, 2t+1
//   a[2]: row g,   columns 2t+8, 2t+9     a[3]: row g+8, columns 2t+8, 2t+9
//   b[0]: rows 2t, 2t+1 of column g       b[1]: rows 2t+8, 2t+9 of column g
//   d[0], d[1]: row g, columns 2t, 2t+1   d[2], d[3]: row g+8, columns 2t, 2t+1
// All 32 lanes must call.

#ifdef __CUDACC__

__device__ __forceinline__ void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], float16) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], bfloat16) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#else

template <class T>
inline void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], T) {
    struct Fragments { unsigned a[4], b[2]; } mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    const cuda_on_host::Lanes<Fragments> all(mine);
    const auto number = [](unsigned pair, int high) { return to_float(T{(unsigned short)(pair >> (high ? 16 : 0))}); };
    const int g = all.lane / 4, t = all.lane % 4;
    for (int i = 0; i < 4; ++i) {
        const int row = g + (i >= 2 ? 8 : 0), column = 2 * t + i % 2;
        for (int k = 0; k < 16; ++k) {
            const unsigned left = all[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2];
            const unsigned right = all[column * 4 + k % 8 / 2].b[k / 8];
            d[i] += number(left, k % 2) * number(right, k % 2);
        }
    }
}

#endif

template <class T>
__device__ __forceinline__ void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    multiply_add(d, a, b, T{});
}
