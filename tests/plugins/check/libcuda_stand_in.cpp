// A stand-in for the NVIDIA driver's library, so that the real bindings and our use of them run without a GPU.
//
// Device memory is this process's; a module is a file that g++ made of the kernel's source, named to
// `stand_in_next_kernel` before its PTX is loaded. What is refused here is what the driver refuses: a call
// without a context, memory that was never allocated, freeing twice, a launch outside a capture that was
// not begun or instantiated. A graph records its launches and runs them when it is launched.
#include <dlfcn.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace {
enum { SUCCESS = 0, INVALID_VALUE = 1, NOT_INITIALIZED = 3, NO_CONTEXT = 201, INVALID_PTX = 218, NOT_FOUND = 500,
       LAUNCH_FAILED = 719 };
using Clock = std::chrono::steady_clock;

struct Module { void* library; std::string symbol; std::vector<size_t> sizes; };
struct Graph { std::vector<std::function<int()>> nodes; };
struct Stream { bool capturing = false; Graph* graph = nullptr; };
struct Event { Clock::time_point at; bool recorded = false; };

bool initialized = false, current = false;
int retained = 0, sticky = SUCCESS;
std::string next_kernel;
std::map<uintptr_t, size_t> allocated;

bool inside(uintptr_t place, size_t size) {
    auto after = allocated.upper_bound(place);
    if (after == allocated.begin()) return false;
    const auto& [start, room] = *--after;
    return place >= start && place + size <= start + room;
}
int ready() { return !initialized ? NOT_INITIALIZED : !current ? NO_CONTEXT : sticky; }
}  // namespace

#define NEEDS_CONTEXT if (int why = ready()) return why

API void stand_in_next_kernel(const char* path) { next_kernel = path; }
API int stand_in_allocations() { return (int)allocated.size(); }
API int stand_in_retained() { return retained; }

API int cuInit(unsigned) { initialized = true; return getenv("STAND_IN_NO_DEVICE") ? 100 : SUCCESS; }
API int cuDriverGetVersion(int* version) { *version = 13020; return SUCCESS; }
API int cuDeviceGetCount(int* count) { *count = 1; return SUCCESS; }
API int cuDeviceGet(int* device, int ordinal) { *device = ordinal; return SUCCESS; }
API int cuDeviceGetName(char* name, int size, int) { strncpy(name, "Stand-in", size); return SUCCESS; }
API int cuDeviceTotalMem_v2(size_t* bytes, int) { *bytes = (size_t)2 << 30; return SUCCESS; }
API int cuDeviceGetAttribute(int* value, int attribute, int) {
    const std::map<int, int> known = {{75, 8}, {76, 7}, {16, 4}, {38, 1 << 16}, {36, 3200000}, {37, 128}};
    const auto found = known.find(attribute);
    if (found == known.end()) return INVALID_VALUE;
    *value = found->second;
    return SUCCESS;
}
API int cuDevicePrimaryCtxRetain(void** context, int) { ++retained; *context = &retained; return SUCCESS; }
API int cuDevicePrimaryCtxReset_v2(int) {
    for (const auto& [place, size] : allocated) free((void*)place);
    allocated.clear();
    sticky = SUCCESS;
    current = false;
    return SUCCESS;
}
API int cuDevicePrimaryCtxRelease_v2(int) { --retained; return SUCCESS; }
API int cuCtxSetCurrent(void* context) { current = context == &retained; return current ? SUCCESS : INVALID_VALUE; }
API int cuCtxSynchronize() { NEEDS_CONTEXT; return SUCCESS; }

API int cuMemAlloc_v2(uintptr_t* place, size_t size) {
    NEEDS_CONTEXT;
    *place = (uintptr_t)aligned_alloc(256, (size + 255) / 256 * 256);
    allocated[*place] = size;
    return SUCCESS;
}
API int cuMemFree_v2(uintptr_t place) {
    NEEDS_CONTEXT;
    if (!allocated.erase(place)) return INVALID_VALUE;
    free((void*)place);
    return SUCCESS;
}
API int cuMemGetInfo_v2(size_t* available, size_t* total) {
    NEEDS_CONTEXT;
    *available = 64 << 20, *total = (size_t)2 << 30;
    return SUCCESS;
}
API int cuMemcpyHtoD_v2(uintptr_t to, const void* from, size_t size) {
    NEEDS_CONTEXT;
    if (!inside(to, size)) return INVALID_VALUE;
    memcpy((void*)to, from, size);
    return SUCCESS;
}
API int cuMemcpyDtoH_v2(void* to, uintptr_t from, size_t size) {
    NEEDS_CONTEXT;
    if (!inside(from, size)) return INVALID_VALUE;
    memcpy(to, (const void*)from, size);
    return SUCCESS;
}
API int cuMemsetD8_v2(uintptr_t place, unsigned char byte, size_t size) {
    NEEDS_CONTEXT;
    if (!inside(place, size)) return INVALID_VALUE;
    memset((void*)place, byte, size);
    return SUCCESS;
}

API int cuStreamCreate(Stream** stream, unsigned) { NEEDS_CONTEXT; *stream = new Stream; return SUCCESS; }
API int cuStreamSynchronize(Stream* stream) { NEEDS_CONTEXT; return stream->capturing ? INVALID_VALUE : SUCCESS; }
API int cuStreamBeginCapture_v2(Stream* stream, int) {
    NEEDS_CONTEXT;
    if (stream->capturing) return INVALID_VALUE;
    stream->capturing = true;
    stream->graph = new Graph;
    return SUCCESS;
}
API int cuStreamEndCapture(Stream* stream, Graph** graph) {
    NEEDS_CONTEXT;
    if (!stream->capturing) return INVALID_VALUE;
    stream->capturing = false;
    *graph = stream->graph;
    return SUCCESS;
}
API int cuGraphInstantiateWithFlags(Graph** executable, Graph* graph, unsigned long long) {
    NEEDS_CONTEXT;
    *executable = new Graph(*graph);
    return SUCCESS;
}
API int cuGraphLaunch(Graph* graph, Stream*) {
    NEEDS_CONTEXT;
    for (const auto& node : graph->nodes)
        if (int why = node()) return sticky = why;
    return SUCCESS;
}
API int cuGraphDestroy(Graph* graph) { delete graph; return SUCCESS; }
API int cuGraphExecDestroy(Graph* graph) { delete graph; return SUCCESS; }

API int cuEventCreate(Event** event, unsigned) { NEEDS_CONTEXT; *event = new Event; return SUCCESS; }
API int cuEventDestroy_v2(Event* event) { delete event; return SUCCESS; }
API int cuEventRecord(Event* event, Stream*) { NEEDS_CONTEXT; event->at = Clock::now(); event->recorded = true; return SUCCESS; }
API int cuEventSynchronize(Event* event) { NEEDS_CONTEXT; return event->recorded ? SUCCESS : INVALID_VALUE; }
API int cuEventElapsedTime_v2(float* milliseconds, Event* begin, Event* end) {
    NEEDS_CONTEXT;
    *milliseconds = std::chrono::duration<float, std::milli>(end->at - begin->at).count();
    return SUCCESS;
}
API int cuEventElapsedTime(float* milliseconds, Event* begin, Event* end) {
    return cuEventElapsedTime_v2(milliseconds, begin, end);
}

API int cuModuleLoadData(Module** module, const void* image) {
    NEEDS_CONTEXT;
    const std::string ptx = static_cast<const char*>(image);
    const auto entry = ptx.find(".visible .entry ");
    if (entry == std::string::npos || next_kernel.empty()) return INVALID_PTX;
    const auto name = entry + strlen(".visible .entry "), begin = ptx.find('(', name), end = ptx.find(')', name);
    *module = new Module{dlopen(next_kernel.c_str(), RTLD_NOW), ptx.substr(name, begin - name), {}};
    for (auto at = ptx.find(".param .u", begin); at < end; at = ptx.find(".param .u", at + 1))
        (*module)->sizes.push_back(ptx.compare(at, 12, ".param .u64 ") ? 4 : 8);
    next_kernel.clear();
    return (*module)->library ? SUCCESS : INVALID_PTX;
}
API int cuModuleGetFunction(Module** function, Module* module, const char* name) {
    NEEDS_CONTEXT;
    if (module->symbol != name) return NOT_FOUND;
    *function = module;
    return SUCCESS;
}
API int cuFuncGetAttribute(int* value, int attribute, Module*) {
    NEEDS_CONTEXT;
    *value = attribute == 4 ? 24 : attribute == 3 ? 0 : 512;
    return SUCCESS;
}
API int cuLaunchKernel(Module* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned shared, Stream* stream, void** parameters, void**) {
    NEEDS_CONTEXT;
    const auto launch = (const char* (*)(void**, const unsigned*, const unsigned*, unsigned, int))dlsym(
        function->library, "cuda_on_host_launch");
    // Parameters are copied at the launch, as the driver does: the caller's may be gone when a graph runs.
    std::vector<uint64_t> values;
    for (size_t size : function->sizes) {
        uint64_t value = 0;
        memcpy(&value, *parameters++, size);
        values.push_back(value);
    }
    const auto run = [=] {
        std::vector<uint64_t> mine = values;
        std::vector<void*> places;
        for (auto& value : mine) places.push_back(&value);
        const unsigned grid[] = {gx, gy, gz}, block[] = {bx, by, bz};
        return launch(places.data(), grid, block, shared, 0) ? (int)LAUNCH_FAILED : (int)SUCCESS;
    };
    if (stream->capturing) {
        stream->graph->nodes.push_back(run);
        return SUCCESS;
    }
    return sticky = run();
}
API int cuMemcpyDtoDAsync_v2(uintptr_t to, uintptr_t from, size_t size, Stream* stream) {
    NEEDS_CONTEXT;
    if (!inside(to, size) || !inside(from, size)) return INVALID_VALUE;
    const auto run = [=] { memcpy((void*)to, (const void*)from, size); return (int)SUCCESS; };
    if (stream->capturing) stream->graph->nodes.push_back(run);
    return stream->capturing ? (int)SUCCESS : run();
}

API int cuGetErrorName(int error, const char** text) {
    const std::map<int, const char*> names = {
        {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"}, {100, "CUDA_ERROR_NO_DEVICE"},
        {INVALID_PTX, "CUDA_ERROR_INVALID_PTX"}, {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
        {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"}};
    *text = names.count(error) ? names.at(error) : "CUDA_ERROR_OTHER";
    return SUCCESS;
}
API int cuGetErrorString(int, const char** text) { *text = "as the stand-in says"; return SUCCESS; }

// NVRTC looks for private tables in whatever driver it finds, and lives without them.
API int cuGetExportTable(const void** table, const void*) { *table = nullptr; return NOT_FOUND; }

// How the bindings find everything: by the plain name, newest version first.
API int cuGetProcAddress_v2(const char* symbol, void** function, int, uint64_t, int* status) {
    void* const self = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    for (const char* suffix : {"_v2", ""}) {
        *function = dlsym(self, (std::string(symbol) + suffix).c_str());
        if (*function) break;
    }
    if (!*function && !strcmp(symbol, "cuGraphInstantiate")) *function = (void*)cuGraphInstantiateWithFlags;
    if (status) *status = *function ? 0 : 1;
    return *function ? SUCCESS : NOT_FOUND;
}
API int cuGetProcAddress(const char* symbol, void** function, int version, uint64_t flags) {
    return cuGetProcAddress_v2(symbol, function, version, flags, nullptr);
}
