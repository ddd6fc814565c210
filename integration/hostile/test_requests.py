"""Malformed, ambiguous and oversized requests: refused with the right status, never passed on, and nothing crashes.

The table follows RFC 9112 and RFC 9110 where they leave a choice in favour of refusing."""

import pytest

import lone_balancer
from lab import wait_until
from peers import plain, request_loop

H = b"Host: a\r\n"
REFUSED = [
    ("a bare CR in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
    ("NUL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400),
    ("a control character in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x07b\r\n\r\n", 400),
    ("a space before the colon", b"GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n", 400),
    ("an empty name", b"GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n", 400),
    ("an invalid name", b"GET / HTTP/1.1\r\nHost: a\r\nX(y): a\r\n\r\n", 400),
    ("a line without a colon", b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", 400),
    ("line folding", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
    ("white space before the first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("two Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("an invalid Host", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("user information in Host", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    ("bare LF as a line end", b"GET / HTTP/1.1\nHost: a\n\n", 400),
    ("bare LF in the head", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    ("two spaces in the request line", b"GET  / HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("no version", b"GET /\r\n" + H + b"\r\n", 400),
    ("a method that is no token", b"G@T / HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("a fragment", b"GET /a#b HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("a target that is no path", b"GET a HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("absolute form of another host", b"GET http://b/ HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("a lower-case version", b"GET / http/1.1\r\n" + H + b"\r\n", 400),
    ("TLS to a plain port", b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03" + b"a" * 40 + b"\r\n\r\n", 400),
    ("version 2.0", b"GET / HTTP/2.0\r\n" + H + b"\r\n", 505),
    ("version 3.7", b"GET / HTTP/3.7\r\n" + H + b"\r\n", 505),
    ("length and coding", b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("two lengths", b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    ("a list of lengths", b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 3, 4\r\n\r\nabcd", 400),
    ("a signed length", b"POST / HTTP/1.1\r\n" + H + b"Content-Length: +3\r\n\r\nabc", 400),
    ("a hexadecimal length", b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 0x3\r\n\r\nabc", 400),
    ("a negative length", b"POST / HTTP/1.1\r\n" + H + b"Content-Length: -1\r\n\r\n", 400),
    ("an empty length", b"POST / HTTP/1.1\r\n" + H + b"Content-Length: \r\n\r\n", 400),
    ("a length beyond 64 bits", b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    ("chunked not last", b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", (400, 501)),
    ("chunked twice", b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    ("an unknown coding", b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", (400, 501)),
    ("coding in HTTP/1.0", b"POST / HTTP/1.0\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("a vertical tab before chunked", b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    ("a long target", b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + H + b"\r\n", 414),
    ("a large field", b"GET / HTTP/1.1\r\n" + H + b"X: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    ("many fields", b"GET / HTTP/1.1\r\n" + H + b"X: a\r\n" * 200 + b"\r\n", 431),
    ("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", (400, 405, 501)),
]
REFUSED_CHUNKS = [
    ("no number", b"zz\r\n"), ("a negative number", b"-1\r\n"), ("a sign", b"+1\r\na\r\n"), ("a prefix", b"0x1\r\na\r\n"),
    ("a huge number", b"f" * 17 + b"\r\n"), ("no line end after the data", b"1\r\nabc\r\n0\r\n\r\n"),
    ("bare LF", b"1\na\n0\n\n"), ("a space before the number", b" 1\r\na\r\n0\r\n\r\n"), ("an empty line", b"\r\n"),
]


@pytest.fixture(scope="module")
def shared():
    """One lone balancer for the whole table: it must still be the same process at the end."""
    with lone_balancer.standing(plain()) as made:
        yield made


def ok(dial):
    wire = dial()
    wire.send("GET /fine HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    status = wire.response()[0].status
    wire.close()
    return status == 200


@pytest.mark.parametrize("name, request_bytes, status", REFUSED, ids=[row[0] for row in REFUSED])
def test_a_bad_head_is_refused_and_not_passed_on(shared, name, request_bytes, status):
    dial, (server,), agent = shared
    pid, passed = agent.balancer, len(server.heads)
    wire = dial()
    wire.send(request_bytes)
    head = wire.head()
    assert head.status in (status if isinstance(status, tuple) else (status,)), head
    wire.rest()  # comes back only when the connection is closed
    assert len(server.heads) == passed, "nothing reached the server"
    assert ok(dial) and agent.balancer == pid


@pytest.mark.parametrize("name, chunk", REFUSED_CHUNKS, ids=[row[0] for row in REFUSED_CHUNKS])
def test_a_bad_chunk_ends_the_request(shared, name, chunk):
    dial, _, agent = shared
    pid = agent.balancer
    wire = dial()
    wire.send(b"POST /chunks HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
    try:
        wire.connection.shutdown(1)
    except OSError:
        pass
    answer = wire.rest()
    assert not answer.startswith(b"HTTP/1.1 2"), answer
    assert ok(dial) and agent.balancer == pid


def test_what_is_odd_and_legal_is_served(shared):
    dial, (server,), _ = shared
    for request in (
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhOsT:a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX:\t a \t\r\n\r\n",
        b"GET /%00%ff?a=[]{}| HTTP/1.1\r\nHost: a:8080\r\n\r\n".replace(b"[]{}|", b"%5B%5D"),
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n003;x=\"y\"\r\nabc\r\n0\r\nTrailer: x\r\n\r\n",
        b"PURGE / HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        wire = dial()
        wire.send(request)
        assert wire.response()[0].status == 200, request
        wire.close()


def test_a_smuggled_request_stays_a_body(shared):
    dial, (server,), _ = shared
    passed = len(server.heads)
    wire = dial()
    inner = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    wire.send(b"POST /outer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(inner) + inner)
    assert wire.response()[0].status == 200
    assert [head.first for head in server.heads[passed:]] == ["POST /outer HTTP/1.1"]


BAD_ANSWERS = [
    b"nonsense\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
]


@pytest.mark.parametrize("answer", BAD_ANSWERS, ids=range(len(BAD_ANSWERS)))
def test_a_malformed_answer_becomes_a_502(lone, answer):
    def behave(_server, wire, _head, _body):
        wire.send(answer)
        raise EOFError

    dial, _, agent = lone(request_loop(behave))
    wire = dial()
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    assert wire.response()[0].status == 502
    wait_until(lambda: agent.balancer, 5, "the balancer alive")


def test_bytes_after_an_answer_are_not_given_to_the_next_client(lone):
    def behave(_server, wire, head, _body):
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")

    dial, _, _ = lone(request_loop(behave))
    for _ in range(10):
        wire = dial()
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert wire.response()[1] == b"ok"
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert wire.response()[1] == b"ok"
        wire.close()
