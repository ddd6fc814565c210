"""Afloat on the hosts of a lab: its configuration, its processes, its command line."""

import json
import os
import shutil
import signal
import subprocess
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
VIP = "192.0.2.100"


def executables():
    """Directory that holds afloat, afloat-elector and afloat-balancer ($AFLOAT_BIN, else the release build)."""
    return os.environ.get("AFLOAT_BIN", os.path.join(ROOT, ".build", "release"))


def wait_until(condition, timeout=10, what="it", every=0.02):
    """Waits until `condition()` is true and returns its value; AssertionError with `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come to pass within {timeout} s")
        time.sleep(every)


def _status_file(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            return dict(line.rstrip("\n").split(":", 1) for line in file if ":" in line)
    except (FileNotFoundError, ProcessLookupError):
        return {}


class Agent:
    """One `afloat agent` on a host, with directories of its own."""

    def __init__(self, host, configuration, name=None, key=None):
        self.host = host
        self.name = name or host.name
        self.directory = host.directory
        self.configuration = os.path.join(self.directory, "afloat.yaml")
        self.socket = os.path.join(self.directory, "run", "afloat.sock")
        self.log = os.path.join(self.directory, "agent.log")
        self.process = None
        self.write(configuration, key)

    def __repr__(self):
        return f"<agent {self.name}>"

    def write(self, configuration, key=None):
        """Writes the configuration file, and the cluster's key beside it."""
        for part in ("run", "state"):
            os.makedirs(os.path.join(self.directory, part), exist_ok=True)
        with open(self.configuration, "w", encoding="utf-8") as file:
            file.write(configuration)
        if key is not None:
            path = os.path.join(self.directory, "cluster.key")
            with open(path, "w", encoding="utf-8") as file:
                file.write(key)
            os.chmod(path, 0o600)

    def start(self, *prefix):
        """Starts it; `prefix` is a command that starts others, with its options."""
        command = [*prefix, os.path.join(executables(), "afloat"), "agent", "--config", self.configuration, "--node", self.name]
        command += ["--state-dir", os.path.join(self.directory, "state"), "--run-dir", os.path.join(self.directory, "run")]
        self.process = self.host.start(*command, log="agent.log")
        return self

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def child(self, name):
        """Process id of this agent's `afloat-elector` or `afloat-balancer`, or None."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            status = _status_file(pid)
            if status.get("PPid", "").strip() == str(self.pid) and not status["State"].strip().startswith("Z"):
                try:
                    if os.path.basename(os.readlink(f"/proc/{pid}/exe")) == name:
                        return int(pid)
                except OSError:
                    pass
        return None

    @property
    def elector(self):
        return self.child("afloat-elector")

    @property
    def balancer(self):
        return self.child("afloat-balancer")

    def stop(self, timeout=30):
        """SIGTERM, as systemd does; returns the exit code."""
        if self.running():
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    # The command line

    def afloat(self, *arguments, timeout=60):
        """Runs `afloat …` against this agent; returns the finished process."""
        environment = dict(os.environ, AFLOAT_SOCKET=self.socket)
        command = [os.path.join(executables(), "afloat"), *arguments]
        return self.host.run(*command, check=False, timeout=timeout, env=environment)

    def query(self, *arguments):
        """The JSON that a command prints, or None while the agent does not answer."""
        done = self.afloat(*arguments, "--json")
        try:
            return json.loads(done.stdout)
        except ValueError:
            return None

    def holder(self, vip="web"):
        """Who holds the VIP in this node's eyes."""
        for one in self.query("vips") or []:
            if one["name"] == vip:
                return one.get("holder")
        return None

    def server_states(self, pool="app"):
        """Server → state, as this node's balancer sees it."""
        for one in self.query("pools") or []:
            if one["name"] == pool:
                return {server["name"]: server["state"] for server in one["servers"]}
        return {}


class Cluster:
    """Agents on every node of a lab, with one configuration."""

    def __init__(self, lan, backends=(), heartbeat="10ms", vip=VIP, **parts):
        self.lan = lan
        self.vip = vip
        self.heartbeat = heartbeat
        self.backends = list(backends)
        self.key = parts.pop("key", None) or keygen()
        self.parts = parts
        text = self.configuration()
        self.agents = [Agent(node, text, key=self.key) for node in lan.nodes]

    def configuration(self, **changes):
        """The file as text. `parts`: member (of a node), interface, keys, cluster, vip, vips, listener, listeners, pool,
        pools, extra (YAML flow text)."""
        parts = {**self.parts, **changes}
        member = parts.get("member", lambda node: node.address)
        members = "\n".join(f"    {node.name}: {member(node)}" for node in self.lan.nodes)
        interface = parts.get("interface", "eth0")
        lines = ["cluster:", "  name: lab", f"  interface: {interface}", f"  key: {parts.get('keys', 'file:cluster.key')}",
                 f"  heartbeat: {parts.get('heartbeat', self.heartbeat)}"]
        lines += [f"  {key}: {value}" for key, value in parts.get("cluster", {}).items()]
        lines += ["  members:", members]
        vip = {"addresses": f'["{self.vip}/64"]' if ":" in self.vip else f"[{self.vip}/24]", **parts.get("vip_options", {})}
        lines += ["vips:", "  web: {" + ", ".join(f"{key}: {value}" for key, value in vip.items()) + "}"]
        lines += parts.get("vips", [])
        if self.backends:
            lines += ["listeners:", "  web: " + parts.get("listener", '{bind: ["*:80"], pool: app}')]
            lines += parts.get("listeners", [])
            servers = ", ".join(f"{backend.name}: {backend.address}" for backend in self.backends)
            lines += ["pools:", "  app:", f"    servers: {{{servers}}}"]
            pool = {"check": "{http: /healthz, every: 500ms, timeout: 300ms, fast: 100ms, down: 500ms}",
                    **parts.get("pool_options", {})}
            lines += [f"    {key}: {value}" for key, value in pool.items()]
            lines += parts.get("pools", [])
        return "\n".join(lines + parts.get("extra", [])) + "\n"

    def __getitem__(self, name):
        return next(agent for agent in self.agents if agent.name == name)

    def start(self):
        for agent in self.agents:
            agent.start()
        return self

    def stop(self):
        for agent in self.agents:
            if agent.running():
                agent.process.send_signal(signal.SIGTERM)
        for agent in self.agents:
            if agent.process:
                try:
                    agent.process.wait(30)
                except subprocess.TimeoutExpired:
                    agent.kill()

    # What is really there, seen on the hosts and not told by Afloat

    def holders(self):
        """Agents on whose host the VIP is configured now."""
        return [agent for agent in self.agents if agent.host.has(self.vip)]

    def holder(self):
        holders = self.holders()
        return holders[0] if len(holders) == 1 else None

    def wait_for_holder(self, timeout=20, other_than=None):
        """The only agent that has the VIP on its interface, once there is exactly one."""
        return wait_until(
            lambda: (lambda holder: holder if holder is not other_than else None)(self.holder()),
            timeout, f"exactly one holder of {self.vip}" + (f" other than {other_than.name}" if other_than else ""))

    def agreed(self, agents=None):
        """The holder, once every agent (or those of `agents`) names the node that really has the address."""
        holder = self.holder()
        return holder if holder and all(one.holder() == holder.name for one in agents or self.agents) else None

    def give_time_to_settle(self, seconds=5):
        """Until every agent knows of every node that it may hold the VIP; some nodes never may, so it ends all the same."""
        names = {agent.name for agent in self.agents}

        def settled():
            views = [(agent.query("vips") or [{}])[0] for agent in self.agents]
            return all({view.get("holder"), *view.get("eligible", [])} >= names for view in views)

        end = time.monotonic() + seconds
        while not settled() and time.monotonic() < end:
            time.sleep(0.05)

    def wait_for_service(self, port=80, timeout=20):
        """Until a client gets a 200 through the VIP."""
        vip = f"[{self.vip}]" if ":" in self.vip else self.vip
        command = ["curl", "-s", "-o", "/dev/null", "-m", "1", "-w", "%{http_code}", f"http://{vip}:{port}/"]
        wait_until(lambda: self.lan.client.run(*command, check=False).stdout == "200", timeout, "a 200 through the VIP")

    def logs(self, lines=40):
        """The last lines of every agent's log, for a failure's report."""
        texts = []
        for agent in self.agents:
            if os.path.exists(agent.log):
                with open(agent.log, encoding="utf-8", errors="replace") as file:
                    texts.append(f"--- {agent.name} ---\n" + "".join(file.readlines()[-lines:]))
        return "\n".join(texts)


def keygen():
    """A fresh cluster key, as `afloat keygen` prints it."""
    command = [os.path.join(executables(), "afloat"), "keygen"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def available():
    """Whether the three executables are there."""
    return all(shutil.which(os.path.join(executables(), name)) for name in ("afloat", "afloat-elector", "afloat-balancer"))
