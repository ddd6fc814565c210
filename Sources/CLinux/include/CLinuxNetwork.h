// Packet sockets, addresses and links: what the elector needs of the network besides heartbeats.
#pragma once
#include <netinet/in.h>
#include <stdint.h>
#include <sys/types.h>

// A packet socket that only sends; -1 with errno.
int afloat_packet_open(void);
// Sends one whole Ethernet frame through an interface; 0 or errno.
int afloat_packet_send(int socket, uint32_t interface, const void *frame, size_t count);

// rtnetlink, through libnl. Every call returns 0 (or a count), or a negative errno.
#define AFLOAT_ADDRESS_PROTOCOL 0xAF // IFA_PROTO of the addresses that we add, so that leftovers are recognised

struct afloat_address {
  uint32_t interface;
  uint8_t address[16]; // network order; IPv4 in the first four bytes
  uint8_t family;      // 4 or 6
  uint32_t flags;      // IFA_F_…
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
// Adds an address, for `lifetime` seconds (0: until it is removed); for one that is there, they begin anew. Those of IPv6 are
// usable at once (no duplicate address detection) and never chosen as a source (deprecated from the start). Or removes it.
int afloat_netlink_add_address(struct afloat_netlink *connection, const struct afloat_address *address, uint32_t lifetime);
int afloat_netlink_remove_address(struct afloat_netlink *connection, const struct afloat_address *address);
// Brings an interface up.
int afloat_netlink_set_up(struct afloat_netlink *connection, uint32_t interface);
// Fill at most `room` entries; the return value may be larger than `room`.
int afloat_netlink_addresses(struct afloat_netlink *connection, struct afloat_address *list, int room);
int afloat_netlink_links(struct afloat_netlink *connection, struct afloat_link *list, int room);

// From now on the packet socket also receives ARP packets, of all interfaces, whose sender claims one of these addresses
// (host order); of more than AFLOAT_CLAIMED_ADDRESSES, every ARP packet. Again: another set. 0, or errno with *step.
#define AFLOAT_CLAIMED_ADDRESSES 512
int afloat_packet_watch_claims(int socket, const uint32_t *addresses, int count, const char **step);
// The next frame that waits, without blocking: its length (at most `room`), or -1 with errno. *interface gets its index.
ssize_t afloat_packet_receive(int socket, void *frame, size_t room, uint32_t *interface);

// A socket that receives neighbour solicitations and advertisements (ICMPv6), of all interfaces and nothing else; -1 with
// errno. Unlike a packet socket it costs other IPv6 traffic nothing.
int afloat_neighbours_open(void);
// The next message that waits, without blocking: its length (more than `room` is cut), or -1 with errno. *interface gets its
// index, `source` sixteen bytes, *hop_limit -1 where it is not known.
ssize_t afloat_neighbours_receive(int socket, void *message, size_t room, uint32_t *interface, uint8_t *source,
                                  int *hop_limit);

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
// A connection that hears of changes of links and addresses; its descriptor is for polling.
int afloat_netlink_watch(struct afloat_netlink **connection);
int afloat_netlink_descriptor(struct afloat_netlink *connection);
// The next news without blocking: 1, or 0 when there is none.
int afloat_netlink_news(struct afloat_netlink *connection, struct afloat_news *news);
// Which flag of an address says that no route of the prefix is made.
extern const uint32_t afloat_address_no_prefix_route;
