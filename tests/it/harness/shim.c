/* Stands between a program and the C library, and makes its clock and its disk bad as a file says.
 *
 * The file SHIM names is mapped into memory, so that what another process writes there holds at once.
 * It is all zeros for a machine on which nothing is wrong. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    int64_t clock_ms;   /* how far the clock is ahead */
    int64_t sync_errno; /* what fsync and fdatasync fail with, or 0 */
    int64_t sync_ms;    /* how long they take */
    int64_t write_errno; /* what writes to files fail with, or 0 */
};

static struct control nothing;
static volatile struct control *control = (volatile struct control *)&nothing;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SHIM");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) control = mapped;
}

#define NEXT(name) \
    static __typeof__(&name) next; \
    if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int clock_gettime(clockid_t clock, struct timespec *time) {
    NEXT(clock_gettime);
    int answer = next(clock, time);
    int64_t ms = control->clock_ms;
    if (answer || !ms || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return answer;
    int64_t ns = time->tv_nsec + (ms % 1000) * 1000000;
    time->tv_sec += ms / 1000 + (ns < 0 ? -1 : ns / 1000000000);
    time->tv_nsec = ns < 0 ? ns + 1000000000 : ns % 1000000000;
    return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *time) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    if (time) *time = now.tv_sec;
    return now.tv_sec;
}

/* Whether a sync goes on to the disk. */
static int sync_begins(void) {
    int64_t ms = control->sync_ms;
    if (ms > 0) {
        struct timespec wait = {ms / 1000, ms % 1000 * 1000000};
        nanosleep(&wait, NULL);
    }
    if (!control->sync_errno) return 1;
    errno = (int)control->sync_errno;
    return 0;
}

int fsync(int file) {
    NEXT(fsync);
    return sync_begins() ? next(file) : -1;
}

int fdatasync(int file) {
    NEXT(fdatasync);
    return sync_begins() ? next(file) : -1;
}

/* Whether a write goes on to the disk; what is no file, and the log, does. */
static int write_begins(int file) {
    struct stat about;
    if (!control->write_errno || file <= 2 || fstat(file, &about) || !S_ISREG(about.st_mode)) return 1;
    errno = (int)control->write_errno;
    return 0;
}

ssize_t write(int file, const void *bytes, size_t length) {
    NEXT(write);
    return write_begins(file) ? next(file, bytes, length) : -1;
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at) {
    NEXT(pwrite);
    return write_begins(file) ? next(file, bytes, length, at) : -1;
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) {
    NEXT(pwrite64);
    return write_begins(file) ? next(file, bytes, length, at) : -1;
}
