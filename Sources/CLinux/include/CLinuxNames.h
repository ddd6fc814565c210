// Addresses of names, by the system's own resolver: files, DNS, and what else nsswitch.conf says.
#pragma once
#include <stdint.h>

struct afloat_name_address {
  uint8_t address[16]; // network order; IPv4 in the first four bytes
  uint8_t family;      // 4 or 6
};
// Fills at most `room` addresses, in no certain order. Returns their count, or a negative code for `afloat_look_up_words`.
// Waits for servers, for as long as resolv.conf and `afloat_limit_look_ups` let it.
int afloat_look_up(const char *name, struct afloat_name_address *list, int room);
const char *afloat_look_up_words(int code);
// Look-ups of this process give each DNS server two seconds, twice, unless $RES_OPTIONS says otherwise. Before any thread.
void afloat_limit_look_ups(void);
