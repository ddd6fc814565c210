"""HTTP/1.1 as a client and as a server of the balancer see it: framing, interim answers, pipelining, tunnels."""

import threading
import time

import pytest

from lab import wait_until
from peers import plain, request_loop

CLIENT = "192.0.2.201"
# The example of RFC 6455, section 1.3.
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_keep_alive_on_both_sides_and_forwarding_fields(lone):
    dial, (server,), _ = lone(plain())
    wire = dial()
    for _ in range(20):
        wire.send("GET /a?b=c HTTP/1.1\r\nHost: example.test\r\nX-Forwarded-For: 203.0.113.9\r\nX-Once: yes\r\n"
                  "Connection: keep-alive, X-Hop\r\nX-Hop: gone\r\nKeep-Alive: 5\r\n\r\n")
        head, body = wire.response()
        assert head.status == 200 and body == b"ok\n"
    assert len(server.wires) == 1, "requests of one client travel over one pooled connection"
    head = server.heads[-1]
    assert head.first == "GET /a?b=c HTTP/1.1"
    assert head.get("host") == "example.test"
    assert head.get("x-once") == "yes"
    assert "x-hop" not in head.fields and "keep-alive" not in head.fields
    assert head.get("x-forwarded-for") == CLIENT, "a client's own claim is replaced"
    assert head.get("x-forwarded-proto") == "http"
    assert head.get("x-forwarded-host") == "example.test"
    assert "1.1" in head.get("via")


def test_a_trusted_proxy_is_appended_to(lone):
    dial, (server,), _ = lone(plain(), listener="forwarded: {trust: [192.0.2.0/24]}")
    wire = dial()
    wire.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n")
    wire.response()
    assert server.heads[-1].get("x-forwarded-for") == f"203.0.113.9, {CLIENT}"


@pytest.mark.parametrize("size", [0, 1, 1000, 65536, 3_000_000])
@pytest.mark.parametrize("framing", ["counted", "chunked"])
def test_bodies_pass_whole_in_both_directions(lone, size, framing):
    body = bytes(index * 7 % 251 for index in range(min(size, 100_000))) * (max(1, size // 100_000) if size else 1)

    def echo(_server, wire, _head, received):
        if framing == "counted":
            wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(received)}\r\n\r\n".encode() + received)
        else:
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for start in range(0, len(received), 50_000):
                part = received[start:start + 50_000]
                wire.send(f"{len(part):x};ext=1\r\n".encode() + part + b"\r\n")
            wire.send("0\r\n\r\n")

    dial, _, _ = lone(request_loop(echo))
    wire = dial()
    for _ in range(2):
        if framing == "counted":
            request = f"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        else:
            request = b"POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            request += f"{len(body):X}\r\n".encode() + body + b"\r\n" if body else b""
            request += b"0\r\n\r\n"
        sender = threading.Thread(target=wire.send, args=(request,))
        sender.start()
        head, answer = wire.response()
        sender.join()
        assert head.status == 200
        assert answer == body


def test_answers_without_a_body(lone):
    def answer(_server, wire, head, _body):
        if head.first.startswith("HEAD "):
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
        elif "/204" in head.first:
            wire.send("HTTP/1.1 204 No Content\r\n\r\n")
        elif "/304" in head.first:
            wire.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: \"x\"\r\n\r\n")
        else:
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    dial, _, _ = lone(request_loop(answer))
    wire = dial()
    for method, path, status in [("HEAD", "/", 200), ("GET", "/204", 204), ("GET", "/304", 304), ("GET", "/", 200)]:
        wire.send(f"{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n")
        head, body = wire.response(method)
        assert (head.status, body) == (status, b"")


def test_pipelined_requests_are_answered_in_order(lone):
    def answer(_server, wire, head, _body):
        path = head.first.split()[1].encode()
        time.sleep(0.05 if path == b"/0" else 0)
        wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(path)}\r\n\r\n".encode() + path)

    dial, _, _ = lone(request_loop(answer), request_loop(answer))
    wire = dial()
    wire.send("".join(f"GET /{index} HTTP/1.1\r\nHost: a\r\n\r\n" for index in range(30)))
    assert [wire.response()[1] for _ in range(30)] == [f"/{index}".encode() for index in range(30)]


def test_100_continue_is_relayed_and_the_body_follows(lone):
    def answer(_server, wire, head, _body):
        assert head.get("expect").lower() == "100-continue"
        wire.send("HTTP/1.1 100 Continue\r\n\r\n")
        body = wire.body(head)
        wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    dial, (server,), _ = lone(request_loop(answer))
    wire = dial()
    wire.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert wire.head().status == 100
    wire.send("hello")
    head, body = wire.response()
    assert (head.status, body, server.faults) == (200, b"hello", [])


def test_a_final_answer_instead_of_100_continue_is_passed_on(lone):
    def answer(_server, wire, _head, _body):
        wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        raise EOFError

    dial, _, _ = lone(request_loop(answer))
    wire = dial()
    wire.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    head, body = wire.response()
    assert (head.status, body) == (403, b"no")


def test_an_upgrade_becomes_a_tunnel(lone):
    def behave(server, wire):
        head = wire.head()
        server.heads.append(head)
        if "upgrade" not in head.fields:
            wire.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return
        wire.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  f"Sec-WebSocket-Accept: {ACCEPT}\r\n\r\nearly")
        while True:
            wire.send(wire.take(1).upper())

    dial, (server,), _ = lone(behave)
    wire = dial()
    wire.send("GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n")
    head = wire.head()
    assert head.status == 101
    assert head.get("upgrade").lower() == "websocket" and head.get("sec-websocket-accept") == ACCEPT
    assert server.heads[0].get("upgrade").lower() == "websocket"
    assert wire.take(5) == b"early"
    for word in (b"abc", b"\x00\xff\r\n", b"x" * 10_000):
        wire.send(word)
        assert wire.take(len(word)) == word.upper()


def test_an_answer_that_ends_by_close_is_chunked_to_the_client(lone):
    def behave(_server, wire):
        wire.head()
        wire.send("HTTP/1.1 200 OK\r\n\r\nall that there is")

    dial, _, _ = lone(behave)
    wire = dial()
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    head, body = wire.response()
    assert (head.get("transfer-encoding"), body) == ("chunked", b"all that there is")
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert wire.response()[1] == b"all that there is", "the client's connection stays usable"


def test_a_truncated_answer_never_ends_cleanly(lone):
    def behave(_server, wire):
        wire.head()
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    dial, _, _ = lone(behave)
    wire = dial()
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    head = wire.head()
    assert head.get("content-length") == "100"
    assert len(wire.rest()) < 100


def test_http_1_0_clients_are_served(lone):
    def answer(_server, wire, _head, _body):
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    dial, _, _ = lone(request_loop(answer))
    wire = dial()
    wire.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    head = wire.head()
    assert head.status == 200 and "transfer-encoding" not in head.fields
    assert wire.rest() == b"abc"


def test_no_server_503_dead_server_502_silent_server_504(lone):
    def die(_server, wire):
        wire.head()

    def keep_silent(_server, wire):
        wire.head()
        time.sleep(10)

    for behaviour, pool, status in [(die, "", 502), (keep_silent, "timeouts: {response: 300ms}", 504)]:
        dial, _, _ = lone(behaviour, pool=pool)
        wire = dial()
        wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert wire.response()[0].status == status
    dial, (server,), agent = lone(plain(), check="{tcp: {}, every: 100ms, fast: 50ms, timeout: 200ms, fall: 2}")
    server.close()
    wait_until(lambda: agent.server_states() == {"b1": "down"}, 10, "the server down")
    wire = dial()
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert wire.response()[0].status == 503


def test_a_safe_request_on_a_dead_server_is_tried_on_another(lone):
    def die(_server, wire):
        wire.head()

    dial, (dead, good), _ = lone(die, plain())
    wire = dial()
    for _ in range(10):
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert wire.response()[0].status == 200
    assert len(good.heads) >= 10


def test_a_post_is_never_sent_twice(lone):
    def die(server, wire):
        server.heads.append(wire.head())

    dial, servers, _ = lone(die, die)
    wire = dial()
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    assert wire.response()[0].status == 502
    assert sum(len(server.heads) for server in servers) == 1


def test_round_robin_spreads_evenly_and_served_by_names_the_server(lone):
    dial, servers, _ = lone(plain(), plain(), plain(), listener="served_by_header: X-Served-By")
    wire = dial()
    names = []
    for _ in range(30):
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        names.append(wire.response()[0].get("x-served-by"))
    counts = [sum(server in name for name in names) for server in ("b1", "b2", "b3")]
    assert counts == [10, 10, 10]


def test_least_connections_avoids_the_busy_server(lone):
    def slow(_server, wire, _head, _body):
        time.sleep(2)
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    dial, (busy, free), _ = lone(request_loop(slow), plain(), pool="balance: least_connections")
    wires = [dial() for _ in range(6)]
    for wire in wires:
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.1)
    assert len(busy.heads) <= 3
    assert len(free.heads) >= 3
