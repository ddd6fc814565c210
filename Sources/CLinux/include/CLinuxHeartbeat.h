// Heartbeat datagrams of both families: sockets, sending, receiving in batches with the kernel's stamps.
#pragma once
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

// Addresses are sockaddr_in or sockaddr_in6 in the room of a sockaddr_in6.

// Opens a non-blocking UDP socket of `group`'s family, with kernel receive stamps, a hop limit of 1 for multicasts and no
// copies of our own unless `loop`; bound as `receives` says. -1 with errno and the failed step in *step.
enum afloat_receives {
  AFLOAT_RECEIVES_NOTHING = 0,
  AFLOAT_RECEIVES_ALL = 1,        // bound to the group's port on every address
  AFLOAT_RECEIVES_GROUP_ONLY = 2, // bound to the group itself: takes nothing that another socket of the port gets
};
int afloat_heartbeat_open(const struct sockaddr_in6 *group, int receive_buffer, int receives, int loop, const char **step);
// Ties the socket to one interface, (again) joins `group` there unless that is NULL, and sends multicasts as `source` where
// the family lets that be chosen. Takes the kernel's rtnl lock: may block.
int afloat_heartbeat_join(int socket, const struct sockaddr_in6 *group, uint32_t interface, const struct sockaddr_in6 *source);
// Sends one datagram; as `source`, if that is not NULL. 0 or errno.
int afloat_heartbeat_send(int socket, const void *bytes, size_t count, const struct sockaddr_in6 *to,
                          const struct sockaddr_in6 *source);

#define AFLOAT_BATCH_COUNT 64
#define AFLOAT_BATCH_BYTES 1536

struct afloat_datagram {
  const void *bytes;
  uint32_t count;
  uint8_t multicast; // sent to a group, not to an address of this host
  int64_t stamp;     // CLOCK_REALTIME, ns; 0: none
};
struct afloat_batch;
// Room for AFLOAT_BATCH_COUNT datagrams, made once. NULL without memory.
struct afloat_batch *afloat_batch_create(void);
void afloat_batch_destroy(struct afloat_batch *batch);
// Receives what is there without blocking. How many (0: nothing left), or -1 with errno.
int afloat_batch_receive(struct afloat_batch *batch, int socket);
struct afloat_datagram afloat_batch_datagram(const struct afloat_batch *batch, int index);
