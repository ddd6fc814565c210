"""Peers written by hand: a raw HTTP client, and servers that do exactly what a test tells them, byte by byte."""

import contextlib
import socket
import threading


class Wire:
    """A TCP connection with what was received so far."""

    def __init__(self, connection):
        self.connection = connection
        self.buffer = b""

    def send(self, data):
        self.connection.sendall(data if isinstance(data, bytes) else data.encode())

    def more(self):
        """Receives some more bytes; False at the end."""
        data = self.connection.recv(65536)
        self.buffer += data
        return bool(data)

    def until(self, mark):
        """Takes bytes up to and including `mark`."""
        while mark not in self.buffer:
            if not self.more():
                raise EOFError(f"ended before {mark!r}: {self.buffer!r}")
        index = self.buffer.index(mark) + len(mark)
        taken, self.buffer = self.buffer[:index], self.buffer[index:]
        return taken

    def take(self, count):
        while len(self.buffer) < count:
            if not self.more():
                raise EOFError(f"ended before {count} bytes: {self.buffer!r}")
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def rest(self):
        """Everything until the other side ends (or resets) the connection."""
        try:
            while self.more():
                pass
        except ConnectionResetError:
            pass
        taken, self.buffer = self.buffer, b""
        return taken

    def close(self):
        self.connection.close()

    def head(self):
        return Head(self.until(b"\r\n\r\n"))

    def body(self, head):
        """The body after `head`, unframed."""
        if "chunked" in head.get("transfer-encoding", ""):
            body = b""
            while True:
                size = int(self.until(b"\r\n").split(b";")[0], 16)
                if size == 0:
                    while self.until(b"\r\n") != b"\r\n":
                        pass
                    return body
                body += self.take(size)
                assert self.take(2) == b"\r\n"
        return self.take(int(head.get("content-length", "0")))

    def response(self, method="GET"):
        """The next final response: (head, body)."""
        while True:
            head = self.head()
            if head.status >= 200 or head.status == 101:
                break
        if method == "HEAD" or head.status in (101, 204, 304):
            return head, b""
        if "content-length" not in head.fields and "transfer-encoding" not in head.fields:
            return head, self.rest()
        return head, self.body(head)


class Head:
    """A request's or response's first line and fields."""

    def __init__(self, data):
        lines = data.decode("latin-1").split("\r\n")
        self.first = lines[0]
        self.lines = [line for line in lines[1:] if line]
        self.fields = {}
        for line in self.lines:
            name, value = line.split(":", 1)
            self.fields.setdefault(name.lower(), []).append(value.strip())

    @property
    def status(self):
        return int(self.first.split()[1])

    def get(self, name, default=""):
        return ", ".join(self.fields[name]) if name in self.fields else default

    def __repr__(self):
        return f"<{self.first} {self.fields}>"


class Server:
    """Listens on a host of the lab and hands every connection, as a Wire, to `behave` in a thread of its own."""

    def __init__(self, host, behave, port=8080):
        self.behave = behave
        self.wires = []
        self.heads = []
        self.faults = []
        self.lock = threading.Lock()
        self.is_closed = False
        self.listener = host.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host.address, port))
        self.listener.listen(128)
        self.address = f"{host.address}:{port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.settimeout(20)
            wire = Wire(connection)
            with self.lock:
                if self.is_closed:
                    wire.close()
                    return
                self.wires.append(wire)
            threading.Thread(target=self._serve, args=(wire,), daemon=True).start()

    def _serve(self, wire):
        try:
            self.behave(self, wire)
        except (EOFError, OSError):
            pass
        except Exception as error:  # a fault of the test's own: shown by the test
            self.faults.append(error)
        finally:
            wire.close()

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        with self.lock:
            self.is_closed = True
        for wire in self.wires:
            # A thread that waits for bytes keeps the socket alive: closing its number alone would leave a client with a
            # server that never answers.
            with contextlib.suppress(OSError):
                wire.connection.shutdown(socket.SHUT_RDWR)
            wire.close()


def request_loop(answer):
    """A behaviour for `Server`: reads requests one after another and calls `answer(server, wire, head, body)`."""

    def behave(server, wire):
        while True:
            head = wire.head()
            server.heads.append(head)
            answer(server, wire, head, wire.body(head) if "expect" not in head.fields else None)

    return behave


def plain(body=b"ok\n", status="200 OK", fields=""):
    """Answers every request with the same counted body."""

    def answer(_server, wire, head, _body):
        text = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode()
        wire.send(text if head.first.startswith("HEAD ") else text + body)

    return request_loop(answer)
