"""A panel of HTTP/1.1 parsers that others wrote, each asked what it reads out of the same bytes.

`read_requests` gives one `Reading` per parser. What a proxy has forwarded is safe only if all of them read the same
messages out of it: two readings of the same bytes are what request smuggling lives on. The parsers are those of servers
in wide use: h11 (uvicorn, hypercorn), http-parser (old Node.js, by httptools), llhttp (Node.js, by aiohttp), aiohttp's
own, http.server with werkzeug's chunks (Flask), gunicorn, waitress, tornado. For responses see client_panel.py.
"""

import asyncio
import io
import logging
import socket
import warnings
from dataclasses import dataclass, field

import h11
import httptools
from aiohttp import http_parser
from aiohttp.base_protocol import BaseProtocol
from gunicorn.config import Config
from gunicorn.http.errors import ParseException
from gunicorn.http.parser import RequestParser
from tornado.http1connection import HTTP1ConnectionParameters, HTTP1ServerConnection
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerConnectionDelegate, ResponseStartLine
from tornado.iostream import IOStream
from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser as WaitressParser
from werkzeug.serving import DechunkedInput

import http.server

logging.getLogger("tornado").setLevel(logging.CRITICAL)
logging.getLogger("asyncio").setLevel(logging.CRITICAL)
GENEROUS = 1 << 20


@dataclass
class Reading:
    """What one parser made of the bytes: whole messages, and its fault or the words "not whole" for what is left."""

    messages: list = field(default_factory=list)
    fault: str = ""


def _text(value):
    return value.decode("latin-1") if isinstance(value, (bytes, bytearray)) else value


# Requests: (method, target, body) each.


def h11_requests(data):
    reading, connection = Reading(), h11.Connection(h11.SERVER, max_incomplete_event_size=GENEROUS)
    connection.receive_data(data)
    first, body = None, b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                first, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                reading.messages.append((_text(first.method), _text(first.target), body))
                first = None
                connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is h11.MUST_CLOSE:
                    return reading
                connection.start_next_cycle()
            else:  # NEED_DATA
                if first is not None or connection.trailing_data[0]:
                    reading.fault = "not whole"
                return reading
    except (h11.RemoteProtocolError, h11.LocalProtocolError) as error:  # the latter after CONNECT
        reading.fault = str(error)
        return reading


class Callbacks:
    """For httptools, of either direction."""

    def __init__(self):
        self.reading, self.target, self.status, self.body, self.within = Reading(), b"", b"", b"", False

    def on_message_begin(self):
        self.target, self.body, self.within = b"", b"", True

    def on_url(self, part):
        self.target += part

    def on_body(self, part):
        self.body += part

    def on_message_complete(self):
        self.within = False
        self.reading.messages.append(self.message())


def http_parser_requests(data):
    calls = Callbacks()
    calls.message = lambda: (_text(parser.get_method()), _text(calls.target), calls.body)
    while True:
        parser = httptools.HttpRequestParser(calls)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # A server that does not switch goes on reading requests.
            data = data[upgrade.args[0]:]
            if upgrade.args[0] > 0:
                continue
        except httptools.HttpParserError as error:
            calls.reading.fault = repr(error)
        if calls.within and not calls.reading.fault:
            calls.reading.fault = "not whole"
        return calls.reading


class Protocol(BaseProtocol):
    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


loop = asyncio.new_event_loop()


def _aiohttp(kind, data, to_message, **options):
    reading = Reading()
    while data:
        parser = kind(Protocol(loop), loop, GENEROUS, max_line_size=GENEROUS, max_field_size=GENEROUS, **options)
        messages, fault = [], ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                messages, _, data = parser.feed_data(data)
        except Exception as error:  # its errors are of many classes
            fault, data = repr(error), b""
        for head, payload in messages:
            if payload.exception() is not None:
                fault = repr(payload.exception())
            elif not payload.is_eof():
                fault = "not whole"
            else:
                reading.messages.append(to_message(head, b"".join(getattr(payload, "_buffer", ()))))
        reading.fault = fault
    return reading


def llhttp_requests(data):
    return _aiohttp(http_parser.HttpRequestParser, data, lambda head, body: (head.method, head.path, body))


def aiohttp_requests(data):
    return _aiohttp(http_parser.HttpRequestParserPy, data, lambda head, body: (head.method, head.path, body))


class _Whole:
    """A file for a body that must be there: werkzeug goes on for ever at an early end."""

    def __init__(self, file):
        self.file = file

    def readline(self, *_):
        return self._some(self.file.readline())

    def read(self, count):
        return self._some(self.file.read(count), count)

    @staticmethod
    def _some(data, count=1):
        if len(data) < count:
            raise ValueError("not whole")
        return data


class _Handler(http.server.BaseHTTPRequestHandler):
    """http.server's reading of heads, werkzeug's of chunks."""

    protocol_version = "HTTP/1.1"

    def __init__(self, data):
        self.rfile, self.wfile, self.reading = io.BytesIO(data), io.BytesIO(), Reading()
        self._headers_buffer, self.request_version = [], "HTTP/1.1"
        self.client_address, self.close_connection = ("192.0.2.1", 1), False

    def send_error(self, code, message=None, explain=None):
        self.reading.fault = f"{code} {message}"

    def send_response_only(self, code, message=None):
        pass

    def log_message(self, *_):
        pass

    def read(self):
        while True:
            self.raw_requestline = self.rfile.readline(GENEROUS)
            if not self.raw_requestline:
                return self.reading
            if not self.parse_request():
                self.reading.fault = self.reading.fault or "an empty line"
                return self.reading
            try:
                body = self._body()
            except (OSError, ValueError) as error:
                self.reading.fault = str(error)
                return self.reading
            self.reading.messages.append((self.command, self.requestline.split()[1], body))

    def _body(self):
        if self.headers.get("Transfer-Encoding", "").strip().lower() == "chunked":
            with io.BufferedReader(DechunkedInput(_Whole(self.rfile))) as body:
                return body.read()
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:
            raise ValueError("not whole")
        return body


def http_server_requests(data):
    return _Handler(data).read()


class _NoEnd(Exception):
    """More bytes were asked for than there are."""


def gunicorn_requests(data):
    def source():
        yield data
        raise _NoEnd

    reading, settings = Reading(), Config()
    settings.set("limit_request_line", 0)
    settings.set("limit_request_field_size", 0)
    settings.set("limit_request_fields", 10_000)
    parser, started = RequestParser(settings, source(), ("192.0.2.1", 1)), False
    try:
        while True:
            started = False
            request = next(parser)
            started = True
            body = request.body.read()
            target = request.uri
            reading.messages.append((request.method, target, body))
    except _NoEnd:
        rest = parser.unreader.buf.getvalue()
        if started or rest:
            reading.fault = "not whole"
    except StopIteration:
        pass
    except (ParseException, ValueError) as error:
        reading.fault = repr(error)
    return reading


def waitress_requests(data):
    reading = Reading()
    settings = Adjustments(max_request_header_size=GENEROUS, clear_untrusted_proxy_headers=True)
    while data:
        parser = WaitressParser(settings)
        while data and not parser.completed:
            taken = parser.received(data)
            data = data[taken:]
            if taken <= 0:
                reading.fault = "it takes no more"
                return reading
        if parser.error:
            reading.fault = parser.error.body
            return reading
        if not parser.completed:
            reading.fault = "not whole"
            return reading
        if parser.empty:
            continue
        target = _text(parser.first_line.split(b" ")[1])
        body = parser.get_body_stream().read() if parser.body_rcv is not None else b""
        reading.messages.append((parser.command, target, body))
    return reading


class _TornadoMessage(HTTPMessageDelegate):
    def __init__(self, reading, connection):
        self.reading, self.connection, self.body = reading, connection, b""

    def headers_received(self, start_line, headers):
        self.start = start_line
        self.reading.fault = "not whole"

    def data_received(self, chunk):
        self.body += chunk

    def finish(self):
        self.reading.fault = ""
        self.reading.messages.append((self.start.method, self.start.path, self.body))
        self.connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), HTTPHeaders({"Content-Length": "0"}))
        self.connection.finish()


class _TornadoServer(HTTPServerConnectionDelegate):
    def __init__(self, reading):
        self.reading = reading

    def start_request(self, server_conn, request_conn):
        return _TornadoMessage(self.reading, request_conn)

    def on_close(self, server_conn):
        pass


def tornado_requests(data):
    reading = Reading()

    async def serve():
        ours, theirs = socket.socketpair()
        ours.settimeout(5)
        stream = IOStream(theirs)
        parameters = HTTP1ConnectionParameters(max_header_size=GENEROUS, chunk_size=GENEROUS)
        connection = HTTP1ServerConnection(stream, parameters)
        connection.start_serving(_TornadoServer(reading))
        task = connection._serving_future
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(ours, data)
        ours.shutdown(socket.SHUT_WR)
        await asyncio.wait([task], timeout=5)
        answer = b""
        while part := await loop.sock_recv(ours, 65536):
            answer += part
            if len(part) < 65536:
                break
        if b"HTTP/1.1 400" in answer:
            reading.fault = "400"
        ours.close()
        stream.close()

    asyncio.run(serve())
    return reading


REQUEST_READERS = {
    "h11": h11_requests,
    "http-parser": http_parser_requests,
    "llhttp": llhttp_requests,
    "aiohttp": aiohttp_requests,
    "http.server": http_server_requests,
    "gunicorn": gunicorn_requests,
    "waitress": waitress_requests,
    "tornado": tornado_requests,
}


def read_requests(data):
    """Name of the parser → its `Reading` of the bytes as requests, (method, target, body) each."""
    return {name: reader(data) for name, reader in REQUEST_READERS.items()}
