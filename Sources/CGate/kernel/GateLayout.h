// What the program in the kernel and its loader agree on.
#pragma once

// VIPs with a deadline of their own: one page of 8-byte words, so that the array maps as a whole.
#define AFLOAT_GATE_SLOTS 512
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
