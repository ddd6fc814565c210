// Bodies of CLinuxNetwork.h that are plain socket calls.
#define _GNU_SOURCE
#include "CLinuxNetwork.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

int afloat_multicast_open(uint32_t group, uint16_t port, int receive_buffer, int loop, const char **step) {
  *step = "open a UDP socket";
  int s = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
  if (s < 0) return -1;
  const int one = 1, zero = 0, ttl = 1, tos = 0xC0 /* CS6, network control */, priority = 6 /* no CAP_NET_ADMIN needed */;
  const struct {
    const char *step;
    int level, option;
    const int *value;
  } options[] = {
      {"share the heartbeat port", SOL_SOCKET, SO_REUSEADDR, &one},
      {"get receive stamps", SOL_SOCKET, SO_TIMESTAMPNS, &one},
      {"limit heartbeats to the local network", IPPROTO_IP, IP_MULTICAST_TTL, &ttl},
      {"keep our own datagrams away", IPPROTO_IP, IP_MULTICAST_LOOP, loop ? &one : &zero},
      {"keep other sockets' groups away", IPPROTO_IP, IP_MULTICAST_ALL, &zero},
      {"mark heartbeats as network control", IPPROTO_IP, IP_TOS, &tos},
      {"give heartbeats priority", SOL_SOCKET, SO_PRIORITY, &priority},
  };
  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
    *step = options[i].step;
    if (setsockopt(s, options[i].level, options[i].option, options[i].value, sizeof(int)) != 0) goto failed;
  }
  // A refusal leaves the system's default, which holds some 250 heartbeats.
  if (setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof receive_buffer) != 0)
    setsockopt(s, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(group)};
  *step = "bind the heartbeat port";
  if (bind(s, (struct sockaddr *)&address, sizeof address) != 0) goto failed;
  return s;
failed:;
  int code = errno;
  close(s);
  errno = code;
  return -1;
}

int afloat_multicast_join(int socket, uint32_t group, uint32_t interface, uint32_t source) {
  struct ip_mreqn request = {.imr_multiaddr.s_addr = htonl(group), .imr_ifindex = (int)interface};
  // The membership of an interface that went and came back is stale: leave first, whatever that says.
  setsockopt(socket, IPPROTO_IP, IP_DROP_MEMBERSHIP, &request, sizeof request);
  if (setsockopt(socket, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request) != 0 && errno != EADDRINUSE) return -1;
  request.imr_address.s_addr = htonl(source);
  return setsockopt(socket, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof request);
}

int afloat_multicast_send(int socket, const void *bytes, size_t count, uint32_t group, uint16_t port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(group)};
  ssize_t sent;
  do sent = sendto(socket, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&address, sizeof address);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? errno : 0;
}

struct afloat_batch {
  struct mmsghdr headers[AFLOAT_BATCH_COUNT];
  struct iovec vectors[AFLOAT_BATCH_COUNT];
  struct sockaddr_in sources[AFLOAT_BATCH_COUNT];
  union {
    struct cmsghdr alignment;
    char room[CMSG_SPACE(sizeof(struct timespec))];
  } controls[AFLOAT_BATCH_COUNT];
  unsigned char bytes[AFLOAT_BATCH_COUNT][AFLOAT_BATCH_BYTES];
};

struct afloat_batch *afloat_batch_create(void) {
  struct afloat_batch *batch = calloc(1, sizeof *batch);
  if (!batch) return NULL;
  for (int i = 0; i < AFLOAT_BATCH_COUNT; i++) {
    batch->vectors[i] = (struct iovec){.iov_base = batch->bytes[i], .iov_len = AFLOAT_BATCH_BYTES};
    batch->headers[i].msg_hdr.msg_iov = &batch->vectors[i];
    batch->headers[i].msg_hdr.msg_iovlen = 1;
    batch->headers[i].msg_hdr.msg_name = &batch->sources[i];
    batch->headers[i].msg_hdr.msg_control = &batch->controls[i];
  }
  return batch;
}

void afloat_batch_destroy(struct afloat_batch *batch) { free(batch); }

int afloat_batch_receive(struct afloat_batch *batch, int socket) {
  // The kernel writes the lengths back: they are set for every call.
  for (int i = 0; i < AFLOAT_BATCH_COUNT; i++) {
    batch->headers[i].msg_hdr.msg_namelen = sizeof batch->sources[i];
    batch->headers[i].msg_hdr.msg_controllen = sizeof batch->controls[i];
  }
  int count;
  do count = recvmmsg(socket, batch->headers, AFLOAT_BATCH_COUNT, MSG_DONTWAIT, NULL);
  while (count < 0 && errno == EINTR);
  return count < 0 && errno == EAGAIN ? 0 : count;
}

struct afloat_datagram afloat_batch_datagram(const struct afloat_batch *batch, int index) {
  struct msghdr *header = (struct msghdr *)&batch->headers[index].msg_hdr;
  struct afloat_datagram datagram = {
      .bytes = batch->bytes[index],
      .count = batch->headers[index].msg_len,
      .source = header->msg_namelen >= sizeof(struct sockaddr_in) ? ntohl(batch->sources[index].sin_addr.s_addr) : 0,
      .truncated = (header->msg_flags & MSG_TRUNC) != 0};
  for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_TIMESTAMPNS) continue;
    struct timespec stamp;
    memcpy(&stamp, CMSG_DATA(part), sizeof stamp);
    datagram.stamp = (int64_t)stamp.tv_sec * 1000000000 + stamp.tv_nsec;
  }
  return datagram;
}

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
