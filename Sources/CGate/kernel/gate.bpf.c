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
// A planned handover breaks no TCP connection. The previous holder keeps those that it has for a while: their segments pass
// the shut gate, the questions of neighbours do not. What comes at first may have come by an old entry of a neighbour's cache.
// An opening is taken all the same: a repetition would cost its client a second, and the new connection is one of those that are
// kept. What else it does not know is dropped, because it may belong to another holder; the client repeats it. To find the way to
// a client it asks in its own name. The new holder passes segments of connections that it does not know on to it, by its hardware
// address; it answers the clients by itself.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
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
enum { packet_host = 0 };

// Of the socket that a segment would reach: a connection of ours, or one that is just being accepted, or a listener; 0 for none.
static __always_inline __u32 state_of(struct __sk_buff *packet, struct bpf_sock_tuple *tuple, int is_v6) {
  __u32 size = is_v6 ? sizeof tuple->ipv6 : sizeof tuple->ipv4;
  struct bpf_sock *found = bpf_skc_lookup_tcp(packet, tuple, size, BPF_F_CURRENT_NETNS, 0);
  if (!found) return 0;
  __u32 state = found->state;
  bpf_sk_release(found);
  return state;
}

static __always_inline int is_known(struct __sk_buff *packet, struct bpf_sock_tuple *tuple, int is_v6) {
  __u32 state = state_of(packet, tuple, is_v6);
  return state && state != BPF_TCP_LISTEN;
}

static __always_inline struct address address6(__u32 slot) {
  __u64 halves[2] = {word(slot, AFLOAT_GATE_ADDRESS6_FIRST), word(slot, AFLOAT_GATE_ADDRESS6_LAST)};
  struct address address;
  __builtin_memcpy(address.bytes, halves, sizeof address);
  return address;
}

// To the previous holder, whatever the neighbours' caches say of the packet's own target.
static __always_inline int pass_on(struct __sk_buff *packet, __u32 slot, int is_v6) {
  struct bpf_redir_neigh next = {.nh_family = 2 /* AF_INET */, .ipv4_nh = (__u32)word(slot, AFLOAT_GATE_ADDRESS)};
  // The kernel asks for the hardware address of an IPv6 neighbour for packets of both families.
  if (is_v6 || !next.ipv4_nh) {
    struct address address = address6(slot);
    next.nh_family = 10 /* AF_INET6 */;
    __builtin_memcpy(next.ipv6_nh, address.bytes, sizeof address);
  }
  return bpf_redirect_neigh(packet->ifindex, &next, sizeof next, 0);
}

// A TCP segment to or from an address of the slot, while its connections are kept (it is shut) or unknown ones are passed on
// (it is open, and the segment comes in). `tuple` has the packet's addresses.
static __always_inline int judge_segment(struct __sk_buff *packet, __u32 at, enum direction direction, __u32 slot,
                                         int is_open, struct bpf_sock_tuple *tuple, int is_v6) {
  int otherwise = is_open ? pass() : TC_ACT_SHOT;
  int is_early = !is_open && direction == INPUT && is_before(word(slot, AFLOAT_GATE_PASS));
  struct segment segment;
  if (bpf_skb_load_bytes(packet, at, &segment, sizeof segment)) return otherwise;
  int is_opening = (segment.flags & (flag_syn | flag_ack)) == flag_syn;
  if (is_opening && !is_early) return otherwise;
  if (is_v6) {
    tuple->ipv6.sport = segment.source_port;
    tuple->ipv6.dport = segment.target_port;
  } else {
    tuple->ipv4.sport = segment.source_port;
    tuple->ipv4.dport = segment.target_port;
  }
  // Where nobody listens any more an opening would be refused.
  if (is_opening) return state_of(packet, tuple, is_v6) ? pass() : otherwise;
  if (!is_open) return is_early && !is_known(packet, tuple, is_v6) ? otherwise : pass();
  // What comes by lo comes from here. What has a tag is judged again on its VLAN's interface, where the previous holder is. What
  // is for another host (a switch floods, and this interface listens to all) is none of ours.
  if (packet->ifindex == 1 || packet->vlan_present || packet->pkt_type != packet_host) return pass();
  if (is_known(packet, tuple, is_v6)) return pass();
  return pass_on(packet, slot, is_v6);
}

static __always_inline int judge_v4(struct __sk_buff *packet, __u32 at, enum direction direction) {
  struct iphdr head;
  if (bpf_skb_load_bytes(packet, at, &head, sizeof head)) return pass();
  __u32 *found = slot_v4(direction == INPUT ? head.daddr : head.saddr);
  if (!found) return pass();
  __u32 slot = *found;
  int is_open = is_before(word(slot, AFLOAT_GATE_OPEN));
  // The rest is about connections: none to speak of, on most packets. Without a link-layer head nothing can be passed on.
  if (is_open && (direction == OUTPUT || !at || !word(slot, AFLOAT_GATE_PASS))) return pass();
  int otherwise = is_open ? pass() : TC_ACT_SHOT;
  if (!is_before(word(slot, is_open ? AFLOAT_GATE_PASS : AFLOAT_GATE_KEEP))) return otherwise;
  // Fragments behind the first do not say which connection they are of; TCP makes none.
  if (head.protocol != IPPROTO_TCP || (head.frag_off & bpf_htons(0x1fff))) return otherwise;
  struct bpf_sock_tuple tuple = {.ipv4 = {.saddr = head.saddr, .daddr = head.daddr}};
  return judge_segment(packet, at + 4 * (__u32)head.ihl, direction, slot, is_open, &tuple, 0);
}

struct upper {
  __u32 at;
  __u8 protocol;
};

// What an IPv6 packet carries, behind hop-by-hop, routing and destination options. Neither TCP nor neighbour discovery (RFC
// 6980) is fragmented: a fragment is found as such.
static __always_inline struct upper upper_v6(struct __sk_buff *packet, __u32 at) {
  struct upper upper = {.at = at + 40}, none = {.protocol = 59};
  if (bpf_skb_load_bytes(packet, at + 6, &upper.protocol, 1)) return none;
#pragma clang loop unroll(full)
  for (int count = 0; count < EXTENSION_HEADERS; count++) {
    if (upper.protocol != 0 && upper.protocol != 43 && upper.protocol != 60) break;
    __u8 head[2];
    if (bpf_skb_load_bytes(packet, upper.at, head, 2)) return none;
    upper.protocol = head[0];
    upper.at += 8 * (1 + (__u32)head[1]);
  }
  return upper;
}

enum { solicitation = 135, advertisement = 136 };

// For a connection that is kept this node looks for the way to its client: in its own name, since a neighbour would take the
// solicitation's source for this node's.
static __always_inline int solicit_as_self(struct __sk_buff *packet, __u32 at, __u32 icmp, __u32 slot,
                                           struct address *source) {
  __u8 type;
  if (bpf_skb_load_bytes(packet, icmp, &type, 1) || type != solicitation) return TC_ACT_SHOT;
  struct address own = address6(slot);
  __s64 change = bpf_csum_diff((__be32 *)source, sizeof *source, (__be32 *)&own, sizeof own, 0);
  if (change < 0 || bpf_l4_csum_replace(packet, icmp + 2, 0, (__u64)change, BPF_F_PSEUDO_HDR)) return TC_ACT_SHOT;
  return bpf_skb_store_bytes(packet, at + 8, &own, sizeof own, 0) ? TC_ACT_SHOT : pass();
}

static __always_inline int judge_v6(struct __sk_buff *packet, __u32 at, enum direction direction) {
  struct address address;
  if (bpf_skb_load_bytes(packet, at + (direction == INPUT ? 24 : 8), &address, sizeof address)) return pass();
  __u32 *found = bpf_map_lookup_elem(&afloat_slots, &address);
  if (!found) return pass();
  __u32 slot = *found;
  int is_open = is_before(word(slot, AFLOAT_GATE_OPEN));
  // As for IPv4.
  if (is_open && (direction == OUTPUT || !at || !word(slot, AFLOAT_GATE_PASS))) return pass();
  int otherwise = is_open ? pass() : TC_ACT_SHOT;
  if (!is_before(word(slot, is_open ? AFLOAT_GATE_PASS : AFLOAT_GATE_KEEP))) return otherwise;
  struct upper upper = upper_v6(packet, at);
  if (upper.protocol == IPPROTO_TCP) {
    struct bpf_sock_tuple tuple = {};
    if (bpf_skb_load_bytes(packet, at + 8, &tuple.ipv6, 32)) return otherwise;
    return judge_segment(packet, upper.at, direction, slot, is_open, &tuple, 1);
  }
  if (direction == INPUT || upper.protocol != IPPROTO_ICMPV6) return otherwise;
  return solicit_as_self(packet, at, upper.at, slot, &address);
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
  struct upper upper = upper_v6(packet, at);
  if (upper.protocol != IPPROTO_ICMPV6) return pass();
  __u8 type;
  if (bpf_skb_load_bytes(packet, upper.at, &type, 1)) return pass();
  if (type != (direction == INPUT ? solicitation : advertisement)) return pass();
  struct address target;
  if (bpf_skb_load_bytes(packet, upper.at + 8, &target, sizeof target)) return pass();
  __u32 *slot = bpf_map_lookup_elem(&afloat_slots, &target);
  return !slot || is_before(word(*slot, AFLOAT_GATE_OPEN)) ? pass() : TC_ACT_SHOT;
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
    int verdict = judge_v6(packet, at, direction);
    return verdict == pass() ? judge_neighbour(packet, at, direction) : verdict;
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
