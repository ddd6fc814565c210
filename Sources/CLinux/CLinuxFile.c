// Bodies of the shims for files.
#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

int afloat_open_beneath(const char *root, const char *path) {
  int folder = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return -errno;
  struct open_how how = {
      .flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
      .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
  };
  int file;
  // EAGAIN: something was renamed meanwhile.
  for (int tries = 0; tries < 8; tries++) {
    file = (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
    if (file >= 0 || (errno != EAGAIN && errno != EINTR)) break;
  }
  int code = errno;
  close(folder);
  return file >= 0 ? file : -code;
}

int afloat_file_version(int file, int64_t *byte_count, int64_t *modified_second, int64_t *modified_nanosecond) {
  struct stat status;
  if (fstat(file, &status) != 0) return -errno;
  if (S_ISDIR(status.st_mode)) return 1;
  if (!S_ISREG(status.st_mode)) return -EINVAL;
  *byte_count = status.st_size;
  *modified_second = status.st_mtim.tv_sec;
  *modified_nanosecond = status.st_mtim.tv_nsec;
  return 0;
}

ssize_t afloat_read_cached(int file, void *bytes, size_t room, int64_t offset) {
  struct iovec piece = {.iov_base = bytes, .iov_len = room};
  ssize_t count = preadv2(file, &piece, 1, offset, RWF_NOWAIT);
  return count >= 0 ? count : -errno;
}

void afloat_read_ahead(int file, int64_t offset, int64_t count) {
  posix_fadvise(file, offset, count, POSIX_FADV_WILLNEED);
}

ssize_t afloat_send_file(int socket, int file, int64_t offset, size_t count) {
  off_t position = offset;
  while (1) {
    ssize_t sent = sendfile(socket, file, &position, count);
    if (sent >= 0) return sent;
    if (errno != EINTR) return -errno;
  }
}
