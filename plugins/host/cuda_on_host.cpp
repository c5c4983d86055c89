// The threads of a block as fibres: who runs, who waits for whom, and what a sanitizer is told of it.
//
// Compiled without instrumentation even for the sanitizers, since every fibre passes through this bookkeeping.
// One launch at a time in a process: the caller holds a lock.
#include "cuda_on_host.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#ifdef CUDA_ON_HOST_ADDRESS
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef CUDA_ON_HOST_THREAD
#include <sanitizer/tsan_interface.h>
#endif

// The bounds of static shared memory; absent where a kernel has none.
extern char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));

namespace cuda_on_host {
const Indices* current;

namespace {
constexpr size_t PAGE = 4096, STACK = 256 * 1024, MOST_THREADS = 1024;

// All who must meet arrive, the last one opens the next phase. Two sets of slots in turn: nobody can be two
// phases ahead of a lane that has yet to read.
struct Meeting {
    unsigned phase = 0, arrived = 0, expected = 0;
    int line = 0;
    alignas(64) char slots[2][32][64];
    char order[2];  // what ThreadSanitizer synchronises on
};

struct Fibre {
    Indices at;
    unsigned index = 0;
    Meeting* waits_for = nullptr;
    unsigned phase_seen = 0;
    bool finished = true, begun = false;
    void* jump[5];
    ucontext_t context;
    char* stack = nullptr;
    size_t stack_bytes = STACK;
    void* fake_stack = nullptr;  // AddressSanitizer's
    void* race_clock = nullptr;  // ThreadSanitizer's
};

std::vector<Fibre*> fibres;  // kept from launch to launch: beginning one costs more than switching to it
char* stacks;
std::vector<unsigned> turn;  // the order in which this launch's threads come
std::vector<Meeting> warps;
Meeting block_meeting;
Fibre caller;  // the launch itself
unsigned position, threads, unfinished;
Body body;
void** body_arguments;
char* dynamic;
char message[256];
bool failed;

__attribute__((noinline)) void jump_to(Fibre& to) {
    if (to.begun) __builtin_longjmp(to.jump, 1);
    to.begun = true;
    setcontext(&to.context);
    abort();
}

__attribute__((noinline)) void switch_fibre(Fibre& from, Fibre& to) {
    current = &to.at;
    from.begun = true;
#ifdef CUDA_ON_HOST_ADDRESS
    __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.stack_bytes);
#endif
#ifdef CUDA_ON_HOST_THREAD
    if (&to == &caller) __tsan_release(&caller);
    __tsan_switch_to_fiber(to.race_clock, __tsan_switch_to_fiber_no_sync);
#endif
    if (__builtin_setjmp(from.jump) == 0) jump_to(to);
#ifdef CUDA_ON_HOST_ADDRESS
    __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

bool can_run(const Fibre& fibre) {
    return !fibre.finished && (fibre.waits_for == nullptr || fibre.waits_for->phase != fibre.phase_seen);
}

// Gives the processor to the next thread in turn that may run; to the caller when the block is done or stuck.
void yield(Fibre& from) {
    for (unsigned i = 1; i <= threads; ++i) {
        const unsigned next = (position + i) % threads;
        Fibre& to = *fibres[turn[next]];
        if (!can_run(to)) continue;
        position = next;
        if (&to != &from) switch_fibre(from, to);
        return;
    }
    if (unfinished != 0 && !failed) {
        failed = true;
        const Fibre* stuck = &from;
        for (unsigned i = 0; i < threads; ++i)
            if (!fibres[i]->finished) stuck = fibres[i];
        const bool in_block = stuck->waits_for == &block_meeting;
        snprintf(message, sizeof message,
                 "block (%u,%u,%u): thread (%u,%u,%u) waits for ever in the %s of line %d: %u of %u came",
                 stuck->at.block.x, stuck->at.block.y, stuck->at.block.z, stuck->at.thread.x, stuck->at.thread.y,
                 stuck->at.thread.z, in_block ? "__syncthreads" : "warp operation", stuck->waits_for->line,
                 stuck->waits_for->arrived, stuck->waits_for->expected);
    }
    switch_fibre(from, caller);
}

Fibre& running() { return *fibres[turn[position]]; }

void open(Meeting& meeting) {
    meeting.arrived = 0;
    ++meeting.phase;
}

void meet(Meeting& meeting, int line, bool orders_memory) {
    Fibre& me = running();
    if (meeting.arrived != 0 && meeting.line != line) {
        char why[128];
        snprintf(why, sizeof why, "threads that must meet are apart: some wait on line %d", meeting.line);
        fail(why, line);
    }
    meeting.line = line;
    const unsigned phase = meeting.phase;
    (void)orders_memory;
#ifdef CUDA_ON_HOST_THREAD
    if (orders_memory) __tsan_release(&meeting.order[phase % 2]);
#endif
    if (++meeting.arrived == meeting.expected) {
        open(meeting);
    } else {
        me.waits_for = &meeting;
        me.phase_seen = phase;
        yield(me);
        me.waits_for = nullptr;
    }
#ifdef CUDA_ON_HOST_THREAD
    if (orders_memory) __tsan_acquire(&meeting.order[phase % 2]);
#endif
}

Meeting& warp_of(unsigned mask, int line) {
    Meeting& warp = warps[running().index / 32];
    const unsigned whole = warp.expected == 32 ? 0xffffffffu : (1u << warp.expected) - 1;
    if ((mask & whole) != whole) fail("only masks that name the whole warp are supported", line);
    return warp;
}

// A fibre's life: one emulated thread after another, block after block.
void live() {
#ifdef CUDA_ON_HOST_ADDRESS
    const void* bottom;
    size_t bytes;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
    if (caller.stack == nullptr) {  // the first fibre of all is entered from the caller
        caller.stack = (char*)bottom;
        caller.stack_bytes = bytes;
    }
#endif
    while (true) {
        body(body_arguments);
        Fibre& done = running();
        done.finished = true;
        --unfinished;
        // A thread that has returned counts as arrived at every later __syncthreads, as on the device.
        if (--block_meeting.expected != 0 && block_meeting.arrived == block_meeting.expected) open(block_meeting);
#ifdef CUDA_ON_HOST_THREAD
        __tsan_release(&caller);
#endif
        yield(done);
    }
}

void* new_pages(void* at, size_t bytes) {
    const int kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at == nullptr ? 0 : MAP_FIXED);
    void* pages = mmap(at, bytes, PROT_READ | PROT_WRITE, kind, -1, 0);
    if (pages == MAP_FAILED) {
        perror("no memory for emulated threads");
        abort();
    }
    return pages;
}

#ifdef CUDA_ON_HOST_THREAD
// Blocks come one after another on the same stacks and the same shared memory, unordered: what the block before
// left there would look like a race. Pages mapped anew are the one thing that makes ThreadSanitizer forget.
void forget_block(char* shared, size_t bytes) {
    new_pages(stacks, threads * STACK);
    char* first = (char*)((uintptr_t)shared / PAGE * PAGE);
    const size_t whole = ((size_t)(shared + bytes - first) + PAGE - 1) / PAGE * PAGE;
    if (bytes == 0) return;
    std::vector<char> kept(whole);  // others' variables on the same pages
    // Not memcpy, which ThreadSanitizer would watch.
    for (size_t i = 0; i < whole; ++i) kept[i] = ((volatile char*)first)[i];
    new_pages(first, whole);
    for (size_t i = 0; i < whole; ++i) ((volatile char*)first)[i] = kept[i];
}
#endif

#ifdef CUDA_ON_HOST_THREAD
// The clock of a destroyed thread serves the next one, whose accesses then seem to follow the other's: races between
// blocks are seen among as many blocks as there are clocks.
constexpr size_t MOST_CLOCKS = 7000;
std::vector<void*> finished_clocks;

void destroy_clocks() {
    for (void* clock : finished_clocks) __tsan_destroy_fiber(clock);
    finished_clocks.clear();
}
#endif

void poison(char* memory, size_t bytes) {
    for (volatile char* p = memory; p != memory + bytes; ++p) *p = (char)0xff;
}

void prepare(unsigned index, dim3 block_size, dim3 grid_size) {
    if (index == fibres.size()) {
        fibres.push_back(new Fibre);
        fibres.back()->stack = stacks + index * STACK;
        mprotect(fibres.back()->stack, PAGE, PROT_NONE);  // one that needs more stops here, and spoils no neighbour
    }
    Fibre& fibre = *fibres[index];
    fibre.index = index;
    fibre.at.block_size = block_size;
    fibre.at.grid_size = grid_size;
    fibre.at.thread = {index % block_size.x, index / block_size.x % block_size.y, index / (block_size.x * block_size.y)};
    fibre.at.lane = index % 32;
}

void begin_anew(Fibre& fibre) {
    fibre.begun = false;
    getcontext(&fibre.context);
    fibre.context.uc_stack = {fibre.stack, 0, STACK};
    fibre.context.uc_link = nullptr;
    makecontext(&fibre.context, live, 0);
}

void run_block(uint3 block) {
    unfinished = threads;
    block_meeting.expected = threads;
    block_meeting.arrived = 0;
    for (unsigned w = 0; w < warps.size(); ++w) {
        warps[w].arrived = 0;
        warps[w].expected = threads - 32 * w < 32 ? threads - 32 * w : 32;
    }
    for (unsigned i = 0; i < threads; ++i) {
        Fibre& fibre = *fibres[i];
        fibre.at.block = block;
        fibre.finished = false;
        fibre.waits_for = nullptr;
#ifdef CUDA_ON_HOST_THREAD
        fibre.race_clock = __tsan_create_fiber(0);
        fibre.begun = false;
#endif
        if (!fibre.begun) begin_anew(fibre);
    }
    position = threads - 1;
    yield(caller);
#ifdef CUDA_ON_HOST_THREAD
    for (unsigned i = 0; i < threads; ++i) finished_clocks.push_back(fibres[i]->race_clock);
    if (finished_clocks.size() + MOST_THREADS > MOST_CLOCKS) destroy_clocks();
#endif
}

void shuffle(std::vector<unsigned>& numbers, unsigned order) {
    const size_t n = numbers.size();
    for (size_t i = 0; i < n; ++i) numbers[i] = (unsigned)(order == 1 ? n - 1 - i : i);
    uint64_t state = order;
    for (size_t i = n; order > 1 && i > 1; --i) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        std::swap(numbers[i - 1], numbers[(state >> 33) % i]);
    }
}
}  // namespace

void fail(const char* why, int line) {
    if (!failed) snprintf(message, sizeof message, "line %d: %s", line, why);
    failed = true;
    switch_fibre(running(), caller);
    abort();
}

void block_barrier(int line) { meet(block_meeting, line, true); }
void warp_barrier(unsigned mask, int line) { meet(warp_of(mask, line), line, true); }

const char* exchange(unsigned mask, const void* mine, unsigned bytes, int line) {
    Meeting& warp = warp_of(mask, line);
    char(&slots)[32][64] = warp.slots[warp.phase % 2];
    for (unsigned i = 0; i < bytes; ++i) slots[running().at.lane][i] = static_cast<const char*>(mine)[i];
    meet(warp, line, false);
    return slots[0];
}

void* dynamic_shared() { return dynamic; }

const char* launch(Body kernel, void** arguments, dim3 grid, dim3 block, unsigned shared_bytes, unsigned order) {
    threads = block.x * block.y * block.z;
    if (threads == 0 || threads > MOST_THREADS) return "a block has 1 to 1024 threads";
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return "the grid is empty";
    body = kernel;
    body_arguments = arguments;
    failed = false;
    if (stacks == nullptr) stacks = static_cast<char*>(new_pages(nullptr, MOST_THREADS * STACK));
    turn.resize(threads);
    shuffle(turn, order);
    warps.assign((threads + 31) / 32, Meeting());
    for (unsigned i = 0; i < threads; ++i) prepare(i, block, grid);
    std::vector<unsigned> blocks(grid.x * grid.y * grid.z);
    shuffle(blocks, order);
#ifdef CUDA_ON_HOST_THREAD
    caller.race_clock = __tsan_get_current_fiber();
#endif
    const size_t shared = (size_t)(__stop_cuda_shared - __start_cuda_shared);
    for (unsigned b : blocks) {
#ifdef CUDA_ON_HOST_THREAD
        forget_block(__start_cuda_shared, shared);
#endif
        dynamic = static_cast<char*>(malloc(shared_bytes));
        poison(__start_cuda_shared, shared);
        poison(dynamic, shared_bytes);
        run_block({b % grid.x, b / grid.x % grid.y, b / (grid.x * grid.y)});
#ifndef CUDA_ON_HOST_THREAD  // to which giving it back would be one more access
        free(dynamic);
#endif
        if (failed) break;
    }
#ifdef CUDA_ON_HOST_THREAD
    __tsan_acquire(&caller);
    destroy_clocks();
#endif
    // Threads stopped in the middle of a kernel cannot be used again.
    if (failed)
        for (Fibre* fibre : fibres) fibre->begun = false;
    return failed ? message : nullptr;
}

float half_to_float(unsigned short bits) {
    const unsigned sign = (unsigned)(bits & 0x8000) << 16, exponent = bits >> 10 & 31, fraction = bits & 1023;
    if (exponent == 0) {
        const float magnitude = (float)fraction * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    return __uint_as_float(sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13);
}

unsigned short float_to_half(float f) {
    const unsigned bits = __float_as_uint(f), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) return (unsigned short)(sign | 0x7e00);
    if (size >= 0x477ff000) return (unsigned short)(sign | 0x7c00);  // rounds up to infinity
    if (size < 0x38800000) {  // subnormal: float addition rounds to its last place
        const float shifted = __uint_as_float(size) + 0.5f;
        return (unsigned short)(sign | (__float_as_uint(shifted) - 0x3f000000));
    }
    return (unsigned short)(sign | ((size + 0xfff + (size >> 13 & 1)) >> 13) - 0x1c000);
}

unsigned short float_to_bfloat(float f) {
    const unsigned bits = __float_as_uint(f);
    if ((bits & 0x7fffffff) > 0x7f800000) return (unsigned short)(bits >> 16 | 0x40);
    return (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
}  // namespace cuda_on_host
