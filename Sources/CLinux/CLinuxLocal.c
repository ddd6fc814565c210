// Bodies of CLinuxLocal.h.
#define _GNU_SOURCE
#include "CLinuxLocal.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

int afloat_connect_local(const char *path, int timeout_milliseconds) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(path);
  if (length == 0 || length >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(address.sun_path, path, length);
  int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return -1;
  struct timeval limit = {.tv_sec = timeout_milliseconds / 1000, .tv_usec = timeout_milliseconds % 1000 * 1000};
  if (setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 &&
      setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0 &&
      connect(descriptor, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1)) == 0)
    return descriptor;
  int error = errno;
  close(descriptor);
  errno = error;
  return -1;
}

static const uint8_t *interrupt_words;
static size_t interrupt_count;

static void on_interrupt(int number) {
  (void)number;
  ssize_t written = write(STDERR_FILENO, interrupt_words, interrupt_count);
  (void)written;
  _exit(130);
}

void afloat_on_interrupt(const uint8_t *words, ptrdiff_t count) {
  interrupt_words = words;
  interrupt_count = (size_t)count;
  signal(SIGINT, on_interrupt);
}
