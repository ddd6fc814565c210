// Bodies of CLinuxNetwork.h that are plain socket calls.
#define _GNU_SOURCE
#include "CLinuxNetwork.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// Protocol 0: nothing is ever received.
int afloat_packet_open(void) { return socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }

int afloat_packet_send(int socket, uint32_t interface, const void *frame, size_t count) {
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = (int)interface, .sll_halen = ETH_ALEN};
  memcpy(address.sll_addr, frame, ETH_ALEN);
  ssize_t sent;
  do sent = sendto(socket, frame, count, MSG_NOSIGNAL, (struct sockaddr *)&address, sizeof address);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? errno : 0;
}

int afloat_packet_watch_claims(int socket, const uint32_t *addresses, int count, const char **step) {
  // Offsets into an Ethernet frame: 16 protocol type, 18 lengths, 28 the sender's address.
  struct sock_filter code[8 + 2 * AFLOAT_CLAIMED_ADDRESSES] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 16),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x08000604, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 28),
  };
  unsigned short length = 4;
  int is_every = count > AFLOAT_CLAIMED_ADDRESSES;
  for (int i = 0; !is_every && i < count; i++) {
    code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, addresses[i], 0, 1);
    code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 64);
  }
  code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, is_every ? 64 : 0);
  struct sock_fprog program = {.len = length, .filter = code};
  *step = "filter ARP packets";
  if (setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0) return errno;
  *step = "receive ARP packets";
  struct sockaddr_ll all = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP)};
  return bind(socket, (struct sockaddr *)&all, sizeof all) == 0 ? 0 : errno;
}

ssize_t afloat_packet_receive(int socket, void *frame, size_t room, uint32_t *interface) {
  struct sockaddr_ll source;
  for (;;) {
    socklen_t length = sizeof source;
    ssize_t count = recvfrom(socket, frame, room, MSG_DONTWAIT, (struct sockaddr *)&source, &length);
    if (count < 0 && errno == EINTR) continue;
    // What leaves from here claims nothing against us.
    if (count >= 0 && source.sll_pkttype == PACKET_OUTGOING) continue;
    if (count >= 0) *interface = (uint32_t)source.sll_ifindex;
    return count;
  }
}

int afloat_neighbours_open(void) {
  int s = socket(AF_INET6, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMPV6);
  if (s < 0) return -1;
  struct icmp6_filter filter;
  ICMP6_FILTER_SETBLOCKALL(&filter);
  ICMP6_FILTER_SETPASS(ND_NEIGHBOR_SOLICIT, &filter);
  ICMP6_FILTER_SETPASS(ND_NEIGHBOR_ADVERT, &filter);
  const int on = 1;
  if (setsockopt(s, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter) == 0 &&
      setsockopt(s, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) == 0 &&
      setsockopt(s, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof on) == 0)
    return s;
  int code = errno;
  close(s);
  errno = code;
  return -1;
}

ssize_t afloat_neighbours_receive(int socket, void *message, size_t room, uint32_t *interface, uint8_t *source,
                                  int *hop_limit) {
  struct sockaddr_in6 from;
  struct iovec vector = {.iov_base = message, .iov_len = room};
  union {
    struct cmsghdr alignment;
    char room[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int))];
  } control;
  struct msghdr header = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &vector, .msg_iovlen = 1};
  ssize_t count;
  do {
    header.msg_control = &control;
    header.msg_controllen = sizeof control;
    count = recvmsg(socket, &header, MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return -1;
  *interface = 0;
  *hop_limit = -1;
  memcpy(source, &from.sin6_addr, sizeof from.sin6_addr);
  for (struct cmsghdr *part = CMSG_FIRSTHDR(&header); part; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != IPPROTO_IPV6) continue;
    if (part->cmsg_type == IPV6_PKTINFO) {
      struct in6_pktinfo info;
      memcpy(&info, CMSG_DATA(part), sizeof info);
      *interface = info.ipi6_ifindex;
    } else if (part->cmsg_type == IPV6_HOPLIMIT) {
      memcpy(hop_limit, CMSG_DATA(part), sizeof *hop_limit);
    }
  }
  return count;
}
