// Bodies of CLinuxNetwork.h that speak rtnetlink. libnl carries the messages; the few attributes that we need are put in
// and read here, because IFA_PROTO, which marks our addresses, is younger than Debian's libnl.
#define _GNU_SOURCE
#include "CLinuxNetwork.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <string.h>

#ifndef IFF_LOWER_UP
#define IFF_LOWER_UP 0x10000 // <linux/if.h>, which cannot be included beside <net/if.h>
#endif

const uint32_t afloat_address_no_prefix_route = IFA_F_NOPREFIXROUTE;
// Names of attributes that older headers lack.
enum { attribute_proto = 11 };
_Static_assert(IFA_FLAGS == 8, "IFA_PROTO is the third attribute after IFA_FLAGS");

#define NEWS_ROOM 256

struct afloat_netlink {
  struct nl_sock *socket;
  int error; // errno of the last refusal
  // Where the messages of a running call go.
  struct afloat_address *addresses;
  struct afloat_link *links;
  int room, count;
  struct afloat_news news[NEWS_ROOM];
  int first_news, news_count, lost;
};

static int refused(struct sockaddr_nl *from, struct nlmsgerr *error, void *context) {
  (void)from;
  ((struct afloat_netlink *)context)->error = -error->error;
  return NL_STOP;
}

static int read_address(struct nlmsghdr *header, struct afloat_address *address) {
  struct nlattr *attributes[attribute_proto + 1];
  if (nlmsg_parse(header, sizeof(struct ifaddrmsg), attributes, attribute_proto, NULL) < 0) return 0;
  const struct ifaddrmsg *body = nlmsg_data(header);
  struct nlattr *local = attributes[IFA_LOCAL] ? attributes[IFA_LOCAL] : attributes[IFA_ADDRESS];
  int length = body->ifa_family == AF_INET ? 4 : body->ifa_family == AF_INET6 ? 16 : 0;
  if (!length || !local || nla_len(local) < length) return 0;
  *address = (struct afloat_address){
      .interface = body->ifa_index,
      .family = length == 4 ? 4 : 6,
      .flags = attributes[IFA_FLAGS] ? nla_get_u32(attributes[IFA_FLAGS]) : body->ifa_flags,
      .prefix = body->ifa_prefixlen,
      .protocol = attributes[attribute_proto] ? nla_get_u8(attributes[attribute_proto]) : 0};
  memcpy(address->address, nla_data(local), (size_t)length);
  return 1;
}

static int read_link(struct nlmsghdr *header, struct afloat_link *link) {
  struct nlattr *attributes[IFLA_MAX + 1];
  if (nlmsg_parse(header, sizeof(struct ifinfomsg), attributes, IFLA_MAX, NULL) < 0) return 0;
  const struct ifinfomsg *body = nlmsg_data(header);
  *link = (struct afloat_link){.index = (uint32_t)body->ifi_index, .up = (body->ifi_flags & IFF_UP) != 0};
  link->carrier = link->up && (attributes[IFLA_CARRIER] ? nla_get_u8(attributes[IFLA_CARRIER]) != 0
                                                        : (body->ifi_flags & IFF_LOWER_UP) != 0);
  if (attributes[IFLA_ADDRESS] && nla_len(attributes[IFLA_ADDRESS]) == 6)
    memcpy(link->hardware, nla_data(attributes[IFLA_ADDRESS]), 6);
  if (attributes[IFLA_IFNAME]) nla_strlcpy(link->name, attributes[IFLA_IFNAME], sizeof link->name);
  return 1;
}

// Answers to a listing.
static int listed(struct nl_msg *message, void *context) {
  struct afloat_netlink *connection = context;
  struct nlmsghdr *header = nlmsg_hdr(message);
  struct afloat_address address;
  struct afloat_link link;
  if (connection->addresses && header->nlmsg_type == RTM_NEWADDR && read_address(header, &address)) {
    if (connection->count < connection->room) connection->addresses[connection->count] = address;
    connection->count++;
  } else if (connection->links && header->nlmsg_type == RTM_NEWLINK && read_link(header, &link)) {
    if (connection->count < connection->room) connection->links[connection->count] = link;
    connection->count++;
  }
  return NL_OK;
}

// News of a watching connection.
static int told(struct nl_msg *message, void *context) {
  struct afloat_netlink *connection = context;
  struct nlmsghdr *header = nlmsg_hdr(message);
  struct afloat_news news = {0};
  switch (header->nlmsg_type) {
  case RTM_NEWLINK: news.kind = read_link(header, &news.link) ? AFLOAT_NEWS_LINK : 0; break;
  case RTM_DELLINK: news.kind = read_link(header, &news.link) ? AFLOAT_NEWS_LINK_GONE : 0; break;
  case RTM_NEWADDR: news.kind = read_address(header, &news.address) ? AFLOAT_NEWS_ADDRESS : 0; break;
  case RTM_DELADDR: news.kind = read_address(header, &news.address) ? AFLOAT_NEWS_ADDRESS_GONE : 0; break;
  }
  if (!news.kind) return NL_OK;
  if (connection->news_count == NEWS_ROOM)
    connection->lost = 1;
  else
    connection->news[connection->news_count++] = news;
  return NL_OK;
}

static int open_connection(struct afloat_netlink **result, nl_recvmsg_msg_cb_t receiver) {
  struct afloat_netlink *connection = calloc(1, sizeof *connection);
  if (!connection) return -ENOMEM;
  connection->socket = nl_socket_alloc();
  errno = 0;
  if (!connection->socket || nl_connect(connection->socket, NETLINK_ROUTE) < 0) {
    int code = errno ? errno : ENOMEM;
    afloat_netlink_close(connection);
    return -code;
  }
  nl_socket_modify_cb(connection->socket, NL_CB_VALID, NL_CB_CUSTOM, receiver, connection);
  nl_socket_modify_err_cb(connection->socket, NL_CB_CUSTOM, refused, connection);
  *result = connection;
  return 0;
}

int afloat_netlink_open(struct afloat_netlink **connection) { return open_connection(connection, listed); }

void afloat_netlink_close(struct afloat_netlink *connection) {
  if (connection->socket) nl_socket_free(connection->socket);
  free(connection);
}

// What a failed libnl call is in errno's terms: the kernel's own refusal where there was one.
static int failure(struct afloat_netlink *connection, int code) {
  if (connection->error) return -connection->error;
  switch (-code) {
  case NLE_NOMEM: return -ENOMEM;
  case NLE_PERM: return -EPERM;
  case NLE_EXIST: return -EEXIST;
  case NLE_OBJ_NOTFOUND: return -ENOENT;
  case NLE_AGAIN: return -EAGAIN;
  case NLE_DUMP_INTR: return -EAGAIN;
  default: return -EIO;
  }
}

static int change_address(struct afloat_netlink *connection, int type, int flags, const struct afloat_address *address,
                          uint32_t lifetime) {
  struct nl_msg *message = nlmsg_alloc_simple(type, flags);
  if (!message) return -ENOMEM;
  int is_v6 = address->family == 6, length = is_v6 ? 16 : 4;
  uint32_t address_flags = address->flags | (is_v6 ? IFA_F_NODAD : 0);
  struct ifaddrmsg body = {.ifa_family = is_v6 ? AF_INET6 : AF_INET,
                           .ifa_prefixlen = address->prefix,
                           .ifa_flags = (uint8_t)address_flags,
                           .ifa_scope = RT_SCOPE_UNIVERSE,
                           .ifa_index = address->interface};
  int code = nlmsg_append(message, &body, sizeof body, NLMSG_ALIGNTO);
  if (code >= 0) code = nla_put(message, IFA_LOCAL, length, address->address);
  if (code >= 0) code = nla_put(message, IFA_ADDRESS, length, address->address);
  if (code >= 0 && address_flags) code = nla_put_u32(message, IFA_FLAGS, address_flags);
  if (code >= 0 && type == RTM_NEWADDR && address->protocol)
    code = nla_put_u8(message, attribute_proto, address->protocol);
  if (code >= 0 && type == RTM_NEWADDR && (lifetime || is_v6)) {
    struct ifa_cacheinfo times = {.ifa_prefered = is_v6 ? 0 : lifetime, .ifa_valid = lifetime ? lifetime : UINT32_MAX};
    code = nla_put(message, IFA_CACHEINFO, sizeof times, &times);
  }
  connection->error = 0;
  if (code >= 0) code = nl_send_auto(connection->socket, message);
  if (code >= 0) code = nl_wait_for_ack(connection->socket);
  nlmsg_free(message);
  return code < 0 || connection->error ? failure(connection, code) : 0;
}

int afloat_netlink_add_address(struct afloat_netlink *connection, const struct afloat_address *address, uint32_t lifetime) {
  int code = change_address(connection, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, address, lifetime);
  return code == -EEXIST ? 0 : code;
}

int afloat_netlink_remove_address(struct afloat_netlink *connection, const struct afloat_address *address) {
  return change_address(connection, RTM_DELADDR, 0, address, 0);
}

int afloat_netlink_set_up(struct afloat_netlink *connection, uint32_t interface) {
  struct ifinfomsg body = {.ifi_family = AF_UNSPEC, .ifi_index = (int)interface, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  connection->error = 0;
  int code = nl_send_simple(connection->socket, RTM_NEWLINK, NLM_F_ACK, &body, sizeof body);
  if (code >= 0) code = nl_wait_for_ack(connection->socket);
  return code < 0 || connection->error ? failure(connection, code) : 0;
}

static int list(struct afloat_netlink *connection, int type, int family) {
  int code = 0;
  // A listing that changed under the kernel's hands is begun again, a few times.
  for (int attempt = 0; attempt < 5; attempt++) {
    connection->count = 0;
    connection->error = 0;
    struct ifinfomsg body = {.ifi_family = (uint8_t)family};
    code = nl_send_simple(connection->socket, type, NLM_F_DUMP, &body, sizeof body);
    if (code >= 0) code = nl_recvmsgs_default(connection->socket);
    if (code != -NLE_DUMP_INTR) break;
  }
  return code < 0 || connection->error ? failure(connection, code) : connection->count;
}

int afloat_netlink_addresses(struct afloat_netlink *connection, struct afloat_address *addresses, int room) {
  connection->addresses = addresses;
  connection->room = room;
  int code = list(connection, RTM_GETADDR, AF_UNSPEC);
  connection->addresses = NULL;
  return code;
}

int afloat_netlink_links(struct afloat_netlink *connection, struct afloat_link *links, int room) {
  connection->links = links;
  connection->room = room;
  int code = list(connection, RTM_GETLINK, AF_UNSPEC);
  connection->links = NULL;
  return code;
}

int afloat_netlink_watch(struct afloat_netlink **result) {
  int code = open_connection(result, told);
  if (code < 0) return code;
  struct afloat_netlink *connection = *result;
  nl_socket_disable_seq_check(connection->socket);
  if (nl_socket_set_nonblocking(connection->socket) < 0 ||
      nl_socket_add_memberships(connection->socket, RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                                RTNLGRP_NONE) < 0) {
    afloat_netlink_close(connection);
    return -EIO;
  }
  nl_socket_set_buffer_size(connection->socket, 1 << 20, 0);
  return 0;
}

int afloat_netlink_descriptor(struct afloat_netlink *connection) { return nl_socket_get_fd(connection->socket); }

int afloat_netlink_news(struct afloat_netlink *connection, struct afloat_news *news) {
  if (connection->first_news == connection->news_count) {
    connection->first_news = connection->news_count = 0;
    int code = nl_recvmsgs_default(connection->socket);
    // ENOBUFS comes back as NLE_NOMEM: the kernel dropped some.
    if (code == -NLE_NOMEM || connection->lost) {
      connection->lost = 0;
      *news = (struct afloat_news){.kind = AFLOAT_NEWS_LOST};
      return 1;
    }
    if (connection->news_count == 0) return code == -NLE_AGAIN ? 0 : code < 0 ? failure(connection, code) : 0;
  }
  *news = connection->news[connection->first_news++];
  return 1;
}
