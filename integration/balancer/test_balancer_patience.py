"""Peers that are slow and steady, clients that make servers give up, and a worker that stands still."""

import contextlib
import ctypes
import os
import socket
import threading
import time

import pytest
from balancer_backends import Backend, Client, Reader
from balancer_harness import Balancer, http_check, listener, no_check, pool, route, server

WALL = 0x40000000


def front(handler, options=None, **rest):
    backend = Backend(handler)
    return Balancer(
        [listener("web", ["127.0.0.1:0"], "app", **rest)], [pool("app", [server("s0", backend.at)], **(options or {}))])


# On the loopback a segment has 64 KiB: with less room than some of them, the kernel's probes set the pace.
ROOM = 256 * 1024
# Takes seconds at the pace below, most of it from the balancer's send buffer.
SIZE = 4 << 20


def slow_reads(connection, count):
    """Half a MiB a second."""
    while count > 0:
        part = connection.recv(min(64 * 1024, count))
        assert part, f"ended {count} bytes early"
        count -= len(part)
        time.sleep(0.125)


@pytest.mark.parametrize("framing", ["counted", "chunked"])
def test_a_server_that_takes_a_body_slowly_and_steadily_gets_all_of_it(framing):
    def handler(connection, _):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
        reader = Reader(connection)
        reader.until(b"\r\n\r\n")
        slow_reads(connection, SIZE - len(reader.buffer))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        time.sleep(0.2)

    with front(handler, {"response": 1}, body=1) as balancer, Client(balancer.port, timeout=30) as client:
        body = b"x" * SIZE
        if framing == "counted":
            client.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % SIZE)
            client.send(body)
        else:
            client.send(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % SIZE)
            client.send(body + b"\r\n0\r\n\r\n")
        assert client.reader.response()[0] == 200


def test_a_server_that_takes_nothing_ends_the_upload():
    def handler(connection, _):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        Reader(connection).until(b"\r\n\r\n")
        time.sleep(20)

    with front(handler, {"response": 1}, body=1) as balancer, Client(balancer.port, timeout=30) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 20000000\r\n\r\n")
        began = time.monotonic()
        client.socket.settimeout(10)
        with contextlib.suppress(OSError):
            while True:
                client.send(b"x" * 65536)
        assert time.monotonic() - began < 8


def test_a_client_that_reads_slowly_and_steadily_gets_all_of_it():
    def handler(connection, _):
        Reader(connection).head()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE + b"x" * SIZE)
        time.sleep(20)

    with front(handler, idle=0.5) as balancer:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
            client.connect(("127.0.0.1", balancer.port))
            client.sendall(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            slow_reads(client, SIZE)


def test_a_client_that_waits_to_be_told_to_go_on_is_not_late():
    def handler(connection, _):
        reader = Reader(connection)
        first, fields = reader.head()
        time.sleep(1.5)
        if "/never" in first:
            return time.sleep(10)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        reader.body(fields)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with front(handler, {"response": 3}, body=0.5) as balancer:
        head = "POST {} HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        with Client(balancer.port) as client:
            client.send(head.format("/"))
            assert client.reader.head()[0].startswith("HTTP/1.1 100")
            client.send("hi")
            assert client.reader.response()[0] == 200
        with Client(balancer.port) as client:
            client.send(head.format("/never"))
            assert client.reader.response()[0] == 504
        # From 100 on it is the client's time.
        with Client(balancer.port) as client:
            client.send(head.format("/"))
            assert client.reader.head()[0].startswith("HTTP/1.1 100")
            assert client.reader.response()[0] == 408


@pytest.mark.parametrize("kind", ["body", "answer", "continue"])
def test_what_clients_do_is_held_against_no_server(kind):
    """The server gives up the client's slow body, or its slow reading, or waits for a body without asking for it."""

    def handler(connection, _):
        reader = Reader(connection)
        with contextlib.suppress(EOFError, OSError):
            while True:
                first, _ = reader.head()
                if "/slow" not in first:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                elif kind == "body":
                    time.sleep(1.3)
                    return
                elif kind == "continue":
                    time.sleep(10)
                else:
                    connection.settimeout(1.3)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n" + b"x" * 20_000_000)

    backends = [Backend(handler), Backend(handler)]
    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app")],
        [pool("app", [server(f"s{place}", item.at) for place, item in enumerate(backends)], passive=(3, 10, 30, 50), response=2)],
    ) as balancer:
        clients = [Client(balancer.port) for _ in range(6)]
        for client in clients:
            if kind == "body":
                client.send("POST /slow HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nx")
            elif kind == "continue":
                client.send("POST /slow HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n")
            else:
                client.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(2)
        for client in clients:
            with contextlib.suppress(OSError):
                while client.socket.recv(1 << 20):
                    pass
            client.close()
        time.sleep(0.5)
        states = [item["state"] for item in balancer.status["pools"][0]["servers"]]
        assert states == ["up", "up"], balancer.status["pools"]


@pytest.mark.parametrize("kind", ["body", "answer"])
def test_a_server_that_fails_by_itself_is_ejected_all_the_same(kind):
    """It resets requests whose bodies are on their way, or answers that a client takes more slowly than they come."""

    def failing(connection, _):
        Reader(connection).head()
        if kind == "answer":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 40000000\r\n\r\n" + b"x" * 8_000_000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    bad, good = Backend(failing), Backend(failing)
    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app")],
        [pool("app", [server("s0", bad.at), server("s1", good.at)], passive=(3, 10, 30, 50))],
    ) as balancer:
        for _ in range(10):
            with contextlib.suppress(OSError, EOFError), Client(balancer.port) as client:
                if kind == "body":
                    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 20000\r\n\r\n")
                    time.sleep(0.03)
                    client.send(b"x" * 20_000)
                    client.reader.response()
                else:
                    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
                    while client.socket.recv(1 << 16):
                        time.sleep(0.002)
        balancer.wait(lambda: "down" in [item["state"] for item in balancer.status["pools"][0]["servers"]], "an ejection", 5)


def test_who_does_not_wait_to_be_told_has_its_own_time():
    def handler(connection, _):
        reader = Reader(connection)
        _, fields = reader.head()
        reader.body(fields)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with front(handler, {"response": 1}, body=5) as balancer, Client(balancer.port) as client:
        client.send("POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 30\r\n\r\n")
        time.sleep(0.8)
        for _ in range(15):
            client.send("xx")
            time.sleep(0.05)
        assert client.reader.response()[0] == 200


def test_who_leaves_the_queue_of_a_tcp_listener_leaves_it():
    served = []

    def handler(connection, _):
        served.append(1)
        with contextlib.suppress(OSError):
            connection.sendall(b"hello")
            connection.recv(1)

    backend = Backend(handler)
    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app", mode="tcp")],
        [pool("app", [server("s0", backend.at, maximum=1)], queue=(2, 20))],
    ) as balancer:
        first = Client(balancer.port)
        assert first.socket.recv(5) == b"hello"
        for _ in range(2):
            Client(balancer.port).close()
        time.sleep(0.3)
        with Client(balancer.port) as alive:
            time.sleep(0.2)
            first.close()
            assert alive.socket.recv(5) == b"hello"
        assert len(served) == 2


def test_trailers_do_not_bring_back_what_a_route_takes_away():
    seen = []

    def handler(connection, _):
        reader = Reader(connection)
        reader.head()
        seen.append(reader.until(b"0\r\n") + reader.until(b"\r\n\r\n") if b"0\r\n\r\n" not in reader.buffer else reader.buffer)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\ny\r\n0\r\nX-Secret: s\r\n\r\n")

    backend = Backend(handler)
    edits = {"request": {"remove": ["X-Real-IP"]}, "response": {"remove": ["X-Secret"]}}
    routes = [route("api", "app", "/api", **edits), route("open", "app", "/")]
    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app", routes=routes)], [pool("app", [server("s0", backend.at)])]
    ) as balancer:
        for path, passes in (("/api", False), ("/", True)):
            with Client(balancer.port) as client:
                client.send(f"POST {path} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
                            "1\r\nx\r\n0\r\nX-Real-IP: 6.6.6.6\r\n\r\n")
                client.reader.head()
                answer = client.reader.until(b"\r\n\r\n")
            assert (b"X-Secret" in answer, b"X-Real-IP" in seen[-1]) == (passes, passes), (path, answer, seen[-1])


def test_a_server_that_was_never_checked_serves_where_nobody_else_does():
    gate = threading.Event()

    def handler(connection, _):
        reader = Reader(connection)
        with contextlib.suppress(EOFError):
            while True:
                first, fields = reader.head()
                if "afloat-check" in fields.get("user-agent", ""):
                    gate.wait(5)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    backend = Backend(handler)
    check = http_check(timeout=5)
    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s0", backend.at)], check=check)]
    ) as balancer:
        with Client(balancer.port) as client:
            assert client.get()[0] == 200
        assert balancer.status is None or balancer.status["pools"][0]["servers"][0]["state"] == "starting"
        gate.set()


def test_a_worker_that_stands_still_ends_the_process():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    with (
        pytest.raises(AssertionError, match="worker 0 has not come back"),
        front(lambda connection, _: connection.close(), {"check": no_check()}) as balancer,
    ):
        process = balancer.process
        tasks = f"/proc/{process.pid}/task"

        def name(task):
            with open(f"{tasks}/{task}/comm", encoding="ascii") as file:
                return file.read()

        worker = next(int(task) for task in os.listdir(tasks) if name(task).startswith("worker"))
        assert libc.ptrace(0x4206, worker, 0, 0) == 0, "PTRACE_SEIZE"
        assert libc.ptrace(0x4207, worker, 0, 0) == 0, "PTRACE_INTERRUPT"
        os.waitpid(worker, WALL)
        began = time.monotonic()
        while process.poll() is None:
            assert time.monotonic() - began < 30
            time.sleep(0.2)
            # The stopped thread is ours until it is reaped.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(worker, WALL | os.WNOHANG)
        assert 8 < time.monotonic() - began
