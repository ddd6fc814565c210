// What the program in the kernel and its loader agree on.
#pragma once

// VIPs with deadlines of their own.
#define AFLOAT_GATE_SLOTS 256
// Each has six words of 8 bytes, AFLOAT_GATE_SLOTS words apart; whole pages together, so that the array can be mapped.
// Until when this node answers for it.
#define AFLOAT_GATE_OPEN 0
// Until when connections go on that were there before another node took it over.
#define AFLOAT_GATE_KEEP 1
// While it is open: until when segments of connections that nobody here knows are passed on to its previous holder. While
// connections are kept: until when such segments are dropped rather than reset and openings taken, since clients' neighbour caches
// may be behind.
#define AFLOAT_GATE_PASS 2
// An IPv4 address, in network order: of the previous holder while it is open, of this node while it keeps connections. 0 where
// there is none.
#define AFLOAT_GATE_ADDRESS 3
// The same by IPv6: the first eight bytes, and the last.
#define AFLOAT_GATE_ADDRESS6_FIRST 4
#define AFLOAT_GATE_ADDRESS6_LAST 5
#define AFLOAT_GATE_WORDS (6 * AFLOAT_GATE_SLOTS)
// Addresses that are guarded, over all slots.
#define AFLOAT_GATE_ADDRESSES 4096
// An IPv4 address is guarded in its mapped form, ::ffff:a.b.c.d.
#define AFLOAT_GATE_ADDRESS_BYTES 16

// Programs: by direction, and by whether the interface's frames have an Ethernet header. Names of at most 15 bytes, which
// is what the kernel keeps; all begin alike, and by that beginning an earlier agent's programs are known again.
#define AFLOAT_GATE_NAME "afloat_gate"
#define AFLOAT_GATE_INPUT afloat_gate_in
#define AFLOAT_GATE_OUTPUT afloat_gate_out
#define AFLOAT_GATE_BARE_INPUT afloat_gate_bin
#define AFLOAT_GATE_BARE_OUTPUT afloat_gate_bou
