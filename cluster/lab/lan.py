"""Hosts, cables and the switch, and what can go wrong with them.

The faults are those of real machine rooms: a pulled cable (the node sees its link go down), a silent switch (the link
stays up and nothing passes), a cut between two groups or in one direction only. Each takes effect in one kernel call.
"""

import atexit
import ctypes
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

PREFIX = "192.0.2"
PREFIX6 = "2001:db8::"
# The second network of a node with two interfaces.
SECOND_PREFIX = "198.51.100"
NAME = re.compile(r"^afloat-(\d+)-(\d+)-[a-z0-9]+$")

CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_count = 0
_standing = []


def _ip(batch, namespace=None):
    """Runs a batch of `ip` commands, in a namespace if one is named."""
    command = ["ip"] + (["-n", namespace] if namespace else []) + ["-batch", "-"]
    done = subprocess.run(command, input="\n".join(batch) + "\n", text=True, capture_output=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()}\n" + "\n".join(batch))


def become_root():
    """Where we are not root: starts this program again as root of a user namespace of its own, or returns."""
    if os.geteuid() == 0 or os.environ.get("AFLOAT_LAB_INSIDE"):
        return
    script = "mount -t tmpfs tmpfs /run && exec \"$@\""
    os.environ["AFLOAT_LAB_INSIDE"] = "1"
    command = ["unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", script, "sh", sys.executable, *sys.argv]
    os.execvp(command[0], command)


class Host:
    """One machine on the LAN: a namespace with `eth0` (and `eth1` on a second switch, where asked for)."""

    def __init__(self, lan, name, number):
        self.lan = lan
        self.name = name
        self.address = f"{PREFIX}.{number}"
        self.address6 = f"{PREFIX6}{number}"
        self.second_address = f"{SECOND_PREFIX}.{number}"
        self.namespace = f"{lan.id}-{name}"
        self.directory = os.path.join(lan.directory, name)
        self.processes = []

    def __repr__(self):
        return f"<{self.name} {self.address}>"

    def _within(self, command):
        return ["ip", "netns", "exec", self.namespace, *command]

    def run(self, *command, check=True, timeout=60, **options):
        """Runs a command on this host and returns the finished process (text, output captured)."""
        options.setdefault("capture_output", True)
        options.setdefault("text", True)
        done = subprocess.run(self._within(command), timeout=timeout, **options)
        if check and done.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(command)} gave {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def start(self, *command, log=None, **options):
        """Starts a command on this host; it is ended with the lab. The process id is the command's own."""
        if log:
            handle = open(os.path.join(self.directory, log), "ab")
            options.setdefault("stdout", handle)
            options.setdefault("stderr", handle)
        options.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen(self._within(command), start_new_session=True, **options)
        self.processes.append(process)
        return process

    def socket(self, kind=socket.SOCK_STREAM, family=socket.AF_INET, protocol=0):
        """A socket of this host in our process: it belongs to the namespace of the thread that makes it."""
        made = []

        def make():
            with open(f"/run/netns/{self.namespace}", "rb") as namespace:
                if _libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                    made.append(OSError(ctypes.get_errno(), f"cannot enter {self.namespace}"))
                    return
            try:
                made.append(socket.socket(family, kind, protocol))
            except OSError as error:
                made.append(error)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]

    def connect(self, address, port, timeout=5):
        """A TCP connection from this host."""
        connection = self.socket(family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        connection.settimeout(timeout)
        connection.connect((address, port))
        return connection

    def addresses(self):
        """IPv4 addresses on eth0 now, without their prefix lengths."""
        output = self.run("ip", "-4", "-o", "addr", "show", "dev", "eth0").stdout
        return [field.split("/")[0] for field in re.findall(r"inet (\S+)", output)]

    def addresses6(self):
        """Global IPv6 addresses on eth0 now, without their prefix lengths."""
        output = self.run("ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global").stdout
        return [field.split("/")[0] for field in re.findall(r"inet6 (\S+)", output)]

    def has(self, address):
        """Whether an address of either family is on eth0 now."""
        return address in (self.addresses6() if ":" in address else self.addresses())

    def mac(self):
        return self.run("cat", "/sys/class/net/eth0/address").stdout.strip()

    def neighbour(self, address):
        """The hardware address that this host's neighbour cache has for `address`, or None."""
        output = self.run("ip", "neigh", "show", address, "dev", "eth0").stdout
        found = re.search(r"lladdr (\S+)", output)
        return found.group(1) if found else None


class Lan:
    """A switch with `nodes` (n1, n2, …), `backends` (b1, …) and `clients` (client, client2, …) on it. `ipv6`: every host
    has an address of each family. `second`: the nodes are on a second switch as well, by eth1."""

    def __init__(self, nodes=3, backends=0, clients=1, directory=None, ipv6=False, second=False):
        global _count
        _count += 1
        self.id = f"afloat-{os.getpid()}-{_count}"
        self.switch = f"{self.id}-switch"
        self.directory = directory or tempfile.mkdtemp(prefix=f"{self.id}-")
        self._own_directory = directory is None
        self.kept = False
        self.ipv6 = ipv6
        self.second = second
        os.chmod(self.directory, 0o755)
        self.nodes = [self._host(f"n{i + 1}", 11 + i) for i in range(nodes)]
        self.backends = [self._host(f"b{i + 1}", 51 + i) for i in range(backends)]
        self.clients = [self._host("client" if i == 0 else f"client{i + 1}", 201 + i) for i in range(clients)]
        self.hosts = self.nodes + self.backends + self.clients

    def _host(self, name, number):
        host = Host(self, name, number)
        os.makedirs(host.directory, exist_ok=True)
        return host

    @property
    def client(self):
        return self.clients[0]

    def __getitem__(self, name):
        return next(host for host in self.hosts if host.name == name)

    def __enter__(self):
        return self.up()

    def __exit__(self, kind, *_):
        if self.kept:
            return
        if kind is not None and os.environ.get("AFLOAT_LAB_KEEP_LOGS"):
            self._own_directory = False
        self.down()

    # Building and clearing away

    def up(self):
        _standing.append(self)
        _ip([f"netns add {self.switch}"] + [f"netns add {host.namespace}" for host in self.hosts])
        _ip(
            ["link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0"]
            + [f"link add {host.name} type veth peer name eth0 netns {host.namespace}" for host in self.hosts]
            + [f"link set {host.name} master br0 up" for host in self.hosts]
            + ["link set br0 up", "link set lo up"],
            self.switch,
        )
        for host in self.hosts:
            six = [f"addr add {host.address6}/64 dev eth0 nodad"] if self.ipv6 else []
            _ip(["link set lo up", f"addr add {host.address}/24 dev eth0", "link set eth0 up", *six], host.namespace)
        if self.second:
            self._up_second()
        self._nft(
            "table bridge lab {\n set cut { type ifname . ifname; }\n set multicast { type ifname . ifname; }\n"
            " chain pass {\n type filter hook forward priority 0;\n iifname . oifname @cut drop\n"
            " iifname . oifname @multicast ip daddr 224.0.0.0/4 drop\n"
            " iifname . oifname @multicast ip6 daddr ff00::/8 meta l4proto udp drop\n }\n}")
        return self

    def _up_second(self):
        ports = [f"{host.name}-b" for host in self.nodes]
        _ip(
            ["link add br1 type bridge forward_delay 0 stp_state 0 mcast_snooping 0"]
            + [f"link add {host.name}-b type veth peer name eth1 netns {host.namespace}" for host in self.nodes]
            + [f"link set {port} master br1 up" for port in ports] + ["link set br1 up"], self.switch)
        for host in self.nodes:
            _ip([f"addr add {host.second_address}/24 dev eth1", "link set eth1 up"], host.namespace)

    def down(self):
        """Ends every process of the lab and removes its namespaces. Safe to call twice."""
        if self in _standing:
            _standing.remove(self)
        for host in self.hosts:
            for process in host.processes:
                if process.poll() is None:
                    process.terminate()
        deadline = time.monotonic() + 2
        for host in self.hosts:
            for process in host.processes:
                try:
                    process.wait(max(0.01, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        remove([self.switch] + [host.namespace for host in self.hosts])
        if self._own_directory or self.kept:
            shutil.rmtree(self.directory, ignore_errors=True)

    def keep(self):
        """Leaves the lab up when this process ends; `afloat-lab down NAME` removes it."""
        self.kept = True
        self._own_directory = False
        with open(os.path.join(self.directory, "KEPT"), "w", encoding="utf-8") as file:
            file.write(f"{self.id}\n")

    # Faults

    def _nft(self, text):
        command = ["ip", "netns", "exec", self.switch, "nft", "-f", "-"]
        done = subprocess.run(command, input=text, text=True, capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(f"nft failed: {done.stderr.strip()}")

    def pull_cable(self, host, second=False):
        """The switch's port goes down: the host loses its carrier. `second`: of eth1."""
        _ip([f"link set {self._port(host, second)} down"], self.switch)

    def plug_cable(self, host, second=False):
        _ip([f"link set {self._port(host, second)} up"], self.switch)

    def silence(self, host, second=False):
        """The switch drops every frame from and to the host, whose link stays up."""
        self._port_state(host, 0, second)

    def restore(self, host, second=False):
        self._port_state(host, 3, second)

    def _port(self, host, second):
        return f"{host.name}-b" if second else host.name

    def _port_state(self, host, state, second):
        port = self._port(host, second)
        subprocess.run(["bridge", "-n", self.switch, "link", "set", "dev", port, "state", str(state)], check=True)

    def cut(self, sources, targets):
        """Frames from `sources` no longer reach `targets`; the other direction still works."""
        pairs = ", ".join(f'"{a.name}" . "{b.name}"' for a in sources for b in targets if a is not b)
        self._nft(f"add element bridge lab cut {{ {pairs} }}")

    def partition(self, *groups):
        """Hosts of different groups no longer reach each other."""
        pairs = [
            f'"{a.name}" . "{b.name}"'
            for group in groups for other in groups if other is not group for a in group for b in other
        ]
        self._nft(f"add element bridge lab cut {{ {', '.join(pairs)} }}")

    def drop_multicasts(self, sources=None, targets=None):
        """UDP multicasts from `sources` no longer reach `targets` (all hosts where not said); everything else passes."""
        pairs = ", ".join(
            f'"{a.name}" . "{b.name}"' for a in sources or self.hosts for b in targets or self.hosts if a is not b)
        self._nft(f"add element bridge lab multicast {{ {pairs} }}")

    def heal(self):
        """Undoes every cut and partition, and lets multicasts pass again."""
        self._nft("flush set bridge lab cut; flush set bridge lab multicast")


def remove(namespaces):
    """Ends what still runs in these namespaces, then removes them."""
    existing = set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()
    namespaces = [name for name in namespaces if name in existing]
    for name in namespaces:
        found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split()
        for pid in found:
            if int(pid) != os.getpid():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
    for name in namespaces:
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


def sweep():
    """Removes labs whose maker is gone (it was killed before it could clean up). Returns their namespaces."""
    left = []
    for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
        found = NAME.match(name)
        if not found or os.path.exists(f"/proc/{found.group(1)}"):
            continue
        if not glob.glob(f"{tempfile.gettempdir()}/afloat-{found.group(1)}-{found.group(2)}-*/KEPT"):
            left.append(name)
    remove(left)
    return left


def _clear_away():
    for lan in list(_standing):
        if not lan.kept:
            lan.down()


def _on_signal(number, _frame):
    raise SystemExit(128 + number)


atexit.register(_clear_away)
for _number in (signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_DFL:
        signal.signal(_number, _on_signal)
