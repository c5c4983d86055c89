// A kernel as a program of its own, for the sanitizers: reads arguments from a folder, writes outputs there.
//
// `program FOLDER`, where FOLDER/launch says, one number a line: grid, block, dynamic shared bytes, order, count of
// arguments; then for each argument its kind (i input file, s int32, o output) and its bytes or value. Argument 3 lies in the
// file `3`. Buffers have exactly the size of their tensor, so that AddressSanitizer sees one byte too far.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

extern "C" unsigned cuda_on_host_arguments();
extern "C" const char* cuda_on_host_launch(void**, const unsigned*, const unsigned*, unsigned, unsigned);

namespace {
FILE* open(const std::string& folder, const std::string& name, const char* mode) {
    FILE* file = fopen((folder + "/" + name).c_str(), mode);
    if (file == nullptr) {
        perror(name.c_str());
        exit(2);
    }
    return file;
}

long long next(FILE* file) {
    long long number;
    if (fscanf(file, "%lld", &number) != 1) {
        fputs("the launch file is cut short\n", stderr);
        exit(2);
    }
    return number;
}
}  // namespace

int main(int given_count, char** given) {
    if (given_count != 2) {
        fputs("usage: PROGRAM FOLDER\n", stderr);
        return 2;
    }
    const std::string folder = given[1];
    FILE* job = open(folder, "launch", "r");
    unsigned grid[3], block[3];
    for (unsigned& n : grid) n = (unsigned)next(job);
    for (unsigned& n : block) n = (unsigned)next(job);
    const unsigned shared_bytes = (unsigned)next(job), order = (unsigned)next(job);
    const size_t count = (size_t)next(job);
    if (count != cuda_on_host_arguments()) {
        fprintf(stderr, "the kernel takes %u arguments, not %zu\n", cuda_on_host_arguments(), count);
        return 2;
    }
    std::vector<void*> arguments(count), buffers(count);
    std::vector<size_t> bytes(count, 0);
    std::vector<int> scalars(count);
    std::vector<char> kinds(count);
    for (size_t i = 0; i < count; ++i) {
        if (fscanf(job, " %c", &kinds[i]) != 1) return 2;
        const long long number = next(job);
        if (kinds[i] == 's') {
            scalars[i] = (int)number;
            arguments[i] = &scalars[i];
            continue;
        }
        bytes[i] = (size_t)number;
        buffers[i] = malloc(bytes[i]);
        arguments[i] = &buffers[i];
        memset(buffers[i], 0xff, bytes[i]);
        if (kinds[i] == 'o') continue;
        FILE* file = open(folder, std::to_string(i), "rb");
        if (fread(buffers[i], 1, bytes[i], file) != bytes[i]) return 2;
        fclose(file);
    }
    fclose(job);
    if (const char* why = cuda_on_host_launch(arguments.data(), grid, block, shared_bytes, order)) {
        fprintf(stderr, "%s\n", why);
        return 3;
    }
    for (size_t i = 0; i < count; ++i) {
        if (kinds[i] == 'o') {
            FILE* file = open(folder, std::to_string(i), "wb");
            fwrite(buffers[i], 1, bytes[i], file);
            fclose(file);
        }
        free(buffers[i]);
    }
    return 0;
}
