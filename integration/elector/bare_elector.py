"""An elector without an agent: this module plays the agent's part on its control socket, so that the elector can be tested
by itself. Messages are the trees of bytes that Sources/Control/MessageCoding.swift describes."""

import os
import select
import socket
import struct
import subprocess
import time

from lab.agent import executables

PAGE_WORDS = ("magic", "beat", "bootHigh", "bootLow", "nextSequence", "detectionNanoseconds")


def encode(value):
    if value is None:
        return b"\x00"
    if isinstance(value, bool):
        return b"\x02" if value else b"\x01"
    if isinstance(value, int):
        return b"\x03" + struct.pack(">q", value) if value < 1 << 63 else b"\x04" + struct.pack(">Q", value)
    if isinstance(value, float):
        return b"\x05" + struct.pack(">d", value)
    if isinstance(value, str):
        text = value.encode()
        return b"\x06" + struct.pack(">I", len(text)) + text
    if isinstance(value, (list, tuple)):
        return b"\x07" + struct.pack(">I", len(value)) + b"".join(encode(item) for item in value)
    items = sorted(value.items(), key=lambda pair: pair[0].encode())
    return b"\x08" + struct.pack(">I", len(items)) + b"".join(encode(key)[1:] + encode(item) for key, item in items)


def decode(data):
    value, end = _decode(data, 0)
    assert end == len(data), "bytes after the value"
    return value


def _decode(data, at):
    def number(form, at):
        size = struct.calcsize(form)
        return struct.unpack(form, data[at:at + size])[0], at + size

    def text(at):
        length, at = number(">I", at)
        return data[at:at + length].decode(), at + length

    tag, at = data[at], at + 1
    if tag == 0:
        return None, at
    if tag in (1, 2):
        return tag == 2, at
    if tag in (3, 4, 5):
        return number({3: ">q", 4: ">Q", 5: ">d"}[tag], at)
    if tag == 6:
        return text(at)
    count, at = number(">I", at)
    if tag == 7:
        items = []
        for _ in range(count):
            item, at = _decode(data, at)
            items.append(item)
        return items, at
    pairs = {}
    for _ in range(count):
        key, at = text(at)
        pairs[key], at = _decode(data, at)
    return pairs, at


def span(milliseconds):
    return {"nanoseconds": int(milliseconds * 1_000_000)}


def configuration(lan, node, heartbeat=20, dead_after=3, vips=None, key=b"k" * 32, cluster="zone-a", **changes):
    """What `.configure` carries for one host of a lab. `vips`: name → addresses, or → keys of the VIP."""
    vips = {"web": ["192.0.2.100/24"]} if vips is None else vips
    value = {
        "clusterName": cluster, "node": node, "interfaces": ["eth0"], "transport": "multicast",
        "group": {"address": "239.255.70.76", "port": 7076}, "keys": [list(key)], "heartbeat": span(heartbeat),
        "deadAfter": dead_after, "aloneAfter": span(500), "digest": 42,
        "members": [{"name": host.name, "addresses": [host.address], "role": "voter"} for host in lan.nodes],
        "vips": [],
    }
    for name, addresses in vips.items():
        vip = {
            "name": name, "interface": "eth0", "prefer": [host.name for host in lan.nodes], "failback": {"never": {}},
            "requires": [], "announce": span(60_000)}
        vip.update(addresses if isinstance(addresses, dict) else {"addresses": addresses})
        parts = [prefix.split("/") for prefix in vip["addresses"]]
        vip["addresses"] = [{"address": address, "length": int(length)} for address, length in parts]
        value["vips"].append(vip)
    value.update(changes)
    return value


class BareElector:
    """One afloat-elector on a host, with this object in the place of its agent."""

    def __init__(self, host, settings=None, user="nobody", environment=None):
        self.host = host
        self.reports = []
        self.status = {}
        self.ended = False
        self.revision = 0
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.page = os.memfd_create("page")
        os.ftruncate(self.page, 4096)
        program = os.path.join(executables(), "afloat-elector")
        self.process = host.start(
            "bash", "-c", f'exec "$0" --user {user} 3<&{theirs.fileno()} 4<&{self.page}', program, log="elector.log",
            pass_fds=(theirs.fileno(), self.page), env={**os.environ, **(environment or {})})
        theirs.close()
        self.socket = ours
        if settings is not None:
            self.tell("configure", _0=settings)

    def tell(self, command, **values):
        self.socket.send(b"\x00" + encode({command: values}))

    def reload(self, settings, only_check=False):
        """None when the elector goes by the settings (or could), else why it refuses them."""
        self.revision += 1
        self.tell("reconfigure", _0=settings, revision=self.revision, onlyCheck=only_check)

        def answer(elector):
            for kind, value in elector.reports:
                if kind in ("reconfigured", "refused") and value["revision"] == self.revision:
                    return kind, value
            return None

        kind, value = self.wait_for(answer, 5, "an answer to a reload")
        return value["why"] if kind == "refused" else None

    def pump(self, timeout=0.0):
        """Reads the reports that wait, or the first within `timeout` seconds."""
        while not self.ended and select.select([self.socket], [], [], timeout)[0]:
            timeout = 0
            try:
                packet, files, _, _ = socket.recv_fds(self.socket, 1 << 17, 4)
            except ConnectionResetError:
                packet, files = b"", []
            if not packet:
                self.ended = True
                return
            body = packet[1:]
            if packet[0] == 1:
                body = os.pread(files[0], os.fstat(files[0]).st_size, 0)
            for file in files:
                os.close(file)
            (kind, values), = decode(body).items()
            if kind == "status":
                self.status = values["_0"]
            else:
                self.reports.append((kind, values.get("_0", values)))

    def wait_for(self, condition, timeout=10, what="it"):
        deadline = time.monotonic() + timeout
        while True:
            self.pump(0.01)
            value = condition(self)
            if value:
                return value
            assert time.monotonic() < deadline, f"{self.host.name}: {what} did not come to pass: {self.reports} {self.status}"
            assert not self.ended, f"{self.host.name}: the elector ended while waiting for {what}: {self.reports}"

    def events(self, kind=None):
        self.pump()
        return [value for name, value in self.reports if name == "event" and kind in (None, value["kind"])]

    def said(self, kind):
        self.pump()
        return [value for name, value in self.reports if name == kind]

    def vip(self, name="web"):
        return next((vip for vip in self.status.get("vips", []) if vip["name"] == name), {})

    def member(self, name):
        return next((member for member in self.status.get("members", []) if member["name"] == name), {})

    def holds(self, name="web"):
        return self.vip(name).get("role") == "holder"

    def page_words(self):
        values = struct.unpack("=6Q", os.pread(self.page, 48, 0))
        return dict(zip(PAGE_WORDS, values))

    def close(self):
        """What the agent's death looks like."""
        self.socket.close()
        self.ended = True

    def kill(self):
        self.process.kill()
        self.process.wait()


class Electors(dict):
    """Electors of one test, by the names of their hosts; ended with it."""

    def start(self, lan, *names, environment=None, **changes):
        """An elector on every node (or on those named), configured alike."""
        for host in lan.nodes:
            if not names or host.name in names:
                settings = configuration(lan, host.name, **changes)
                self[host.name] = BareElector(host, settings, environment=environment)
        return self

    def end(self):
        for elector in self.values():
            elector.close()
        for elector in self.values():
            try:
                elector.process.wait(3)
            except subprocess.TimeoutExpired:
                elector.kill()


def pump_all(electors, seconds):
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        sockets = [elector.socket for elector in electors.values() if not elector.ended]
        if not sockets:
            time.sleep(left)
            return
        select.select(sockets, [], [], left)
        for elector in electors.values():
            elector.pump()


def holders(electors, vip="web"):
    for elector in electors.values():
        elector.pump()
    return [name for name, elector in electors.items() if not elector.ended and elector.holds(vip)]


def wait_for_holder(electors, vip="web", timeout=10, among=None):
    """Waits until exactly one elector holds the VIP and has its address; returns its name."""
    deadline = time.monotonic() + timeout
    while True:
        pump_all(electors, 0.01)
        found = [name for name in holders(electors, vip) if among is None or name in among]
        if len(found) == 1 and set(electors[found[0]].host.addresses()) - {electors[found[0]].host.address}:
            return found[0]
        assert time.monotonic() < deadline, f"no single holder of {vip}: {found}, " + str(
            {name: (elector.status, elector.reports) for name, elector in electors.items()})
