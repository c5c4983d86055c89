/* A disk that fails on demand, under a real process: preloaded, it stands before the C library's writing calls.

   LINESIDE_DISK   the folder whose files are concerned
   LINESIDE_FAULT  a file; while it holds a number, writing and syncing below LINESIDE_DISK fails with that errno
   LINESIDE_TORN   a number N: the N-th write below LINESIDE_DISK writes only a beginning, and the process dies
   LINESIDE_SEED   how much of it that is

   Built by tests/faults/failing_disk.py. Linux, glibc. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long writes;

static int concerned(int descriptor) {
    const char *disk = getenv("LINESIDE_DISK");
    char link[64], path[4096];
    if (!disk) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strncmp(path, disk, strlen(disk)) == 0;
}

static int fault(void) {
    const char *name = getenv("LINESIDE_FAULT");
    if (!name) return 0;
    int descriptor = open(name, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return 0;
    char text[16] = {0};
    ssize_t length = read(descriptor, text, sizeof text - 1);
    close(descriptor);
    return length > 0 ? atoi(text) : 0;
}

/* How many of `count` bytes are still written: all, unless this is the write that the process dies in. */
static size_t torn(size_t count, int *dies) {
    const char *at = getenv("LINESIDE_TORN"), *seed = getenv("LINESIDE_SEED");
    *dies = at && atomic_fetch_add(&writes, 1) + 1 == atol(at);
    return *dies ? (size_t)(seed ? strtoul(seed, 0, 10) : 0) % (count + 1) : count;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define GUARDED_WRITE(call)                                                            \
    if (!concerned(descriptor)) { size_t some = count; return call; }                 \
    int failure = fault();                                                            \
    if (failure) { errno = failure; return -1; }                                      \
    int dies;                                                                         \
    size_t some = torn(count, &dies);                                                 \
    ssize_t done = call;                                                              \
    if (dies) raise(SIGKILL);                                                         \
    return done;

ssize_t write(int descriptor, const void *from, size_t count) {
    GUARDED_WRITE(REAL(write)(descriptor, from, some))
}

ssize_t pwrite(int descriptor, const void *from, size_t count, off_t at) {
    GUARDED_WRITE(REAL(pwrite)(descriptor, from, some, at))
}

ssize_t pwrite64(int descriptor, const void *from, size_t count, off64_t at) {
    GUARDED_WRITE(REAL(pwrite64)(descriptor, from, some, at))
}

#define GUARDED_SYNC(name)                                                             \
    int name(int descriptor) {                                                         \
        int failure = concerned(descriptor) ? fault() : 0;                             \
        if (failure) { errno = failure; return -1; }                                   \
        return REAL(name)(descriptor);                                                 \
    }

GUARDED_SYNC(fsync)
GUARDED_SYNC(fdatasync)
