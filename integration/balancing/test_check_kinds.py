"""Each kind of check of each kind of server, with and without a PROXY header: who is up and who is not."""

import struct

import pytest
from lab import Lan, wait_until
from lone_balancer import start_with
from peers import Server

HEADERS = ("none", "v1", "v2")
CHECKS = {
    "usual": "",
    "expects a greeting": ', check: {tcp: {expect: "220"}, every: 500ms, timeout: 400ms, rise: 1, fall: 1}',
    "sends and expects": ', check: {tcp: {send: "PING\\r\\n", expect: "+PONG"}, every: 500ms, timeout: 400ms, rise: 1, fall: 1}',
    "http": ", check: {http: /, every: 500ms, timeout: 400ms, rise: 1, fall: 1}",
}
# A connection is all that the usual check asks for, whatever the server does.
FIT = {"expects a greeting": "greets", "sends and expects": "answers", "http": "serves"}


def greets(wire):
    """As a mail server."""
    wire.send(b"220 ready\r\n")
    wire.rest()


def answers(wire):
    wire.until(b"PING\r\n")
    wire.send(b"+PONG\r\n")
    wire.rest()


def serves(wire):
    wire.until(b"\r\n\r\n")
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    wire.rest()


def waits(wire):
    """Says nothing before the client has said a line that no check says."""
    wire.until(b"hello\n")
    wire.send(b"hello\n")


BEHAVIOURS = {behave.__name__: behave for behave in (greets, answers, serves, waits)}


def after(header, behave):
    """Takes the header, and answers nobody who does not begin with one, as servers that are set up for it."""

    def run(_server, wire):
        if header == "v1":
            line = wire.until(b"\r\n")
            assert line.startswith(b"PROXY "), line
        elif header == "v2":
            head = wire.take(16)
            assert head[:12] == b"\r\n\r\n\0\r\nQUIT\n", head
            wire.take(struct.unpack(">H", head[14:16])[0])
        behave(wire)

    return run


def pool_of(behaviour, check, header):
    return f"{behaviour}-{check.replace(' ', '-')}-{header}"


@pytest.fixture(scope="module")
def states():
    """Pool → the state of its one server, when each has been judged."""
    with Lan(nodes=1, backends=1) as lan:
        servers, pools = [], []
        for header in HEADERS:
            for name, behave in BEHAVIOURS.items():
                server = Server(lan.backends[0], after(header, behave), 8100 + len(servers))
                servers.append(server)
                told = "" if header == "none" else f", proxy_protocol: {header}"
                for check, text in CHECKS.items():
                    pools.append(
                        f'  {pool_of(name, check, header)}: {{servers: {{s: {{address: "{server.address}"{told}}}}}{text}}}')
        text = "listeners:\n  web: {bind: [\"*:80\"], pool: waits-usual-none, mode: tcp}\npools:\n" + "\n".join(pools) + "\n"
        lone = start_with(lan, servers, text)
        try:
            def seen():
                return {pool["name"]: pool["servers"][0] for pool in lone.agent.query("pools")}

            wait_until(lambda: all(server["state"] in ("up", "down") for server in seen().values()), 15, "a verdict of each")
            yield seen()
            assert [fault for server in servers for fault in server.faults] == []
        finally:
            lone.stop()
            lone.close()


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_it_is_up_if_it_does_what_is_asked(states, behaviour, check, header):
    server = states[pool_of(behaviour, check, header)]
    wanted = "up" if FIT.get(check, behaviour) == behaviour else "down"
    assert server["state"] == wanted, server["last_check"]
    assert server["last_check"], "the cause is said in words"
