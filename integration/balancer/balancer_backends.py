"""Servers for the tests: each connection is handed to a function, so that a test says byte by byte what it does."""

import contextlib
import re
import socket
import threading


class Backend:
    """A TCP server on a loopback port; `handler(connection, backend)` runs on a thread for each connection."""

    def __init__(self, handler, address="127.0.0.1", port=0, family=socket.AF_INET):
        self.handler, self.connections, self.requests = handler, [], []
        self.lock, self.is_closed = threading.Lock(), False
        self.socket = socket.socket(family)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, port))
        self.socket.listen(1024)
        self.port = self.socket.getsockname()[1]
        self.at = f"{address}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                if self.is_closed:
                    self._reset(connection)
                    return
                self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            self.handler(connection, self)
        except (OSError, EOFError):
            pass
        finally:
            connection.close()

    def close(self):
        """Refuses from now on, and resets what is connected."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        with self.lock:
            self.is_closed = True
        for connection in self.connections:
            self._reset(connection)

    @staticmethod
    def _reset(connection):
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            # A thread that waits in it keeps the socket alive, closed or not: this wakes it.
            connection.shutdown(socket.SHUT_RD)
        connection.close()


@contextlib.contextmanager
def refusing():
    """An address that refuses connections, and nobody else gets meanwhile."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield "127.0.0.1:%d" % unused.getsockname()[1]


class Reader:
    """Reads HTTP/1.1 messages from a socket, strictly enough to notice a broken one."""

    def __init__(self, connection):
        self.connection, self.buffer = connection, b""

    def more(self):
        data = self.connection.recv(65536)
        self.buffer += data
        return data

    def until(self, mark):
        while mark not in self.buffer:
            if not self.more():
                raise EOFError(f"ended after {self.buffer!r}")
        part, self.buffer = self.buffer.split(mark, 1)
        return part + mark

    def exactly(self, count):
        parts, missing = [self.buffer], count - len(self.buffer)
        while missing > 0:
            part = self.connection.recv(min(missing, 1 << 20))
            if not part:
                raise EOFError(f"ended {missing} bytes early")
            parts.append(part)
            missing -= len(part)
        data = b"".join(parts)
        self.buffer = data[count:]
        return data[:count]

    def head(self):
        text = self.until(b"\r\n\r\n").decode("latin-1")
        first, *lines = text[:-4].split("\r\n")
        return first, Fields(line.split(": ", 1) for line in lines)

    def body(self, fields, is_response=False):
        if "chunked" in fields.get("transfer-encoding", ""):
            body = b""
            while True:
                size = int(self.until(b"\r\n").split(b";")[0], 16)
                if size == 0:
                    while self.until(b"\r\n") != b"\r\n":
                        pass
                    return body
                body += self.exactly(size)
                assert self.exactly(2) == b"\r\n"
        if "content-length" in fields:
            return self.exactly(int(fields["content-length"]))
        if is_response:
            while self.more():
                pass
            body, self.buffer = self.buffer, b""
            return body
        return b""

    def response(self, method="GET"):
        """The next final response: status, fields, body."""
        while True:
            first, fields = self.head()
            status = int(first.split()[1])
            if status >= 200:
                break
        if method == "HEAD" or status in (204, 304):
            return status, fields, b""
        return status, fields, self.body(fields, is_response=True)


class Fields(dict):
    """Field values by name in lower case; repeated ones joined."""

    def __init__(self, pairs):
        for name, value in pairs:
            key = name.lower()
            self[key] = f"{self[key]}, {value}" if key in self else value


def http_backend(name, answer=None, **options):
    """Answers every request with 200 and a description of it, or with what `answer(first, fields, body)` returns: bytes, or
    (status, extra head lines, body)."""

    def handler(connection, backend):
        reader = Reader(connection)
        while True:
            try:
                first, fields = reader.head()
                if fields.get("expect") == "100-continue":
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = reader.body(fields)
            except EOFError:
                return
            if "afloat-check" not in fields.get("user-agent", ""):
                backend.requests.append((first, fields, body))
            result = answer(first, fields, body) if answer else None
            if isinstance(result, bytes):
                connection.sendall(result)
                continue
            status, extra, content = result or (200, "", f"{name} {first}\n".encode() + body)
            head = f"HTTP/1.1 {status} Word\r\nContent-Length: {len(content)}\r\nServer-Name: {name}\r\n{extra}\r\n"
            if first.startswith("HEAD"):
                content = b""
            connection.sendall(head.encode() + content)
            if fields.get("connection") == "close":
                return

    return Backend(handler, **options)


class Client:
    """One client connection."""

    def __init__(self, port, address="127.0.0.1", timeout=10, source=None):
        self.socket = socket.create_connection((address, port), timeout, (source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = Reader(self.socket)

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def get(self, path="/", fields="", method="GET", body=b""):
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self.send(f"{method} {path} HTTP/1.1\r\nHost: test\r\n{length}{fields}\r\n".encode() + body)
        return self.reader.response(method)

    def ended(self):
        """Whether the balancer has ended the connection, waiting for it."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def cookie_of(fields, name="AFLOAT"):
    found = re.search(rf"{name}=([0-9a-f]{{16}})", fields.get("set-cookie", ""))
    return found.group(1) if found else None
