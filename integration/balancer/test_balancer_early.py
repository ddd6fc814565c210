"""Answers that are whole before their requests are."""

import contextlib
import json
import socket
import threading
import time

import pytest
from balancer_backends import Backend, Client, Reader
from balancer_harness import Balancer, listener, pool, server

ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"


@contextlib.contextmanager
def front(handler, log=None, options=None, **rest):
    backend = Backend(handler)
    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app", **rest)], [pool("app", [server("s0", backend.at)], **(options or {}))], log=log
    ) as balancer:
        balancer.backend = backend
        yield balancer


def await_that(condition):
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def lines_of(path, count):
    """So many lines of the log, waiting for them."""
    await_that(lambda: path.exists() and path.read_text().count("\n") == count)
    return [json.loads(line) for line in path.read_text().splitlines()]


def only_line(path):
    return lines_of(path, 1)[0]


def request(framing, size, method="POST"):
    fields = f"Content-Length: {size}" if framing == "counted" else "Transfer-Encoding: chunked"
    return f"{method} / HTTP/1.1\r\nHost: t\r\n{fields}\r\n\r\n".encode()


def in_framing(framing, data):
    return data if framing == "counted" else b"%x\r\n" % len(data) + data + b"\r\n"


@pytest.mark.parametrize("size", [1000, 3 << 20])
@pytest.mark.parametrize("framing", ["counted", "chunked"])
def test_the_rest_of_the_body_goes_on_and_the_client_can_ask_again(framing, size, tmp_path):
    got = {}

    def handler(connection, _):
        reader = Reader(connection)
        with contextlib.suppress(EOFError):
            while True:
                first, fields = reader.head()
                connection.sendall(ANSWER)
                got[first] = reader.body(fields)

    log = tmp_path / "access.log"
    body = bytes(range(256)) * (size // 256) + b"e" * (size % 256)
    with front(handler, log=log) as balancer, Client(balancer.port) as client:
        client.send(request(framing, size) + in_framing(framing, body[:500]))
        status, fields, content = client.reader.response()
        assert (status, content) == (202, b"ok") and "connection" not in fields
        time.sleep(0.2)
        for start in range(500, size, 100_000):
            client.send(in_framing(framing, body[start:start + 100_000]))
        # The end of the body and the next request in one.
        client.send((b"0\r\n\r\n" if framing == "chunked" else b"") + b"GET /next HTTP/1.1\r\nHost: t\r\n\r\n")
        assert client.reader.response()[0] == 202
        await_that(lambda: len(got) == 2)
        assert got["POST / HTTP/1.1"] == body and "GET /next HTTP/1.1" in got
        # Who answers early may have left something unread, and the next request behind it.
        assert len(balancer.backend.connections) == 2
        first, second = lines_of(log, 2)
        assert (first["end"], second["end"]) == ("complete", "complete")
        assert first["bytes_in"] >= size and second["bytes_in"] < 1000


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n"


@pytest.mark.parametrize("end", ["close", "one segment", "a byte more", "an answer more", "while it is sent"])
def test_a_body_is_never_taken_for_a_request(end):
    """The answer tells that the connection goes on, and then it does not."""
    seen = []

    def handler(connection, _):
        reader = Reader(connection)
        first, _ = reader.head()
        seen.append(first)
        if end == "one segment":
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            connection.sendall(ANSWER)
            connection.shutdown(socket.SHUT_WR)
            time.sleep(0.3)
        elif end == "while it is sent":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 2_000_000)
        elif end == "close":
            connection.sendall(ANSWER)
        else:
            connection.sendall(ANSWER + (b"x" if end == "a byte more" else b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"))
            time.sleep(0.3)

    with front(handler) as balancer:
        for _ in range(10):
            with Client(balancer.port) as client:
                client.send(request("counted", 500_000) + b"x" * 1000)
                assert client.reader.head()[0].split()[1] in ("200", "202")
                with contextlib.suppress(OSError):
                    client.send(SMUGGLED * 3)
                    time.sleep(0.05)
                    client.send(SMUGGLED * 1000)
                with contextlib.suppress(ConnectionResetError):
                    while client.reader.more():
                        pass
                assert b"HTTP/1.1" not in client.reader.buffer
        assert all(first.startswith("POST /") for first in seen) and len(seen) == 10


@pytest.mark.parametrize("when", ["expected", "expected, large", "ends later"])
def test_an_unread_body_is_no_request_of_another_client(when):
    """The server takes what it has not read of a body for the next request."""
    seen, go = [], threading.Event()

    def handler(connection, _):
        reader = Reader(connection)
        with contextlib.suppress(EOFError):
            while True:
                first, _ = reader.head()
                seen.append(first)
                if first.startswith("POST") and when == "ends later":
                    connection.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nno")
                    go.wait(5)
                    connection.sendall(b"ne")
                elif first.startswith("POST"):
                    size = 20_000_000 if "large" in when else 4
                    connection.sendall(b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n" % size + b"n" * size)
                else:
                    path = first.split()[1].encode()
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(path) + path)

    evil = b"GET /evil HTTP/1.1\r\nHost: t\r\nX: "
    with front(handler) as balancer:
        with Client(balancer.port) as client:
            expect = b"Expect: 100-continue\r\n" if "expected" in when else b""
            client.send(b"POST / HTTP/1.1\r\nHost: t\r\n%sContent-Length: %d\r\n\r\n" % (expect, len(evil)))
            if "large" in when:
                # Its answer has begun and cannot go on before the client reads.
                time.sleep(0.3)
                client.send(evil)
                time.sleep(0.2)
                assert client.reader.response()[0] == 401
            elif when == "expected":
                assert client.reader.response()[0] == 401
                client.send(evil)
            else:
                assert client.reader.head()[0].startswith("HTTP/1.1 404")
                client.send(evil)
                time.sleep(0.2)
                go.set()
                assert client.reader.exactly(4) == b"none"
            time.sleep(0.2)
            with Client(balancer.port) as victim:
                assert victim.get("/victim")[2] == b"/victim"
        assert not any("/evil" in first for first in seen)


@pytest.mark.parametrize("fault", ["half-close", "bad chunk", "too much"])
def test_a_whole_answer_arrives_whatever_becomes_of_the_body(fault):
    size = 1_000_000

    def handler(connection, _):
        Reader(connection).head()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        time.sleep(2)

    with front(handler, body_size=10_000) as balancer, Client(balancer.port) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        client.send(request("counted" if fault == "half-close" else "chunked", 1000))
        time.sleep(0.3)
        if fault == "half-close":
            client.send(b"x" * 100)
            client.socket.shutdown(socket.SHUT_WR)
        else:
            client.send(b"zz\r\n" if fault == "bad chunk" else b"%x\r\n" % 20_000 + b"x" * 20_000)
        time.sleep(0.3)
        assert client.reader.response()[0] == 200
        assert client.ended()


def test_a_server_that_leaves_the_body_unread_holds_up_nobody_else():
    def handler(connection, _):
        reader = Reader(connection)
        first, _ = reader.head()
        connection.sendall(ANSWER)
        if "/never" in first:
            time.sleep(5)

    with front(handler, options={"response": 2}) as balancer, Client(balancer.port) as client, Client(balancer.port) as other:
        client.send(b"POST /never HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n")
        assert client.reader.response()[0] == 202
        client.send(b"x" * 1000)
        time.sleep(0.2)
        began = time.monotonic()
        assert other.get("/")[0] == 202
        assert client.get("/")[0] == 202
        assert time.monotonic() - began < 1


def test_what_the_server_closes_after_its_answer_ends_the_connection_behind_it(tmp_path):
    def handler(connection, _):
        Reader(connection).head()
        connection.sendall(ANSWER)
        time.sleep(0.5)

    with front(handler, log=tmp_path / "log") as balancer, Client(balancer.port) as client:
        client.send(request("counted", 1 << 30) + b"x" * 1000)
        assert client.reader.response()[0] == 202
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - began < 5:
                client.send(b"x" * 10_000)
        assert time.monotonic() - began < 5
        assert only_line(tmp_path / "log")["end"] == "complete"


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"x"])
def test_what_a_server_sends_behind_an_early_answer_reaches_nobody(extra):
    def handler(connection, backend):
        reader = Reader(connection)
        first, fields = reader.head()
        connection.sendall(ANSWER)
        if first.startswith("POST"):
            time.sleep(0.2)
            connection.sendall(extra)
        time.sleep(1)

    with front(handler) as balancer, Client(balancer.port) as client:
        client.send(request("counted", 10) + b"x" * 4)
        assert client.reader.response()[0] == 202
        assert client.ended(), "closed, with nothing more"
        with Client(balancer.port) as other:
            assert other.get("/")[0::2] == (202, b"ok")
        assert len(balancer.backend.connections) == 2


def test_a_client_whose_body_stops_is_let_go_with_its_answer(tmp_path):
    def handler(connection, _):
        reader = Reader(connection)
        reader.head()
        connection.sendall(ANSWER)
        with contextlib.suppress(OSError):
            while connection.recv(65536):
                pass

    with front(handler, log=tmp_path / "log", body=0.5) as balancer, Client(balancer.port) as client:
        client.send(request("counted", 10) + b"x" * 4)
        assert client.reader.response()[0] == 202
        began = time.monotonic()
        assert client.socket.recv(1) == b"", "ended, not reset"
        assert 0.3 < time.monotonic() - began < 3
        line = only_line(tmp_path / "log")
        assert (line["status"], line["end"]) == (202, "request body did not come in time")


def test_a_client_that_leaves_within_its_body_is_told_from_a_whole_one(tmp_path):
    ends = []

    def handler(connection, _):
        reader = Reader(connection)
        _, fields = reader.head()
        connection.sendall(ANSWER)
        try:
            ends.append(reader.body(fields))
        except (EOFError, OSError) as error:
            ends.append(type(error).__name__)

    with front(handler, log=tmp_path / "log") as balancer:
        with Client(balancer.port) as client:
            client.send(request("counted", 10) + b"x" * 4)
            assert client.reader.response()[0] == 202
        assert only_line(tmp_path / "log")["end"] == "client closed while request body was read"
        await_that(lambda: ends)
        assert isinstance(ends[0], str)


def test_a_server_that_reads_no_more_has_the_time_of_a_body(tmp_path):
    def handler(connection, _):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader = Reader(connection)
        reader.until(b"\r\n\r\n")
        connection.sendall(ANSWER)
        time.sleep(20)

    with front(handler, log=tmp_path / "log", body=1, options={"response": 1}) as balancer:
        with Client(balancer.port, timeout=20) as client:
            client.send(request("counted", 1 << 30) + b"x" * 1000)
            assert client.reader.response()[0] == 202
            began = time.monotonic()
            with contextlib.suppress(OSError):
                while True:
                    client.send(b"x" * 65536)
            assert time.monotonic() - began < 12
        assert only_line(tmp_path / "log")["status"] == 202


def test_a_body_that_has_to_wait_for_the_server_ends_the_exchange_when_it_has_gone(tmp_path):
    """The whole request is read while a part of it still waits for the server: nothing of the client's will wake it."""
    size, got = 6 << 20, []

    def handler(connection, _):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
        reader = Reader(connection)
        with contextlib.suppress(EOFError):
            while True:
                _, fields = reader.head()
                connection.sendall(ANSWER)
                time.sleep(0.3)
                got.append(len(reader.body(fields)))

    with front(handler, log=tmp_path / "log") as balancer, Client(balancer.port) as client:
        client.send(request("counted", size))
        assert client.reader.response()[0] == 202
        client.send(b"x" * size)
        assert only_line(tmp_path / "log")["bytes_in"] >= size
        assert client.get("/")[0] == 202
        await_that(lambda: got and got[0] == size)


def test_both_directions_at_once_and_a_client_that_reads_late():
    """An echo: what is sent comes back while more is sent; the answer ends first."""
    size = 8 << 20

    def handler(connection, _):
        reader = Reader(connection)
        if reader.head()[0].startswith("GET"):
            return connection.sendall(ANSWER)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            connection.sendall(reader.exactly(65536))
        reader.exactly(1000)

    with front(handler) as balancer, Client(balancer.port, timeout=20) as client:
        def pour():
            with contextlib.suppress(OSError):
                client.send(request("counted", size + 1000))
                for place in range(size // 65536):
                    client.send(bytes([place % 256]) * 65536)
                time.sleep(0.5)
                client.send(b"x" * 1000 + b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")

        thread = threading.Thread(target=pour, daemon=True)
        thread.start()
        status, _, body = client.reader.response()
        assert status == 200
        assert body == b"".join(bytes([place % 256]) * 65536 for place in range(size // 65536))
        assert client.reader.response()[0] == 202
        thread.join(5)
