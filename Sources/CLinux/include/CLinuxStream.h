// Stream sockets: what the data plane needs beyond Glibc's module.
#pragma once
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

// Bytes that were sent and the peer has not confirmed; a negative number if nobody knows.
int afloat_undelivered(int socket);

// These return counts or negative error numbers. They are plain system calls: in a process with threads the library's own
// are cancellation points, which costs two locked instructions each. Interrupted ones are repeated.
ssize_t afloat_receive(int socket, void *bytes, size_t room, int flags);
// With MSG_NOSIGNAL.
ssize_t afloat_send(int socket, const void *bytes, size_t count, int flags);
// splice(2) between a pipe and a socket, without waiting. Raises SIGPIPE where that is not ignored.
ssize_t afloat_splice(int from, int to, size_t count);
// A pipe that does not block, with room for `byte_count`, or the usual 64 KiB if the system does not grant that. Returns 0 or a
// negative error number; one that got even less is none.
int afloat_open_pipe(int ends[2], int byte_count);

// Attaches a classic BPF program to a listening TCP socket: segments that open a connection (SYN without ACK) to one of the
// addresses are dropped without an answer, everything else passes. Addresses are in network order; at most
// AFLOAT_MAXIMUM_FILTERED of each family. Returns 0, or -1 with errno.
#define AFLOAT_MAXIMUM_FILTERED 60
int afloat_drop_opening_segments(int listener, const struct in_addr *v4, int v4_count, const struct in6_addr *v6,
                                 int v6_count);
// Removes such a program; success when there is none.
int afloat_accept_opening_segments(int listener);
