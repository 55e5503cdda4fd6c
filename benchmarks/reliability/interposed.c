/* Stands between a process and the file operations of its C library, with LD_PRELOAD.

   Operations on files below certain folders are counted, from 1. At one of them the process is
   killed, or the operation fails, is cut short, or waits. All settings come from the environment:

   INTERPOSED_FOLDERS  absolute paths, separated by colons
   INTERPOSED_MATCH    act only in processes whose command line contains this
   INTERPOSED_PROCESS  act only in processes whose JAX_PROCESS_ID is this
   INTERPOSED_KINDS    names of the operations that are counted, as ",write,fsync,rename,"; without
                       it, all of them
   INTERPOSED_AT       number of the operation to act at; 0: only count
   INTERPOSED_ONWARD   1: act at all later operations, too
   INTERPOSED_ACT      kill: before it; killed: after it; torn: after half of a write;
                       an error number: fails with it; short: writes or reads a half;
                       slow: waits first, for INTERPOSED_MICROSECONDS
   INTERPOSED_CLOCK    seconds by which the wall clock is behind its last reading, at each reading
   INTERPOSED_LOG      a file that gets one line per operation: its number, name and path; the one
                       that was acted at is marked with a star

   A process that is forked counts anew, once the settings are in its environment. The child of a
   vfork, which has its parent's memory, is left alone. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum act { NOTHING, KILL, KILLED, TORN, ERROR, SHORT, SLOW };

static struct {
    pid_t pid; /* of this process; the child of a vfork finds its parent's */
    int read, active, log, error;
    char folders[4 * PATH_MAX], kinds[1024];
    long at, onward, microseconds, clock;
    enum act act;
} its = {.log = -1};
static atomic_long counted, read_clock;
static pthread_mutex_t reading = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

static const char *setting(const char *name) {
    const char *found = getenv(name);
    return found ? found : "";
}

static int matches(const char *wanted) {
    static char line[65536];
    if (!*wanted) return 1;
    int file = syscall(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY);
    long size = file < 0 ? 0 : syscall(SYS_read, file, line, sizeof line - 1);
    if (file >= 0) syscall(SYS_close, file);
    for (long i = 0; i < size; i++)
        if (!line[i]) line[i] = ' ';
    line[size > 0 ? size : 0] = 0;
    return strstr(line, wanted) != NULL;
}

static void read_settings(void) {
    pthread_mutex_lock(&reading);
    if (!its.read && its.pid == getpid() && *setting("INTERPOSED_FOLDERS")) {
        const char *act = setting("INTERPOSED_ACT"), *log = setting("INTERPOSED_LOG");
        snprintf(its.folders, sizeof its.folders, "%s", setting("INTERPOSED_FOLDERS"));
        snprintf(its.kinds, sizeof its.kinds, "%s", setting("INTERPOSED_KINDS"));
        its.at = atol(setting("INTERPOSED_AT"));
        its.onward = atol(setting("INTERPOSED_ONWARD"));
        its.microseconds = atol(setting("INTERPOSED_MICROSECONDS"));
        its.clock = atol(setting("INTERPOSED_CLOCK"));
        its.error = atoi(act);
        its.act = its.error                 ? ERROR
                  : !strcmp(act, "kill")    ? KILL
                  : !strcmp(act, "killed")  ? KILLED
                  : !strcmp(act, "torn")    ? TORN
                  : !strcmp(act, "short")   ? SHORT
                  : !strcmp(act, "slow")    ? SLOW
                                            : NOTHING;
        const char *process = setting("INTERPOSED_PROCESS");
        its.active = *its.folders && matches(setting("INTERPOSED_MATCH")) &&
                     (!*process || !strcmp(process, setting("JAX_PROCESS_ID")));
        its.log = -1;
        if (its.active && *log)
            its.log = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
                              0600);
        atomic_store(&counted, 0);
        its.read = 1;
    }
    pthread_mutex_unlock(&reading);
}

static void begin(void) {
    its.pid = getpid();
    its.read = its.active = 0;
}
__attribute__((constructor)) static void watch_forks(void) {
    begin();
    pthread_atfork(NULL, NULL, begin);
}

static int below(const char *path) {
    for (const char *folder = its.folders; *folder;) {
        size_t size = strcspn(folder, ":");
        if (size && !strncmp(path, folder, size) && (!path[size] || path[size] == '/')) return 1;
        folder += size + (folder[size] == ':');
    }
    return 0;
}

static int is_counted(const char *name) {
    char wanted[32];
    snprintf(wanted, sizeof wanted, ",%s,", name);
    return !*its.kinds || strstr(its.kinds, wanted) != NULL;
}

/* Counts an operation on a path; returns what to do at it. */
static enum act met(const char *name, const char *path) {
    if (!is_counted(name) || its.pid != getpid()) return NOTHING;
    long number = atomic_fetch_add(&counted, 1) + 1;
    int here = its.act && its.at && (number == its.at || (its.onward && number > its.at));
    if (its.log >= 0) {
        char line[PATH_MAX + 64];
        int size = snprintf(line, sizeof line, "%ld%s %s %s\n", number, here ? "*" : "", name, path);
        syscall(SYS_write, its.log, line, (size_t)size);
    }
    if (!here) return NOTHING;
    if (its.act == KILL) kill(getpid(), SIGKILL), pause();
    if (its.act == SLOW) usleep(its.microseconds);
    return its.act;
}

static enum act at_path(const char *name, int folder, const char *path) {
    char whole[2 * PATH_MAX], link[64];
    int saved = errno;
    enum act found = NOTHING;
    if (!its.read) read_settings();
    if (its.active && path && *path) {
        if (*path == '/') {
            snprintf(whole, sizeof whole, "%s", path);
        } else {
            ssize_t size;
            if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
            else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            size = readlink(link, whole, PATH_MAX);
            if (size < 0) size = 0;
            snprintf(whole + size, sizeof whole - size, "/%s", path);
        }
        if (below(whole)) found = met(name, whole);
    }
    errno = saved;
    return found;
}

static enum act at_file(const char *name, int file) {
    char path[PATH_MAX], link[64];
    int saved = errno;
    enum act found = NOTHING;
    if (!its.read) read_settings();
    if (its.active) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        ssize_t size = readlink(link, path, sizeof path - 1);
        if (size > 0) {
            path[size] = 0;
            if (below(path)) found = met(name, path);
        }
    }
    errno = saved;
    return found;
}

static void after(enum act act) {
    if (act == KILLED || act == TORN) kill(getpid(), SIGKILL), pause();
}

/* Defines an operation that does, at KIND, what WHERE says, and else calls the library's. */
#define OPERATION(type, failed, kind, where, name, parameters, arguments) \
    type name parameters {                                                \
        enum act act = where;                                             \
        if (act == ERROR) {                                               \
            errno = its.error;                                            \
            return failed;                                                \
        }                                                                 \
        type result = REAL(name) arguments;                               \
        int saved = errno;                                                \
        after(act);                                                       \
        errno = saved;                                                    \
        return result;                                                    \
    }
#define ON_PATH(type, failed, kind, name, parameters, arguments, folder, path) \
    OPERATION(type, failed, kind, at_path(kind, folder, path), name, parameters, arguments)
#define ON_FILE(type, kind, name, parameters, arguments) \
    OPERATION(type, -1, kind, at_file(kind, file), name, parameters, arguments)

static const char *opening(int flags) {
    return flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC) ? "create" : "open";
}

#define OPEN(name, parameters, arguments, folder)                  \
    int name parameters {                                          \
        mode_t mode = 0;                                           \
        if (flags & (O_CREAT | O_TMPFILE)) {                       \
            va_list rest;                                          \
            va_start(rest, flags);                                 \
            mode = va_arg(rest, mode_t);                           \
            va_end(rest);                                          \
        }                                                          \
        enum act act = at_path(opening(flags), folder, path);      \
        if (act == ERROR) {                                        \
            errno = its.error;                                     \
            return -1;                                             \
        }                                                          \
        int result = REAL(name) arguments, saved = errno;          \
        after(act);                                                \
        errno = saved;                                             \
        return result;                                             \
    }

OPEN(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(openat, (int folder, const char *path, int flags, ...), (folder, path, flags, mode), folder)
OPEN(openat64, (int folder, const char *path, int flags, ...), (folder, path, flags, mode), folder)

ON_PATH(FILE *, NULL, "open", fopen, (const char *path, const char *mode), (path, mode), AT_FDCWD, path)
ON_PATH(FILE *, NULL, "open", fopen64, (const char *path, const char *mode), (path, mode), AT_FDCWD, path)
ON_PATH(DIR *, NULL, "list", opendir, (const char *path), (path), AT_FDCWD, path)
ON_PATH(int, -1, "mkdir", mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
ON_PATH(int, -1, "mkdir", mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode), folder, path)
ON_PATH(int, -1, "rmdir", rmdir, (const char *path), (path), AT_FDCWD, path)
ON_PATH(int, -1, "unlink", unlink, (const char *path), (path), AT_FDCWD, path)
ON_PATH(int, -1, "unlink", unlinkat, (int folder, const char *path, int flags), (folder, path, flags), folder, path)
ON_PATH(int, -1, "rename", rename, (const char *path, const char *to), (path, to), AT_FDCWD, path)
ON_PATH(int, -1, "rename", renameat, (int folder, const char *path, int other, const char *to), (folder, path, other, to), folder, path)
ON_PATH(int, -1, "rename", renameat2, (int folder, const char *path, int other, const char *to, unsigned flags), (folder, path, other, to, flags), folder, path)
ON_PATH(int, -1, "truncate", truncate, (const char *path, off_t size), (path, size), AT_FDCWD, path)
ON_PATH(int, -1, "stat", stat, (const char *restrict path, struct stat *restrict found), (path, found), AT_FDCWD, path)
ON_PATH(int, -1, "stat", stat64, (const char *restrict path, struct stat64 *restrict found), (path, found), AT_FDCWD, path)
ON_PATH(int, -1, "stat", lstat, (const char *restrict path, struct stat *restrict found), (path, found), AT_FDCWD, path)
ON_PATH(int, -1, "stat", lstat64, (const char *restrict path, struct stat64 *restrict found), (path, found), AT_FDCWD, path)
ON_PATH(int, -1, "stat", fstatat, (int folder, const char *restrict path, struct stat *restrict found, int flags), (folder, path, found, flags), folder, path)
ON_PATH(int, -1, "stat", fstatat64, (int folder, const char *restrict path, struct stat64 *restrict found, int flags), (folder, path, found, flags), folder, path)
ON_PATH(int, -1, "stat", access, (const char *path, int mode), (path, mode), AT_FDCWD, path)

ON_FILE(int, "fsync", fsync, (int file), (file))
ON_FILE(int, "fsync", fdatasync, (int file), (file))
ON_FILE(int, "truncate", ftruncate, (int file, off_t size), (file, size))
ON_FILE(int, "truncate", ftruncate64, (int file, off64_t size), (file, size))
ON_FILE(int, "lock", flock, (int file, int how), (file, how))
OPERATION(ssize_t, -1, "write", at_file("write", file), sendfile, (int file, int from, off_t *offset, size_t size), (file, from, offset, size))
OPERATION(ssize_t, -1, "write", at_file("write", file), copy_file_range, (int from, off64_t *start, int file, off64_t *offset, size_t size, unsigned flags), (from, start, file, offset, size, flags))

/* A close that fails has closed the file all the same. */
int close(int file) {
    enum act act = at_file("close", file);
    int result = REAL(close)(file), saved = errno;
    after(act);
    errno = act == ERROR ? its.error : saved;
    return act == ERROR ? -1 : result;
}

/* Cuts what is written or read to a half where that is asked for. */
#define TRANSFER(kind, name, parameters, arguments)             \
    ssize_t name parameters {                                   \
        enum act act = at_file(kind, file);                     \
        if (act == ERROR) {                                     \
            errno = its.error;                                  \
            return -1;                                          \
        }                                                       \
        if ((act == SHORT || act == TORN) && size > 1) size /= 2; \
        ssize_t result = REAL(name) arguments;                  \
        int saved = errno;                                      \
        after(act);                                             \
        errno = saved;                                          \
        return result;                                          \
    }
TRANSFER("write", write, (int file, const void *from, size_t size), (file, from, size))
TRANSFER("write", pwrite, (int file, const void *from, size_t size, off_t at), (file, from, size, at))
TRANSFER("write", pwrite64, (int file, const void *from, size_t size, off64_t at), (file, from, size, at))
TRANSFER("read", read, (int file, void *to, size_t size), (file, to, size))
TRANSFER("read", pread, (int file, void *to, size_t size, off_t at), (file, to, size, at))
TRANSFER("read", pread64, (int file, void *to, size_t size, off64_t at), (file, to, size, at))

/* Of several buffers, only half of the first one is transferred. */
#define VECTOR(kind, name, parameters, arguments)               \
    ssize_t name parameters {                                   \
        enum act act = at_file(kind, file);                     \
        struct iovec half;                                      \
        if (act == ERROR) {                                     \
            errno = its.error;                                  \
            return -1;                                          \
        }                                                       \
        if ((act == SHORT || act == TORN) && count > 0 && parts[0].iov_len > 1) { \
            half = (struct iovec){parts[0].iov_base, parts[0].iov_len / 2}; \
            parts = &half, count = 1;                           \
        }                                                       \
        ssize_t result = REAL(name) arguments;                  \
        int saved = errno;                                      \
        after(act);                                             \
        errno = saved;                                          \
        return result;                                          \
    }
VECTOR("write", writev, (int file, const struct iovec *parts, int count), (file, parts, count))
VECTOR("write", pwritev, (int file, const struct iovec *parts, int count, off_t at), (file, parts, count, at))
VECTOR("write", pwritev64, (int file, const struct iovec *parts, int count, off64_t at), (file, parts, count, at))
VECTOR("read", readv, (int file, const struct iovec *parts, int count), (file, parts, count))
VECTOR("read", preadv, (int file, const struct iovec *parts, int count, off_t at), (file, parts, count, at))
VECTOR("read", preadv64, (int file, const struct iovec *parts, int count, off64_t at), (file, parts, count, at))

/* The seconds that the wall clock has lost by now. */
static long lost_seconds(void) {
    if (!its.read) read_settings();
    return its.active && its.clock ? its.clock * (atomic_fetch_add(&read_clock, 1) + 1) : 0;
}

/* Found at the start, since clocks are read too often to look for them each time. */
static __typeof__(&clock_gettime) real_clock_gettime;
static __typeof__(&gettimeofday) real_gettimeofday;
__attribute__((constructor)) static void find_clocks(void) {
    real_clock_gettime = REAL(clock_gettime);
    real_gettimeofday = REAL(gettimeofday);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!real_clock_gettime) find_clocks();
    int result = real_clock_gettime(clock, now);
    if (!result && clock == CLOCK_REALTIME) now->tv_sec -= lost_seconds();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    if (!real_gettimeofday) find_clocks();
    int result = real_gettimeofday(now, zone);
    if (!result) now->tv_sec -= lost_seconds();
    return result;
}

time_t time(time_t *to) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (to) *to = now.tv_sec;
    return now.tv_sec;
}
