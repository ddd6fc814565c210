"""The other half of the panel: parsers of clients, each asked what it reads out of the bytes that a proxy answers with."""

import io

import h11
import httptools
from aiohttp import http_parser
from panel import GENEROUS, Callbacks, Protocol, Reading, loop

import http.client

# Responses: (status, body) each; the final ones. `methods` are those of the requests, in their order.


def h11_responses(data, methods, ended):
    reading, connection = Reading(), h11.Connection(h11.CLIENT, max_incomplete_event_size=GENEROUS)
    fed = False
    try:
        for method in methods:
            connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
            connection.send(h11.EndOfMessage())
            if not fed:
                connection.receive_data(data)
                if ended:
                    connection.receive_data(b"")
                fed = True
            status, body = 0, b""
            while True:
                event = connection.next_event()
                if isinstance(event, h11.Response):
                    status, body = event.status_code, b""
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    reading.messages.append((status, body))
                    break
                elif not isinstance(event, h11.InformationalResponse):
                    reading.fault = "not whole"
                    return reading
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return reading
            connection.start_next_cycle()
    except (h11.RemoteProtocolError, h11.LocalProtocolError) as error:
        reading.fault = str(error)
    return reading


def http_parser_responses(data, methods, ended):
    if any(method == "HEAD" for method in methods):
        return None  # it cannot be told what was asked
    calls, names = Callbacks(), []
    calls.message = lambda: (parser.get_status_code(), calls.body)
    calls.on_header = lambda name, _: names.append(name.lower())
    parser = httptools.HttpResponseParser(calls)
    try:
        parser.feed_data(data)
    except httptools.HttpParserError as error:
        calls.reading.fault = repr(error)
    if calls.within and not calls.reading.fault:
        if ended and not {b"content-length", b"transfer-encoding"} & set(names):
            calls.on_message_complete()
        else:
            calls.reading.fault = "not whole"
    calls.reading.messages = [message for message in calls.reading.messages if message[0] >= 200]
    return calls.reading


def _aiohttp_responses(kind, data, methods, ended):
    if len(methods) > 1:
        return None  # one message per parser is what its client reads
    reading = Reading()
    parser = kind(
        Protocol(loop), loop, GENEROUS, max_line_size=GENEROUS, max_field_size=GENEROUS,
        response_with_body=methods[0] != "HEAD", read_until_eof=True)
    try:
        messages, _, _ = parser.feed_data(data)
        if ended:
            parser.feed_eof()
    except Exception as error:  # its errors are of many classes
        reading.fault = repr(error)
        return reading
    for head, payload in messages:
        if head.code < 200:
            continue
        if payload.exception() is not None:
            reading.fault = repr(payload.exception())
        elif not payload.is_eof():
            reading.fault = "not whole"
        else:
            reading.messages.append((head.code, b"".join(getattr(payload, "_buffer", ()))))
    return reading


def llhttp_responses(data, methods, ended):
    return _aiohttp_responses(http_parser.HttpResponseParser, data, methods, ended)


class _Given:
    """Stands for a socket that http.client reads from."""

    def __init__(self, data):
        self.file = io.BufferedReader(io.BytesIO(data))
        self.file.close = lambda: None

    def makefile(self, *_):
        return self.file


def http_client_responses(data, methods, _ended):
    reading, given = Reading(), _Given(data)
    for method in methods:
        status = 0
        while status < 200:  # it knows of no interim answer but 100
            if not given.file.peek(1):
                return reading
            response = http.client.HTTPResponse(given, method=method)
            try:
                response.begin()
                status, body = response.status, response.read()
            except (MemoryError, OverflowError):  # it makes room for all that is announced
                reading.fault = "not whole"
                return reading
            except (http.client.HTTPException, ValueError) as error:
                reading.fault = "not whole" if isinstance(error, http.client.IncompleteRead) else repr(error)
                return reading
        reading.messages.append((status, body))
        if response.will_close:
            return reading
    if given.file.peek(1):
        reading.messages.append((0, given.file.read()))
    return reading


RESPONSE_READERS = {
    "h11": h11_responses,
    "http-parser": http_parser_responses,
    "llhttp": llhttp_responses,
    "http.client": http_client_responses,
}


def read_responses(data, methods, ended):
    """Name of the parser → its `Reading` of the bytes as responses to `methods`; `ended`: the connection was closed after
    them. Parsers that cannot say anything of such an exchange are left out."""
    readings = {name: reader(data, methods, ended) for name, reader in RESPONSE_READERS.items()}
    return {name: reading for name, reading in readings.items() if reading is not None}
