#include "CGate.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netlink/netlink.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/tc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
// By these an agent finds its own filters, and those of an earlier one.
#define HANDLE 0xaf10a7
// The first, so that no other filter lets pass what the gate would stop. Within it the newest eBPF filter comes first.
#define PRIORITY 1

enum { directions = 2 };
static const enum bpf_tc_attach_point points[directions] = {BPF_TC_INGRESS, BPF_TC_EGRESS};

struct program {
  int descriptor;
  uint32_t id;
};

struct afloat_gate {
  struct bpf_object *object;
  int slots, words;
  struct program ethernet[directions], bare[directions];
};

static int find_program(struct bpf_object *object, const char *name, struct program *program) {
  const struct bpf_program *found = bpf_object__find_program_by_name(object, name);
  if (!found) return -ENOENT;
  program->descriptor = bpf_program__fd(found);
  struct bpf_prog_info info = {0};
  uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(program->descriptor, &info, &size)) return -errno;
  program->id = info.id;
  return 0;
}

static int find_parts(struct afloat_gate *gate) {
  gate->slots = bpf_object__find_map_fd_by_name(gate->object, "afloat_slots");
  gate->words = bpf_object__find_map_fd_by_name(gate->object, "afloat_words");
  if (gate->slots < 0 || gate->words < 0) return -ENOENT;
  int code = find_program(gate->object, TEXT(AFLOAT_GATE_INPUT), &gate->ethernet[0]);
  if (!code) code = find_program(gate->object, TEXT(AFLOAT_GATE_OUTPUT), &gate->ethernet[1]);
  if (!code) code = find_program(gate->object, TEXT(AFLOAT_GATE_BARE_INPUT), &gate->bare[0]);
  if (!code) code = find_program(gate->object, TEXT(AFLOAT_GATE_BARE_OUTPUT), &gate->bare[1]);
  return code;
}

int afloat_gate_load(const uint8_t *object, size_t count, struct afloat_gate **result) {
  libbpf_set_print(NULL);
  struct afloat_gate *gate = calloc(1, sizeof *gate);
  if (!gate) return -ENOMEM;
  LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = AFLOAT_GATE_NAME);
  errno = 0;
  gate->object = bpf_object__open_mem(object, count, &options);
  int code = gate->object ? bpf_object__load(gate->object) : -(errno ? errno : ENOMEM);
  if (!code) code = find_parts(gate);
  if (code) {
    afloat_gate_close(gate);
    return code;
  }
  *result = gate;
  return 0;
}

void afloat_gate_close(struct afloat_gate *gate) {
  bpf_object__close(gate->object);
  free(gate);
}

int afloat_gate_words(const struct afloat_gate *gate) { return gate->words; }

int afloat_gate_guard(const struct afloat_gate *gate, const uint8_t *address, uint32_t slot) {
  return bpf_map_update_elem(gate->slots, address, &slot, BPF_ANY) ? -errno : 0;
}

int afloat_gate_release(const struct afloat_gate *gate, const uint8_t *address) {
  return bpf_map_delete_elem(gate->slots, address) && errno != ENOENT ? -errno : 0;
}

int afloat_gate_try(const struct afloat_gate *gate, int output, const uint8_t *frame, uint32_t count, uint8_t *result) {
  LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = count, .data_out = result,
              .data_size_out = count);
  if (bpf_prog_test_run_opts(gate->ethernet[output ? 1 : 0].descriptor, &options)) return -errno;
  return options.retval != TC_ACT_SHOT;
}

// 1 if the interface's frames have an Ethernet header (those of lo have one too), 0 if not, or a negative errno.
static int has_ethernet_header(uint32_t interface) {
  struct ifreq request = {0};
  if (!if_indextoname(interface, request.ifr_name)) return -errno;
  int probe = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return -errno;
  int code = ioctl(probe, SIOCGIFHWADDR, &request) ? -errno : 0;
  close(probe);
  if (code) return code;
  return request.ifr_hwaddr.sa_family == ARPHRD_ETHER || request.ifr_hwaddr.sa_family == ARPHRD_LOOPBACK;
}

// Whether the qdisc in clsact's place is clsact, the only one with both directions.
static int has_clsact(uint32_t interface) {
  struct nl_sock *socket = nl_socket_alloc();
  struct nl_cache *cache = NULL;
  int found = 0;
  if (socket && nl_connect(socket, NETLINK_ROUTE) >= 0 && rtnl_qdisc_alloc_cache(socket, &cache) >= 0) {
    struct rtnl_qdisc *qdisc = rtnl_qdisc_get_by_parent(cache, (int)interface, TC_H_INGRESS);
    const char *kind = qdisc ? rtnl_tc_get_kind(TC_CAST(qdisc)) : NULL;
    found = kind && strcmp(kind, "clsact") == 0;
    if (qdisc) rtnl_qdisc_put(qdisc);
    nl_cache_free(cache);
  }
  if (socket) nl_socket_free(socket);
  return found;
}

// Whether a program that has our handle is a gate. Only CAP_SYS_ADMIN may look; who may not believes the handle.
static int is_gate(uint32_t id) {
  int program = bpf_prog_get_fd_by_id(id);
  if (program < 0) return errno == EPERM;
  struct bpf_prog_info info = {0};
  uint32_t size = sizeof info;
  int code = bpf_obj_get_info_by_fd(program, &info, &size);
  close(program);
  return code == 0 && strncmp(info.name, AFLOAT_GATE_NAME, strlen(AFLOAT_GATE_NAME)) == 0;
}

// The program of a gate's filter; 0 if there is none.
static uint32_t find_filter(uint32_t interface, enum bpf_tc_attach_point point) {
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)interface, .attach_point = point);
  LIBBPF_OPTS(bpf_tc_opts, options, .handle = HANDLE, .priority = PRIORITY);
  if (bpf_tc_query(&hook, &options)) return 0;
  return is_gate(options.prog_id) ? options.prog_id : 0;
}

static int attach_direction(uint32_t interface, enum bpf_tc_attach_point point, const struct program *program) {
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)interface, .attach_point = point);
  uint32_t earlier = find_filter(interface, point);
  if (earlier == program->id) return 0;
  LIBBPF_OPTS(bpf_tc_opts, options, .handle = HANDLE, .priority = PRIORITY, .prog_fd = program->descriptor,
              .flags = earlier ? BPF_TC_F_REPLACE : 0);
  int code = bpf_tc_attach(&hook, &options);
  // Another kind of filter, or one for another protocol, has the priority.
  return code == -EEXIST || code == -EINVAL ? -EBUSY : code;
}

int afloat_gate_attach(const struct afloat_gate *gate, uint32_t interface) {
  int ethernet = has_ethernet_header(interface);
  if (ethernet < 0) return ethernet;
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)interface, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
  int code = bpf_tc_hook_create(&hook);
  if (code && code != -EEXIST) return code;
  if (!has_clsact(interface)) return -EBUSY;
  const struct program *programs = ethernet ? gate->ethernet : gate->bare;
  for (int direction = 0; direction < directions; direction++) {
    code = attach_direction(interface, points[direction], &programs[direction]);
    if (code) {
      afloat_gate_detach(interface);
      return code;
    }
  }
  return 0;
}

int afloat_gate_is_attached(const struct afloat_gate *gate, uint32_t interface) {
  for (int direction = 0; direction < directions; direction++) {
    uint32_t id = find_filter(interface, points[direction]);
    if (!id || (id != gate->ethernet[direction].id && id != gate->bare[direction].id)) return 0;
  }
  return 1;
}

int afloat_gate_detach(uint32_t interface) {
  int removed = 0;
  for (int direction = 0; direction < directions; direction++) {
    if (!find_filter(interface, points[direction])) continue;
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)interface, .attach_point = points[direction]);
    LIBBPF_OPTS(bpf_tc_opts, options, .handle = HANDLE, .priority = PRIORITY);
    if (bpf_tc_detach(&hook, &options) == 0) removed++;
  }
  return removed;
}
