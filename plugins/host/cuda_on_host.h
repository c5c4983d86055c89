// What a CUDA kernel takes for granted, for g++: keywords, indices, shared memory, barriers, shuffles, numbers.
//
// Included before the kernel's source, which then compiles unchanged. The threads of a block are fibres of one
// operating-system thread, run in a chosen order and switched at barriers and shuffles only (cuda_on_host.cpp).
// Under -fsanitize=thread each fibre is a thread of its own to ThreadSanitizer, and only __syncthreads,
// __syncwarp and atomics order them: a race is reported though nothing ever runs at the same time. Blocks are
// never ordered among each other. Shared memory and registers of a block start as NaN (all bits set).
//
// What is refused, with a message: barriers of one block on different lines, a shuffle some lanes never reach,
// masks other than the whole warp, __trap(). What is not modelled: divergence inside a warp, memory ordering
// weaker than the program's, clocks, textures, cooperative groups, asynchronous copies, thread block clusters.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
// One section holds all of a kernel's static shared memory, so that it can be poisoned between blocks. Only in
// the kernel function itself: a template or an inline function may not place its variables in a section.
#define __shared__ static __attribute__((section("cuda_shared")))

// ---- vector types -------------------------------------------------------------------------------------------

#define CUDA_ON_HOST_VECTOR(T, name)                                                                    \
    struct alignas(2 * sizeof(T)) name##2 { T x, y; };                                                          \
    struct name##3 { T x, y, z; };                                                                              \
    struct alignas(4 * sizeof(T) > 16 ? 16 : 4 * sizeof(T)) name##4 { T x, y, z, w; };                          \
    static inline name##2 make_##name##2(T x, T y) { return {x, y}; }                                           \
    static inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                                   \
    static inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDA_ON_HOST_VECTOR(char, char)
CUDA_ON_HOST_VECTOR(unsigned char, uchar)
CUDA_ON_HOST_VECTOR(short, short)
CUDA_ON_HOST_VECTOR(unsigned short, ushort)
CUDA_ON_HOST_VECTOR(int, int)
CUDA_ON_HOST_VECTOR(unsigned, uint)
CUDA_ON_HOST_VECTOR(float, float)
#undef CUDA_ON_HOST_VECTOR
struct dim3 { unsigned x = 1, y = 1, z = 1; };

// ---- threads ------------------------------------------------------------------------------------------------

namespace cuda_on_host {
struct Indices { uint3 thread, block; dim3 block_size, grid_size; unsigned lane; };
extern const Indices* current;  // of the fibre that runs now

void block_barrier(int line);
void warp_barrier(unsigned mask, int line);
// Leaves `bytes` for the other lanes, waits for all, and returns where lane 0's lie (lane i's: 64 bytes further
// each); valid until this lane's next but one exchange.
const char* exchange(unsigned mask, const void* mine, unsigned bytes, int line);
void* dynamic_shared();
[[noreturn]] void fail(const char* why, int line);

float half_to_float(unsigned short bits);
unsigned short float_to_half(float f);
unsigned short float_to_bfloat(float f);

// Every lane's value of one type at once: what a warp-wide instruction with its own data layout is built on.
template <class T> struct Lanes {
    static_assert(sizeof(T) <= 64, "a lane hands over at most 64 bytes");
    T all[32];
    const int lane = (int)current->lane;
    explicit Lanes(const T& mine, int line = __builtin_LINE()) {
        const char* slots = exchange(0xffffffffu, &mine, sizeof(T), line);
        for (int i = 0; i < 32; ++i) std::memcpy(&all[i], slots + 64 * i, sizeof(T));
    }
    const T& operator[](int i) const { return all[i]; }
};

template <class T> inline T from_lane(unsigned mask, T mine, int source, int line) {
    static_assert(sizeof(T) <= 64, "a lane hands over at most 64 bytes");
    T theirs;
    std::memcpy(&theirs, exchange(mask, &mine, sizeof(T), line) + 64 * source, sizeof(T));
    return theirs;
}
}  // namespace cuda_on_host

#define threadIdx (cuda_on_host::current->thread)
#define blockIdx (cuda_on_host::current->block)
#define blockDim (cuda_on_host::current->block_size)
#define gridDim (cuda_on_host::current->grid_size)
static const int warpSize = 32;

inline void __syncthreads(int line = __builtin_LINE()) { cuda_on_host::block_barrier(line); }
inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) { cuda_on_host::warp_barrier(mask, line); }
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __trap(int line = __builtin_LINE()) { cuda_on_host::fail("__trap()", line); }

template <class T> T __shfl_sync(unsigned mask, T x, int source, int width = 32, int line = __builtin_LINE()) {
    const int lane = (int)cuda_on_host::current->lane;
    return cuda_on_host::from_lane(mask, x, (lane & ~(width - 1)) | (source & (width - 1)), line);
}
template <class T> T __shfl_xor_sync(unsigned mask, T x, int flip, int width = 32, int line = __builtin_LINE()) {
    const int lane = (int)cuda_on_host::current->lane, source = lane ^ flip;
    return cuda_on_host::from_lane(mask, x, source / width > lane / width ? lane : source, line);
}
template <class T> T __shfl_up_sync(unsigned mask, T x, unsigned by, int width = 32, int line = __builtin_LINE()) {
    const int lane = (int)cuda_on_host::current->lane, source = lane - (int)by;
    return cuda_on_host::from_lane(mask, x, source < (lane & ~(width - 1)) ? lane : source, line);
}
template <class T> T __shfl_down_sync(unsigned mask, T x, unsigned by, int width = 32, int line = __builtin_LINE()) {
    const int lane = (int)cuda_on_host::current->lane, source = lane + (int)by;
    return cuda_on_host::from_lane(mask, x, source > (lane | (width - 1)) ? lane : source, line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
    const int mine = predicate != 0;
    const char* slots = cuda_on_host::exchange(mask, &mine, sizeof mine, line);
    unsigned votes = 0;
    for (int i = 0; i < 32; ++i) {
        int vote;
        std::memcpy(&vote, slots + 64 * i, sizeof vote);
        if (mask >> i & 1) votes |= (unsigned)(vote != 0) << i;
    }
    return votes;
}
inline int __any_sync(unsigned mask, int predicate, int line = __builtin_LINE()) { return __ballot_sync(mask, predicate, line) != 0; }
inline int __all_sync(unsigned mask, int predicate, int line = __builtin_LINE()) { return __ballot_sync(mask, predicate, line) == mask; }

// ---- memory and atomics ---------------------------------------------------------------------------------------

template <class T> inline T __ldg(const T* p) { return *p; }
template <class T> inline T __ldcs(const T* p) { return *p; }
template <class T> inline T __ldcg(const T* p) { return *p; }
template <class T> inline void __stcs(T* p, T x) { *p = x; }
template <class T> inline void __stcg(T* p, T x) { *p = x; }

inline int atomicAdd(int* p, int x) { return __atomic_fetch_add(p, x, __ATOMIC_RELAXED); }
inline unsigned atomicAdd(unsigned* p, unsigned x) { return __atomic_fetch_add(p, x, __ATOMIC_RELAXED); }
inline float atomicAdd(float* p, float x) {
    float seen, wanted;
    __atomic_load(p, &seen, __ATOMIC_RELAXED);
    do wanted = seen + x;
    while (!__atomic_compare_exchange(p, &seen, &wanted, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return seen;
}
inline int atomicMax(int* p, int x) {
    int seen = __atomic_load_n(p, __ATOMIC_RELAXED);
    while (seen < x && !__atomic_compare_exchange_n(p, &seen, x, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
    return seen;
}
inline int atomicExch(int* p, int x) { return __atomic_exchange_n(p, x, __ATOMIC_RELAXED); }
inline int atomicCAS(int* p, int compare, int x) {
    __atomic_compare_exchange_n(p, &compare, x, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return compare;
}

// ---- numbers --------------------------------------------------------------------------------------------------

template <class To, class From> inline To cuda_on_host_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "reinterpreted bits must be as many");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}
inline int __float_as_int(float x) { return cuda_on_host_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return cuda_on_host_bits<unsigned>(x); }
inline float __int_as_float(int x) { return cuda_on_host_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return cuda_on_host_bits<float>(x); }

template <class T> inline T min(T a, T b) { return b < a ? b : a; }
template <class T> inline T max(T a, T b) { return a < b ? b : a; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
inline int __float2int_rn(float x) { return (int)nearbyintf(x); }
inline float __int2float_rn(int x) { return (float)x; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz((unsigned)x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    const uint64_t bytes = (uint64_t)b << 32 | a;
    unsigned picked = 0;
    for (int i = 0; i < 4; ++i) picked |= (unsigned)(bytes >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
    return picked;
}
inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; ++i) c += (int)(signed char)(a >> 8 * i) * (int)(signed char)(b >> 8 * i);
    return c;
}

// ---- launch ---------------------------------------------------------------------------------------------------

namespace cuda_on_host {
using Body = void (*)(void** arguments);
// Runs every block. Returns nullptr, or why the kernel was stopped. `order` 0 runs threads and blocks in turn,
// 1 backwards, any other number shuffled by it: a missing barrier shows as a different result.
const char* launch(Body body, void** arguments, dim3 grid, dim3 block, unsigned shared_bytes, unsigned order);

template <class... A, std::size_t... I>
inline void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<A*>(arguments[I])...);
}
template <class... A> inline void call(void (*kernel)(A...), void** arguments) {
    call(kernel, arguments, std::index_sequence_for<A...>());
}
template <class... A> constexpr unsigned count(void (*)(A...)) { return sizeof...(A); }
}  // namespace cuda_on_host

// What a library offers for its one kernel: how many arguments it takes, and a launch as above.
#define CUDA_ON_HOST_KERNEL(kernel)                                                                              \
    extern "C" __attribute__((visibility("default"))) unsigned cuda_on_host_arguments() {                        \
        return cuda_on_host::count(kernel);                                                                      \
    }                                                                                                            \
    extern "C" __attribute__((visibility("default"))) const char* cuda_on_host_launch(                           \
        void** arguments, const unsigned* grid, const unsigned* block, unsigned shared_bytes, unsigned order) {  \
        return cuda_on_host::launch([](void** given) { cuda_on_host::call(kernel, given); }, arguments,          \
                                    {grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, shared_bytes,   \
                                    order);                                                                      \
    }
