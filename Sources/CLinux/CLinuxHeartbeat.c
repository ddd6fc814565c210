// Bodies of CLinuxHeartbeat.h.
#define _GNU_SOURCE
#include "CLinuxHeartbeat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif
#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29
#endif

static socklen_t length(const struct sockaddr_in6 *address) {
  return address->sin6_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static const struct sockaddr_in *v4(const struct sockaddr_in6 *address) { return (const struct sockaddr_in *)address; }

struct option {
  const char *step;
  int level, option, value;
};

static int set_options(int s, const struct option *options, size_t count, const char **step) {
  for (size_t i = 0; i < count; i++) {
    *step = options[i].step;
    if (setsockopt(s, options[i].level, options[i].option, &options[i].value, sizeof(int)) != 0) return -1;
  }
  return 0;
}

int afloat_heartbeat_open(const struct sockaddr_in6 *group, int receive_buffer, int receives, int loop, const char **step) {
  const int traffic_class = 0xC0; // CS6, network control
  const struct option common[] = {
      {"share the heartbeat port", SOL_SOCKET, SO_REUSEADDR, 1},
      {"get receive stamps", SOL_SOCKET, SO_TIMESTAMPNS, 1},
      {"give heartbeats priority", SOL_SOCKET, SO_PRIORITY, 6}, // needs no CAP_NET_ADMIN
  };
  const struct option of_v4[] = {
      {"limit heartbeats to the local network", IPPROTO_IP, IP_MULTICAST_TTL, 1},
      {"keep our own datagrams away", IPPROTO_IP, IP_MULTICAST_LOOP, loop},
      {"keep other sockets' groups away", IPPROTO_IP, IP_MULTICAST_ALL, 0},
      {"tell multicasts from others", IPPROTO_IP, IP_PKTINFO, 1},
      {"mark heartbeats as network control", IPPROTO_IP, IP_TOS, traffic_class},
  };
  const struct option of_v6[] = {
      {"keep to IPv6", IPPROTO_IPV6, IPV6_V6ONLY, 1},
      {"limit heartbeats to the local network", IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1},
      {"keep our own datagrams away", IPPROTO_IPV6, IPV6_MULTICAST_LOOP, loop},
      {"keep other sockets' groups away", IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0},
      {"tell multicasts from others", IPPROTO_IPV6, IPV6_RECVPKTINFO, 1},
      {"mark heartbeats as network control", IPPROTO_IPV6, IPV6_TCLASS, traffic_class},
  };
  int is_v4 = group->sin6_family == AF_INET;
  *step = "open a UDP socket";
  int s = socket(group->sin6_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
  if (s < 0) return -1;
  if (set_options(s, common, sizeof common / sizeof *common, step) != 0) goto failed;
  if (is_v4 ? set_options(s, of_v4, sizeof of_v4 / sizeof *of_v4, step)
            : set_options(s, of_v6, sizeof of_v6 / sizeof *of_v6, step))
    goto failed;
  if (!receives) return s;
  // A refusal leaves the system's default, which holds some 250 heartbeats.
  if (setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof receive_buffer) != 0)
    setsockopt(s, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  struct sockaddr_in6 any = {.sin6_family = group->sin6_family};
  any.sin6_port = group->sin6_port; // the same place in both forms
  if (receives == AFLOAT_RECEIVES_GROUP_ONLY) any = *group;
  *step = "bind the heartbeat port";
  if (bind(s, (struct sockaddr *)&any, length(&any)) != 0) goto failed;
  return s;
failed:;
  int code = errno;
  close(s);
  errno = code;
  return -1;
}

int afloat_heartbeat_join(int socket, const struct sockaddr_in6 *group, uint32_t interface, const struct sockaddr_in6 *source) {
  const int index = (int)interface;
  // Datagrams go out and come in by this interface only, whatever the routes say: that is what makes a path.
  if (setsockopt(socket, SOL_SOCKET, SO_BINDTOIFINDEX, &index, sizeof index) != 0) return -1;
  // The membership of an interface that went and came back is stale: leave first, whatever that says.
  if (source->sin6_family == AF_INET) {
    struct ip_mreqn request = {.imr_ifindex = index};
    if (group) {
      request.imr_multiaddr = v4(group)->sin_addr;
      setsockopt(socket, IPPROTO_IP, IP_DROP_MEMBERSHIP, &request, sizeof request);
      if (setsockopt(socket, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request) != 0 && errno != EADDRINUSE)
        return -1;
    }
    request.imr_address = v4(source)->sin_addr;
    return setsockopt(socket, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof request);
  }
  if (group) {
    struct ipv6_mreq request = {.ipv6mr_multiaddr = group->sin6_addr, .ipv6mr_interface = interface};
    setsockopt(socket, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &request, sizeof request);
    if (setsockopt(socket, IPPROTO_IPV6, IPV6_JOIN_GROUP, &request, sizeof request) != 0 && errno != EADDRINUSE)
      return -1;
  }
  return setsockopt(socket, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof index);
}

int afloat_heartbeat_send(int socket, const void *bytes, size_t count, const struct sockaddr_in6 *to,
                          const struct sockaddr_in6 *source) {
  struct iovec vector = {.iov_base = (void *)bytes, .iov_len = count};
  struct msghdr message = {
      .msg_name = (void *)to, .msg_namelen = length(to), .msg_iov = &vector, .msg_iovlen = 1};
  union {
    struct cmsghdr alignment;
    char room[CMSG_SPACE(sizeof(struct in6_pktinfo))];
  } control;
  if (source) {
    memset(&control, 0, sizeof control);
    message.msg_control = &control;
    message.msg_controllen = sizeof control; // the first header is found in what is announced
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    if (source->sin6_family == AF_INET) {
      const struct in_pktinfo info = {.ipi_spec_dst = v4(source)->sin_addr};
      *part = (struct cmsghdr){.cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO, .cmsg_len = CMSG_LEN(sizeof info)};
      memcpy(CMSG_DATA(part), &info, sizeof info);
      message.msg_controllen = CMSG_SPACE(sizeof info);
    } else {
      const struct in6_pktinfo info = {.ipi6_addr = source->sin6_addr};
      *part = (struct cmsghdr){.cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO, .cmsg_len = CMSG_LEN(sizeof info)};
      memcpy(CMSG_DATA(part), &info, sizeof info);
      message.msg_controllen = CMSG_SPACE(sizeof info);
    }
  }
  ssize_t sent;
  do sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? errno : 0;
}

struct afloat_batch {
  struct mmsghdr headers[AFLOAT_BATCH_COUNT];
  struct iovec vectors[AFLOAT_BATCH_COUNT];
  union {
    struct cmsghdr alignment;
    char room[CMSG_SPACE(sizeof(struct timespec)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
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
    batch->headers[i].msg_hdr.msg_control = &batch->controls[i];
  }
  return batch;
}

void afloat_batch_destroy(struct afloat_batch *batch) { free(batch); }

int afloat_batch_receive(struct afloat_batch *batch, int socket) {
  // The kernel writes the lengths back: they are set for every call.
  for (int i = 0; i < AFLOAT_BATCH_COUNT; i++)
    batch->headers[i].msg_hdr.msg_controllen = sizeof batch->controls[i];
  int count;
  do count = recvmmsg(socket, batch->headers, AFLOAT_BATCH_COUNT, MSG_DONTWAIT, NULL);
  while (count < 0 && errno == EINTR);
  return count < 0 && errno == EAGAIN ? 0 : count;
}

struct afloat_datagram afloat_batch_datagram(const struct afloat_batch *batch, int index) {
  struct msghdr *header = (struct msghdr *)&batch->headers[index].msg_hdr;
  struct afloat_datagram datagram = {.bytes = batch->bytes[index], .count = batch->headers[index].msg_len};
  for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
    if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_TIMESTAMPNS) {
      struct timespec stamp;
      memcpy(&stamp, CMSG_DATA(part), sizeof stamp);
      datagram.stamp = (int64_t)stamp.tv_sec * 1000000000 + stamp.tv_nsec;
    } else if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO) {
      struct in_pktinfo info;
      memcpy(&info, CMSG_DATA(part), sizeof info);
      datagram.multicast = IN_MULTICAST(ntohl(info.ipi_addr.s_addr));
    } else if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO) {
      struct in6_pktinfo info;
      memcpy(&info, CMSG_DATA(part), sizeof info);
      datagram.multicast = IN6_IS_ADDR_MULTICAST(&info.ipi6_addr);
    }
  }
  return datagram;
}
