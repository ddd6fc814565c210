// Heartbeat datagrams, packet sockets, addresses and links: what the elector needs of the network.
#pragma once
#include <netinet/in.h>
#include <stdint.h>
#include <sys/types.h>

// Opens a non-blocking UDP socket for one IPv4 multicast group, bound to `group`:`port` (host order), with kernel receive
// stamps, TTL 1, and no copies of our own datagrams unless `loop`. -1 with errno and the failed step in *step.
int afloat_multicast_open(uint32_t group, uint16_t port, int receive_buffer, int loop, const char **step);
// Joins (again) on one interface and sends from `source` through it. Takes the kernel's rtnl lock: may block.
int afloat_multicast_join(int socket, uint32_t group, uint32_t interface, uint32_t source);
// Sends one datagram to group:port; 0 or errno.
int afloat_multicast_send(int socket, const void *bytes, size_t count, uint32_t group, uint16_t port);

#define AFLOAT_BATCH_COUNT 64
#define AFLOAT_BATCH_BYTES 1536

struct afloat_datagram {
  const void *bytes;
  uint32_t count;      // longer than AFLOAT_BATCH_BYTES: `truncated`
  uint32_t source;     // host order
  int64_t stamp;       // CLOCK_REALTIME, ns; 0: none
  uint8_t truncated;
};
struct afloat_batch;
// Room for AFLOAT_BATCH_COUNT datagrams, made once. NULL without memory.
struct afloat_batch *afloat_batch_create(void);
void afloat_batch_destroy(struct afloat_batch *batch);
// Receives what is there without blocking. How many (0: nothing left), or -1 with errno.
int afloat_batch_receive(struct afloat_batch *batch, int socket);
struct afloat_datagram afloat_batch_datagram(const struct afloat_batch *batch, int index);

// A packet socket that only sends; -1 with errno.
int afloat_packet_open(void);
// Sends one whole Ethernet frame through an interface; 0 or errno.
int afloat_packet_send(int socket, uint32_t interface, const void *frame, size_t count);

// rtnetlink, through libnl. Every call returns 0 (or a count), or a negative errno.
#define AFLOAT_ADDRESS_PROTOCOL 0xAF // IFA_PROTO of the addresses that we add, so that leftovers are recognised

struct afloat_address {
  uint32_t interface;
  uint32_t address; // IPv4, host order
  uint32_t flags;   // IFA_F_…
  uint8_t prefix;
  uint8_t protocol; // IFA_PROTO, 0 where the kernel does not tell
};
struct afloat_link {
  uint32_t index;
  uint8_t hardware[6]; // zero unless Ethernet-like
  uint8_t up;          // administratively
  uint8_t carrier;
  char name[16];
};
struct afloat_netlink;
int afloat_netlink_open(struct afloat_netlink **connection);
void afloat_netlink_close(struct afloat_netlink *connection);
// Adds an address, for `lifetime` seconds (0: until it is removed); for one that is there, they begin anew. Or removes it.
int afloat_netlink_add_address(struct afloat_netlink *connection, const struct afloat_address *address, uint32_t lifetime);
int afloat_netlink_remove_address(struct afloat_netlink *connection, const struct afloat_address *address);
// Brings an interface up.
int afloat_netlink_set_up(struct afloat_netlink *connection, uint32_t interface);
// Fill at most `room` entries; the return value may be larger than `room`.
int afloat_netlink_addresses(struct afloat_netlink *connection, struct afloat_address *list, int room);
int afloat_netlink_links(struct afloat_netlink *connection, struct afloat_link *list, int room);

enum afloat_news_kind {
  AFLOAT_NEWS_LINK = 1,
  AFLOAT_NEWS_LINK_GONE = 2,
  AFLOAT_NEWS_ADDRESS = 3,
  AFLOAT_NEWS_ADDRESS_GONE = 4,
  AFLOAT_NEWS_LOST = 5, // the kernel dropped news: list again
};
struct afloat_news {
  uint32_t kind;
  struct afloat_link link;
  struct afloat_address address;
};
// A connection that hears of changes of links and IPv4 addresses; its descriptor is for polling.
int afloat_netlink_watch(struct afloat_netlink **connection);
int afloat_netlink_descriptor(struct afloat_netlink *connection);
// The next news without blocking: 1, or 0 when there is none.
int afloat_netlink_news(struct afloat_netlink *connection, struct afloat_news *news);
// Whether an IPv4 address flag says that no route of the prefix is made.
extern const uint32_t afloat_address_no_prefix_route;
