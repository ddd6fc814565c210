// Sockets, polling and descriptors that go from process to process.
#pragma once
// No _GNU_SOURCE in these headers: Swift's Glibc module is built without it, and both must see the same definitions.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>

// bind, connect and the like take transparent unions under _GNU_SOURCE, which Swift cannot call.
int afloat_bind(int descriptor, const void *address, socklen_t length);
int afloat_connect(int descriptor, const void *address, socklen_t length);
int afloat_accept4(int descriptor, void *address, socklen_t *length, int flags);
int afloat_getsockname(int descriptor, void *address, socklen_t *length);
int afloat_getpeername(int descriptor, void *address, socklen_t *length);
ssize_t afloat_sendto(int descriptor, const void *bytes, size_t count, int flags, const void *address, socklen_t length);
int afloat_memfd_create(const char *name, unsigned flags);
// A close-on-exec memory file that can be sealed, and the seals that fix its size for ever.
int afloat_sealable_memory_file(const char *name);
int afloat_seal_size(int descriptor);

// At most this many descriptors go with one packet (the kernel's SCM_MAX_FD is 253).
#define AFLOAT_MAXIMUM_DESCRIPTORS 200

// Sends one packet with descriptors; returns sendmsg's result.
ssize_t afloat_send_packet(int socket, const void *bytes, size_t count, const int *descriptors, int descriptor_count,
                           int flags);
// Receives one packet; descriptors are close-on-exec. *descriptor_count is the room on entry, the number received on
// return. A packet longer than `room` returns -1 with EMSGSIZE (its descriptors are closed).
ssize_t afloat_receive_packet(int socket, void *bytes, size_t room, int *descriptors, int *descriptor_count, int flags);
