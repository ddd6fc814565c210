"""The deadlines of the kernel gates on one machine, read from the memory of the agents' eBPF maps, on the clock that all
namespaces share."""

import ctypes
import mmap
import os
import struct
import threading
import time

WORDS = 1536
PIDFD_GETFD = 438
_libc = ctypes.CDLL(None, use_errno=True)


def _array_of(pid):
    """The descriptor number under which a process has the array of deadlines."""
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{name}") != "anon_inode:bpf-map":
                continue
            with open(f"/proc/{pid}/fdinfo/{name}", encoding="utf-8") as file:
                facts = dict(line.split(":", 1) for line in file if ":" in line)
        except FileNotFoundError:
            continue
        if int(facts["map_type"]) == 2 and int(facts["max_entries"]) == WORDS:
            return int(name)
    raise AssertionError(f"process {pid} has no deadlines of a kernel gate")


class Gate:
    """The deadlines of one agent's gate. They stay readable when the agent is gone."""

    def __init__(self, pid):
        process = os.pidfd_open(pid)
        file = _libc.syscall(PIDFD_GETFD, process, _array_of(pid), 0)
        os.close(process)
        assert file >= 0, os.strerror(ctypes.get_errno())
        self.memory = mmap.mmap(file, WORDS * 8, mmap.MAP_SHARED, mmap.PROT_READ)
        os.close(file)

    def deadline(self, slot=0):
        """Nanoseconds on CLOCK_BOOTTIME; 0 is shut."""
        return struct.unpack_from("=Q", self.memory, slot * 8)[0]

    def is_open(self, slot=0):
        return self.deadline(slot) > time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class GateWatch(threading.Thread):
    """Looks for a moment at which two gates were open for the same VIP, as often as it can."""

    def __init__(self, gates, slot=0):
        super().__init__(daemon=True)
        self.gates = gates
        self.slot = slot
        self.both = []
        self.looks = 0
        self._ended = False

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._ended = True
        self.join()

    def run(self):
        while not self._ended:
            first = [gate.deadline(self.slot) for gate in self.gates]
            second = [gate.deadline(self.slot) for gate in self.gates]
            now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            # Open over the whole look: the same deadline twice, and not passed when it ended.
            held = [one for one, two in zip(first, second) if one == two and one > now]
            if len(held) > 1:
                self.both.append((now, first))
            self.looks += 1
            time.sleep(0.0002)
