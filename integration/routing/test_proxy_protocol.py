"""A PROXY header ahead of a connection says who the client is: everywhere. HAProxy is the proxy before us, and bytes by hand."""

import contextlib
import json
import socket
import struct
import time

import pytest
from lab import Lan, wait_until
from lone_balancer import start_with
from peers import Server, Wire, request_loop

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
CONFIGURATION = """listeners:
  web:
    bind: [{address: "*:80", proxy_protocol: yes}, "*:81"]
    pool: app
    limits: {connections_per_source: 3}
    timeouts: {request_head: 2s}
    forwarded: {trust: [203.0.113.0/24]}
    routes:
      - {match: {path: /inside, not: {source: [198.51.100.0/24]}}, respond: {status: 403}}
      - {match: {path: /scheme}, redirect: {to: "{scheme}://h/scheme"}}
      - {match: {path: /limited}, pool: app, rate_limit: {requests: 2, every: 1h}}
  mail:
    bind: {address: "*:25", proxy_protocol: yes}
    mode: tcp
    pool: mail
    routes: [{match: {source: 198.51.100.0/24}, pool: other}]
pools:
  app: {servers: {s1: "{0}"}, check: none}
  mail: {servers: {s1: "{1}"}, check: none}
  other: {servers: {s1: "{2}"}, check: none}
"""


def v1(source, port=1024, family="TCP4"):
    other = "2001:db8::1" if family == "TCP6" else "192.0.2.1"
    return f"PROXY {family} {source} {other} {port} 80\r\n".encode()


def v2(source, extra=b""):
    kind = 0x21 if ":" in source else 0x11
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    addresses = socket.inet_pton(family, source) * 2 + struct.pack(">HH", 1024, 80) + extra
    return SIGNATURE + struct.pack(">BBH", 0x21, kind, len(addresses)) + addresses


def echo(_server, wire, head, _body):
    text = json.dumps(head.lines).encode()
    wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)


def say(name):
    def behave(_server, wire):
        wire.send(name + b" ready\r\n")
        wire.send(wire.until(b"\n"))

    return behave


@pytest.fixture(scope="module")
def site():
    with Lan(nodes=1, backends=3) as lan:
        behaviours = request_loop(echo), say(b"mail"), say(b"other")
        servers = [Server(host, behave) for host, behave in zip(lan.backends, behaviours)]
        text = CONFIGURATION
        for index, server in enumerate(servers):
            text = text.replace(f"{{{index}}}", server.address)
        lone = start_with(lan, servers, text)
        try:
            yield lone
        finally:
            lone.stop()
            lone.close()


@contextlib.contextmanager
def connected(site, *pieces, port=80):
    """A connection on which `pieces` have been sent one by one."""
    wire = Wire(site.lan.client.connect(site.lan.nodes[0].address, port, timeout=15))
    try:
        for piece in pieces:
            wire.send(piece)
            if len(pieces) > 1:
                time.sleep(0.01)
        yield wire
    finally:
        wire.close()


def get(path="/", fields=""):
    return f"GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n".encode()


def forwarded_for(wire):
    head, body = wire.response()
    assert head.status == 200
    return next(line.split(": ")[1] for line in json.loads(body) if line.lower().startswith("x-forwarded-for"))


@pytest.mark.parametrize(
    "header, seen",
    [
        (v1("198.51.100.7"), "198.51.100.7"), (v2("198.51.100.8"), "198.51.100.8"), (v2("2001:db8::9"), "2001:db8::9"),
        (v1("2001:db8::a", family="TCP6"), "2001:db8::a"), (v2("198.51.100.9", b"\2\0\3a.b\4\0\0"), "198.51.100.9"),
        (b"PROXY UNKNOWN\r\n", None), (SIGNATURE + b"\x20\0\0\0", None), (SIGNATURE + b"\x21\0\0\0", None),
    ],
)  # fmt: skip
def test_servers_hear_of_the_client_in_the_header(site, header, seen):
    expected = seen or site.lan.client.address
    with connected(site, header + get()) as wire:
        assert forwarded_for(wire) == expected
        wire.send(get())  # the header holds for the whole connection
        assert forwarded_for(wire) == expected
    with connected(site, *(bytes([byte]) for byte in header), get()) as wire:
        assert forwarded_for(wire) == expected


@pytest.mark.parametrize("client, scheme", [(1, "https"), (0, "http")])
def test_a_proxy_that_ends_tls_says_so(site, client, scheme):
    header = v2("198.51.100.8", struct.pack(">BHBIBHs", 0x20, 9, client, 0, 0x21, 1, b"3"))
    with connected(site, header + get()) as wire:
        lines = json.loads(wire.response()[1])
        assert [line.lower() for line in lines if line.lower().startswith("x-forwarded-proto")] == [f"x-forwarded-proto: {scheme}"]
        wire.send(get("/scheme"))
        head, _ = wire.response()
        assert f"location: {scheme}://h/scheme" in [line.lower() for line in head.lines]


def test_only_binds_that_say_so_take_a_header(site):
    with connected(site, v1("198.51.100.7") + get(), port=81) as wire:
        assert wire.response()[0].status == 400
    with connected(site, get(), port=81) as wire:
        assert forwarded_for(wire) == site.lan.client.address


@pytest.mark.parametrize(
    "header",
    [
        get(), b"PROXY TCP4 198.51.100.7 192.0.2.1 1 2\n", b"PROXY TCP4 198.51.100.777 192.0.2.1 1 2\r\n",
        SIGNATURE + b"\x21\x12\0\x0c" + bytes(12), SIGNATURE + b"\x21\x11\0\x04" + bytes(4), SIGNATURE + b"\x21\x11\xff\xff" + bytes(12),
        b"PROXY UNKNOWN " + b"x" * 200,
    ],
)  # fmt: skip
def test_a_connection_without_a_right_header_is_closed_without_an_answer(site, header):
    refused = next(one for one in site.agent.query("listeners") if one["name"] == "web")["refused"]
    with connected(site, header) as wire:
        assert wire.rest() == b""
    with connected(site, header, port=25) as wire:
        assert wire.rest() == b""
    end = time.monotonic() + 5
    while next(one for one in site.agent.query("listeners") if one["name"] == "web")["refused"] <= refused:
        assert time.monotonic() < end, "nobody counted it"
        time.sleep(0.05)


def test_a_header_that_does_not_come_is_not_awaited_for_ever(site):
    with connected(site, b"PROXY TCP4 ") as wire:
        started = time.monotonic()
        assert wire.rest() == b""
        assert time.monotonic() - started < 10


def test_routes_trust_and_limits_go_by_the_client_in_the_header(site):
    with connected(site, v1("198.51.100.7") + get("/inside")) as wire:
        assert wire.response()[0].status == 200
    with connected(site, v1("203.0.113.7") + get("/inside")) as wire:
        assert wire.response()[0].status == 403
    with connected(site, v1("203.0.113.7") + get(fields="X-Forwarded-For: 192.0.2.99\r\n")) as wire:
        assert forwarded_for(wire) == "192.0.2.99, 203.0.113.7"
    with connected(site, v1("198.51.100.7") + get(fields="X-Forwarded-For: 192.0.2.99\r\n")) as wire:
        assert forwarded_for(wire) == "198.51.100.7"
    for source, statuses in (("198.51.100.20", [200, 200, 429]), ("198.51.100.21", [200, 200, 429])):
        seen = []
        for _ in range(3):
            with connected(site, v2(source) + get("/limited")) as wire:
                seen.append(wire.response()[0].status)
        assert seen == statuses


def test_connections_are_counted_for_the_client_in_the_header(site):
    with contextlib.ExitStack() as stack:
        for source in ("198.51.100.30", "198.51.100.31"):
            wires = [stack.enter_context(connected(site, v1(source) + get())) for _ in range(3)]
            assert [wire.response()[0].status for wire in wires] == [200, 200, 200]
        with connected(site, v1("198.51.100.30") + get()) as wire:
            head, body = wire.response()
            assert head.status == 503 and b"your address has reached its limit" in body
            assert wire.rest() == b""
        # HEAD has no body, here too.
        with connected(site, v1("198.51.100.30") + b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n") as wire:
            head, _ = wire.response("HEAD")
            assert head.status == 503 and wire.rest() == b""
    end = time.monotonic() + 5
    while True:  # those that were closed are forgotten
        with connected(site, v1("198.51.100.30") + get()) as wire:
            if wire.response()[0].status == 200:
                return
        assert time.monotonic() < end


def test_tcp_clients_are_routed_by_the_header_and_nothing_of_it_reaches_the_server(site):
    with connected(site, v2("198.51.100.7") + b"hello\n", port=25) as wire:
        assert wire.rest() == b"other ready\r\nhello\n"
    with connected(site, v1("203.0.113.7"), port=25) as wire:
        assert wire.until(b"\n") == b"mail ready\r\n"
        wire.send(b"hello\n")
        assert wire.rest() == b"hello\n"


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,authority"])
def test_haproxy_before_us(site, version, tmp_path):
    here = site.lan.backends[0]
    file = tmp_path / "haproxy.cfg"
    file.write_text(
        f"defaults\n mode http\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n"
        f"frontend f\n bind {here.address}:9000\n default_backend b\n"
        f"backend b\n server s {site.lan.nodes[0].address}:80 {version}\n"
    )
    process = here.start("haproxy", "-db", "-f", str(file))
    try:
        end = time.monotonic() + 10
        while True:
            try:
                wire = Wire(site.lan.client.connect(here.address, 9000, timeout=10))
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.05)
        wire.send(get())
        assert forwarded_for(wire) == site.lan.client.address
        wire.close()
    finally:
        process.terminate()
        process.wait(10)


def test_one_ipv6_network_is_one_source(site):
    with contextlib.ExitStack() as stack:
        for number in range(1, 4):
            wire = stack.enter_context(connected(site, v2(f"2001:db8:7:7:{number}::{number}") + get()))
            assert wire.response()[0].status == 200
        with connected(site, v2("2001:db8:7:7:ffff::9") + get()) as wire:
            assert wire.response()[0].status == 503
        with connected(site, v2("2001:db8:7:8::1") + get()) as wire:
            assert wire.response()[0].status == 200

    def again():
        with connected(site, v2("2001:db8:7:7::a") + get()) as wire:
            return wire.response()[0].status == 200

    wait_until(again, 10, "their places are free again")
