"""Hostile and broken peers: whatever they do, the balancer stays up, its memory stays bounded, others are served."""

import multiprocessing
import os
import random
import socket
import threading
import time

import pytest
from balancer_backends import Backend, Client, Reader, http_backend
from balancer_harness import Balancer, listener, pool, server

SEED = int(os.environ.get("AFLOAT_ABUSE_SEED", 1))
SECONDS = float(os.environ.get("AFLOAT_ABUSE_SECONDS", 6))

GOOD = [
    b"GET / HTTP/1.1\r\nHost: t\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"HEAD /x HTTP/1.1\r\nHost: t\r\nCookie: AFLOAT=0011223344556677\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n0123456789",
    b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 30000\r\n\r\n" + b"b" * 30_000,
    b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=1\r\nabc\r\n0\r\nT: 1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /ws HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nframes",
    b"OPTIONS * HTTP/1.1\r\nHost: t\r\nMax-Forwards: 0\r\n\r\n",
    b"GET http://t/ HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 1.2.3.4\r\nConnection: close, x\r\nX: y\r\n\r\n",
]
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"a" * 90_000,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n2;q\r\nab\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 304 Not Modified\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" * 3 + b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\ntunnel",
    b"HTTP/1.1 500 Oops\r\nConnection: close\r\nContent-Length: 4\r\n\r\noops",
]


def mangled(choice, data):
    """The message, or something like it."""
    data = bytearray(data)
    for _ in range(choice.choice([0, 0, 0, 1, 2, 5])):
        at = choice.randrange(len(data))
        kind = choice.randrange(5)
        if kind == 0:
            data[at] = choice.randrange(256)
        elif kind == 1:
            del data[at : at + choice.randrange(1, 20)]
        elif kind == 2:
            data[at:at] = bytes(choice.randrange(256) for _ in range(choice.randrange(1, 20)))
        elif kind == 3:
            data[at:at] = data[at : at + 50]
        else:
            del data[at:]
        if not data:
            return b"\0"
    return bytes(data)


def in_pieces(choice, connection, data):
    """Sends in one or many writes."""
    step = choice.choice([len(data), len(data), 1 + len(data) // 3, 7, 1 if len(data) < 300 else 1000])
    for at in range(0, len(data), step):
        connection.sendall(data[at : at + step])
        if step < len(data) and choice.random() < 0.1:
            time.sleep(choice.random() * 0.005)


def leave(choice, connection):
    kind = choice.randrange(4)
    if kind == 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    elif kind == 1:
        try:
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.2)
            while connection.recv(65_536):
                pass
        except OSError:
            pass
    connection.close()


def rude_backend(seed):
    choice = random.Random(seed)

    def handler(connection, _):
        connection.settimeout(0.5)
        while choice.random() < 0.9:
            if choice.random() < 0.9 and not connection.recv(choice.choice([1, 100, 65_536])):
                break
            if choice.random() < 0.05:
                time.sleep(choice.random() * 0.4)
            if choice.random() < 0.95:
                in_pieces(choice, connection, mangled(choice, choice.choice(ANSWERS)))
        leave(choice, connection)

    return Backend(handler)


def rude_client(port, seed, until):
    choice = random.Random(seed)
    while time.monotonic() < until:
        try:
            connection = socket.create_connection(("127.0.0.1", port), 2)
        except OSError:
            continue
        connection.settimeout(choice.choice([0.02, 0.2]))
        try:
            for _ in range(choice.randrange(1, 6)):
                data = b"".join(mangled(choice, choice.choice(GOOD)) for _ in range(choice.choice([1, 1, 1, 3, 20])))
                in_pieces(choice, connection, data)
                if choice.random() < 0.7:
                    connection.recv(choice.choice([1, 100, 65_536]))
        except OSError:
            pass
        leave(choice, connection)


@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_rude_clients_and_servers_do_not_bring_it_down(mode):
    print(f"AFLOAT_ABUSE_SEED={SEED}")
    rude = [rude_backend(SEED + index) for index in range(2)]
    polite = http_backend("polite")
    servers = [server(f"r{index}", item.at) for index, item in enumerate(rude)]
    listeners = [
        listener("web", ["127.0.0.1:0"], "rude", mode=mode, head=1, idle=1, body=1, tunnel=1, body_size=1 << 20),
        listener("good", ["127.0.0.1:0"], "polite"),
    ]
    pools = [pool("rude", servers, response=0.5, idle=1), pool("polite", [server("p", polite.at)])]
    with Balancer(listeners, pools, threads=2) as balancer:
        time.sleep(0.05)
        until = time.monotonic() + SECONDS
        rude_ones = [
            multiprocessing.get_context("fork").Process(
                target=rude_client, args=(balancer.ports["web"], SEED * 31 + index, until), daemon=True)
            for index in range(8)
        ]  # fmt: skip
        for process in rude_ones:
            process.start()
        served = 0
        while time.monotonic() < until:
            with Client(balancer.ports["good"]) as client:
                for _ in range(10):
                    assert client.get()[0] == 200
                    served += 1
            assert balancer.process.poll() is None, balancer.errors()
            time.sleep(0.02)
        for process in rude_ones:
            process.join()
        assert served > 50
        # All is given back in the end.
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            status = balancer.fresh_status()
            open_now = [item["connections"] for item in status["listeners"]]
            busy = [item["connections"] for found in status["pools"] for item in found["servers"]]
            if sum(open_now) + sum(busy) == 0:
                break
            time.sleep(0.2)
        assert (open_now, busy) == ([0, 0], [0, 0, 0])
        assert balancer.rss() < 64 << 20
        print(status["listeners"], status["pools"])


def test_random_bytes_get_an_answer_or_an_end():
    choice = random.Random(SEED)
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s", http_backend("s").at)])]) as b:
        time.sleep(0.05)
        for _ in range(300):
            with Client(b.port, timeout=3) as client:
                client.send(choice.randbytes(choice.randrange(1, 2000)))
                client.socket.shutdown(socket.SHUT_WR)
                data = b""
                try:
                    while part := client.socket.recv(65_536):
                        data += part
                except ConnectionResetError:
                    pass
                assert data == b"" or data.startswith(b"HTTP/1.1 4") or data.startswith(b"HTTP/1.1 5")
        with Client(b.port) as client:
            assert client.get()[0] == 200


@pytest.mark.parametrize("kind", ["heads", "bodies", "readers"])
def test_thousands_of_slow_clients_cost_little_memory(kind):
    count = 500 if kind == "readers" else 2_000
    content = b"c" * (1 << 20)
    backend = http_backend("s", lambda *_: (200, "", content)) if kind == "readers" else http_backend("s")
    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app", head=60, body=60)],
        [pool("app", [server("s", backend.at)], response=120)],
    ) as balancer:
        time.sleep(0.1)
        before = balancer.rss()
        clients = []
        for index in range(count):
            client = socket.socket()
            if kind == "readers":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", balancer.port))
            if kind == "heads":
                client.sendall(b"GET / HTTP/1.1\r\nHost: t\r\nX-Slow: " + b"z" * 600)
            elif kind == "bodies":
                client.sendall(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n" + b"z" * 3000)
            else:
                client.sendall(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            clients.append(client)
        for _ in range(3):
            for client in clients:
                if kind in ("heads", "bodies"):
                    client.sendall(b"z" * 10)
            time.sleep(0.1)
        time.sleep(1)
        balancer.wait(lambda: balancer.status["listeners"][0]["connections"] == count, f"{count} connections", 30)
        grown = balancer.rss() - before
        print(f"{kind}: {grown / 1024 / 1024:.1f} MiB for {count} clients")
        assert grown < 160 << 20
        with Client(balancer.port) as client:
            assert client.get("/", method="HEAD")[0] == 200
        for client in clients:
            client.close()
        deadline = time.monotonic() + 20
        while balancer.fresh_status(20)["listeners"][0]["connections"] > 0 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert balancer.status["listeners"][0]["connections"] == 0


def test_a_flood_of_pipelined_requests_is_served_in_order_and_not_hoarded():
    count = 20_000
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s", http_backend("s").at)])]) as b:
        time.sleep(0.05)
        before = b.rss()
        with Client(b.port, timeout=60) as client:
            data = b"".join(b"GET /%d HTTP/1.1\r\nHost: t\r\n\r\n" % index for index in range(count))
            threading.Thread(target=client.send, args=(data,), daemon=True).start()
            for index in range(count):
                status, _, body = client.reader.response()
                assert status == 200 and body == b"s GET /%d HTTP/1.1\n" % index
        assert b.rss() - before < 4 << 20


def test_a_flood_of_refused_pipelined_requests_is_answered_without_hoarding():
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", [])]) as b, Client(b.port) as client:
        before = b.rss()
        client.socket.settimeout(0.5)
        try:
            for _ in range(2000):
                client.socket.sendall(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n" * 1000)
        except TimeoutError:
            pass  # it does not read our answers' worth of requests for ever
        assert b.rss() - before < 4 << 20
        client.socket.settimeout(10)
        for _ in range(1000):
            assert client.reader.response()[0] == 503


def test_a_flood_of_interim_answers_is_a_502():
    def handler(connection, _):
        Reader(connection).head()
        for _ in range(100):
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n" * 1000)

    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s", Backend(handler).at)])]
    ) as b, Client(b.port) as client:
        before = b.rss()
        assert client.get()[0] == 502
        assert b.rss() - before < 4 << 20


@pytest.mark.parametrize(
    ("line", "answer"), [("GET / HTTP/1.1", 503), ("OPTIONS * HTTP/1.1\r\nMax-Forwards: 0", 200)]
)
def test_very_many_pipelined_requests_are_all_answered_without_a_server(line, answer):
    count = 30_000
    small_stacks = ["/bin/sh", "-c", 'ulimit -s 256; exec "$@"', "sh"]
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", [])], prefix=small_stacks) as b:
        with Client(b.port, timeout=60) as client:
            data = f"{line}\r\nHost: t\r\n\r\n" * count
            threading.Thread(target=client.send, args=(data,), daemon=True).start()
            for _ in range(count):
                assert client.reader.response()[0] == answer
