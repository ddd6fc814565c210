"""What a stop of the agent means for who is connected, and for who comes meanwhile."""

import json
import signal
import time

import lone_balancer
import pytest
from lab import Lan, wait_until
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
    address = lan.nodes[0].address
    client = Wire(lan.client.connect(address, 81, timeout=15))
    client.send("GET / HTTP/1.0\r\n\r\n")
    client.until(b"x")
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
