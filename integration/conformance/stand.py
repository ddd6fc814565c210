"""The stand of the conformance tests: a client that sends raw bytes, a proxy, and a server that records what it gets.

The proxy is afloat-balancer alone on loopback; `compare.py` puts HAProxy in its place. The server answers each request
that it reads, strictly by RFC 9112, with what it took it for, so that the client's side of the exchange can be held
against the server's.
"""

import socket
import threading
import time
from dataclasses import dataclass, field

from balancer_backends import Backend, Fields, Reader
from balancer_harness import Balancer, listener, pool, server

PATIENCE = 5.0
SENTINEL = b"GET /sentinel HTTP/1.1\r\nHost: sentinel\r\n\r\n"


class Recorder:
    """Keeps all bytes that come over each connection. `answers`, target → pieces, are sent instead of the usual answer, the
    pieces one after another; the connection is closed after those that are in `closing`."""

    def __init__(self):
        self.lock = threading.Lock()
        self.streams, self.marks, self.messages = [], [], []
        self.answers, self.closing = {}, set()
        self.backend = Backend(self._serve)
        self.at = self.backend.at

    def begin(self):
        """What comes from now on belongs to the next case."""
        with self.lock:
            self.messages = []
            self.marks = [len(stream) for stream in self.streams]

    def forwarded(self):
        """The bytes of this case, one item per connection that carried any."""
        with self.lock:
            marks = self.marks + [0] * (len(self.streams) - len(self.marks))
            parts = [bytes(stream[mark:]) for stream, mark in zip(self.streams, marks)]
        return [part for part in parts if part]

    def _serve(self, connection, _backend):
        stream = bytearray()
        with self.lock:
            self.streams.append(stream)
        reader = _RecordingReader(connection, stream, self.lock)
        try:
            while True:
                first, fields = reader.head()
                if "100-continue" in fields.get("expect", "").lower():
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = reader.body(fields)
                method, target, _ = first.split(" ")
                with self.lock:
                    self.messages.append((method, target, body))
                given = self.answers.get(target)
                if given is None:
                    content = f"{method} {target} {len(body)}\n".encode()
                    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content)
                    connection.sendall(head + (b"" if method == "HEAD" else content))
                    continue
                for index, piece in enumerate(given):
                    if index > 0:
                        time.sleep(0.01)
                    connection.sendall(piece)
                if target in self.closing:
                    return
        except ValueError:
            return


class _StrictReader(Reader):
    """Splits at the colon alone, and takes every byte through `more`."""

    def head(self):
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1")[:-4].split("\r\n")
        return first, Fields((name, value.strip(" \t")) for name, value in (line.split(":", 1) for line in lines))

    def exactly(self, count):
        while len(self.buffer) < count:
            if not self.more():
                raise EOFError("ended within a body")
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data


class _RecordingReader(_StrictReader):
    def __init__(self, connection, stream, lock):
        super().__init__(connection)
        self.stream, self.lock = stream, lock

    def more(self):
        data = super().more()
        with self.lock:
            self.stream += data
        return data


@dataclass
class Outcome:
    """What became of one exchange."""

    # Everything that the client got, and whether the proxy ended the connection.
    received: bytes = b""
    closed: bool = False
    reset: bool = False
    # One item per connection to the server.
    forwarded: list = field(default_factory=list)
    # The final answers before the sentinel's: (status, body).
    answers: list = field(default_factory=list)
    # None: it was not sent. Else its status, negative if the answer is another's; what came before it is `own`.
    sentinel: int | None = None
    own: bytes = b""
    fault: str = ""

    @property
    def statuses(self):
        return [status for status, _ in self.answers]


class _AnswerReader(_StrictReader):
    """Notes what it has read."""

    def __init__(self, connection, outcome):
        super().__init__(connection)
        self.outcome = outcome

    def more(self):
        data = super().more()
        self.outcome.received += data
        return data


class Stand:
    """Recorder and proxy. `start_proxy(recorder)` gives (port, stop)."""

    def __init__(self, start_proxy):
        self.recorder = Recorder()
        self.port, self._stop = start_proxy(self.recorder)

    def close(self):
        self._stop()
        self.recorder.backend.close()

    def exchange(self, raw, methods=(), half_close=False, expects_close=False, cuts=(), pause=0):
        """Sends `raw` on a connection of its own and reads one final answer per item of `methods` (the methods asked
        with; None for as many as come until the proxy closes). Then, if the connection should be open, the sentinel, after
        a pause."""
        outcome = Outcome()
        self.recorder.begin()
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader = _AnswerReader(connection, outcome)
            try:
                self._send(connection, raw, cuts)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
                for method in methods if methods is not None else [None] * 1000:
                    status, _, body = reader.response(method or "GET")
                    outcome.answers.append((status, body))
                if expects_close or half_close:
                    outcome.closed = reader.buffer == b"" and reader.more() == b""
                else:
                    time.sleep(pause)
                    self._ask_sentinel(connection, reader, outcome)
            except EOFError:
                outcome.closed = True
            except TimeoutError:
                outcome.fault = "no answer in time"
            except OSError:  # reset, or shut down by the other side
                outcome.closed = outcome.reset = True
            except (ValueError, AssertionError, IndexError) as error:
                outcome.fault = f"the answer is malformed: {error!r}"
        outcome.own = outcome.own or outcome.received
        outcome.forwarded = self.recorder.forwarded()
        return outcome

    @staticmethod
    def _send(connection, raw, cuts):
        """In one piece, or in pieces that arrive one after another."""
        for start, end in zip([0, *cuts], [*cuts, len(raw)]):
            connection.sendall(raw[start:end])
            if end < len(raw):
                time.sleep(0.002)

    @staticmethod
    def _ask_sentinel(connection, reader, outcome):
        outcome.own = outcome.received
        connection.sendall(SENTINEL)
        status, _, body = reader.response()
        outcome.sentinel = status if body == b"GET /sentinel 0\n" else -status


def start_afloat(recorder, **options):
    """Afloat's balancer with one listener and one server."""
    options = {"head": 2, "body": 2, "idle": 5, **options}
    balancer = Balancer(
        [listener("web", ["127.0.0.1:0"], "app", **options)], [pool("app", [server("s", recorder.at)], response=5)])
    return balancer.port, lambda: balancer.__exit__()


def route(name, action, prefix, **more):
    """A route of a listener as the agent tells it to the balancer."""
    edits = {"set": [], "add": [], "remove": []}
    match = dict.fromkeys(("hosts", "paths", "pathPrefixes", "pathPatterns", "methods", "fields", "sources"), [])
    return {"name": name, "match": dict(match, pathPrefixes=[prefix]), "exception": match, "action": action,
            "requestFields": edits, "responseFields": edits, **more}
