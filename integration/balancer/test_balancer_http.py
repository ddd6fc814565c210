"""HTTP/1.1 through the balancer: connections, bodies, framing, and what is changed on the way."""

import random
import socket
import threading
import time

import pytest
from balancer_backends import Backend, Client, Reader, http_backend
from balancer_harness import Balancer, http_check, listener, no_check, pool, route, server


@pytest.fixture
def proxied():
    """A balancer with three servers that answer everything."""
    backends = [http_backend(f"s{index}") for index in range(3)]
    servers = [server(f"s{index}", item.at) for index, item in enumerate(backends)]
    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app", served_by="X-Served-By", body_size=8 << 20)],
        [pool("app", servers, check=http_check())],
    ) as balancer:
        balancer.wait_up()
        balancer.backends = backends
        yield balancer
    for item in backends:
        item.close()


def alone(handler, mode="http", pool_options=None, **options):
    """A balancer in front of one scripted server, which counts as up without checks."""
    backend = Backend(handler) if callable(handler) else handler
    balancer = Balancer(
        [listener("web", ["127.0.0.1:0"], "app", mode=mode, **options)],
        [pool("app", [server("s0", backend.at)], check=no_check(), **(pool_options or {}))],
    )
    balancer.backend = backend
    time.sleep(0.02)
    return balancer


def test_requests_of_one_connection_are_spread_evenly(proxied):
    with Client(proxied.port) as client:
        names = [client.get(f"/{index}")[1]["server-name"] for index in range(9)]
    assert {name: names.count(name) for name in names} == {"s0": 3, "s1": 3, "s2": 3}


def test_heads_are_changed_as_a_proxy_must(proxied):
    with Client(proxied.port) as client:
        status, fields, _ = client.get("/", "Connection: x-gone\r\nX-Gone: 1\r\nX-Kept: 2\r\nX-Forwarded-For: 6.6.6.6\r\n")
    assert status == 200
    assert fields["via"] == "1.1 n1"
    assert fields["x-served-by"] == f"n1/{fields['server-name']}"
    assert "date" in fields
    seen = [request for item in proxied.backends for request in item.requests][0][1]
    assert "x-gone" not in seen and seen["x-kept"] == "2"
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http" and seen["x-forwarded-host"] == "test"
    assert seen["via"] == "1.1 n1"


def test_the_header_that_names_the_server_is_ours_alone():
    def handler(connection, _backend):
        reader = Reader(connection)
        while True:
            first, _ = reader.head()
            status = "101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x" if "/up" in first else "200 OK\r\nContent-Length: 0"
            claims = "X-Served-By: evil\r\nX-Kept: 1\r\nx-served-by: other\r\nX-Served-By-2: kept"
            connection.sendall(f"HTTP/1.1 {status}\r\n{claims}\r\n\r\n".encode())

    with alone(handler, served_by="X-Served-By") as balancer, Client(balancer.port) as client:
        for fields in ("", "Connection: upgrade\r\nUpgrade: x\r\n"):
            client.send(f"GET /{'up' if fields else ''} HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
            first, seen = client.reader.head()
            assert seen["x-served-by"] == "n1/s0" and seen["x-kept"] == "1" and seen["x-served-by-2"] == "kept", first
    with alone(handler) as balancer, Client(balancer.port) as client:
        assert client.get()[1]["x-served-by"] == "evil, other"  # nobody asked for ours


def test_a_body_that_fills_a_read_exactly_leaves_the_connection_usable():
    def handler(connection, _backend):
        reader = Reader(connection)
        while reader.head():
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 16384\r\n\r\n")
            time.sleep(0.02)  # the head arrives alone
            connection.sendall(b"x" * 16384)

    with alone(handler) as balancer, Client(balancer.port) as client:
        for _ in range(5):
            status, _, body = client.get("/")
            assert status == 200 and len(body) == 16384
        assert len(balancer.backend.connections) == 1


def test_a_short_connection_whose_client_goes_away_is_given_up():
    """The client is not registered for events at first: its going away is noticed all the same."""
    ended = []

    def handler(connection, _backend):
        Reader(connection).head()
        connection.settimeout(5)
        try:
            ended.append(connection.recv(100))
        except ConnectionResetError:
            ended.append(b"")

    with alone(handler) as balancer:
        client = Client(balancer.port)
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        time.sleep(0.1)
        client.reset()
        deadline = time.monotonic() + 3
        while not ended and time.monotonic() < deadline:
            time.sleep(0.02)
        assert ended == [b""], "its server would have been kept busy for nobody"


def test_pipelined_requests_are_answered_in_order(proxied):
    with Client(proxied.port) as client:
        client.send("".join(f"GET /{index} HTTP/1.1\r\nHost: test\r\n\r\n" for index in range(200)))
        for index in range(200):
            status, _, body = client.reader.response()
            assert status == 200 and f" /{index} ".encode() in body


def test_pipelined_requests_are_served_after_the_client_ended_its_direction(proxied):
    with Client(proxied.port) as client:
        client.send("".join(f"GET /{index} HTTP/1.1\r\nHost: test\r\n\r\n" for index in range(3)))
        client.socket.shutdown(socket.SHUT_WR)
        for index in range(3):
            assert f" /{index} ".encode() in client.reader.response()[2]
        assert client.ended()


@pytest.mark.parametrize("size", [0, 1, 1000, 5000, 16_384, 20_000, 65_536, 300_000, 4 << 20])
def test_counted_bodies_pass_both_ways(proxied, size):
    body = bytes(index * 7 % 251 for index in range(min(size, 65_521))) * (size // 65_521 + 1)
    body = body[:size]
    with Client(proxied.port) as client:
        for _ in range(3):
            status, _, answer = client.get("/up", method="POST", body=body)
            assert status == 200
            assert answer.split(b"\n", 1)[1] == body


def chunks(body, sizes, extension=b"", trailers=b""):
    out, at, index = b"", 0, 0
    while at < len(body):
        part = body[at : at + sizes[index % len(sizes)]]
        out += b"%x%s\r\n%s\r\n" % (len(part), extension, part)
        at += len(part)
        index += 1
    return out + b"0" + extension + b"\r\n" + trailers + b"\r\n"


@pytest.mark.parametrize("extension", [b"", b";x=y"])
@pytest.mark.parametrize("sizes", [[1], [7, 300], [1000], [70_000]])
def test_chunked_request_bodies_pass(proxied, sizes, extension):
    body = bytes(range(256)) * (1 if sizes == [1] else 600)
    with Client(proxied.port) as client:
        for _ in range(2):
            client.send("POST /c HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
            client.send(chunks(body, sizes, extension))
            status, _, answer = client.reader.response()
            assert status == 200 and answer.split(b"\n", 1)[1] == body


def test_a_body_in_many_small_writes_passes(proxied):
    data = b"POST /s HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"hello world" * 9, [3, 11])
    with Client(proxied.port) as client:
        for index in range(len(data)):
            client.send(data[index : index + 1])
            if index % 16 == 0:
                time.sleep(0.001)
        assert client.reader.response()[2].endswith(b"hello world" * 9)


def answering(data, close=False):
    """A handler that answers every request head with `data`."""

    def handler(connection, _):
        reader = Reader(connection)
        while True:
            try:
                first, fields = reader.head()
                reader.body(fields)
            except EOFError:
                return
            connection.sendall(data(first) if callable(data) else data)
            if close:
                return

    return handler


@pytest.mark.parametrize("sizes", [[1], [5, 1000], [70_000]])
@pytest.mark.parametrize("extension", [b"", b";e"])
def test_chunked_answers_pass_and_the_server_is_kept(sizes, extension):
    body = bytes(range(256)) * (2 if sizes == [1] else 1200)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with alone(answering(head + chunks(body, sizes, extension, b"X-Trailer: t\r\n"))) as balancer:
        with Client(balancer.port) as client:
            for _ in range(3):
                status, fields, answer = client.get()
                assert (status, answer) == (200, body) and fields["transfer-encoding"] == "chunked"
        assert len(balancer.backend.connections) == 1


def test_chunked_answers_become_plain_for_http_1_0():
    body = b"x" * 50_000
    with alone(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(body, [999]))) as balancer:
        with Client(balancer.port) as client:
            client.send("GET / HTTP/1.0\r\n\r\n")
            status, fields, answer = client.reader.response()
            assert (status, answer) == (200, body) and "transfer-encoding" not in fields
            assert fields["connection"] == "close"


def test_answers_that_end_by_close_are_chunked_and_the_client_stays():
    body = b"y" * 200_000
    with alone(answering(b"HTTP/1.0 200 OK\r\n\r\n" + body, close=True)) as balancer:
        with Client(balancer.port) as client:
            for _ in range(3):
                status, fields, answer = client.get()
                assert (status, answer) == (200, body) and fields["transfer-encoding"] == "chunked"


@pytest.mark.parametrize("added", [0, 10, 3000, 4090, 5000, 40_000])
@pytest.mark.parametrize("size", [0, 1, 16_384, 70_000, 300_000])
@pytest.mark.parametrize("framing", ["counted", "chunked", "chunked with extensions", "until close"])
def test_heads_that_grow_stay_before_their_bodies(added, size, framing):
    body = random.Random(size).randbytes(size)
    data, close = b"HTTP/1.1 200 OK\r\n", framing == "until close"
    if framing == "counted":
        data += b"Content-Length: %d\r\n\r\n" % size + body
    elif close:
        data += b"Connection: close\r\n\r\n" + body
    else:
        extension = b";e" if "extensions" in framing else b""
        data += b"Transfer-Encoding: chunked\r\n\r\n" + chunks(body, [5000, 1, 100_000], extension)
    more = [{"name": f"X-{place}", "value": "v" * (part - 8)} for place, part in enumerate([4000] * (added // 4000))]
    more.append({"name": "X-Rest", "value": "v" * (added % 4000)})
    backend = Backend(answering(data, close))
    routes = [route("r", "app", response={"add": more})]
    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app", routes=routes)], [pool("app", [server("s0", backend.at)], check=no_check())]
    ) as balancer, Client(balancer.port) as client:
        for _ in range(3):
            status, fields, answer = client.get()
            assert (status, answer) == (200, body)
            assert fields["x-rest"] == "v" * (added % 4000)
            assert all(fields[part["name"].lower()] == part["value"] for part in more)
    backend.close()


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nzz\r\n",
    ],
)
def test_an_answer_that_is_cut_short_never_looks_complete(data):
    with alone(answering(data, close=True)) as balancer, Client(balancer.port) as client:
        with pytest.raises((EOFError, ConnectionResetError)):
            client.get()


@pytest.mark.parametrize(
    "data",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nX-Half: ",
    ],
)
def test_a_malformed_answer_is_a_502(data):
    with alone(answering(data, close=True)) as balancer, Client(balancer.port) as client:
        status, fields, body = client.get()
        assert status == 502 and body.startswith(b"502 Bad Gateway: ") and "x-request-id" in fields
        assert client.get()[0] == 502  # the client's connection goes on


def test_answers_without_body():
    def answer(first):
        if first.startswith("HEAD"):
            return b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"
        if "/304" in first:
            return b"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n"
        return b"HTTP/1.1 204 No Content\r\n\r\n"

    with alone(answering(answer)) as balancer, Client(balancer.port) as client:
        for _ in range(2):
            assert client.get("/", method="HEAD")[:1] == (200,)
            assert client.get("/304")[0] == 304
            assert client.get("/204")[0] == 204
        assert len(balancer.backend.connections) == 1


def test_interim_answers_are_passed_on():
    data = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    with alone(answering(data)) as balancer, Client(balancer.port) as client:
        for _ in range(2):
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            first, fields = client.reader.head()
            assert first.startswith("HTTP/1.1 103") and fields["link"] == "</a>"
            assert client.reader.response()[2] == b"ok"
        client.send("GET / HTTP/1.0\r\nHost: test\r\n\r\n")
        first, _ = client.reader.head()
        assert first.startswith("HTTP/1.1 200")


def test_an_interim_answer_does_not_name_the_server_in_our_place():
    data = (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Served-By: inner\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Served-By: inner\r\n\r\nok")
    with alone(answering(data), served_by="X-Served-By") as balancer, Client(balancer.port) as client:
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        first, fields = client.reader.head()
        assert first.startswith("HTTP/1.1 103") and fields["link"] == "</a>" and "x-served-by" not in fields
        assert client.reader.response()[1]["x-served-by"] != "inner"


def test_expectation_of_100_continue_is_met_by_the_server(proxied):
    with Client(proxied.port) as client:
        client.send("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        first, _ = client.reader.head()
        assert first.startswith("HTTP/1.1 100")
        client.send("hello")
        assert client.reader.response()[2].endswith(b"hello")


def test_a_final_answer_instead_of_100_continue_arrives_and_ends_the_connection():
    def handler(connection, _):
        Reader(connection).head()
        connection.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
        time.sleep(1)

    with alone(handler) as balancer, Client(balancer.port) as client:
        client.send("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        status, fields, body = client.reader.response()
        assert (status, body, fields["connection"]) == (403, b"no", "close")
        assert client.ended()


def test_an_early_answer_reaches_a_client_that_is_still_sending():
    def handler(connection, _):
        Reader(connection).head()
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.5)

    with alone(handler) as balancer, Client(balancer.port) as client:
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000000\r\n\r\n")

        def pour():
            try:
                for _ in range(1000):
                    client.send(b"z" * 10_000)
            except OSError:
                pass

        thread = threading.Thread(target=pour, daemon=True)
        thread.start()
        assert client.reader.response()[0::2] == (413, b"big")


def test_upgrade_makes_a_tunnel_with_half_close():
    def handler(connection, _):
        reader = Reader(connection)
        _, fields = reader.head()
        assert fields["upgrade"] == "websocket" and "upgrade" in fields["connection"].lower()
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly "
        )
        data = reader.buffer
        while part := connection.recv(65536):
            data += part
        connection.sendall(b"got %d" % len(data))

    with alone(handler) as balancer, Client(balancer.port) as client:
        client.send("GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        first, fields = client.reader.head()
        assert first.startswith("HTTP/1.1 101") and fields["upgrade"] == "websocket"
        assert client.reader.exactly(6) == b"early "
        client.send(b"w" * 1_000_000)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.reader.exactly(11) == b"got 1000000"
        assert client.ended()


def test_a_refused_upgrade_is_an_ordinary_answer(proxied):
    with Client(proxied.port) as client:
        assert client.get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n")[0] == 200
        assert client.get("/next")[0] == 200


def test_http_1_0_clients_are_kept_only_if_they_ask(proxied):
    with Client(proxied.port) as client:
        client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        status, fields, _ = client.reader.response()
        assert status == 200 and fields["connection"] == "keep-alive"
        client.send("GET / HTTP/1.0\r\n\r\n")
        assert client.reader.response()[1]["connection"] == "close"
        assert client.ended()


def test_options_with_no_hops_left_is_answered_here(proxied):
    with Client(proxied.port) as client:
        client.send("OPTIONS * HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\n\r\n")
        assert client.reader.response()[0] == 200
        assert client.get("/")[0] == 200
    assert all("OPTIONS" not in first for item in proxied.backends for first, _, _ in item.requests)


def test_status_counts_what_passed(proxied):
    with Client(proxied.port) as client:
        for _ in range(30):
            client.get()
        status = proxied.fresh_status()
        assert proxied.listener("web")["requests"] == 30 and proxied.listener("web")["connections"] == 1
    assert sum(item["requests"] for item in status["pools"][0]["servers"]) == 30
    assert all(item["connections"] == 0 for item in status["pools"][0]["servers"])


def test_ipv6_on_both_sides():
    backend = http_backend("six", family=socket.AF_INET6, address="::1")
    with Balancer(
        [listener("web", ["[::1]:0"], "app")], [pool("app", [server("s", f"[::1]:{backend.port}")], check=http_check())]
    ) as balancer:
        balancer.wait_up()
        with Client(balancer.port, address="::1") as client:
            assert client.get()[0] == 200
    assert [fields["x-forwarded-for"] for _, fields, _ in backend.requests] == ["::1"]
