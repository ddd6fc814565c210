// Bodies of CLinuxListen.h.
#define _GNU_SOURCE
#include "CLinuxListen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/in6.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#ifdef IPV6_FREEBIND
_Static_assert(IPV6_FREEBIND == AFLOAT_IPV6_FREEBIND, "the kernel's value");
#endif

socklen_t afloat_fill_address(afloat_socket_address *address, int family, const uint8_t *bytes, uint16_t port) {
  memset(address, 0, sizeof *address);
  if (family == 4) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address->storage;
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    memcpy(&v4->sin_addr, bytes, 4);
    return sizeof *v4;
  }
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address->storage;
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(port);
  memcpy(&v6->sin6_addr, bytes, 16);
  return sizeof *v6;
}

int afloat_lock_file(int descriptor) { return flock(descriptor, LOCK_EX | LOCK_NB); }

int afloat_send_to_path(const char *path, const void *bytes, size_t count) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(path);
  if (length == 0 || length >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = 0;
  int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return -1;
  ssize_t sent = sendto(descriptor, bytes, count, MSG_NOSIGNAL, (struct sockaddr *)&address,
                        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
  int error = errno;
  close(descriptor);
  errno = error;
  return sent == (ssize_t)count ? 0 : -1;
}

int afloat_connect_datagram(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(path);
  if (length == 0 || length >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(address.sun_path, path, length);
  int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return -1;
  if (connect(descriptor, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1)) == 0)
    return descriptor;
  int error = errno;
  close(descriptor);
  errno = error;
  return -1;
}
