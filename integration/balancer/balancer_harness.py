"""Runs afloat-balancer alone: plays the agent's part on its control socket.

The messages are those of Sources/Control/BalancerMessages.swift in the form of MessageCoding.swift: a tag byte, then the
value; an enum's case is a map of one entry whose value maps "_0" (or the labels) to what it carries.
"""

import array
import ctypes
import json
import os
import pathlib
import socket
import struct
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TCP_DEFER_ACCEPT = 9


class Unsigned(int):
    """A Swift UInt64; every other integer is signed (the decoder takes either where it fits)."""


def encode(value):
    if value is None:
        return b"\0"
    if value is True:
        return b"\2"
    if value is False:
        return b"\1"
    if isinstance(value, Unsigned):
        return b"\4" + struct.pack(">Q", value)
    if isinstance(value, int):
        return b"\3" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\5" + struct.pack(">d", value)
    if isinstance(value, str):
        return b"\6" + _text(value)
    if isinstance(value, (list, tuple, bytes)):
        return b"\7" + struct.pack(">I", len(value)) + b"".join(encode(item) for item in value)
    if isinstance(value, dict):
        pairs = b"".join(_text(key) + encode(item) for key, item in value.items())
        return b"\10" + struct.pack(">I", len(value)) + pairs
    raise TypeError(type(value))


def _text(text):
    data = text.encode()
    return struct.pack(">I", len(data)) + data


# What a row of `Control/StatusRows.swift` holds, in its order.
SERVER_ROW = (
    "name", "family", "high", "low", "port", "state", "weight", "connections", "requests", "failures", "lastCheck",
    "requestsPerSecond",
)  # fmt: skip


def decode(data):
    value, offset = _decode(data, 0)
    assert offset == len(data), "bytes after the value"
    return value


def _decode(data, at):
    tag = data[at]
    at += 1
    if tag in (0, 1, 2):
        return (None, False, True)[tag], at
    if tag in (3, 4, 5):
        return struct.unpack_from(">" + "qQd"[tag - 3], data, at)[0], at + 8
    count = struct.unpack_from(">I", data, at)[0]
    at += 4
    if tag == 6:
        return data[at : at + count].decode(), at + count
    if tag == 7:
        items = []
        for _ in range(count):
            item, at = _decode(data, at)
            items.append(item)
        return items, at
    pairs = {}
    for _ in range(count):
        length = struct.unpack_from(">I", data, at)[0]
        key = data[at + 4 : at + 4 + length].decode()
        pairs[key], at = _decode(data, at + 4 + length)
    return pairs, at


def span(seconds):
    return {"nanoseconds": int(seconds * 1e9)}


def endpoint(text):
    address, port = text.rsplit(":", 1)
    return {"address": address.strip("[]"), "port": int(port)}


def server(name, at, weight=100, member=None, maximum=None, backup=False, host=None):
    value = {"name": name, "endpoint": endpoint(at), "weight": weight, "isBackup": backup}
    if host:
        value["host"] = host
    if member:
        value["member"] = member
    if maximum:
        value["maximumConnections"] = maximum
    return value


def http_check(path="/healthz", status=((200, 399),), contains=None, pattern=None, host=None, port=None, **times):
    expect = {"status": [list(pair) for pair in status]}
    if contains:
        expect["bodyContains"] = contains
    if pattern:
        expect["bodyPattern"] = pattern
    kind = {"path": path, "method": "GET", "expect": expect}
    if host:
        kind["host"] = host
    check = _check({"http": kind}, **times)
    if port:
        check["port"] = port
    return check


def tcp_check(send=b"", expect=b"", **times):
    return _check({"tcp": {"send": send, "expect": expect}}, **times)


def no_check():
    return _check({"none": {}})


def _check(kind, every=0.1, timeout=0.5, rise=2, fall=3, fast=0.05, down=0.1):
    return {
        "kind": kind, "every": span(every), "timeout": span(timeout), "rise": rise, "fall": fall,
        "fast": span(fast), "down": span(down),
    }  # fmt: skip


def access_log(log, log_format):
    target = {"syslog": {}} if log == "syslog" else {"file": {"_0": str(log)}}
    return {"target": target, "format": log_format}


NO_AFFINITY = {"none": {}}
SOURCE_AFFINITY = {"source": {}}


def cookie_affinity(name="AFLOAT", max_age=None, secure=False, same_site=None):
    value = {"name": name, "secure": secure}
    if max_age:
        value["maxAge"] = span(max_age)
    if same_site:
        value["sameSite"] = same_site
    return {"cookie": value}


RETRY_CAUSES = ("connect", "reused_connection", "lost_connection")
IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")


def balance_of(words):
    """`round_robin`, …, or `hash source`, `hash uri`, `hash header NAME`, `hash cookie NAME`."""
    parts = words.split()
    if parts[0] == "hash":
        subject = {parts[1]: {"_0": parts[2]} if len(parts) > 2 else {}}
        return {"hash": {"_0": subject}}
    first, *rest = words.split("_")
    return {first + "".join(part.title() for part in rest): {}}


def pool(
    name, servers, balance="round_robin", affinity=NO_AFFINITY, check=None, connect=3, response=60, idle=60, attempts=1,
    budget=20, sticky_grace=30, slow_start=0, queue=(1000, 5), stand_in=None, passive=None, on=RETRY_CAUSES,
    methods=IDEMPOTENT, status=(),
):  # fmt: skip
    value = {
        "name": name, "balance": balance_of(balance), "affinity": affinity, "servers": servers, "check": check or no_check(),
        "timeouts": {"connect": span(connect), "response": span(response), "idle": span(idle)},
        "retry": {
            "attempts": attempts, "budgetPercent": budget, "on": on, "methods": methods, "status": status
        },
        "stickyGrace": span(sticky_grace), "slowStart": span(slow_start),
        "queue": {"size": queue[0], "timeout": span(queue[1])},
        "whenAllDown": {"pool": {"_0": stand_in}} if stand_in else {"error": {}},
    }  # fmt: skip
    if passive:
        keys = ("failures", "within", "eject", "atMostPercent")
        value["passive"] = dict(zip(keys, (passive[0], span(passive[1]), span(passive[2]), passive[3])))
    return value


def listener(
    name, bind, pool, mode="http", served_by=None, trust=(), style="x-forwarded", head=10, idle=60, body=30, tunnel=3600,
    connections=20_000, head_size=16 * 1024, headers=100, body_size=None, per_source=None, routes=(),
    proxy_binds=(),
):  # fmt: skip
    limits = {"connections": connections, "headByteCount": head_size, "headerCount": headers}
    if body_size is not None:
        limits["bodyByteCount"] = body_size
    if per_source:
        limits["connectionsPerSource"] = per_source
    value = {
        "name": name, "mode": mode, "bind": [endpoint(item) for item in bind], "pool": pool, "limits": limits,
        "routes": list(routes), "proxyBinds": list(proxy_binds),
        "forwardedTrust": [
            {"address": item.split("/")[0], "length": int(item.split("/")[1])} for item in trust
        ],
        "forwardedStyle": style,
        "timeouts": {
            "requestHead": span(head), "idle": span(idle), "clientBody": span(body), "tunnel": span(tunnel)
        },
    }  # fmt: skip
    if served_by:
        value["servedByHeader"] = served_by
    return value


def route(name, action, path=None, request=None, response=None):
    """`action`: a pool's name, or a case of RouteConfiguration.Action. `path`: a prefix; without it all requests match."""
    nothing = dict.fromkeys(("hosts", "paths", "pathPrefixes", "pathPatterns", "methods", "fields", "sources"), [])
    fields = {"set": [], "add": [], "remove": []}
    return {
        "name": name, "match": dict(nothing, pathPrefixes=[path]) if path else nothing, "exception": nothing,
        "action": {"pool": {"_0": action}} if isinstance(action, str) else action,
        "requestFields": dict(fields, **(request or {})), "responseFields": dict(fields, **(response or {})),
    }  # fmt: skip


def find_program():
    given = os.environ.get("AFLOAT_BALANCER")
    if given:
        return given
    for kind in ("release", "debug"):
        path = ROOT / ".build" / kind / "afloat-balancer"
        if path.exists():
            return str(path)
    raise FileNotFoundError("build first: swift build --product afloat-balancer")


def drop_syns(listening, addresses):
    """Drops SYNs to IPv4 addresses, as the agent does when the balancer asks for it (SO_ATTACH_FILTER)."""
    accept = (0x06, 0, 0, 0xFFFFFFFF)
    code = [(0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 1, 0, 0x02), accept, (0x20, 0, 0, 0xFFF00000 + 16)]
    for address in addresses:
        code += [(0x15, 0, 1, struct.unpack(">I", socket.inet_aton(address))[0]), (0x06, 0, 0, 0)]
    program = b"".join(struct.pack("HBBI", *line) for line in code + [accept])
    memory = ctypes.create_string_buffer(program)
    length = len(program) // 8
    listening.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HxxxxxxQ", length, ctypes.addressof(memory)))


class Balancer:
    """A running afloat-balancer. Use as a context manager; `status` is the last one that it sent."""

    def __init__(
        self, listeners, pools, threads=1, node="n1", user="nobody", prefix=(), log=None, log_format="json",
    ):  # fmt: skip
        """`log`: where the access log goes, a path, a descriptor or "syslog"."""
        self.reports, self.statuses, self.status, self.changes = [], 0, None, []
        self._news = threading.Condition()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control = ours
        sockets, self.ports = [], {}
        for item in listeners:
            for bind in item["bind"]:
                for _ in range(threads):
                    sockets.append(self._listen(bind, defer=item["mode"] == "http"))
                    bind["port"] = sockets[-1].getsockname()[1]
                self.ports[item["name"]] = bind["port"]
        self.port = next(iter(self.ports.values()))
        self._errors = tempfile.TemporaryFile("w+")
        command = [*prefix, find_program(), "--user", user]

        def place():
            os.dup2(theirs.fileno(), 3)

        self.process = subprocess.Popen(
            command, pass_fds=[theirs.fileno(), 3] if theirs.fileno() != 3 else [3], preexec_fn=place,
            stderr=self._errors,
        )  # fmt: skip
        theirs.close()
        self._configuration = {
            "node": node, "threads": threads, "cookieKeys": [bytes(range(16))], "listeners": listeners, "pools": pools,
        }  # fmt: skip
        self.revision, self._token = 0, 0
        if log is not None:
            self._configuration["accessLog"] = access_log(log, log_format)
        self._send({"start": {"_0": self._configuration}}, [item.fileno() for item in sockets])
        self.sockets = sockets  # they stay open in the agent too
        if log is not None and log != "syslog":
            self.log_to(log)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.wait(lambda: any("ready" in report for report in self.reports), "ready")

    def log_to(self, log):
        """Hands over where the access log goes from now on: a path, which is opened, or a descriptor."""
        raw = log if isinstance(log, int) else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        self._send({"accessLog": {}}, [raw])
        if raw != log:
            os.close(raw)

    def figures(self):
        """All that has been counted."""
        self._token += 1
        self._send({"figures": {"token": Unsigned(self._token)}})

        def found():
            return next((item["figures"]["_0"] for item in self.reports
                         if "figures" in item and item["figures"]["token"] == self._token), None)

        self.wait(found, "figures")
        return found()

    def reconfigure(self, listeners, pools, wait=True, **changes):
        """Another configuration, as the agent hands it over; the answer if `wait`. Ports that are 0 are opened."""
        opened, sockets = [], []
        for item in listeners:
            for bind in item["bind"]:
                if bind["port"] == 0:
                    for _ in range(self._configuration["threads"]):
                        sockets.append(self._listen(bind, defer=False))
                        bind["port"] = sockets[-1].getsockname()[1]
                    opened.append(bind)
                self.ports[item["name"]] = bind["port"]
        self.revision += 1
        configuration = dict(self._configuration, listeners=listeners, pools=pools, **changes)
        message = {"_0": configuration, "revision": Unsigned(self.revision), "opened": opened}
        self._send({"reconfigure": message}, [item.fileno() for item in sockets])
        self.sockets += sockets
        if not wait:
            return None
        self.wait(lambda: self._answer() is not None, f"answer to revision {self.revision}")
        answer = self._answer()
        if "reconfigured" in answer:
            kept = {(bind["address"], bind["port"]) for item in listeners for bind in item["bind"]}
            gone = [item for item in self.sockets if item.getsockname()[:2] not in kept]
            self.sockets = [item for item in self.sockets if item not in gone]
            for item in gone:
                item.close()
        return answer

    def _answer(self):
        for report in reversed(self.reports):
            for kind in ("reconfigured", "refused"):
                if kind in report and report[kind]["revision"] == self.revision:
                    return report
        return None

    @staticmethod
    def _listen(bind, defer):
        family = socket.AF_INET6 if ":" in bind["address"] else socket.AF_INET
        item = socket.socket(family, socket.SOCK_STREAM)
        item.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        item.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if defer:
            item.setsockopt(socket.IPPROTO_TCP, TCP_DEFER_ACCEPT, 5)
        item.bind((bind["address"], bind["port"]))
        item.listen(4096)
        item.setblocking(False)
        return item

    def _send(self, message, descriptors=()):
        data, descriptors = b"\0" + encode(message), list(descriptors)
        memory = None
        if len(data) > 48 * 1024:  # longer messages go through a memory file
            memory = os.memfd_create("message")
            with os.fdopen(os.dup(memory), "wb") as file:
                file.write(data[1:])
            data, descriptors = b"\1", [memory, *descriptors]
        ancillary = []
        if descriptors:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        self.control.sendmsg([data], ancillary)
        if memory is not None:
            os.close(memory)

    def _read(self):
        while True:
            try:
                data, ancillary, _, _ = self.control.recvmsg(64 * 1024, socket.CMSG_SPACE(4 * 16))
            except OSError:
                return
            if not data:
                return
            if data[0] == 1:
                descriptors = array.array("i")
                descriptors.frombytes(ancillary[0][2])
                with os.fdopen(descriptors[0], "rb") as file:
                    file.seek(0)
                    report = decode(file.read())
            else:
                report = decode(data[1:])
            with self._news:
                if "status" in report:
                    self.status = report["status"]["_0"]
                    for found in self.status["pools"]:
                        found["servers"] = [dict(zip(SERVER_ROW, row)) for row in found.pop("rows")]
                    self.statuses += 1
                else:
                    if "ignoreNewConnections" in report:
                        addresses = report["ignoreNewConnections"]["addresses"]
                        for item in self.sockets:
                            drop_syns(item, addresses)
                        self._send({"newConnectionsIgnored": {"addresses": addresses}})
                    self.reports.append(report)
                    if "serverChanged" in report:
                        self.changes.append(report["serverChanged"])
                self._news.notify_all()

    def wait(self, condition, what, seconds=10):
        """Waits until `condition()`; fails with the balancer's own words."""
        end = time.monotonic() + seconds
        with self._news:
            while not condition():
                left = end - time.monotonic()
                if left <= 0 or self.process.poll() is not None and not condition():
                    raise AssertionError(f"no {what}: exit {self.process.poll()}, {self.reports[-5:]}, {self.errors()}")
                self._news.wait(min(left, 0.1))

    def errors(self):
        self._errors.seek(0)
        return self._errors.read()

    def fresh_status(self, seconds=5):
        """A status that was assembled after this call."""
        seen = self.statuses
        self.wait(lambda: self.statuses >= seen + 2, "status", seconds)
        return self.status

    def server(self, pool, name):
        found = [item for item in self.status["pools"] if item["name"] == pool] if self.status else []
        return next((item for item in found[0]["servers"] if item["name"] == name), None) if found else None

    def listener(self, name):
        return next(item for item in self.status["listeners"] if item["name"] == name)

    def wait_state(self, pool, name, state, seconds=10):
        self.wait(
            lambda: self.server(pool, name) and self.server(pool, name)["state"] == state,
            f"{name} {state} (it is {self.server(pool, name)})", seconds,
        )  # fmt: skip

    def wait_up(self, seconds=10):
        self.wait(
            lambda: self.status
            and all(item["state"] == "up" for found in self.status["pools"] for item in found["servers"]),
            "server up", seconds,
        )  # fmt: skip
        time.sleep(0.02)

    def orders(self, *orders):
        self._send(
            {"orders": {"_0": [dict(zip(("pool", "server", "administration"), order)) for order in orders]}}
        )

    def weigh(self, *weights):
        """(pool, server, weight), all that differ from the configuration."""
        orders = [{"pool": pool, "server": name, "administration": "ready", "weight": weight}
                  for pool, name, weight in weights]
        self._send({"orders": {"_0": orders}})

    def switch(self, **routes):
        """Route → pool, all that differ from the configuration; `/` in a name is `__`."""
        self._send({"switches": {"_0": [{"route": route.replace("__", "/"), "pool": pool}
                                        for route, pool in routes.items()]}})

    def quieten(self, token, addresses, deadline):
        self._send(
            {"quieten": {"token": Unsigned(token), "addresses": list(addresses), "deadline": span(deadline)}}
        )

    def wait_quietened(self, token, seconds=10):
        started = time.monotonic()
        self.wait(lambda: {"quietened": {"token": token}} in self.reports, "quietened", seconds)
        return time.monotonic() - started

    def resume(self, addresses):
        self._send({"resume": {"addresses": list(addresses)}})

    def shutdown(self, seconds=5):
        self._send({"shutdown": {"within": span(seconds)}})

    def rss(self):
        """Resident memory in bytes."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def cpu_seconds(self):
        """Time on a processor, all threads, from the scheduler's accounting."""
        total = 0
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{thread}/schedstat") as file:
                total += int(file.read().split()[0])
        return total / 1e9

    def stop(self):
        """Ends it as the agent's death would; returns the exit status."""
        try:
            self.control.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.control.close()
        for item in self.sockets:
            item.close()
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()
        if self.process.returncode != 0:
            raise AssertionError(f"afloat-balancer ended with {self.process.returncode}: {self.errors()}")


if __name__ == "__main__":
    import sys

    print(json.dumps(decode(sys.stdin.buffer.read()), indent=2))
