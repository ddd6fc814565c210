// Bodies of CLinuxNetwork.h that are plain socket calls.
#define _GNU_SOURCE
#include "CLinuxNetwork.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <string.h>
#include <sys/socket.h>

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
