// Bodies of CLinuxNames.h.
#define _GNU_SOURCE
#include "CLinuxNames.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int afloat_look_up(const char *name, struct afloat_name_address *list, int room) {
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
  struct addrinfo *found = NULL;
  int code = getaddrinfo(name, NULL, &hints, &found);
  if (code == EAI_SYSTEM) return -1000 - errno;
  if (code != 0) return code;
  int count = 0;
  for (const struct addrinfo *next = found; next && count < room; next = next->ai_next) {
    struct afloat_name_address *place = list + count;
    memset(place, 0, sizeof *place);
    if (next->ai_family == AF_INET) {
      place->family = 4;
      memcpy(place->address, &((const struct sockaddr_in *)next->ai_addr)->sin_addr, 4);
    } else if (next->ai_family == AF_INET6) {
      place->family = 6;
      memcpy(place->address, &((const struct sockaddr_in6 *)next->ai_addr)->sin6_addr, 16);
    } else {
      continue;
    }
    count++;
  }
  freeaddrinfo(found);
  return count;
}

_Static_assert(EAI_NONAME < 0 && EAI_SYSTEM > -1000, "codes of getaddrinfo are small and negative");

const char *afloat_look_up_words(int code) { return code <= -1000 ? strerrordesc_np(-1000 - code) : gai_strerror(code); }

void afloat_limit_look_ups(void) { setenv("RES_OPTIONS", "timeout:2 attempts:2", 0); }
