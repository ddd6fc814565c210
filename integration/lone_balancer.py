"""A balancer without a cluster, in front of servers that a test writes itself."""

import contextlib

from lab import Agent, Lan, wait_until
from peers import Server, Wire

CONFIGURATION = """listeners:
  web: {{bind: ["*:80"], pool: app{listener}}}
pools:
  app:
    servers: {{{servers}}}
    check: {check}
{pool}"""


class Lone:
    """Unpacks into (dial, servers, agent): `dial()` opens a connection from the client to the balancer."""

    def __init__(self, lan, servers, agent):
        self.lan = lan
        self.servers = servers
        self.agent = agent

    def __iter__(self):
        return iter((self.dial, self.servers, self.agent))

    def dial(self, host=None):
        return Wire((host or self.lan.client).connect(self.lan.nodes[0].address, 80, timeout=15))

    def logs(self):
        with open(self.agent.log, encoding="utf-8", errors="replace") as file:
            return file.read()[-6000:]

    def stop(self):
        if self.agent.running():
            self.agent.stop()

    def close(self):
        for server in self.servers:
            server.close()


def start(lan, *behaviours, listener="", pool="", check="none"):
    """Starts one `peers.Server` per behaviour, on b1, b2, …, and the balancer on n1. `listener` and `pool` are more YAML,
    `check` stands for none."""
    servers = [Server(host, behaviour) for host, behaviour in zip(lan.backends, behaviours)]
    text = CONFIGURATION.format(
        listener=", " + listener if listener else "",
        servers=", ".join(f"{host.name}: {server.address}" for host, server in zip(lan.backends, servers)),
        check=check, pool="".join(f"    {line}\n" for line in pool.splitlines()))
    return start_with(lan, servers, text)


def start_with(lan, servers, text):
    """The same with a configuration of the caller's."""
    agent = Agent(lan.nodes[0], text).start()
    lone = Lone(lan, servers, agent)

    def ready():
        assert agent.running(), f"the agent ended: {lone.logs()}"
        # The agent listens before it has one, and that may serve before the agent answers commands.
        if agent.balancer is None or agent.query("status") is None:
            return False
        try:
            lan.client.connect(lan.nodes[0].address, 80, timeout=1).close()
            return True
        except OSError:
            return False

    wait_until(ready, 15, "a listening balancer")
    return lone


@contextlib.contextmanager
def standing(*behaviours, **options):
    """A lone balancer with a LAN of its own, for a whole module of tests."""
    with Lan(nodes=1, backends=len(behaviours)) as lan:
        lone = start(lan, *behaviours, **options)
        try:
            yield lone
        finally:
            lone.stop()
            lone.close()


def ask(site, target="/", fields="", method="GET", host="h", wire=None, version="1.1"):
    """One request, over a connection of its own unless there is one: the head and the body of the answer."""
    own = wire or site.dial()
    own.send(f"{method} {target} HTTP/{version}\r\nHost: {host}\r\n{fields}\r\n")
    head, body = own.response(method)
    if not wire:
        own.close()
    return head, body
