/* A disk that fails when it is told to, and that loses power.
 *
 * Preloaded into a process, it stands between that process and two files: DISK_FILE and DISK_FILE-wal. In
 * the directory DISK_IMAGE it keeps what of them would be there after a power failure: what was written and
 * then waited for with fsync. As Linux does, it forgets what was written before an fsync that failed: a later
 * fsync says that all is well.
 *
 * The file DISK_FAULT tells it to fail:
 *   fsync wal       the next fsync of the log fails with EIO, and removes DISK_FAULT; likewise "fsync db"
 *   write EIO       every write to the log fails, until DISK_FAULT is removed; likewise "write ENOSPC"
 *   write short     every write to the log writes a half, and the next one fails with ENOSPC
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NONE, DATABASE, LOG, FILES };
enum { DESCRIPTORS = 65536, RANGES = 1 << 20 };

struct range { off_t start; size_t length; };
struct file { int image; struct range *dirty; size_t count; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char of[DESCRIPTORS];
static struct file files[FILES];
static int was_short;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int which(const char *path) {
    const char *watched = getenv("DISK_FILE");
    if (!watched || strncmp(path, watched, strlen(watched)))
        return NONE;
    path += strlen(watched);
    return !*path ? DATABASE : !strcmp(path, "-wal") ? LOG : NONE;
}

static int watched(int fd) { return fd >= 0 && fd < DESCRIPTORS ? of[fd] : NONE; }

static void copy(int from, int to, off_t start, size_t length) {
    char buffer[65536];
    while (length) {
        size_t most = length < sizeof buffer ? length : sizeof buffer;
        ssize_t got = REAL(pread)(from, buffer, most, start);
        if (got <= 0)
            return;
        if (REAL(pwrite)(to, buffer, got, start) != got)
            abort();
        start += got;
        length -= got;
    }
}

static void opened(int fd, const char *path) {
    int file = which(path);
    if (fd < 0 || fd >= DESCRIPTORS)
        return;
    pthread_mutex_lock(&lock);
    of[fd] = file;
    if (file && !files[file].dirty) {
        char image[PATH_MAX];
        snprintf(image, sizeof image, "%s/%s", getenv("DISK_IMAGE"), file == LOG ? "db-wal" : "db");
        files[file].dirty = malloc(RANGES * sizeof(struct range));
        /* What another process left counts as it left it; what is older than the image is on the disk. */
        files[file].image = REAL(open)(image, O_RDWR | O_CLOEXEC);
        if (files[file].image < 0) {
            struct stat found;
            fstat(fd, &found);
            files[file].image = REAL(open)(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
            copy(fd, files[file].image, 0, found.st_size);
        }
        if (!files[file].dirty || files[file].image < 0)
            abort();
    }
    pthread_mutex_unlock(&lock);
}

#define OPEN(name)                                            \
    int name(const char *path, int flags, ...) {              \
        va_list more;                                         \
        va_start(more, flags);                                \
        mode_t mode = va_arg(more, mode_t);                   \
        va_end(more);                                         \
        int fd = REAL(name)(path, flags, mode);               \
        opened(fd, path);                                     \
        return fd;                                            \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    if (watched(fd))
        of[fd] = NONE;
    return REAL(close)(fd);
}

/* Whether DISK_FAULT begins with this word, and then what follows it. */
static int told(const char *word, char *rest, size_t size) {
    char text[64] = "";
    const char *path = getenv("DISK_FAULT");
    int fd = path ? REAL(open)(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    ssize_t got = REAL(read)(fd, text, sizeof text - 1);
    REAL(close)(fd);
    if (got <= 0 || strncmp(text, word, strlen(word)))
        return 0;
    snprintf(rest, size, "%s", text + strlen(word) + 1);
    rest[strcspn(rest, "\n")] = 0;
    return 1;
}

static void note(int file, off_t start, ssize_t length) {
    if (length <= 0)
        return;
    pthread_mutex_lock(&lock);
    if (files[file].count == RANGES)
        abort();
    files[file].dirty[files[file].count++] = (struct range){start, length};
    pthread_mutex_unlock(&lock);
}

/* How many bytes may be written; -1 and errno if none. */
static ssize_t allowed(int file, size_t length) {
    char how[32];
    if (file != LOG || !told("write", how, sizeof how)) {
        was_short = 0;
        return length;
    }
    if (!strcmp(how, "short") && !was_short && length > 1) {
        was_short = 1;
        return length / 2;
    }
    was_short = 0;
    errno = strcmp(how, "EIO") ? ENOSPC : EIO;
    return -1;
}

ssize_t write(int fd, const void *data, size_t length) {
    int file = watched(fd);
    if (!file)
        return REAL(write)(fd, data, length);
    ssize_t most = allowed(file, length);
    if (most < 0)
        return -1;
    off_t start = lseek(fd, 0, SEEK_CUR);
    ssize_t wrote = REAL(write)(fd, data, most);
    note(file, start, wrote);
    return wrote;
}

#define PWRITE(name, offset)                                                  \
    ssize_t name(int fd, const void *data, size_t length, offset start) {     \
        int file = watched(fd);                                               \
        ssize_t most = file ? allowed(file, length) : (ssize_t)length;        \
        if (most < 0)                                                         \
            return -1;                                                        \
        ssize_t wrote = REAL(name)(fd, data, most, start);                    \
        if (file)                                                             \
            note(file, start, wrote);                                         \
        return wrote;                                                         \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

static int synchronise(int fd, int (*real)(int)) {
    int file = watched(fd);
    char name[32];
    if (!file)
        return real(fd);
    int fails = told("fsync", name, sizeof name) && file == (strcmp(name, "db") ? LOG : DATABASE);
    pthread_mutex_lock(&lock);
    if (!fails) {
        struct stat found;
        for (size_t index = 0; index < files[file].count; index++)
            copy(fd, files[file].image, files[file].dirty[index].start, files[file].dirty[index].length);
        fstat(fd, &found);
        if (ftruncate(files[file].image, found.st_size))
            abort();
    }
    files[file].count = 0;
    pthread_mutex_unlock(&lock);
    if (!fails)
        return 0;
    unlink(getenv("DISK_FAULT"));
    errno = EIO;
    return -1;
}

int fsync(int fd) { return synchronise(fd, REAL(fsync)); }
int fdatasync(int fd) { return synchronise(fd, REAL(fdatasync)); }
