// The kernel gate: loads the eBPF program of kernel/gate.bpf.c and attaches it to interfaces, through libbpf.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "../kernel/GateLayout.h"

struct afloat_gate;

// Loads programs and maps from the compiled object of kernel/gate.bpf.c; every slot is shut. Needs CAP_BPF (or CAP_SYS_ADMIN) and CAP_NET_ADMIN in the first user
// namespace. 0, or a negative errno. Prints nothing.
int afloat_gate_load(const uint8_t *object, size_t count, struct afloat_gate **gate);
// What is attached stays attached, and keeps program and maps alive in the kernel.
void afloat_gate_close(struct afloat_gate *gate);

// Descriptor of the array of deadlines (AFLOAT_GATE_WORDS words of 8 bytes, may be mapped); owned by the gate.
int afloat_gate_words(const struct afloat_gate *gate);

// Guards an address (AFLOAT_GATE_ADDRESS_BYTES bytes) by a slot, or no longer. 0, or a negative errno.
int afloat_gate_guard(const struct afloat_gate *gate, const uint8_t *address, uint32_t slot);
int afloat_gate_release(const struct afloat_gate *gate, const uint8_t *address);

// Attaches both directions to an interface of this network namespace, in front of other programs' filters; takes the place
// of an earlier agent's gate without a moment in between. Other filters stay as they are. 0, or a negative errno:
// -EBUSY means that another program has an `ingress` qdisc where clsact would have to be, or the first priority.
int afloat_gate_attach(const struct afloat_gate *gate, uint32_t interface);
// 1 if this gate is attached to the interface in both directions.
int afloat_gate_is_attached(const struct afloat_gate *gate, uint32_t interface);
// Removes the filters of this or an earlier agent's gate; the qdisc stays, since others may use it by now. How many filters
// were removed.
int afloat_gate_detach(uint32_t interface);

// Runs the program on a frame that goes nowhere: 1 if it would pass, 0 if it would be dropped, or a negative errno. `result` has
// room for as many bytes, and gets the frame as it would go on.
int afloat_gate_try(const struct afloat_gate *gate, int output, const uint8_t *frame, uint32_t count, uint8_t *result);
