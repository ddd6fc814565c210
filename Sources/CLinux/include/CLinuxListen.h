// Socket addresses of both families, and what the agent needs besides.
#pragma once
#include <netinet/in.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/socket.h>

// Not in every libc's headers; the kernel's value (linux/in6.h).
#define AFLOAT_IPV6_FREEBIND 78

typedef struct {
  struct sockaddr_storage storage;
} afloat_socket_address;

// Fills *address from `family` (4 or 6), the address's bytes in network order and the port in host order; returns its length.
socklen_t afloat_fill_address(afloat_socket_address *address, int family, const uint8_t *bytes, uint16_t port);
// An exclusive lock on an open file, without waiting: 0, or -1 with EWOULDBLOCK if another process has it.
int afloat_lock_file(int descriptor);
// A Unix datagram of `count` bytes to `path` (a leading '@' means the abstract namespace); -1 with errno on failure.
int afloat_send_to_path(const char *path, const void *bytes, size_t count);
// A datagram socket that is connected to the Unix socket at `path`; -1 with errno on failure.
int afloat_connect_datagram(const char *path);
