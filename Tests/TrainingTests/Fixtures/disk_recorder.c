// Preloaded into a program, it writes down what the program does to the files below DISK_RECORDER_ROOT: names made,
// moved and removed, bytes written, and what was flushed. DiskTrace.swift replays the list up to any moment and so
// knows what a power cut at that moment would have left.
//
// With DISK_RECORDER_KILL=N, rank DISK_RECORDER_RANK is killed after its record N.
//
// A record is one append to the file DISK_RECORDER_LOG: five 64-bit numbers (kind, file, offset, bytes of the first
// text, bytes of the second), then the two texts. It is written when the call has succeeded and before it returns,
// so the list keeps the order in which one rank's work follows from another's.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static const char *root(void) { return getenv("DISK_RECORDER_ROOT"); }

static void record(char kind, uint64_t file, uint64_t offset, const void *first, size_t first_bytes,
                   const void *second, size_t second_bytes) {
  static int log = -1;
  int before = errno;
  if (log < 0) {
    log = NEXT(open)(getenv("DISK_RECORDER_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  }
  uint64_t head[5] = {(uint64_t)kind, file, offset, first_bytes, second_bytes};
  struct iovec parts[3] = {{head, sizeof head}, {(void *)first, first_bytes}, {(void *)second, second_bytes}};
  ssize_t all = (ssize_t)(sizeof head + first_bytes + second_bytes);
  if (log < 0 || writev(log, parts, 3) != all) abort();
  static int count;
  const char *last = getenv("DISK_RECORDER_KILL"), *victim = getenv("DISK_RECORDER_RANK");
  const char *rank = getenv("OMPI_COMM_WORLD_RANK");
  if (last && victim && rank && strcmp(victim, rank) == 0 && ++count == atoi(last)) raise(SIGKILL);
  errno = before;
}

// The path from the root of the file system; false where it is not below DISK_RECORDER_ROOT.
static int place(const char *path, char *full) {
  char folder[PATH_MAX];
  if (!root() || !path) return 0;
  if (path[0] == '/') {
    snprintf(full, PATH_MAX, "%s", path);
  } else {
    if (!getcwd(folder, sizeof folder)) return 0;
    snprintf(full, PATH_MAX, "%s/%s", folder, path);
  }
  return strncmp(full, root(), strlen(root())) == 0;
}

static int place_of(int descriptor, char *full) {
  char link[64];
  if (!root()) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t count = readlink(link, full, PATH_MAX - 1);
  if (count < 0) return 0;
  full[count] = 0;
  return strncmp(full, root(), strlen(root())) == 0;
}

static uint64_t file_of(int descriptor) {
  struct stat status;
  return fstat(descriptor, &status) == 0 ? (uint64_t)status.st_ino : 0;
}

static void record_path(char kind, const char *path, const char *other) {
  record(kind, 0, 0, path, strlen(path), other, other ? strlen(other) : 0);
}

static int opened(int descriptor, const char *path, int flags, int was_there) {
  char full[PATH_MAX];
  if (descriptor < 0 || !place(path, full)) return descriptor;
  uint64_t file = file_of(descriptor);
  if ((flags & O_CREAT) && !was_there) record('C', file, 0, full, strlen(full), 0, 0);
  if (flags & O_TRUNC) record('T', file, 0, 0, 0, 0, 0);
  return descriptor;
}

int open(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  int was_there = access(path, F_OK) == 0;
  return opened(NEXT(open)(path, flags, mode), path, flags, was_there);
}

int open64(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return open(path, flags, mode);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
  char full[PATH_MAX];
  ssize_t done = NEXT(pwrite)(descriptor, bytes, count, offset);
  if (done > 0 && place_of(descriptor, full)) {
    record('W', file_of(descriptor), (uint64_t)offset, bytes, (size_t)done, full, strlen(full));
  }
  return done;
}

ssize_t write(int descriptor, const void *bytes, size_t count) {
  char full[PATH_MAX];
  ssize_t done = NEXT(write)(descriptor, bytes, count);
  if (done > 0 && place_of(descriptor, full)) {
    off_t end = lseek(descriptor, 0, SEEK_CUR);
    record('W', file_of(descriptor), (uint64_t)(end - done), bytes, (size_t)done, full, strlen(full));
  }
  return done;
}

int ftruncate(int descriptor, off_t length) {
  char full[PATH_MAX];
  int code = NEXT(ftruncate)(descriptor, length);
  if (code == 0 && place_of(descriptor, full)) {
    record('T', file_of(descriptor), (uint64_t)length, 0, 0, 0, 0);
  }
  return code;
}

static void flushed(int descriptor) {
  char full[PATH_MAX];
  struct stat status;
  if (!place_of(descriptor, full) || fstat(descriptor, &status) != 0) return;
  record(S_ISDIR(status.st_mode) ? 'D' : 'S', (uint64_t)status.st_ino, 0, full, strlen(full), 0, 0);
}

int fsync(int descriptor) {
  int code = NEXT(fsync)(descriptor);
  if (code == 0) flushed(descriptor);
  return code;
}

int rename(const char *source, const char *target) {
  char from[PATH_MAX], to[PATH_MAX];
  int code = NEXT(rename)(source, target);
  if (code == 0 && place(source, from) && place(target, to)) record_path('R', from, to);
  return code;
}

int mkdir(const char *path, mode_t mode) {
  char full[PATH_MAX];
  int code = NEXT(mkdir)(path, mode);
  if (code == 0 && place(path, full)) record_path('M', full, 0);
  return code;
}

int unlink(const char *path) {
  char full[PATH_MAX];
  int code = NEXT(unlink)(path);
  if (code == 0 && place(path, full)) record_path('U', full, 0);
  return code;
}

int rmdir(const char *path) {
  char full[PATH_MAX];
  int code = NEXT(rmdir)(path);
  if (code == 0 && place(path, full)) record_path('U', full, 0);
  return code;
}

int symlink(const char *target, const char *path) {
  char full[PATH_MAX];
  int code = NEXT(symlink)(target, path);
  if (code == 0 && place(path, full)) record_path('L', full, target);
  return code;
}
