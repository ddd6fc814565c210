"""Time-outs, limits, and clients that are slow, rude or gone."""

import socket
import threading
import time

import pytest
from balancer_backends import Backend, Client, Reader, http_backend
from balancer_harness import Balancer, listener, pool, route, server


def front(backend, pool_options=None, threads=1, **options):
    balancer = Balancer(
        [listener("web", ["127.0.0.1:0"], "app", **options)],
        [pool("app", [server("s0", backend.at)], **(pool_options or {}))], threads=threads,
    )  # fmt: skip
    time.sleep(0.02)
    return balancer


def took(action):
    started = time.monotonic()
    result = action()
    return time.monotonic() - started, result


def test_a_head_that_does_not_come_is_408():
    with front(http_backend("s"), head=0.5) as balancer, Client(balancer.port) as client:
        client.send("GET / HTTP/1.1\r\nHost:")
        for _ in range(4):  # the deadline is absolute: bytes that trickle do not put it off
            time.sleep(0.15)
            client.send(" ")
        status, fields, body = client.reader.response()
        assert status == 408 and fields["connection"] == "close" and b"head" in body and fields["date"].endswith(" GMT")
        assert client.ended()


def test_the_deadline_of_a_head_holds_for_later_requests_too():
    with front(http_backend("s"), head=0.5) as balancer, Client(balancer.port) as client:
        assert client.get()[0] == 200
        time.sleep(0.7)  # idle is something else
        assert client.get()[0] == 200
        client.send("GET / HTTP/1.1\r\n")
        assert client.reader.response()[0] == 408


def test_an_idle_connection_is_closed_without_an_answer():
    with front(http_backend("s"), idle=0.4) as balancer, Client(balancer.port) as client:
        assert client.get()[0] == 200
        seconds, ended = took(client.ended)
        assert ended and 0.2 < seconds < 3


def test_a_body_that_does_not_come_is_408():
    with front(http_backend("s"), body=0.4) as balancer, Client(balancer.port) as client:
        client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\npart")
        status, _, body = client.reader.response()
        assert status == 408 and b"body" in body and client.ended()


def test_the_deadline_of_a_body_holds_on_a_server_connection_that_is_open_already():
    with front(http_backend("s"), body=0.4) as balancer, Client(balancer.port) as client:
        assert client.get()[0] == 200
        client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n")
        assert client.reader.response()[0] == 408


@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_single_bytes_do_not_put_off_the_deadline_of_a_body(framing):
    with front(http_backend("s"), body=0.6) as balancer, Client(balancer.port) as client:
        client.send(f"POST / HTTP/1.1\r\nHost: t\r\n{framing}\r\n\r\n")
        client.socket.settimeout(0.1)
        piece = "1\r\nb\r\n" if "chunked" in framing else "b"
        for _ in range(100):
            client.send(piece)
            try:
                client.reader.more()
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("ten seconds of single bytes held the connection")
        client.socket.settimeout(10)
        assert client.reader.response()[0] == 408


def test_a_body_that_goes_on_may_take_longer_than_its_deadline():
    with front(http_backend("s"), body=1.5) as balancer, Client(balancer.port) as client:
        client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 20480\r\n\r\n")
        for _ in range(10):
            time.sleep(0.25)
            client.send(b"b" * 2048)
        assert client.reader.response()[0] == 200


def test_a_server_that_does_not_answer_is_504():
    silent = Backend(lambda connection, _: time.sleep(5))
    with front(silent, {"response": 0.4}) as balancer, Client(balancer.port) as client:
        status, _, body = client.get()
        assert status == 504 and b"in time" in body
        assert client.get()[0] == 504
        assert balancer.fresh_status()["pools"][0]["servers"][0]["failures"] == 2


def test_a_server_that_stops_in_the_middle_aborts_the_client():
    def handler(connection, _):
        Reader(connection).head()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        time.sleep(5)

    with front(Backend(handler), {"response": 0.4}) as balancer, Client(balancer.port) as client:
        with pytest.raises((EOFError, ConnectionResetError)):
            client.get()


def test_a_server_that_takes_no_connection_is_given_up_in_time():
    # A listener whose queue is full leaves SYNs unanswered.
    deaf = socket.socket()
    deaf.bind(("127.0.0.1", 0))
    deaf.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(deaf.getsockname())
        fillers.append(filler)
    time.sleep(0.1)

    class Deaf:
        at = "127.0.0.1:%d" % deaf.getsockname()[1]

    with front(Deaf, {"connect": 0.4}) as balancer, Client(balancer.port) as client:
        seconds, (status, _, body) = took(client.get)
        assert status == 502 and b"connection to the server failed" in body and seconds < 3


@pytest.mark.parametrize(
    "head, status",
    [
        ("GET / HTTP/1.1\r\nHost: t\r\nX: " + "y" * 20_000 + "\r\n\r\n", 431),
        ("GET / HTTP/1.1\r\nHost: t\r\n" + "A: b\r\n" * 200 + "\r\n", 431),
        ("GET /" + "y" * 20_000 + " HTTP/1.1\r\nHost: t\r\n\r\n", 414),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : t\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: t\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ("GET / HTTP/2.0\r\nHost: t\r\n\r\n", 505),
        ("CONNECT t:80 HTTP/1.1\r\nHost: t:80\r\n\r\n", 501),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS comes here\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 70000\r\n\r\n", 413),
        ("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n" + "11170\r\n" + "z" * 70_000, 413),
    ],
    ids=lambda value: value.encode()[:40].hex() if isinstance(value, str) else str(value),
)
def test_bad_requests_are_answered_and_closed(head, status):
    backend = http_backend("s")
    with front(backend, body_size=65_536) as balancer, Client(balancer.port) as client:
        client.send(head)
        answer, fields, body = client.reader.response()
        assert answer == status and fields["connection"] == "close" and body.startswith(b"%d " % status)
        assert fields["date"].endswith(" GMT")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.ended()
        assert backend.requests == []
        with Client(balancer.port) as other:
            assert other.get()[0] == 200


@pytest.mark.parametrize(
    "rest, status",
    [
        ("/ HTTP/1.1\r\n\r\n", 400), ("/ HTTP/1.1\r\nHost: t\r\nX : y\r\n\r\n", 400), ("/ HTTP/2.0\r\nHost: t\r\n\r\n", 505),
        ("/\x01 HTTP/1.1\r\nHost: t\r\n\r\n", 400), ("/" + "y" * 20_000 + " HTTP/1.1\r\nHost: t\r\n\r\n", 414),
        ("/ HTTP/1.1\r\nHost: t\r\nX: ", 408),
    ],
    ids=lambda value: value[:12].encode().hex() if isinstance(value, str) else str(value),
)  # fmt: skip
def test_an_answer_to_a_bad_head_request_has_no_body(rest, status):
    with front(http_backend("s"), head=0.5) as balancer, Client(balancer.port) as client:
        client.send("HEAD " + rest)
        answer, fields, _ = client.reader.response("HEAD")
        assert answer == status and int(fields["content-length"]) > 0 and fields["date"].endswith(" GMT")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.ended() and client.reader.buffer == b""


def test_connections_beyond_the_limit_are_told_so():
    with front(http_backend("s"), connections=3) as balancer:
        clients = [Client(balancer.port) for _ in range(3)]
        for client in clients:
            assert client.get()[0] == 200
        with Client(balancer.port) as extra:
            status, _, body = extra.get()
            assert status == 503 and b"limit of connections" in body and extra.ended()
        with Client(balancer.port) as extra:
            status, fields, _ = extra.get(method="HEAD")
            assert status == 503 and fields["date"].endswith(" GMT") and extra.reader.buffer == b"" and extra.ended()
        assert balancer.fresh_status()["listeners"][0]["refused"] == 2
        clients[0].close()
        time.sleep(0.1)
        with Client(balancer.port) as again:
            assert again.get()[0] == 200
        for client in clients:
            client.close()


def test_connections_of_one_source_can_be_limited():
    with front(http_backend("s"), per_source=2, threads=2) as balancer:
        clients = [Client(balancer.port) for _ in range(2)]
        assert [client.get()[0] for client in clients] == [200, 200]
        with Client(balancer.port) as extra, Client(balancer.port, source="127.0.0.9") as other:
            assert extra.get()[0] == 503 and other.get()[0] == 200
        clients[0].close()
        time.sleep(0.1)
        with Client(balancer.port) as again:
            assert again.get()[0] == 200
        clients[1].close()


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_goes_away_frees_its_server(leave):
    ended = []

    def handler(connection, _):
        Reader(connection).head()
        connection.settimeout(8)
        started = time.monotonic()
        try:
            connection.recv(1)
        except ConnectionResetError:
            pass
        ended.append(time.monotonic() - started)

    with front(Backend(handler)) as balancer:
        client = Client(balancer.port)
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(0.1)
        assert balancer.fresh_status()["pools"][0]["servers"][0]["connections"] == 1
        getattr(client, leave)()
        deadline = time.monotonic() + 5
        while not ended and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ended and ended[0] < 3
        assert balancer.fresh_status()["pools"][0]["servers"][0]["connections"] == 0


def test_a_client_that_ends_its_direction_still_gets_its_answer():
    backend = http_backend("s", lambda *_: time.sleep(0.3))
    with front(backend) as balancer, Client(balancer.port) as client:
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.reader.response()[0] == 200 and client.ended()


def test_a_slow_reader_stops_its_server_and_memory_stays_small():
    total = 64 << 20
    sent = [0]

    def handler(connection, _):
        Reader(connection).head()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        for _ in range(total >> 16):
            connection.sendall(b"b" * 65_536)
            sent[0] += 65_536

    with front(Backend(handler)) as balancer:
        before = balancer.rss()
        with Client(balancer.port) as client:
            client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            time.sleep(1)
            stopped_at = sent[0]
            assert stopped_at < total
            time.sleep(0.3)
            assert sent[0] == stopped_at
            assert balancer.rss() - before < 4 << 20
            _, fields = client.reader.head()
            assert len(client.reader.exactly(total)) == total


def test_a_slow_server_stops_its_client_and_memory_stays_small():
    total = 64 << 20

    def handler(connection, _):
        reader = Reader(connection)
        _, fields = reader.head()
        time.sleep(1.5)
        reader.body(fields)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        time.sleep(0.5)

    with front(Backend(handler)) as balancer, Client(balancer.port) as client:
        before = balancer.rss()
        client.send(f"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {total}\r\n\r\n")
        client.socket.settimeout(0.5)
        sent = 0
        try:
            while sent < total:
                sent += client.socket.send(b"c" * 65_536)
        except TimeoutError:
            pass
        assert sent < total and balancer.rss() - before < 4 << 20
        client.socket.settimeout(30)
        while sent < total:
            sent += client.socket.send(b"c" * min(65_536, total - sent))
        assert client.reader.response()[0] == 200


def test_ending_lets_requests_in_flight_finish():
    backend = http_backend("s", lambda *_: time.sleep(1))
    balancer = front(backend)
    with Client(balancer.port) as idle, Client(balancer.port) as busy:
        assert idle.get()[0] == 200
        busy.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(0.2)
        balancer.control.shutdown(socket.SHUT_RDWR)  # as when the agent dies
        assert idle.ended()
        status, fields, _ = busy.reader.response()
        assert status == 200 and fields["connection"] == "close"
    assert balancer.process.wait(5) == 0


def test_ending_takes_no_longer_than_a_few_seconds():
    silent = Backend(lambda connection, _: time.sleep(20))
    balancer = front(silent)
    with Client(balancer.port) as client:
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(0.2)
        seconds, status = took(balancer.stop)
        assert status == 0 and 1 < seconds < 8


def test_ending_sends_what_waits_for_a_slow_reader():
    count = 25_000
    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app")], [pool("app", [])]
    ) as balancer, Client(balancer.port) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        data = "GET / HTTP/1.1\r\nHost: t\r\n\r\n" * count
        threading.Thread(target=client.send, args=(data,), daemon=True).start()
        time.sleep(0.5)
        balancer.shutdown(20)
        time.sleep(0.3)
        answered, fields = 0, {}
        while client.reader.buffer or client.reader.more():
            status, fields, _ = client.reader.response()  # fails if it ends within one
            assert status == 503
            answered += 1
        assert answered == count or fields["connection"] == "close"


def test_ending_never_makes_a_part_of_an_answer_look_whole():
    def handler(connection, _):
        Reader(connection).head()
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\npart")
        time.sleep(10)

    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s", Backend(handler).at)])]
    ) as balancer, Client(balancer.port) as client:
        client.send("GET / HTTP/1.0\r\n\r\n")
        client.reader.until(b"part")
        balancer.shutdown(0.5)
        with pytest.raises(ConnectionResetError):
            client.reader.more()


def test_shutdown_waits_for_what_is_in_flight():
    balancer = front(http_backend("s", lambda *_: time.sleep(0.5)))
    with Client(balancer.port) as client:
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(0.1)
        balancer.shutdown(60)
        assert client.reader.response()[0] == 200
        # What is idle then is not waited for.
        assert balancer.process.wait(5) == 0


@pytest.mark.parametrize("to", ["https://{host}{path}?{query}", "https://{host}{uri}{uri}{path}?{query}{port}"])
def test_a_redirect_does_not_mind_a_large_head(to):
    routes = [route("r", {"redirect": {"to": to, "status": 301}})]
    with front(http_backend("s"), head_size=64 * 1024, routes=routes) as balancer:
        lines = "".join(f"X-{index}: {'a' * 1000}\r\n" for index in range(46))
        with Client(balancer.port) as client:
            status, fields, _ = client.get("/x?y=1", lines)
            assert status == 301 and fields["location"].startswith("https://test/x?y=1")
            assert client.get("/x")[0] == 301


def test_a_redirect_that_would_be_too_long_is_refused():
    routes = [route("r", {"redirect": {"to": "https://{host}" + "{uri}" * 40, "status": 301}})]
    with front(http_backend("s"), routes=routes) as balancer, Client(balancer.port) as client:
        status, fields, _ = client.get("/x?y=1")
        assert status == 301 and fields["location"] == "https://test" + "/x?y=1" * 40
        status, _, body = client.get("/" + "x" * 8000)
        assert status == 414 and b"would be too long" in body
        assert client.get("/x")[0] == 301, "the connection is as good as before"


@pytest.mark.parametrize("framing", ["counted", "chunked"])
def test_an_early_answer_that_takes_longer_than_a_body_may_arrives_whole(framing):
    def handler(connection, _):
        Reader(connection).head()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n")
        for _ in range(30):
            connection.sendall(b"z" * 1000)
            time.sleep(0.06)
        time.sleep(1)

    length = "Content-Length: 5" if framing == "counted" else "Transfer-Encoding: chunked"
    with front(Backend(handler), body=0.6) as balancer, Client(balancer.port) as client:
        client.send(f"POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n{length}\r\n\r\n")
        status, fields, body = client.reader.response()
        assert status == 200 and len(body) == 30_000 and fields["connection"] == "close"


def test_an_early_answer_that_stops_aborts_the_client_in_time():
    def handler(connection, _):
        Reader(connection).head()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\nzzz")
        time.sleep(10)

    with front(Backend(handler), pool_options={"response": 0.5}, body=30) as balancer, Client(balancer.port) as client:
        client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n")
        started = time.monotonic()
        with pytest.raises((EOFError, ConnectionResetError)):
            client.reader.response()
        assert time.monotonic() - started < 3
