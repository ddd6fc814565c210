"""What a stop of the agent means for who is connected, and for who comes meanwhile."""

import json
import os
import signal
import threading
import time

import lone_balancer
import pytest
from lab import Cluster, Lan, wait_until
from peers import Server, Wire

CONFIGURATION = """balancer: {{stop_timeout: {time}}}
log: {{access: {{to: {log}, format: json}}}}
listeners:
  web: {{bind: ["*:80"], pool: app}}
  raw: {{mode: tcp, bind: ["*:81"], pool: app}}
pools:
  app: {{servers: {{b1: {server}}}, check: none}}
"""


def drip(_, peer):
    """A body without a length, of which one more byte comes each tenth of a second."""
    peer.until(b"\r\n\r\n")
    peer.send(b"HTTP/1.0 200 OK\r\n\r\n")
    for _ in range(100):
        peer.send(b"x")
        time.sleep(0.1)


@pytest.fixture
def stopping(tmp_path):
    with Lan(nodes=1, backends=1) as lan:
        server = Server(lan.backends[0], drip)
        tmp_path.chmod(0o755)
        log = tmp_path / "access.log"
        lone = lone_balancer.start_with(
            lan, [server], CONFIGURATION.format(time="2s", log=log, server=server.address))
        try:
            yield lan, lone, log
        finally:
            lone.stop()
            server.close()


def ending(wire):
    """How its connection ends: "end" or "reset"."""
    try:
        while wire.more():
            pass
    except ConnectionResetError:
        return "reset"
    return "end"


def dripped(lan):
    """The balancer's address, and a client whose answer has begun in mode tcp."""
    address = lan.nodes[0].address
    client = Wire(lan.client.connect(address, 81, timeout=15))
    client.send("GET / HTTP/1.0\r\n\r\n")
    client.until(b"x")
    return address, client


def test_what_is_not_finished_in_time_is_reset_and_logged(stopping):
    lan, lone, log = stopping
    address = lan.nodes[0].address
    clients = [Wire(lan.client.connect(address, port, timeout=15)) for port in (80, 80, 81)]
    for client, version in zip(clients, ("1.1", "1.0", "1.0")):
        client.send(f"GET /slow HTTP/{version}\r\nHost: t\r\n\r\n")
        client.until(b"x")
    before = log.read_text() if log.exists() else ""
    began = time.monotonic()
    lone.agent.process.send_signal(signal.SIGTERM)
    assert [ending(client) for client in clients] == ["reset"] * 3
    assert 1.5 < time.monotonic() - began < 6
    assert lone.agent.process.wait(10) == 0
    lines = [json.loads(line) for line in log.read_text()[len(before):].splitlines()]
    assert sorted(line["mode"] for line in lines) == ["http", "http", "tcp"]
    assert {line["end"] for line in lines} == {"cut off by the end of the balancer"}


def test_nobody_is_let_in_any_more(stopping):
    lan, lone, _ = stopping
    address, client = dripped(lan)
    lone.agent.process.send_signal(signal.SIGTERM)

    def refused():
        try:
            lan.client.connect(address, 80, timeout=1).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_until(refused, 1.5, "refusal")
    assert lone.agent.running(), "it still serves the one"
    assert client.more()
    for port in (80, 81):
        for _ in range(5):
            with pytest.raises(ConnectionRefusedError):
                lan.client.connect(address, port, timeout=1)
            time.sleep(0.05)
    assert ending(client) == "reset"
    assert lone.agent.process.wait(10) == 0


def test_a_stop_during_a_reload_opens_no_door_again(stopping):
    lan, lone, _ = stopping
    address, client = dripped(lan)
    child = lone.agent.balancer
    with open(lone.agent.configuration, encoding="utf-8") as file:
        text = file.read()
    lone.agent.write(text.replace("listeners:\n", 'listeners:\n  more: {bind: ["*:82"], pool: app}\n'))
    os.kill(child, signal.SIGSTOP)
    try:
        asked = threading.Thread(target=lone.agent.afloat, args=("reload",))
        asked.start()
        time.sleep(0.5)
        lone.agent.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
    finally:
        os.kill(child, signal.SIGCONT)
    asked.join(10)
    deadline = time.monotonic() + 5

    def closed():
        for port in (80, 81, 82):
            try:
                lan.client.connect(address, port, timeout=1).close()
                return False
            except ConnectionRefusedError:
                continue
        return True

    wait_until(closed, 1.5, "refusals")
    while lone.agent.running() and time.monotonic() < deadline:
        assert closed()
        time.sleep(0.1)
    assert lone.agent.process.wait(10) == 0


class Dripping:
    name = "b1"

    def __init__(self, server):
        self.address = server.address


LENGTH = 25


def answer(_, peer):
    """Takes two and a half seconds."""
    peer.until(b"\r\n\r\n")
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LENGTH)
    for _ in range(LENGTH):
        peer.send(b"x")
        time.sleep(0.1)


class Pair:
    """Two nodes with a VIP; `giver` has it."""

    def __init__(self, lan, server):
        self.lan = lan
        self.cluster = Cluster(
            lan, backends=[Dripping(server)], pool_options={"check": "none"}, extra=["balancer: {stop_timeout: 8s}"],
            vip_options={"prefer": "[n1, n2]", "failback": "at_once"})
        self.cluster.start()
        self.giver, self.other = self.cluster["n1"], self.cluster["n2"]
        wait_until(lambda: all(agent.holder() == "n1" for agent in self.cluster.agents), 20, "one holder")
        wait_until(self.serves, 15, "service")
        time.sleep(1)

    def serves(self):
        try:
            self.lan.client.connect(self.cluster.vip, 80, timeout=1).close()
            return True
        except OSError:
            return False

    def asked(self, address):
        client = Wire(self.lan.client.connect(address, 80, timeout=15))
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        client.until(b"xx")
        return client


@pytest.fixture
def pair():
    with Lan(nodes=2, backends=1) as lan:
        server = Server(lan.backends[0], answer)
        pair = Pair(lan, server)
        try:
            yield pair
        finally:
            pair.cluster.stop()
            server.close()


def test_what_is_in_flight_through_a_vip_finishes_too(pair):
    clients = [pair.asked(address) for address in (pair.cluster.vip, pair.giver.host.address)]
    pair.giver.process.send_signal(signal.SIGTERM)
    wait_until(lambda: pair.other.holder() == "n2", 5, "the other to have the VIP")
    assert pair.giver.running()
    for client in clients:
        client.take(LENGTH - 2)
    assert pair.giver.process.wait(10) == 0
    assert pair.serves(), "by the other"


def test_a_node_that_stops_takes_no_vip_when_its_drain_ends(pair):
    assert pair.other.afloat("drain", "n1").returncode == 0
    wait_until(lambda: pair.other.holder() == "n2", 5, "the other to have the VIP")
    client = pair.asked(pair.giver.host.address)
    pair.giver.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert pair.other.afloat("undrain", "n1").returncode == 0
    for _ in range(15):
        assert pair.serves() and pair.other.holder() == "n2"
        time.sleep(0.1)
    client.take(LENGTH - 2)
    assert pair.giver.process.wait(10) == 0
