/* Stands between a process and the file operations of its C library, with LD_PRELOAD.

   Operations on files below certain folders are counted, from 1. At one of them the process is
   killed, or the operation fails, is cut short, or waits. All settings come from the environment:

   INTERPOSED_MATCH    act only in processes whose command line contains this
   INTERPOSED_PROCESS  act only in processes whose JAX_PROCESS_ID is this
   INTERPOSED_KINDS    names of the operations that are counted, as ",write,fsync,rename,"; without
                       it, all of them
   INTERPOSED_AT       number of the operation to act at; 0: only count
   INTERPOSED_ONWARD   1: act at all later operations, too
   INTERPOSED_ACT      kill: before it; torn: after half of a write; an error number: fails with
                       it; short: writes or reads half of what it could;
                       slow: waits first, for INTERPOSED_MICROSECONDS
   INTERPOSED_LOG      a file that gets one line per operation: its number, name and path; the one
                       that was acted at is marked with a star, if something was cut short at all
   INTERPOSED_FOLDERS  absolute paths, separated by colons; the last to be set, since all settings
                       are read at the first operation that finds this one

   A process that is forked counts anew, once the settings are in its environment. The child of a
   vfork, which has its parent's memory, is left alone.

   What stdio (`fwrite`) and C++'s file streams write does not pass through here, since the C
   library calls its own `write`; only that they open a file does. All libraries have calls of
   stdio, but none of the files that the commands here create is written in that way: each has its
   `write` in the log, but for the locks and orbax' mark, which stay empty. Nor does what is read
   from a file that is mapped. */

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
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum act { NOTHING, KILL, TORN, ERROR, SHORT, SLOW };

static struct {
    pid_t pid; /* of this process; the child of a vfork finds its parent's */
    atomic_int read;
    int active, log, error;
    char folders[4 * PATH_MAX], kinds[1024];
    long at, onward, microseconds;
    enum act act;
} its = {.log = -1};
static atomic_long counted;
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
        its.error = atoi(act);
        its.act = its.error                ? ERROR
                  : !strcmp(act, "kill")   ? KILL
                  : !strcmp(act, "torn")   ? TORN
                  : !strcmp(act, "short")  ? SHORT
                  : !strcmp(act, "slow")   ? SLOW
                                           : NOTHING;
        const char *process = setting("INTERPOSED_PROCESS");
        its.active = matches(setting("INTERPOSED_MATCH")) &&
                     (!*process || !strcmp(process, setting("JAX_PROCESS_ID")));
        its.log = -1;
        if (its.active && *log)
            its.log = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
                              0600);
        atomic_store(&counted, 0);
        its.read = 1; /* the last, since others look at it without the lock */
    }
    pthread_mutex_unlock(&reading);
}

static void begin(void) {
    pthread_mutex_init(&reading, NULL); /* another thread may have held it at the fork */
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

/* The operation of this thread that is cut short, until it is known whether anything was cut. */
static _Thread_local struct {
    long number;
    const char *name;
    char path[2 * PATH_MAX];
} cut;

static void write_log(long number, const char *star, const char *name, const char *path) {
    char line[2 * PATH_MAX + 64];
    if (its.log < 0) return;
    int size = snprintf(line, sizeof line, "%ld%s %s %s\n", number, star, name, path);
    syscall(SYS_write, its.log, line, (size_t)size);
}

/* Counts an operation on a path; returns what to do at it. */
static enum act met(const char *name, const char *path) {
    if (!is_counted(name) || its.pid != getpid()) return NOTHING;
    long number = atomic_fetch_add(&counted, 1) + 1;
    int here = its.act && its.at && (number == its.at || (its.onward && number > its.at));
    if (here && its.act == SHORT) {
        cut.number = number;
        cut.name = name;
        snprintf(cut.path, sizeof cut.path, "%s", path);
        return SHORT;
    }
    write_log(number, here ? "*" : "", name, path);
    if (!here) return NOTHING;
    if (its.act == KILL) kill(getpid(), SIGKILL), pause();
    if (its.act == SLOW) usleep(its.microseconds);
    return its.act;
}

/* Finds out where a path leads; returns whether that is below the folders. */
static int whole_path(int folder, const char *path, char *whole, size_t room) {
    char link[64];
    if (!path || !*path) return 0;
    if (*path == '/') {
        snprintf(whole, room, "%s", path);
    } else {
        if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, link, whole, (size_t)PATH_MAX);
        if (size < 0) size = 0;
        snprintf(whole + size, room - size, "/%s", path);
    }
    return below(whole);
}

/* Of two paths, such as those of a rename, the first one counts that is below the folders. */
static enum act at_paths(const char *name, int folder, const char *path, int other,
                         const char *to) {
    char whole[2 * PATH_MAX];
    int saved = errno;
    enum act found = NOTHING;
    if (!its.read) read_settings();
    if (its.active && (whole_path(folder, path, whole, sizeof whole) ||
                       whole_path(other, to, whole, sizeof whole)))
        found = met(name, whole);
    errno = saved;
    return found;
}

static enum act at_path(const char *name, int folder, const char *path) {
    return at_paths(name, folder, path, AT_FDCWD, NULL);
}

static enum act at_file(const char *name, int file) {
    char path[PATH_MAX], link[64];
    int saved = errno;
    enum act found = NOTHING;
    if (!its.read) read_settings();
    if (its.active) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
        if (size > 0) {
            path[size] = 0;
            if (below(path)) found = met(name, path);
        }
    }
    errno = saved;
    return found;
}

static void after(enum act act, int shrank) {
    int saved = errno;
    if (act == TORN) kill(getpid(), SIGKILL), pause();
    if (act == SHORT) write_log(cut.number, shrank ? "*" : "", cut.name, cut.path);
    errno = saved;
}

/* Defines an operation that does what WHERE says, and else calls the library's. */
#define OPERATION(type, failed, where, name, parameters, arguments) \
    type name parameters {                                          \
        enum act act = where;                                       \
        if (act == ERROR) {                                         \
            errno = its.error;                                      \
            return failed;                                          \
        }                                                           \
        type result = REAL(name) arguments;                         \
        after(act, 0);                                              \
        return result;                                              \
    }
#define PATH(kind, name, parameters, arguments) \
    OPERATION(int, -1, at_path(kind, AT_FDCWD, path), name, parameters, arguments)
#define AT(kind, name, parameters, arguments) \
    OPERATION(int, -1, at_path(kind, folder, path), name, parameters, arguments)
#define FILE_(type, kind, name, parameters, arguments) \
    OPERATION(type, -1, at_file(kind, file), name, parameters, arguments)
#define TWO(kind, folder, path, other, to, name, parameters, arguments) \
    OPERATION(int, -1, at_paths(kind, folder, path, other, to), name, parameters, arguments)

static const char *opening(int flags) {
    return flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC) ? "create" : "open";
}
static const char *opening_as(const char *mode) { return strpbrk(mode, "wa+") ? "create" : "open"; }

#define OPEN(name, parameters, arguments, folder)                                     \
    int name parameters {                                                             \
        mode_t mode = 0;                                                              \
        if (flags & (O_CREAT | O_TMPFILE)) {                                          \
            va_list rest;                                                             \
            va_start(rest, flags);                                                    \
            mode = va_arg(rest, mode_t);                                              \
            va_end(rest);                                                             \
        }                                                                             \
        enum act act = at_path(opening(flags), folder, path);                         \
        if (act == ERROR) {                                                           \
            errno = its.error;                                                        \
            return -1;                                                                \
        }                                                                             \
        int result = REAL(name) arguments;                                            \
        after(act, 0);                                                                \
        return result;                                                                \
    }
OPEN(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(openat, (int folder, const char *path, int flags, ...), (folder, path, flags, mode), folder)
OPEN(openat64, (int folder, const char *path, int flags, ...), (folder, path, flags, mode), folder)

/* What headers do not declare, or only as macros. */
int __openat_2(int, const char *, int);
int __xstat(int, const char *, struct stat *), __xstat64(int, const char *, struct stat64 *);
int __lxstat(int, const char *, struct stat *), __lxstat64(int, const char *, struct stat64 *);
int __fxstat(int, int, struct stat *), __fxstat64(int, int, struct stat64 *);
int __fxstatat(int, int, const char *, struct stat *, int);
int __fxstatat64(int, int, const char *, struct stat64 *, int);

#define NAMED const char *path
#define IN int folder, NAMED
#define FOUND struct stat *restrict found
#define FOUND64 struct stat64 *restrict found
#define STREAM(name) \
    OPERATION(FILE *, NULL, at_path(opening_as(mode), AT_FDCWD, path), name, \
              (NAMED, const char *mode), (path, mode))
STREAM(fopen)
STREAM(fopen64)
AT(opening(flags), __openat_2, (IN, int flags), (folder, path, flags))
OPERATION(DIR *, NULL, at_path("list", AT_FDCWD, path), opendir, (NAMED), (path))
OPERATION(DIR *, NULL, at_file("list", file), fdopendir, (int file), (file))
OPERATION(struct dirent *, NULL, at_file("list", dirfd(of)), readdir, (DIR *of), (of))
OPERATION(struct dirent64 *, NULL, at_file("list", dirfd(of)), readdir64, (DIR *of), (of))
PATH("mkdir", mkdir, (NAMED, mode_t mode), (path, mode))
AT("mkdir", mkdirat, (IN, mode_t mode), (folder, path, mode))
OPERATION(char *, NULL, at_path("mkdir", AT_FDCWD, path), mkdtemp, (char *path), (path))
PATH("create", mkstemp, (char *path), (path))
PATH("create", mkstemps, (char *path, int size), (path, size))
PATH("rmdir", rmdir, (NAMED), (path))
PATH("unlink", unlink, (NAMED), (path))
PATH("unlink", remove, (NAMED), (path))
AT(flags & AT_REMOVEDIR ? "rmdir" : "unlink", unlinkat, (IN, int flags), (folder, path, flags))
TWO("rename", AT_FDCWD, path, AT_FDCWD, to, rename, (NAMED, const char *to), (path, to))
TWO("rename", folder, path, other, to, renameat, (IN, int other, const char *to),
    (folder, path, other, to))
TWO("rename", folder, path, other, to, renameat2, (IN, int other, const char *to, unsigned flags),
    (folder, path, other, to, flags))
TWO("create", AT_FDCWD, to, AT_FDCWD, path, link, (NAMED, const char *to), (path, to))
TWO("create", other, to, folder, path, linkat, (IN, int other, const char *to, int flags),
    (folder, path, other, to, flags))
PATH("create", symlink, (const char *to, NAMED), (to, path))
AT("create", symlinkat, (const char *to, IN), (to, folder, path))
PATH("truncate", truncate, (NAMED, off_t size), (path, size))
PATH("truncate", truncate64, (NAMED, off64_t size), (path, size))
#define NAMED_ONCE const char *restrict path
PATH("stat", stat, (NAMED_ONCE, FOUND), (path, found))
PATH("stat", stat64, (NAMED_ONCE, FOUND64), (path, found))
PATH("stat", lstat, (NAMED_ONCE, FOUND), (path, found))
PATH("stat", lstat64, (NAMED_ONCE, FOUND64), (path, found))
AT("stat", fstatat, (int folder, NAMED_ONCE, FOUND, int flags), (folder, path, found, flags))
AT("stat", fstatat64, (int folder, NAMED_ONCE, FOUND64, int flags), (folder, path, found, flags))
AT("stat", statx, (int folder, NAMED_ONCE, int flags, unsigned mask, struct statx *restrict found),
   (folder, path, flags, mask, found))
PATH("stat", __xstat, (int version, NAMED, struct stat *found), (version, path, found))
PATH("stat", __xstat64, (int version, NAMED, struct stat64 *found), (version, path, found))
PATH("stat", __lxstat, (int version, NAMED, struct stat *found), (version, path, found))
PATH("stat", __lxstat64, (int version, NAMED, struct stat64 *found), (version, path, found))
AT("stat", __fxstatat, (int version, IN, struct stat *found, int flags),
   (version, folder, path, found, flags))
AT("stat", __fxstatat64, (int version, IN, struct stat64 *found, int flags),
   (version, folder, path, found, flags))
PATH("stat", access, (NAMED, int mode), (path, mode))
AT("stat", faccessat, (IN, int mode, int flags), (folder, path, mode, flags))
PATH("chmod", chmod, (NAMED, mode_t mode), (path, mode))
PATH("utime", utimes, (NAMED, const struct timeval times[2]), (path, times))
AT("utime", utimensat, (IN, const struct timespec times[2], int flags),
   (folder, path, times, flags))

FILE_(int, "stat", fstat, (int file, struct stat *found), (file, found))
FILE_(int, "stat", fstat64, (int file, struct stat64 *found), (file, found))
FILE_(int, "stat", __fxstat, (int version, int file, struct stat *found), (version, file, found))
FILE_(int, "stat", __fxstat64, (int version, int file, struct stat64 *found),
      (version, file, found))
FILE_(int, "utime", futimens, (int file, const struct timespec times[2]), (file, times))
FILE_(int, "chmod", fchmod, (int file, mode_t mode), (file, mode))
FILE_(int, "fsync", fsync, (int file), (file))
FILE_(int, "fsync", fdatasync, (int file), (file))
FILE_(int, "truncate", ftruncate, (int file, off_t size), (file, size))
FILE_(int, "truncate", ftruncate64, (int file, off64_t size), (file, size))
FILE_(int, "lock", flock, (int file, int how), (file, how))

/* Memory that is no file is mapped often, also before this library is ready. */
#define MAP(name, offset)                                                                  \
    void *name(void *to, size_t size, int how, int flags, int file, offset at) {           \
        enum act act = flags & MAP_ANONYMOUS || file < 0 ? NOTHING : at_file("map", file); \
        if (act == ERROR) {                                                                \
            errno = its.error;                                                             \
            return MAP_FAILED;                                                             \
        }                                                                                  \
        void *result = (void *)syscall(SYS_mmap, to, size, how, flags, file, at);          \
        after(act, 0);                                                                     \
        return result;                                                                     \
    }
MAP(mmap, off_t)
MAP(mmap64, off64_t)

/* These return an error, instead of setting `errno`. */
#define ALLOCATE(name, offset)                            \
    int name(int file, offset at, offset size) {          \
        enum act act = at_file("write", file);            \
        if (act == ERROR) return its.error;               \
        int result = REAL(name)(file, at, size);          \
        after(act, 0);                                    \
        return result;                                    \
    }
ALLOCATE(posix_fallocate, off_t)
ALLOCATE(posix_fallocate64, off64_t)

/* A close that fails has closed the file all the same. */
int close(int file) {
    enum act act = at_file("close", file);
    int result = REAL(close)(file);
    after(act, 0);
    if (act != ERROR) return result;
    errno = its.error;
    return -1;
}

/* Cuts what is written to a half where that is asked for: SIZE and how to make it less. */
#define WRITE(name, parameters, arguments, can_shrink, shrink)          \
    ssize_t name parameters {                                           \
        enum act act = at_file("write", file);                          \
        int shrank = (act == SHORT || act == TORN) && (can_shrink);     \
        if (act == ERROR) {                                             \
            errno = its.error;                                          \
            return -1;                                                  \
        }                                                               \
        struct iovec half;                                              \
        (void)half;                                                     \
        if (shrank) shrink;                                             \
        ssize_t result = REAL(name) arguments;                          \
        after(act, shrank);                                             \
        return result;                                                  \
    }
#define PLAIN(name, more, ...)                                                             \
    WRITE(name, (int file, const void *from, size_t size more), (file, from, size __VA_ARGS__), \
          size > 1, size /= 2)
#define AND ,
PLAIN(write, )
PLAIN(pwrite, AND off_t at, , at)
PLAIN(pwrite64, AND off64_t at, , at)

/* Of several buffers, only half of the first one is written. */
#define GATHERED(name, more, ...)                                                           \
    WRITE(name, (int file, const struct iovec *parts, int count more),                      \
          (file, parts, count __VA_ARGS__), count > 0 && parts->iov_len > 1,                \
          (half = (struct iovec){parts->iov_base, parts->iov_len / 2}, parts = &half, count = 1))
GATHERED(writev, )
GATHERED(pwritev, AND off_t at, , at)
GATHERED(pwritev64, AND off64_t at, , at)
GATHERED(pwritev2, AND off_t at AND int flags, , at, flags)
GATHERED(pwritev64v2, AND off64_t at AND int flags, , at, flags)

/* How much of a file comes after a place in it. */
static size_t left(int file, const off64_t *at) {
    struct stat64 found;
    if (syscall(SYS_fstat, file, &found)) return 0;
    off64_t from = at ? *at : lseek64(file, 0, SEEK_CUR);
    return from < found.st_size ? found.st_size - from : 0;
}
#define LESS(from, at) (size = (left(from, at) < size ? left(from, at) : size) / 2)
WRITE(sendfile, (int file, int from, off_t *at, size_t size), (file, from, at, size),
      size > 1 && left(from, at) > 1, LESS(from, at))
WRITE(sendfile64, (int file, int from, off64_t *at, size_t size), (file, from, at, size),
      size > 1 && left(from, at) > 1, LESS(from, at))
WRITE(copy_file_range,
      (int from, off64_t *at, int file, off64_t *to, size_t size, unsigned flags),
      (from, at, file, to, size, flags), size > 1 && left(from, at) > 1, LESS(from, at))

/* Of what was read, half is given back where that is asked for: fewer bytes may have been left
   than fit into half of the buffer. */
#define READ(name, parameters, arguments, moves)                                        \
    ssize_t name parameters {                                                           \
        enum act act = at_file("read", file);                                           \
        if (act == ERROR) {                                                             \
            errno = its.error;                                                          \
            return -1;                                                                  \
        }                                                                               \
        ssize_t result = REAL(name) arguments;                                          \
        int shrank = act == SHORT && result > 1 &&                                      \
                     (!moves || lseek64(file, result / 2 - result, SEEK_CUR) >= 0);     \
        after(act, shrank);                                                             \
        return shrank ? result / 2 : result;                                            \
    }
#define PARTS int file, const struct iovec *parts, int count
READ(read, (int file, void *to, size_t size), (file, to, size), 1)
READ(pread, (int file, void *to, size_t size, off_t at), (file, to, size, at), 0)
READ(pread64, (int file, void *to, size_t size, off64_t at), (file, to, size, at), 0)
READ(readv, (PARTS), (file, parts, count), 1)
READ(preadv, (PARTS, off_t at), (file, parts, count, at), 0)
READ(preadv64, (PARTS, off64_t at), (file, parts, count, at), 0)
READ(preadv2, (PARTS, off_t at, int flags), (file, parts, count, at, flags), 0)
READ(preadv64v2, (PARTS, off64_t at, int flags), (file, parts, count, at, flags), 0)
