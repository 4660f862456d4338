/* A library between a program and the C library. It sets the program's clock and makes its disk fail, as a
 * control file says.
 *
 * SHIM is the path of the control file. It is mapped into memory, so that changes by another process take
 * effect at once. All zeros mean that nothing fails.
 *
 * For two files, SHIM_DATABASE and SHIM_DATABASE-wal, it keeps an image in the directory SHIM_IMAGE: their
 * content after a power failure, which is the data that was written and then synced with fsync. As on Linux,
 * data that was written before a failed fsync is lost: a later fsync succeeds without it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { NONE, DATABASE, LOG, FILES };
enum { DESCRIPTORS = 65536, RANGES = 1 << 20 };
/* A write writes one half of its data, and the next write fails with ENOSPC. */
enum { SHORT = -1 };

struct control {
    int64_t clock_ms;    /* how far ahead the clock is */
    int64_t sync_errno;  /* the error of fsync and fdatasync, or 0 */
    int64_t sync_ms;     /* how long they take */
    int64_t write_errno; /* the error of writes to files, or 0, or SHORT */
    int64_t next_sync;   /* the file whose next sync fails with EIO; then NONE */
};

struct range { off_t start; size_t length; };
struct file { int image; struct range *dirty; size_t count; };

static struct control nothing;
static volatile struct control *control = &nothing;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char of[DESCRIPTORS];
static struct file files[FILES];
static int was_short;

#define NEXT(name) \
    static __typeof__(&name) next; \
    if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SHIM");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) control = mapped;
}

/* The clock. */

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

/* The files of which an image is kept. */

static int which(const char *path) {
    const char *database = getenv("SHIM_DATABASE");
    if (!database || strncmp(path, database, strlen(database))) return NONE;
    path += strlen(database);
    return !*path ? DATABASE : !strcmp(path, "-wal") ? LOG : NONE;
}

static int imaged(int fd) { return fd >= 0 && fd < DESCRIPTORS ? of[fd] : NONE; }

static void copy(int from, int to, off_t start, size_t length) {
    char buffer[65536];
    while (length) {
        size_t most = length < sizeof buffer ? length : sizeof buffer;
        ssize_t got = REAL(pread)(from, buffer, most, start);
        if (got <= 0) return;
        if (REAL(pwrite)(to, buffer, got, start) != got) abort();
        start += got;
        length -= got;
    }
}

static void opened(int fd, const char *path) {
    int file = which(path);
    if (fd < 0 || fd >= DESCRIPTORS) return;
    of[fd] = file;
    if (!file) return;
    pthread_mutex_lock(&lock);
    if (!files[file].dirty) {
        char image[PATH_MAX];
        snprintf(image, sizeof image, "%s/%s", getenv("SHIM_IMAGE"), file == LOG ? "db-wal" : "db");
        files[file].dirty = malloc(RANGES * sizeof(struct range));
        /* An image of another process stays as it is. Content older than the image counts as on the disk. */
        files[file].image = REAL(open)(image, O_RDWR | O_CLOEXEC);
        if (files[file].image < 0) {
            struct stat found;
            fstat(fd, &found);
            files[file].image = REAL(open)(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
            copy(fd, files[file].image, 0, found.st_size);
        }
        if (!files[file].dirty || files[file].image < 0) abort();
    }
    pthread_mutex_unlock(&lock);
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        NEXT(name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = va_arg(more, mode_t); \
        va_end(more); \
        int fd = next(path, flags, mode); \
        opened(fd, path); \
        return fd; \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    NEXT(close);
    if (imaged(fd)) of[fd] = NONE;
    return next(fd);
}

/* Writes. */

/* How many bytes may be written; -1 and errno if none. Writes to anything but a regular file, and to the
 * standard streams, are not limited. */
static ssize_t allowed(int fd, size_t length) {
    struct stat about;
    int64_t how = control->write_errno;
    if (!how || fd <= 2 || fstat(fd, &about) || !S_ISREG(about.st_mode)) return length;
    if (how == SHORT && !was_short && length > 1) {
        was_short = 1;
        return length / 2;
    }
    was_short = 0;
    errno = how == SHORT ? ENOSPC : (int)how;
    return -1;
}

/* Notes the range that the next fsync has to copy to the image. */
static ssize_t wrote(int fd, off_t start, ssize_t length) {
    int file = imaged(fd);
    if (!file || length <= 0) return length;
    pthread_mutex_lock(&lock);
    if (files[file].count == RANGES) abort();
    files[file].dirty[files[file].count++] = (struct range){start, length};
    pthread_mutex_unlock(&lock);
    return length;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    NEXT(write);
    ssize_t most = allowed(fd, length);
    if (most < 0) return -1;
    off_t start = imaged(fd) ? lseek(fd, 0, SEEK_CUR) : 0;
    return wrote(fd, start, next(fd, bytes, most));
}

#define PWRITE(name, offset) \
    ssize_t name(int fd, const void *bytes, size_t length, offset at) { \
        NEXT(name); \
        ssize_t most = allowed(fd, length); \
        return most < 0 ? -1 : wrote(fd, at, next(fd, bytes, most, at)); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

/* Syncs. */

static int synchronise(int fd, int (*next)(int)) {
    int64_t ms = control->sync_ms;
    if (ms > 0) {
        struct timespec wait = {ms / 1000, ms % 1000 * 1000000};
        nanosleep(&wait, NULL);
    }
    int file = imaged(fd), error = (int)control->sync_errno;
    if (file && control->next_sync == file) {
        control->next_sync = NONE;
        error = EIO;
    }
    if (file) {
        pthread_mutex_lock(&lock);
        if (!error) {
            struct stat found;
            for (size_t index = 0; index < files[file].count; index++)
                copy(fd, files[file].image, files[file].dirty[index].start, files[file].dirty[index].length);
            fstat(fd, &found);
            if (ftruncate(files[file].image, found.st_size)) abort();
        }
        files[file].count = 0;
        pthread_mutex_unlock(&lock);
    }
    if (!error) return file ? 0 : next(fd);
    errno = error;
    return -1;
}

int fsync(int fd) {
    NEXT(fsync);
    return synchronise(fd, next);
}

int fdatasync(int fd) {
    NEXT(fdatasync);
    return synchronise(fd, next);
}
