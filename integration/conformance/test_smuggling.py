"""Servers that can be desynchronised, behind Afloat: an attacker's content must not become anybody's request or answer."""

import http.server
import pathlib
import signal
import socket
import threading
import time

import pytest
from balancer_backends import Client
from balancer_harness import Balancer, listener, pool, server

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)


class Careless(http.server.BaseHTTPRequestHandler):
    """Reads no content: what a handler for GET looks like in most programs."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def answer(self):
        content = f"{self.command} {self.path}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_DELETE = do_OPTIONS = do_TRACE = answer

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def careless():
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Careless)
    made.daemon_threads = True
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made.server_address[1]
    made.shutdown()


def attack(method, coding):
    line = b"Content-Length: %d" % len(SMUGGLED) if coding == "counted" else b"Transfer-Encoding: chunked"
    return method + b" /outer HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n" + (SMUGGLED if coding == "counted" else CHUNKED)


def test_the_server_is_careless(careless):
    """Without a proxy, one request gets two answers: or the test below would say nothing."""
    with Client(careless) as client:
        client.send(attack(b"GET", "counted"))
        assert client.reader.response()[2] == b"GET /outer\n"
        assert client.reader.response()[2] == b"GET /smuggled\n"


@pytest.mark.parametrize("coding", ["counted", "chunked"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE"])
def test_content_that_a_server_does_not_read_is_nobodys_request(careless, method, coding):
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s", f"127.0.0.1:{careless}")])]) as balancer:
        victims = [Client(balancer.port) for _ in range(4)]
        for victim in victims:
            assert victim.get("/warm")[2] == b"GET /warm\n"
        with Client(balancer.port) as attacker:
            for _ in range(5):
                attacker.send(attack(method, coding))
                assert attacker.reader.response(method.decode())[0] == 200
                for place, victim in enumerate(victims):
                    assert victim.get(f"/victim/{place}")[2] == f"GET /victim/{place}\n".encode()
            attacker.socket.settimeout(0.1)
            with pytest.raises(TimeoutError):
                assert attacker.socket.recv(1) == b"", "there was one answer to one request"
        for victim in victims:
            victim.close()


def test_an_upgrade_that_the_server_does_not_make_opens_no_tunnel():
    """A proxy that believes the request instead of the 101 passes on what follows without a look."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        received = []

        def serve():
            connection, _ = listening.accept()
            while b"X : a" not in b"".join(received):
                data = connection.recv(65536)
                if not data:
                    return
                received.append(data)
                connection.sendall(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\nUpgrade: websocket\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        at = f"127.0.0.1:{listening.getsockname()[1]}"
        with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s", at)])]) as balancer:
            with Client(balancer.port) as client:
                client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\n\r\n")
                assert client.reader.response()[0] == 426
                client.send("GET /internal HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n")
                assert client.reader.response()[0] == 400
                assert client.ended()
        assert b"/internal" not in b"".join(received)


def stop(process):
    """Stops every thread, and waits until none is on its way out of a system call."""
    process.send_signal(signal.SIGSTOP)
    end = time.monotonic() + 5
    for path in pathlib.Path(f"/proc/{process.pid}/task").glob("*/stat"):
        while path.read_text().rsplit(")", 1)[1].split()[0] != "T":
            assert time.monotonic() < end
            time.sleep(0.001)


def test_what_comes_unasked_while_the_balancer_is_busy_is_nobodys_answer():
    """The request and what the server sent before it come to light at once, the request first."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connections = []

        def serve():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                connections.append(connection)
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection):
            try:
                while connection.recv(65536):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
            except OSError:
                pass  # reset, for what it sent unasked

        threading.Thread(target=serve, daemon=True).start()
        at = f"127.0.0.1:{listening.getsockname()[1]}"
        with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s", at)])]) as balancer:
            with Client(balancer.port) as client:
                for _ in range(10):
                    assert client.get("/first")[2] == b"good"
                    time.sleep(0.02)
                    stop(balancer.process)
                    client.send("GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
                    time.sleep(0.02)
                    connections[-1].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
                    time.sleep(0.02)
                    balancer.process.send_signal(signal.SIGCONT)
                    assert client.reader.response()[2] == b"good"
                    time.sleep(0.05)
