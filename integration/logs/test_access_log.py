"""The access log: what is said of each request, how each of them can end, where lines go and what is lost of them."""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import threading
import time

import pytest
from balancer_backends import Backend, Client, Reader, http_backend
from balancer_harness import Balancer, access_log, cookie_affinity, listener, pool, route, server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Log:
    """A file of JSON lines that is written meanwhile."""

    def __init__(self, path):
        self.path, self.seen = path, 0

    def lines(self):
        text = pathlib.Path(self.path).read_text() if os.path.exists(self.path) else ""
        return [json.loads(line) for line in text.splitlines()]

    def next(self, count=1, seconds=8):
        """The lines that come next, `count` of them and no more."""
        end = time.monotonic() + seconds
        while len(self.lines()) < self.seen + count and time.monotonic() < end:
            time.sleep(0.02)
        new = self.lines()[self.seen :]
        assert len(new) == count, new
        self.seen += count
        return new if count > 1 else new[0]


@pytest.fixture
def logged(tmp_path):
    """`logged(handler, …)` is a balancer in front of one scripted server, and its log."""
    with contextlib.ExitStack() as stack:

        def start(handler, pool_options=None, mode="http", at=None, log_format="json", threads=1, **options):
            backend = Backend(handler) if handler else None
            path = str(tmp_path / "access.log")
            balancer = Balancer(
                [listener("web", ["127.0.0.1:0"], "app", mode=mode, **options)],
                [pool("app", [server("s0", at or backend.at)], **(pool_options or {}))],
                threads=threads, log=path, log_format=log_format)  # fmt: skip
            stack.enter_context(balancer)
            time.sleep(0.05)
            return balancer, Log(path)

        yield start


def answering(answer):
    """A server that answers every request with these bytes."""

    def handler(connection, _):
        reader = Reader(connection)
        while True:
            reader.head()
            connection.sendall(answer)

    return handler


def closing(answer=b""):
    def handler(connection, _):
        Reader(connection).head()
        connection.sendall(answer)

    return handler


def silent(connection, _):
    Reader(connection).head()
    time.sleep(20)


def stalling(connection, _):
    Reader(connection).head()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart")
    time.sleep(20)


def endless(connection, _):
    Reader(connection).head()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def full_address():
    """An address whose connections are never accepted: its queue is full."""
    item = socket.socket()
    item.bind(("127.0.0.1", 0))
    item.listen(0)
    others = [socket.socket() for _ in range(3)]
    for other in others:
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            other.connect(item.getsockname())
    return f"127.0.0.1:{item.getsockname()[1]}", [item, *others]


def test_a_line_says_what_client_and_server_saw(logged):
    balancer, log = logged(answering(OK), pool_options={"affinity": cookie_affinity()})
    with Client(balancer.port) as client:
        request = (
            "POST /path?q=1 HTTP/1.1\r\nHost: www.example.com\r\nReferer: http://r/\r\nUser-Agent: t\r\n"
            "Content-Length: 5\r\n\r\nhello"
        )
        before = time.time()
        client.send(request)
        head = client.reader.until(b"\r\n\r\n")
        answer = head + client.reader.exactly(2)
        port = client.socket.getsockname()[1]
        line = log.next()
        cookie = re.search(rb"AFLOAT=([0-9a-f]{16})", head).group(1).decode()
        client.get("/", f"Cookie: AFLOAT={cookie}\r\n")
        client.get("/", "Cookie: AFLOAT=0000000000000000\r\n")
        kept, unknown = log.next(2)
    times = line.pop("times_ms")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])
    logged_at = time.strptime(line.pop("time")[:19], "%Y-%m-%dT%H:%M:%S")
    assert abs(time.mktime(logged_at) - time.timezone - before) < 3
    assert re.fullmatch("[0-9a-f]{16}", line.pop("id"))
    assert line == {
        "client": "127.0.0.1", "port": port, "mode": "http", "listener": "web", "route": None, "pool": "app",
        "server": "s0", "method": "POST", "target": "/path?q=1", "version": "HTTP/1.1", "host": "www.example.com",
        "referer": "http://r/", "user_agent": "t", "status": 200, "bytes_in": len(request), "bytes_out": len(answer),
        "retries": 0, "affinity": "none", "end": "complete",
    }  # fmt: skip
    assert times["head"] == 0 and times["queue"] == 0 and times["connect"] >= 0
    assert 0 <= times["first_byte"] <= times["total"] < 2000
    assert (kept["affinity"], unknown["affinity"]) == ("kept", "unknown")


GIVEN = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


def recording(heads):
    """A server that keeps the heads of its requests and answers each."""

    def handler(connection, _):
        reader = Reader(connection)
        while True:
            heads.append(reader.until(b"\r\n\r\n"))
            connection.sendall(OK)

    return handler


def seen_ids(head):
    return [line.split(b": ", 1)[1].decode() for line in head.split(b"\r\n") if line.lower().startswith(b"x-request-id:")]


@pytest.mark.parametrize("log_format", ["json", "combined"])
def test_servers_get_the_id_that_is_logged(logged, log_format):
    heads = []
    balancer, log = logged(recording(heads), log_format=log_format, trust=["127.0.0.2/32"])
    sent = [f"X-Request-ID: {GIVEN}\r\n", "X-Request-ID: a b\r\n", "X-Request-ID: a\r\nx-request-id: b\r\n", ""]
    for source in ("127.0.0.1", "127.0.0.2"):
        with Client(balancer.port, source=source) as client:
            for fields in sent:
                assert client.get("/", fields + "X-Other: stays\r\n")[0] == 200
    assert all(b"X-Other: stays\r\n" in head and b"\r\nVia: 1.1 n1\r\n" in head for head in heads)
    ids = [seen_ids(head) for head in heads]
    assert len(ids) == 8 and all(len(one) == 1 for one in ids), ids
    flat = [one[0] for one in ids]
    assert flat[4] == GIVEN and all(re.fullmatch("[0-9a-f]{16}", one) for one in flat[:4] + flat[5:])
    assert len(set(flat)) == 8
    if log_format == "json":
        assert [line["id"] for line in log.next(8)] == flat


def test_a_format_without_ids_leaves_the_field_alone(logged):
    heads = []
    balancer, _ = logged(recording(heads), log_format="hap")
    with Client(balancer.port) as client:
        for fields in (f"X-Request-ID: {GIVEN}\r\n", "", "X-Request-ID: a\r\nx-request-id: b\r\n"):
            assert client.get("/", fields)[0] == 200
    assert [seen_ids(head) for head in heads] == [[GIVEN], [], ["a", "b"]]


def test_connection_does_not_name_the_id_away(logged):
    heads = []

    def handler(connection, _):
        heads.append(Reader(connection).until(b"\r\n\r\n"))
        connection.sendall(OK)

    balancer, log = logged(handler, trust=["127.0.0.2/32"])
    for source in ("127.0.0.1", "127.0.0.2"):
        with Client(balancer.port, source=source) as client:
            client.send(f"GET / HTTP/1.1\r\nHost: h\r\nX-Request-ID: {GIVEN}\r\nConnection: close, x-request-id\r\n\r\n")
            assert client.reader.response()[0] == 200
    ids = [seen_ids(head) for head in heads]
    assert ids == [[log.next()["id"]], [GIVEN]] and ids[0] != ids[1]


def test_answers_of_our_own_carry_the_id_of_a_trusted_forwarder(logged):
    balancer, log = logged(None, at="127.0.0.1:1", trust=["127.0.0.0/8"])
    with Client(balancer.port) as client:
        client.send(f"GET / HTTP/1.1\r\nHost: h\r\nX-Request-ID: {GIVEN}\r\n\r\n")
        head = client.reader.until(b"\r\n\r\n")
    assert seen_ids(head) == [GIVEN] and log.next()["id"] == GIVEN


def test_without_a_log_the_id_passes_as_any_other_field():
    heads = []

    def handler(connection, _):
        heads.append(Reader(connection).until(b"\r\n\r\n"))
        connection.sendall(OK)

    backend = Backend(handler)
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s0", backend.at)])]) as balancer:
        for fields in ("X-Request-ID: mine\r\n", ""):
            with Client(balancer.port) as client:
                assert client.get("/", fields)[0] == 200
    assert [seen_ids(head) for head in heads] == [["mine"], []]


@pytest.mark.parametrize("edits, expected", [({"set": ["theirs"]}, ["theirs"]), ({"remove": True}, [])])
def test_a_route_has_the_last_word_on_the_id(tmp_path, edits, expected):
    heads = []

    def handler(connection, _):
        heads.append(Reader(connection).until(b"\r\n\r\n"))
        connection.sendall(OK)

    request = {"set": [{"name": "X-Request-ID", "value": one} for one in edits.get("set", [])],
               "remove": ["X-Request-Id"] if "remove" in edits else []}
    backend = Backend(handler)
    balancer = Balancer(
        [listener("web", ["127.0.0.1:0"], "app", routes=[route("r", "app", request=request)])],
        [pool("app", [server("s0", backend.at)])], log=str(tmp_path / "log"))  # fmt: skip
    with balancer, Client(balancer.port) as client:
        assert client.get("/", "X-Request-ID: mine\r\n")[0] == 200
    assert seen_ids(heads[0]) == expected


def test_times_of_each_phase_are_where_they_were_spent(logged):
    def handler(connection, _):
        reader = Reader(connection)
        while True:
            reader.head()
            time.sleep(0.3)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok")
            time.sleep(0.2)
            connection.sendall(b"ok")

    balancer, log = logged(handler)
    with Client(balancer.port) as client:
        client.send("GET / HTTP/1.1\r\nHo")
        time.sleep(0.25)
        client.send("st: t\r\n\r\n")
        assert client.reader.response()[0] == 200
        times = log.next()["times_ms"]
    assert 240 < times["head"] < 600
    assert 290 < times["first_byte"] < 700
    assert 740 < times["total"] < 1500
    assert times["total"] >= times["head"] + times["first_byte"] + 190


def test_a_head_that_cannot_be_read_is_logged_as_it_came(logged):
    balancer, log = logged(answering(OK))
    with Client(balancer.port) as client:
        client.send(b"GET /\x01\"\xff HTTP/1.1\r\nHost: t\r\n\r\n")
        status, fields, _ = client.reader.response()
        line = log.next()
    assert status == 400 and line["status"] == 400
    assert line["id"] == fields["x-request-id"]
    assert line["end"] == "malformed request" and line["server"] is None and line["pool"] is None
    text = pathlib.Path(log.path).read_bytes()
    assert b'"target":"/\\u0001\\"\\\\xff"' in text


def end_of(logged, words, send=None, act=None, log_state=None, status=None, **options):
    """Sends a request, lets `act(client)` do its worst, and checks how the log says that it ended."""
    balancer, log = logged(**options)
    client = Client(balancer.port)
    client.send(send or "GET / HTTP/1.1\r\nHost: t\r\n\r\n")
    if act:
        time.sleep(0.15)
        act(client)
    line = log.next(seconds=12)
    assert line["end"] == words, line
    assert line["status"] == status, line
    client.close()
    return line


def test_server_closes_before_its_answer(logged):
    line = end_of(logged, "server closed before its response", handler=closing(), status=502,
                  pool_options={"attempts": 0})
    assert line["server"] == "s0" and line["times_ms"]["first_byte"] is not None


def test_server_closes_within_the_body(logged):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"
    line = end_of(logged, "server closed while response body was sent", handler=closing(answer), status=200)
    assert line["bytes_out"] > 4


def test_server_answers_nonsense(logged):
    end_of(logged, "malformed response", handler=closing(b"nonsense\r\n\r\n"), status=502)


def test_server_frames_nonsense(logged):
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n"
    end_of(logged, "malformed response body", handler=closing(answer), status=200)


def test_server_does_not_answer(logged):
    end_of(logged, "server did not respond in time", handler=silent, status=504, pool_options={"response": 0.3})


def test_server_stops_within_the_body(logged):
    end_of(logged, "server stopped while response body was sent", handler=stalling, status=200,
           pool_options={"response": 0.3})


def test_server_refuses_the_connection(logged):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{free.getsockname()[1]}"
        line = end_of(logged, "connection to server failed", handler=None, at=at, status=502)
    assert line["times_ms"]["connect"] is None and line["times_ms"]["queue"] == 0


def test_server_does_not_accept(logged):
    at, held = full_address()
    end_of(logged, "connection to server took too long", handler=None, at=at, status=502,
           pool_options={"connect": 0.3, "attempts": 0})
    for item in held:
        item.close()


def test_client_leaves_while_the_server_is_connected(logged):
    at, held = full_address()
    end_of(logged, "client closed while server was connected", handler=None, at=at, status=None, act=Client.reset)
    for item in held:
        item.close()


def test_client_leaves_while_the_answer_is_awaited(logged):
    end_of(logged, "client closed while response was awaited", handler=silent, act=Client.reset)


def test_client_leaves_while_the_answer_is_sent(logged):
    line = end_of(logged, "client closed while response body was sent", handler=endless, act=Client.reset, status=200)
    assert line["bytes_out"] > 10_000


def test_client_stops_reading(logged):
    end_of(logged, "client stopped reading the response", handler=endless, idle=0.4, status=200)


def test_client_leaves_within_its_head(logged):
    line = end_of(logged, "client closed while request head was read", handler=answering(OK),
                  send="GET /half HTTP/1.1\r\nHo", act=Client.close)
    assert line["target"] == "/half" and line["status"] is None


def test_client_does_not_finish_its_head(logged):
    line = end_of(logged, "request head did not come in time", handler=answering(OK),
                  send="GET /slow HTTP/1.1\r\nHo", head=0.4, status=408)
    assert line["target"] == "/slow" and line["bytes_in"] == 22


def test_client_leaves_within_its_body(logged):
    end_of(logged, "client closed while request body was read", handler=silent,
           send="POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\npart", act=Client.close)


def test_client_does_not_finish_its_body(logged):
    end_of(logged, "request body did not come in time", handler=silent, body=0.4, status=408,
           send="POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\npart")


def test_body_is_too_large(logged):
    end_of(logged, "request body too large", handler=silent, body_size=10, status=413,
           send="POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\npart")


def test_over_the_limit_of_connections(logged):
    balancer, log = logged(answering(OK), connections=1)
    with Client(balancer.port) as first:
        first.get()
        log.next()
        with Client(balancer.port) as second:
            second.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            status, fields, _ = second.reader.response()
            line = log.next()
    assert status == 503 and line["status"] == 503
    assert line["end"] == "over a limit of connections" and line["id"] == fields["x-request-id"]


def test_hap_has_no_time_of_an_answer_that_no_server_gave(logged):
    balancer, log = logged(silent, log_format="hap", pool_options={"response": 0.3})
    with Client(balancer.port) as client:
        assert client.get()[0] == 504
    time.sleep(0.3)
    times = re.search(r" (-?\d+)/(-?\d+)/(-?\d+)/(-?\d+)/(\d+) 504 ", pathlib.Path(log.path).read_text())
    assert times and times[4] == "-1" and int(times[5]) >= 300


@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_what_begins_with_no_proxy_header_is_refused(logged, mode):
    balancer, log = logged(None, at="127.0.0.1:9", mode=mode, proxy_binds=[0])
    with Client(balancer.port) as client:
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        assert client.ended()
    line = log.next()
    assert (line["end"], line["mode"], line["client"]) == ("malformed request", "tcp", "127.0.0.1")


def test_a_proxys_client_over_its_limit_is_refused(logged):
    balancer, log = logged(endless, mode="tcp", proxy_binds=[0], per_source=1)
    header = "PROXY TCP4 192.0.2.7 192.0.2.1 7 80\r\n"
    with Client(balancer.port) as first:
        first.send(header + "GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        assert first.reader.head()
        with Client(balancer.port) as second:
            second.send(header)
            assert second.ended()
            line = log.next()
    assert (line["end"], line["client"], line["port"]) == ("over a limit of connections", "192.0.2.7", 7)


def test_no_server_is_up(tmp_path):
    log = Log(tmp_path / "log")
    from balancer_harness import tcp_check

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{free.getsockname()[1]}"
        with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s0", at)], check=tcp_check())],
                      log=log.path) as balancer:
            balancer.wait_state("app", "s0", "down")
            with Client(balancer.port) as client:
                assert client.get()[0] == 503
            line = log.next()
    assert line["end"] == "no server is up" and line["pool"] == "app" and line["server"] is None


def test_the_queue_is_full_late_or_left(tmp_path):
    log = Log(tmp_path / "log")
    backend = Backend(silent)
    servers = [server("s0", backend.at, maximum=1)]
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", servers, queue=(1, 0.8))],
                  log=log.path) as balancer:
        time.sleep(0.05)
        holder, waiting, third = (Client(balancer.port) for _ in range(3))
        holder.send("GET /holder HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(0.1)
        waiting.send("GET /waiting HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(0.1)
        assert third.get("/third")[0] == 503
        full = log.next()
        late = log.next()
        assert waiting.reader.response()[0] == 503
        waiting.send("GET /leaves HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(0.1)
        waiting.reset()
        left = log.next()
        figures = balancer.figures()["pools"][0]
        holder.reset()
        log.next()
    assert (full["target"], full["end"]) == ("/third", "too many wait for a server")
    assert (late["target"], late["end"]) == ("/waiting", "waited too long for a server")
    assert 700 < late["times_ms"]["queue"] < 1500 and late["times_ms"]["connect"] is None
    assert (left["target"], left["end"]) == ("/leaves", "client closed while it waited for a server")
    assert (figures["queued"], figures["queue_full"], figures["queue_late"]) == (2, 1, 1)


def test_a_request_that_is_sent_again_is_counted(tmp_path):
    log = Log(tmp_path / "log")
    dying, living = Backend(closing()), http_backend("s1")
    servers = [server("s0", dying.at), server("s1", living.at)]
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", servers)], log=log.path) as balancer:
        time.sleep(0.05)
        for _ in range(4):
            with Client(balancer.port) as client:
                assert client.get()[0] == 200
        lines = log.next(4)
        figures = balancer.figures()
    assert {(line["server"], line["end"]) for line in lines} == {("s1", "complete")}
    retries = sum(line["retries"] for line in lines)
    assert retries >= 1 and figures["pools"][0]["retries"] == retries


def test_tunnels_are_logged_at_their_end(logged):
    def echo(connection, _):
        while data := connection.recv(4096):
            connection.sendall(data)

    balancer, log = logged(echo, mode="tcp", tunnel=0.6)
    with Client(balancer.port) as client:
        client.send(b"x" * 1000)
        assert client.reader.exactly(1000) == b"x" * 1000
        figures = balancer.figures()
        assert figures["listeners"][0]["traffic"]["bytes_in"] == 1000, "tunnels are counted while they last"
        client.socket.shutdown(socket.SHUT_WR)
        assert client.ended()
    line = log.next()
    assert (line["mode"], line["end"], line["status"]) == ("tcp", "tunnel closed", None)
    assert (line["bytes_in"], line["bytes_out"], line["server"]) == (1000, 1000, "s0")
    with Client(balancer.port) as client:
        client.send(b"y")
        assert client.reader.exactly(1) == b"y"
        assert log.next()["end"] == "tunnel was idle for too long"
    with Client(balancer.port) as client:
        client.send(b"z")
        assert client.reader.exactly(1) == b"z"
        client.reset()
        assert log.next()["end"] in ("client reset the tunnel", "tunnel closed")


def test_what_is_cut_off_by_the_end(logged):
    balancer, log = logged(silent)
    with Client(balancer.port) as client:
        client.send("GET /cut HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(0.2)
        balancer.stop()
        assert client.ended()
    assert log.next()["end"] == "cut off by the end of the balancer"


@pytest.mark.parametrize(
    "log_format, pattern",
    [
        ("combined", r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /\? HTTP/1\.1" 200 2 "-" "agent"'
                     r' id=[0-9a-f]{16} listener=web server=app/s0 times=\d+\.\d{3}/\d+\.\d{3}/\d+\.\d{3}/\d+\.\d{3}/\d+\.\d{3}'
                     r' in=\d+ out=\d+ retries=0 end="complete"'),
        ("hap", r'127\.0\.0\.1:\d+ \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d\.\d{3}\] web app/s0 \d+/\d+/\d+/\d+/\d+ 200 \d+ - - ----'
                r' 1/1/\d/\d/0 0/0 "GET /\? HTTP/1\.1"'),
    ],
)
def test_formats(logged, log_format, pattern):
    balancer, log = logged(answering(OK), log_format=log_format)
    with Client(balancer.port) as client:
        client.get("/?", "User-Agent: agent\r\n")
        end = time.monotonic() + 5
        while not (text := pathlib.Path(log.path).read_text()) and time.monotonic() < end:
            time.sleep(0.02)
    assert re.fullmatch(pattern + "\n", text), text


def test_another_descriptor_takes_the_lines_that_come_then(logged, tmp_path):
    balancer, log = logged(answering(OK))
    with Client(balancer.port) as client:
        client.get("/1")
        log.next()
        os.rename(log.path, tmp_path / "old.log")
        client.get("/2")
        old = Log(tmp_path / "old.log")
        old.seen = 1
        assert old.next()["target"] == "/2", "the file is the same, whatever its name"
        balancer.log_to(log.path)
        time.sleep(0.3)
        client.get("/3")
        log.seen = 0
        assert log.next()["target"] == "/3"


def test_a_log_is_switched_on_and_off(logged):
    balancer, log = logged(answering(OK))
    configuration = balancer._configuration
    with Client(balancer.port) as client:
        client.get("/1")
        log.next()
        balancer.reconfigure(configuration["listeners"], configuration["pools"], accessLog=None)
        client.get("/off")
        balancer.reconfigure(configuration["listeners"], configuration["pools"],
                             accessLog=access_log(log.path, "json"))
        balancer.log_to(log.path)
        client.get("/2")
        assert log.next()["target"] == "/2"


def test_lines_that_nobody_takes_are_counted_and_requests_go_on(tmp_path):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    backend = http_backend("s")
    log = Log(tmp_path / "log")
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s0", backend.at)])],
                  log=writing) as balancer:  # fmt: skip
        time.sleep(0.05)
        # 4 MiB of ring, 64 KiB of pipe, and lines of 4 KiB.
        count, path = 2500, "/" + "x" * 3900
        with Client(balancer.port) as client:
            for _ in range(count):
                assert client.get(path)[0] == 200
        assert balancer.figures()["access_log"]["dropped"] > 0
        balancer.wait(lambda: any("lines of the access log are lost" in item for item in balancer.status["warnings"]),
                      "warning")

        # Somebody reads again: what is there comes out, whole lines all of it.
        taken = []

        def read():
            while data := os.read(reading, 1 << 16):
                taken.append(data)

        reader = threading.Thread(target=read)
        reader.start()
        balancer.log_to(str(log.path))
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            figures = balancer.figures()["access_log"]
            if figures["written"] + figures["dropped"] == count:
                break
            time.sleep(0.1)
        assert figures["written"] + figures["dropped"] == count
    os.close(writing)
    reader.join(10)
    os.close(reading)
    piped = b"".join(taken)
    lines = piped.split(b"\n")
    whole = sum(1 for line in lines if line.startswith(b"{") and line.endswith(b"}"))
    filed = len(log.lines())
    assert whole + filed == figures["written"]
    assert figures["written"] > 0


def test_a_full_disk_is_told_of_and_overcome(logged, tmp_path):
    balancer, log = logged(answering(OK))
    with Client(balancer.port) as client:
        client.get("/1")
        log.next()
        full = os.open("/dev/full", os.O_WRONLY)
        balancer.log_to(full)
        os.close(full)
        time.sleep(0.3)
        client.get("/lost")
        balancer.wait(lambda: any("no space left" in item for item in balancer.status["warnings"]), "warning")
        assert balancer.figures()["access_log"] == {"written": 1, "dropped": 1}
        balancer.log_to(log.path)
        time.sleep(0.3)
        client.get("/2")
        assert log.next()["target"] == "/2"
        balancer.wait(lambda: not any("no space left" in item for item in balancer.status["warnings"]), "no warning")


SYSLOG = """
import os, socket, sys
item = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
item.bind("/dev/log"); os.chmod("/dev/log", 0o666)
print("ready", flush=True)
while True:
    print(item.recv(65536).decode(), flush=True)
"""


def test_syslog(tmp_path):
    """In a mount namespace of its own, whose /dev/log is the test's."""
    backend = http_backend("s")
    script = tmp_path / "syslog.py"
    script.write_text(SYSLOG)
    keeper = subprocess.Popen(
        ["unshare", "-m", "sh", "-c",
         "mount --make-rprivate / && mkdir -p /run/afloat-test-dev && mount -t tmpfs none /run/afloat-test-dev"
         f" && cp -a /dev/null /dev/full /run/afloat-test-dev/ && mount --move /run/afloat-test-dev /dev && exec python3 {script}"],
        stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert keeper.stdout.readline() == "ready\n"
        with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s0", backend.at)])], log="syslog",
                      prefix=["nsenter", f"--mount=/proc/{keeper.pid}/ns/mnt"]) as balancer:
            time.sleep(0.1)
            with Client(balancer.port) as client:
                client.get("/syslog")
            line = keeper.stdout.readline()
            assert re.match(r"<134>\w{3} [ \d]\d \d\d:\d\d:\d\d afloat-balancer\[\d+\]: \{", line), line
            assert json.loads(line[line.index("{") :])["target"] == "/syslog"
            assert balancer.figures()["access_log"] == {"written": 1, "dropped": 0}
    finally:
        keeper.kill()
        keeper.wait()


def test_figures_add_up(tmp_path):
    """Of many requests over two threads: what is counted is what clients saw, and what the log says."""
    log = Log(tmp_path / "log")

    def answer(first, _, __):
        status = int(first.split()[1].strip("/").split("/")[0])
        return (status, "", b"b" * 100)

    backends = [http_backend(f"s{index}", answer) for index in range(2)]
    servers = [server(item, backend.at) for item, backend in zip(("s0", "s1"), backends)]
    sent = {200: 40, 204: 0, 302: 7, 404: 5, 500: 3}
    received, given = [], []
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", servers)], threads=2, log=log.path) as balancer:
        time.sleep(0.05)

        def ask(status, count):
            with Client(balancer.port) as client:
                for number in range(count):
                    request = f"GET /{status}/{number} HTTP/1.1\r\nHost: t\r\n\r\n"
                    client.send(request)
                    head = client.reader.until(b"\r\n\r\n")
                    given.append(len(request))
                    received.append(len(head) + len(client.reader.exactly(100)))

        threads = [threading.Thread(target=ask, args=item) for item in sent.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = log.next(sum(sent.values()))
        figures = balancer.figures()
    web, app = figures["listeners"][0], figures["pools"][0]
    for traffic in (web["traffic"], app["traffic"]):
        assert traffic["responses"] == [0, 40, 7, 5, 3]
        assert traffic["bytes_in"] == sum(given) and traffic["bytes_out"] == sum(received)
        for histogram in (traffic["first_byte"], traffic["total"]):
            assert histogram["count"] == 55 == sum(histogram["buckets"][1::2])
            assert histogram["sum_us"] > 0
        assert traffic["total"]["sum_us"] >= traffic["first_byte"]["sum_us"]
    assert web["endings"] == {} and web["requests"] == 55
    assert [sum(item["traffic"]["responses"]) for item in app["servers"]] == [item["requests"] for item in app["servers"]]
    assert sum(item["requests"] for item in app["servers"]) == 55
    for status, count in sent.items():
        assert sum(1 for line in lines if line["status"] == status) == count
    assert sum(line["bytes_out"] for line in lines) == sum(received)


def test_what_a_pool_has_counted_stays_when_a_server_goes():
    backends = [http_backend(f"s{index}") for index in range(2)]
    servers = [server(f"s{index}", item.at) for index, item in enumerate(backends)]
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", servers)]) as balancer:
        time.sleep(0.05)
        with Client(balancer.port) as client:
            for _ in range(10):
                assert client.get()[0] == 200
        configuration = balancer._configuration
        balancer.reconfigure(configuration["listeners"], [pool("app", servers[:1])])
        for _ in range(20):
            figures = balancer.figures()["pools"][0]
            assert sum(figures["traffic"]["responses"]) == 10
            assert len(figures["servers"]) == 1
            time.sleep(0.15)
        # Its slot is given to another, which begins at nothing.
        balancer.reconfigure(configuration["listeners"], [pool("app", servers[:1] + [server("s9", backends[1].at)])])
        figures = balancer.figures()["pools"][0]
        assert sum(figures["traffic"]["responses"]) == 10
        assert sum(figures["servers"][1]["traffic"]["responses"]) == 0


def test_routes_are_counted():
    backend = http_backend("s")

    def route(name, prefix, action, **more):
        match = {"methods": [], "sources": [], "hosts": [], "paths": [], "pathPrefixes": [prefix], "pathPatterns": [],
                 "fields": []}
        nothing = dict(match, pathPrefixes=[])
        edits = {"set": [], "add": [], "remove": []}
        return dict({"name": name, "match": match, "exception": nothing, "action": action, "requestFields": edits,
                     "responseFields": edits}, **more)

    routes = [
        route("web/limited", "/limited", {"pool": {"_0": "app"}},
              rateLimit={"requests": 2, "every": {"nanoseconds": 10**11}, "burst": 2}),
        route("web/moved", "/moved", {"redirect": {"to": "http://example.com/", "status": 301}}),
    ]
    with Balancer([listener("web", ["127.0.0.1:0"], "app", routes=routes)], [pool("app", [server("s0", backend.at)])],
                  ) as balancer:  # fmt: skip
        time.sleep(0.05)
        with Client(balancer.port) as client:
            statuses = [client.get(path)[0] for path in ["/limited"] * 3 + ["/moved", "/moved", "/other"]]
        figures = balancer.figures()
    assert statuses == [200, 200, 429, 301, 301, 200]
    limited, moved = figures["routes"]
    assert limited == {"listener": "web", "name": "web/limited", "requests": 3, "responses": [0, 2, 0, 1, 0], "denied": 1}
    assert (moved["requests"], moved["responses"][2]) == (2, 2)
    assert figures["listeners"][0]["endings"] == {"denied": 1, "answered_here": 2}


def test_upgrades_are_one_line(logged):
    def handler(connection, _):
        Reader(connection).head()
        connection.sendall(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        while data := connection.recv(4096):
            connection.sendall(data)

    balancer, log = logged(handler)
    with Client(balancer.port) as client:
        client.send("GET /ws HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        client.reader.until(b"\r\n\r\n")
        client.send(b"hello")
        assert client.reader.exactly(5) == b"hello"
        client.socket.shutdown(socket.SHUT_WR)
        assert client.ended()
    line = log.next()
    assert (line["status"], line["end"], line["target"]) == (101, "tunnel closed", "/ws")

