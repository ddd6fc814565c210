// The kernel gate, a dead man's switch: this node answers for a guarded address only until the deadline in the address's
// slot, an absolute time on CLOCK_BOOTTIME that the elector moves on by one store after each heartbeat. When nobody stores any
// more, for whatever reason, the node falls silent at that time, whoever else still has the address.
//
// Runs on clsact, in both directions. Past the deadline it drops
//   input:  IP packets to the address, ARP requests for it, neighbour solicitations with it as target;
//   output: IP packets from the address, ARP with it as sender, neighbour advertisements with it as target.
// Never the opposite directions: a node stays a client of addresses that another node holds. Everything else goes on to the
// next filter.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "GateLayout.h"

struct address {
  __u8 bytes[AFLOAT_GATE_ADDRESS_BYTES];
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, AFLOAT_GATE_ADDRESSES);
  __type(key, struct address);
  __type(value, __u32);
} afloat_slots SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, AFLOAT_GATE_SLOTS);
  __type(key, __u32);
  __type(value, __u64);
} afloat_deadline SEC(".maps");

enum direction { INPUT, OUTPUT };

#define VLAN_TAGS 2
#define EXTENSION_HEADERS 4

static __always_inline int pass(void) { return TC_ACT_UNSPEC; }

static __always_inline int judge_address(const struct address *address) {
  __u32 *slot = bpf_map_lookup_elem(&afloat_slots, address);
  if (!slot) return pass();
  __u32 index = *slot;
  volatile __u64 *deadline = bpf_map_lookup_elem(&afloat_deadline, &index);
  // A slot that does not exist never opens.
  if (deadline && bpf_ktime_get_boot_ns() < *deadline) return pass();
  return TC_ACT_SHOT;
}

static __always_inline int judge_v4(__u32 value) {
  struct address address = {.bytes = {[10] = 0xff, [11] = 0xff}};
  __builtin_memcpy(address.bytes + 12, &value, 4);
  return judge_address(&address);
}

static __always_inline int judge_v6(struct __sk_buff *packet, __u32 at) {
  struct address address;
  if (bpf_skb_load_bytes(packet, at, &address, sizeof address)) return pass();
  return judge_address(&address);
}

static __always_inline int judge_arp(struct __sk_buff *packet, __u32 at, enum direction direction) {
  struct {
    __be16 hardware, protocol;
    __u8 hardware_bytes, protocol_bytes;
    __be16 operation;
  } head;
  if (bpf_skb_load_bytes(packet, at, &head, sizeof head)) return pass();
  if (head.protocol != bpf_htons(ETH_P_IP) || head.protocol_bytes != 4) return pass();
  __u32 sender, target, hardware_bytes = head.hardware_bytes;
  if (bpf_skb_load_bytes(packet, at + 8 + hardware_bytes, &sender, 4)) return pass();
  if (direction == OUTPUT) return judge_v4(sender);
  if (head.operation != bpf_htons(1)) return pass();
  if (bpf_skb_load_bytes(packet, at + 12 + 2 * hardware_bytes, &target, 4)) return pass();
  // Another node's announcement of itself asks us nothing, and this node's cache must hear it.
  return sender == target ? pass() : judge_v4(target);
}

static __always_inline int judge_neighbour(struct __sk_buff *packet, __u32 at, enum direction direction) {
  __u8 next;
  if (bpf_skb_load_bytes(packet, at + 6, &next, 1)) return pass();
  at += 40;
#pragma clang loop unroll(full)
  for (int count = 0; count < EXTENSION_HEADERS; count++) {
    // Hop-by-hop, routing, destination options. Neighbour discovery is never fragmented (RFC 6980).
    if (next != 0 && next != 43 && next != 60) break;
    __u8 head[2];
    if (bpf_skb_load_bytes(packet, at, head, 2)) return pass();
    next = head[0];
    at += 8 * (1 + (__u32)head[1]);
  }
  if (next != 58) return pass();
  __u8 type;
  if (bpf_skb_load_bytes(packet, at, &type, 1)) return pass();
  // Neighbour solicitation, neighbour advertisement.
  if (type != (direction == INPUT ? 135 : 136)) return pass();
  return judge_v6(packet, at + 8);
}

static __always_inline int judge(struct __sk_buff *packet, __u32 at, enum direction direction) {
  __be16 protocol = packet->protocol;
  if (at) {
    if (bpf_skb_load_bytes(packet, at - 2, &protocol, 2)) return pass();
#pragma clang loop unroll(full)
    for (int count = 0; count < VLAN_TAGS; count++) {
      if (protocol != bpf_htons(ETH_P_8021Q) && protocol != bpf_htons(ETH_P_8021AD)) break;
      at += 4;
      if (bpf_skb_load_bytes(packet, at - 2, &protocol, 2)) return pass();
    }
  }
  if (protocol == bpf_htons(ETH_P_IP)) {
    __u32 value;
    if (bpf_skb_load_bytes(packet, at + (direction == INPUT ? 16 : 12), &value, 4)) return pass();
    return judge_v4(value);
  }
  if (protocol == bpf_htons(ETH_P_IPV6)) {
    int verdict = judge_v6(packet, at + (direction == INPUT ? 24 : 8));
    return verdict == TC_ACT_SHOT ? verdict : judge_neighbour(packet, at, direction);
  }
  if (protocol == bpf_htons(ETH_P_ARP)) return judge_arp(packet, at, direction);
  return pass();
}

SEC("tc") int AFLOAT_GATE_INPUT(struct __sk_buff *packet) { return judge(packet, ETH_HLEN, INPUT); }
SEC("tc") int AFLOAT_GATE_OUTPUT(struct __sk_buff *packet) { return judge(packet, ETH_HLEN, OUTPUT); }
SEC("tc") int AFLOAT_GATE_BARE_INPUT(struct __sk_buff *packet) { return judge(packet, 0, INPUT); }
SEC("tc") int AFLOAT_GATE_BARE_OUTPUT(struct __sk_buff *packet) { return judge(packet, 0, OUTPUT); }

// Uses no helper that asks for the GPL.
char license_of_gate[] SEC("license") = "Apache-2.0";
