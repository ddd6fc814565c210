// Bodies of the stream-socket shims.
#define _GNU_SOURCE
#include "CLinux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int afloat_undelivered(int socket) {
  int count;
  return ioctl(socket, SIOCOUTQ, &count) == 0 ? count : -1;
}

ssize_t afloat_receive(int socket, void *bytes, size_t room, int flags) {
  while (1) {
    ssize_t count = syscall(SYS_recvfrom, socket, bytes, room, flags, NULL, NULL);
    if (count >= 0) return count;
    if (errno != EINTR) return -errno;
  }
}

ssize_t afloat_send(int socket, const void *bytes, size_t count, int flags) {
  while (1) {
    ssize_t sent = syscall(SYS_sendto, socket, bytes, count, flags | MSG_NOSIGNAL, NULL, 0);
    if (sent >= 0) return sent;
    if (errno != EINTR) return -errno;
  }
}

ssize_t afloat_splice(int from, int to, size_t count) {
  while (1) {
    ssize_t moved = syscall(SYS_splice, from, NULL, to, NULL, count, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (moved >= 0) return moved;
    if (errno != EINTR) return -errno;
  }
}

int afloat_open_pipe(int ends[2], int byte_count) {
  if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) return -errno;
  fcntl(ends[0], F_SETPIPE_SZ, byte_count);
  if (fcntl(ends[0], F_GETPIPE_SZ) >= 64 * 1024) return 0;
  close(ends[0]);
  close(ends[1]);
  return -ENOMEM;
}

// A program of at most 7 + 2 * 60 + 8 * 60 instructions. Jumps of conditions reach 255 instructions only, so every
// comparison that fails steps over at most its own few instructions, and every match jumps by the unconditional JA.
#define PROGRAM_ROOM (16 + 2 * AFLOAT_MAXIMUM_FILTERED + 9 * AFLOAT_MAXIMUM_FILTERED)

struct program {
  struct sock_filter code[PROGRAM_ROOM];
  int count;
};

static int emit(struct program *program, uint16_t code, uint8_t if_true, uint8_t if_false, uint32_t k) {
  program->code[program->count] = (struct sock_filter){code, if_true, if_false, k};
  return program->count++;
}

int afloat_drop_opening_segments(int listener, const struct in_addr *v4, int v4_count, const struct in6_addr *v6,
                                 int v6_count) {
  if (v4_count > AFLOAT_MAXIMUM_FILTERED || v6_count > AFLOAT_MAXIMUM_FILTERED) {
    errno = EINVAL;
    return -1;
  }
  struct program program = {.count = 0};
  // Offset 0 is the TCP header, SKF_NET_OFF the IP header. Flags: byte 13, SYN 0x02, ACK 0x10.
  emit(&program, BPF_LD | BPF_B | BPF_ABS, 0, 0, 13);
  emit(&program, BPF_ALU | BPF_AND | BPF_K, 0, 0, 0x12);
  emit(&program, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 0x02);
  // Accept: the whole length, because a shorter one would trim the segment.
  emit(&program, BPF_RET | BPF_K, 0, 0, 0xffffffff);
  emit(&program, BPF_LD | BPF_B | BPF_ABS, 0, 0, SKF_NET_OFF);
  emit(&program, BPF_ALU | BPF_RSH | BPF_K, 0, 0, 4);
  emit(&program, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 6);
  int skip_v6 = emit(&program, BPF_JMP | BPF_JA, 0, 0, 0);
  for (int i = 0; i < v6_count; i++) {
    for (int word = 0; word < 4; word++) {
      uint32_t part = ntohl(v6[i].s6_addr32[word]);
      emit(&program, BPF_LD | BPF_W | BPF_ABS, 0, 0, SKF_NET_OFF + 24 + 4 * word);
      emit(&program, BPF_JMP | BPF_JEQ | BPF_K, 0, 2 * (3 - word) + 1, part);
    }
    emit(&program, BPF_RET | BPF_K, 0, 0, 0);
  }
  emit(&program, BPF_RET | BPF_K, 0, 0, 0xffffffff);
  program.code[skip_v6].k = program.count - skip_v6 - 1;
  emit(&program, BPF_LD | BPF_W | BPF_ABS, 0, 0, SKF_NET_OFF + 16);
  for (int i = 0; i < v4_count; i++) {
    emit(&program, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, ntohl(v4[i].s_addr));
    emit(&program, BPF_RET | BPF_K, 0, 0, 0);
  }
  emit(&program, BPF_RET | BPF_K, 0, 0, 0xffffffff);
  struct sock_fprog attached = {.len = program.count, .filter = program.code};
  return setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &attached, sizeof attached);
}

int afloat_accept_opening_segments(int listener) {
  int unused = 0;
  if (setsockopt(listener, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused) == 0) return 0;
  return errno == ENOENT ? 0 : -1;
}

// Constants that Swift spells as literals on its hot path (Kernel's StreamSocket, Readiness).
_Static_assert(EAGAIN == 11, "StreamSocket.wouldBlock");
_Static_assert(EPOLLIN == 0x001 && EPOLLOUT == 0x004 && EPOLLERR == 0x008 && EPOLLHUP == 0x010 && EPOLLRDHUP == 0x2000,
               "Readiness");
