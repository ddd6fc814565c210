"""A planned handover breaks no TCP connection and lets no new client wait: what was there goes on through the previous holder,
behind its shut gate, and the successor passes on to it what it does not know itself."""

import threading
import time

import pytest
from lab import AnswerWatch, wait_until

PORT = 7000
ECHO = f"""
import socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 512
Server(("0.0.0.0", {PORT}), Echo).serve_forever()
"""


def echo_cluster(stage):
    """A cluster that passes TCP connections on to one echo server."""
    cluster = stage.cluster(
        nodes=3, backends=1, listeners=[f'  echo: {{bind: ["*:{PORT}"], mode: tcp, pool: echo}}'],
        pools=["  echo:", f"    servers: {{b1: 192.0.2.51:{PORT}}}", "    check: none"])
    cluster.lan.backends[0].start("/usr/bin/python3", "-c", ECHO, log="echo.log")
    client = cluster.lan.client

    def serves():
        try:
            return Line(client, cluster.vip).asks("ready")
        except OSError:
            return False

    wait_until(serves, 15, "an echo through the VIP")
    return cluster


class Line:
    """One connection through the VIP."""

    def __init__(self, client, address):
        self.connection = client.connect(address, PORT, timeout=10)
        self.reader = self.connection.makefile("rb")

    def asks(self, text):
        self.connection.sendall(text.encode() + b"\n")
        return self.reader.readline() == text.encode() + b"\n"

    def close(self):
        self.reader.close()
        self.connection.close()


class Steady(threading.Thread):
    """Repeats `step` until it is ended; keeps how long each took, and what went wrong."""

    def __init__(self, step):
        super().__init__(daemon=True)
        self.step, self.took, self.faults, self.ended = step, [], [], False

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended = True
        self.join(15)

    def run(self):
        while not self.ended:
            began = time.monotonic()
            try:
                self.step()
            except (OSError, AssertionError) as error:
                self.faults.append(error)
            self.took.append(time.monotonic() - began)
            time.sleep(0.002)


def move(cluster, name):
    done = cluster.agents[0].afloat("move", "web", name)
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: all(agent.holder() == name for agent in cluster.agents), 10, "agreement")


def lets_go_in_the_end(cluster, agent):
    """The addresses leave a previous holder when its last connection has ended, and it is a client like any other."""
    host = agent.host
    wait_until(lambda: cluster.vip not in host.addresses(), 20, f"the address to leave {host.name}")
    wait_until(lambda: host.run("ping", "-c1", "-W1", cluster.vip, check=False).returncode == 0, 5, "the way to the VIP")


def test_established_connections_and_new_clients_do_not_notice_a_move(stage):
    cluster = echo_cluster(stage)
    client = cluster.lan.client
    first = cluster.holder()
    lines = [Line(client, cluster.vip) for _ in range(100)]

    def opens_one():
        line = Line(client, cluster.vip)
        assert line.asks("new")
        line.close()

    def asks_all():
        for number, line in enumerate(lines):
            assert line.asks(f"line {number}"), f"connection {number} is broken"

    asks_all()
    others = [agent for agent in cluster.agents if agent is not first]
    macs = {agent.name: agent.host.mac() for agent in cluster.agents}
    with Steady(opens_one) as fresh, Steady(asks_all) as old, AnswerWatch(client, cluster.vip, cluster.lan.nodes, 0.002) as watch:
        time.sleep(0.3)
        # There, back, and to the third: what is passed on goes to the previous holder, not to the one before that.
        for name in (others[0].name, first.name, others[1].name):
            struck = time.time()
            move(cluster, name)
            time.sleep(0.5)
            # ARP and ICMP come from the new holder alone, though another one still has the address.
            answers = watch.answers(struck)
            began = min(at for at, mac, _ in answers if mac == macs[name])
            assert not [one for one in answers if one[0] > began and one[1] != macs[name]]
            assert cluster.vip in first.host.addresses(), "the first holder keeps its connections"
        time.sleep(0.3)
    assert len(fresh.took) > 50 and fresh.faults == []
    # A SYN that was lost would have cost a second.
    assert max(fresh.took) < 0.8
    if old.faults:
        pytest.fail(f"{len(old.faults)} faults on established connections: {old.faults[:3]}")
    asks_all()
    for line in lines:
        line.close()
    for agent in (first, others[0]):
        lets_go_in_the_end(cluster, agent)


def test_connections_of_a_previous_holder_that_dies_are_reset(stage):
    cluster = echo_cluster(stage)
    first = cluster.holder()
    line = Line(cluster.lan.client, cluster.vip)
    assert line.asks("before")
    move(cluster, next(agent.name for agent in cluster.agents if agent is not first))
    assert line.asks("after")
    cluster.lan.silence(first.host)
    survivors = [agent for agent in cluster.agents if agent is not first]
    wait_until(
        lambda: all(
            one["state"] == "dead" for agent in survivors for one in agent.query("members") or [] if one["name"] == first.name),
        10, "the others to notice")
    with pytest.raises(ConnectionError):
        for _ in range(3):
            line.asks("anybody there?")


def test_a_previous_holder_lets_the_addresses_go_when_no_connection_is_left(stage):
    cluster = echo_cluster(stage)
    first = cluster.holder()
    line = Line(cluster.lan.client, cluster.vip)
    assert line.asks("before")
    move(cluster, next(agent.name for agent in cluster.agents if agent is not first))
    time.sleep(4)
    assert cluster.vip in first.host.addresses() and line.asks("after")
    line.close()
    lets_go_in_the_end(cluster, first)
    # And back: nothing is left of the first time.
    move(cluster, first.name)
    again = Line(cluster.lan.client, cluster.vip)
    assert again.asks("again")


def test_a_node_whose_clients_go_on_behind_its_gate_is_not_drained_before_they_have_ended(stage):
    cluster = echo_cluster(stage)
    first = cluster.holder()
    line = Line(cluster.lan.client, cluster.vip)
    assert line.asks("before")
    assert first.afloat("drain", "--detach").returncode == 0
    wait_until(lambda: any(cluster.vip in agent.host.addresses() for agent in cluster.agents if agent is not first), 10, "the successor")
    time.sleep(2.5)
    assert line.asks("after"), "the connection goes on"
    drain = first.query("status")["drains"][0]
    assert drain["phase"] == "draining" and [one["detail"] for one in drain["blocking"]] == ["1 client connection"], drain
    line.close()
    wait_until(lambda: first.query("status")["drains"][0]["phase"] == "drained", 20, "the node to be drained")
    wait_until(lambda: cluster.vip not in first.host.addresses(), 5, "the address, silent since the move, to be gone")
