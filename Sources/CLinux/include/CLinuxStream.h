// Stream sockets: what the data plane needs beyond Glibc's module.
#pragma once
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

// Sends two pieces with one call (MSG_NOSIGNAL); returns sendmsg's result.
ssize_t afloat_send_two(int socket, const void *first, size_t first_count, const void *second, size_t second_count);

// Attaches a classic BPF program to a listening TCP socket: segments that open a connection (SYN without ACK) to one of the
// addresses are dropped without an answer, everything else passes. Addresses are in network order; at most
// AFLOAT_MAXIMUM_FILTERED of each family. Returns 0, or -1 with errno.
#define AFLOAT_MAXIMUM_FILTERED 60
int afloat_drop_opening_segments(int listener, const struct in_addr *v4, int v4_count, const struct in6_addr *v6,
                                 int v6_count);
// Removes such a program; success when there is none.
int afloat_accept_opening_segments(int listener);
