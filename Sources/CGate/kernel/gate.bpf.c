// The kernel gate, a dead man's switch: this node answers for a guarded address only until the deadline in the address's
// slot, an absolute time on CLOCK_BOOTTIME that the elector moves on by one store after each heartbeat. When nobody stores any
// more, for whatever reason, the node falls silent at that time, whoever else still has the address.
//
// Runs on clsact, in both directions. Past the deadline it drops
//   input:  IP packets to the address, ARP requests for it, neighbour solicitations with it as target;
//   output: IP packets from the address, ARP with it as sender, neighbour advertisements with it as target.
// Never the opposite directions: a node stays a client of addresses that another node holds. Everything else goes on to the
// next filter.
//
// A planned handover breaks no TCP connection (IPv4 so far). The previous holder keeps those that it has for a while: their
// segments pass the shut gate, openings and ARP do not; what it does not know is dropped at first, because it may belong to
// another holder and have come by an old entry of a neighbour's cache; the client repeats it. The new holder passes segments of connections that it does not know on
// to it, by its hardware address; it answers the clients by itself.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
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
  __uint(max_entries, AFLOAT_GATE_WORDS);
  __type(key, __u32);
  __type(value, __u64);
} afloat_words SEC(".maps");

enum direction { INPUT, OUTPUT };

#define VLAN_TAGS 2
#define EXTENSION_HEADERS 4

static __always_inline int pass(void) { return TC_ACT_UNSPEC; }

// Of a slot that does not exist everything has passed.
static __always_inline __u64 word(__u32 slot, __u32 kind) {
  __u32 index = slot + kind * AFLOAT_GATE_SLOTS;
  volatile __u64 *value = slot < AFLOAT_GATE_SLOTS ? bpf_map_lookup_elem(&afloat_words, &index) : 0;
  return value ? *value : 0;
}

static __always_inline int is_before(__u64 deadline) { return deadline && bpf_ktime_get_boot_ns() < deadline; }

static __always_inline int judge_address(const struct address *address) {
  __u32 *slot = bpf_map_lookup_elem(&afloat_slots, address);
  return !slot || is_before(word(*slot, AFLOAT_GATE_OPEN)) ? pass() : TC_ACT_SHOT;
}

static __always_inline __u32 *slot_v4(__u32 value) {
  struct address address = {.bytes = {[10] = 0xff, [11] = 0xff}};
  __builtin_memcpy(address.bytes + 12, &value, 4);
  return bpf_map_lookup_elem(&afloat_slots, &address);
}

struct segment {
  __be16 source_port, target_port;
  __be32 sequence, acknowledgement;
  __u8 length, flags;
};
enum { flag_syn = 0x02, flag_ack = 0x10 };

// Whether a connection of ours, or one that is just being accepted, knows the segment.
static __always_inline int is_known(struct __sk_buff *packet, const struct iphdr *head, const struct segment *segment) {
  struct bpf_sock_tuple tuple = {.ipv4 = {.saddr = head->saddr, .daddr = head->daddr,
                                          .sport = segment->source_port, .dport = segment->target_port}};
  struct bpf_sock *found = bpf_skc_lookup_tcp(packet, &tuple, sizeof tuple.ipv4, BPF_F_CURRENT_NETNS, 0);
  if (!found) return 0;
  __u32 state = found->state;
  bpf_sk_release(found);
  return state != BPF_TCP_LISTEN;
}

static __always_inline int judge_v4(struct __sk_buff *packet, __u32 at, enum direction direction) {
  struct iphdr head;
  if (bpf_skb_load_bytes(packet, at, &head, sizeof head)) return pass();
  __u32 *found = slot_v4(direction == INPUT ? head.daddr : head.saddr);
  if (!found) return pass();
  __u32 slot = *found;
  int is_open = is_before(word(slot, AFLOAT_GATE_OPEN));
  // The rest is about connections: none to speak of, on most packets.
  if (is_open && (direction == OUTPUT || !word(slot, AFLOAT_GATE_PASS))) return pass();
  int otherwise = is_open ? pass() : TC_ACT_SHOT;
  if (!is_before(word(slot, is_open ? AFLOAT_GATE_PASS : AFLOAT_GATE_KEEP))) return otherwise;
  // Fragments behind the first do not say which connection they are of; TCP makes none.
  if (head.protocol != IPPROTO_TCP || (head.frag_off & bpf_htons(0x1fff))) return otherwise;
  struct segment segment;
  if (bpf_skb_load_bytes(packet, at + 4 * (__u32)head.ihl, &segment, sizeof segment)) return otherwise;
  int opens = (segment.flags & (flag_syn | flag_ack)) == flag_syn;
  if (!is_open) {
    int is_stray = direction == INPUT && is_before(word(slot, AFLOAT_GATE_PASS)) && !is_known(packet, &head, &segment);
    return opens || is_stray ? otherwise : pass();
  }
  // What comes by lo comes from here.
  if (opens || packet->ifindex == 1 || is_known(packet, &head, &segment)) return pass();
  struct bpf_redir_neigh next = {.nh_family = 2 /* AF_INET */, .ipv4_nh = (__u32)word(slot, AFLOAT_GATE_ADDRESS)};
  return bpf_redirect_neigh(packet->ifindex, &next, sizeof next, 0);
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
  int asks = head.operation == bpf_htons(1);
  if (bpf_skb_load_bytes(packet, at + 12 + 2 * hardware_bytes, &target, 4)) return pass();
  // Another node's announcement of itself asks us nothing, and this node's cache must hear it.
  if (direction == INPUT && (!asks || sender == target)) return pass();
  __u32 *found = slot_v4(direction == INPUT ? target : sender);
  if (!found || is_before(word(*found, AFLOAT_GATE_OPEN))) return pass();
  if (direction == INPUT || !asks || sender == target || !is_before(word(*found, AFLOAT_GATE_KEEP))) return TC_ACT_SHOT;
  // For a connection that is kept this node looks for the way to its client: in its own name.
  __u32 own = (__u32)word(*found, AFLOAT_GATE_ADDRESS);
  return bpf_skb_store_bytes(packet, at + 8 + hardware_bytes, &own, 4, 0) ? TC_ACT_SHOT : pass();
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
  if (protocol == bpf_htons(ETH_P_IP)) return judge_v4(packet, at, direction);
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
