"""PROXY headers that are not quite right: whoever writes one says who a client is, so what is not exactly a header closes the
connection without an answer, and what follows a header is a request and nothing else."""

import socket
import struct

import pytest
from balancer_backends import Client, http_backend
from balancer_harness import Balancer, listener, pool, server

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.1") + struct.pack(">HH", 1000, 80)
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + struct.pack(">HH", 1000, 80)
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.7") * 2 + struct.pack(">HH", 1000, 80)
REQUEST = b"GET /in HTTP/1.1\r\nHost: a\r\n\r\n"


def v2(command=0x21, family=0x11, content=V4, length=None):
    return SIGNATURE + struct.pack(">BBH", command, family, len(content) if length is None else length) + content


LINES = [
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1000 80\n", b"PROXY TCP4 192.0.2.7 192.0.2.1 1000 80\r",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1000 80\r\r\n",
    b"PROXY  TCP4 192.0.2.7 192.0.2.1 1000 80\r\n", b"PROXY TCP4  192.0.2.7 192.0.2.1 1000 80\r\n",
    b"PROXY TCP4 192.0.2.7\t192.0.2.1 1000 80\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1000 80 \r\n", b"PROXY TCP4 192.0.2.7 192.0.2.1 1000 80 x\r\n",
    b" PROXY TCP4 192.0.2.7 192.0.2.1 1000 80\r\n",
    b"proxy TCP4 192.0.2.7 192.0.2.1 1000 80\r\n", b"PROXY tcp4 192.0.2.7 192.0.2.1 1000 80\r\n",
    b"PROXY TCP 192.0.2.7 192.0.2.1 1000 80\r\n",
    b"PROXY TCP5 192.0.2.7 192.0.2.1 1000 80\r\n", b"PROXY UDP4 192.0.2.7 192.0.2.1 1000 80\r\n",
    b"PROXY TCP4 192.0.2 192.0.2.1 1000 80\r\n",
    b"PROXY TCP4 192.0.2.7.1 192.0.2.1 1000 80\r\n", b"PROXY TCP4 192.0.2.256 192.0.2.1 1000 80\r\n",
    b"PROXY TCP4 192.0.2.07 192.0.2.1 1000 80\r\n",
    b"PROXY TCP4 0xc0.0.2.7 192.0.2.1 1000 80\r\n", b"PROXY TCP4 3221225991 192.0.2.1 1000 80\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 80\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 -1 80\r\n", b"PROXY TCP4 192.0.2.7 192.0.2.1 +1 80\r\n", b"PROXY TCP4 192.0.2.7 192.0.2.1 01 80\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1000\r\n", b"PROXY TCP4 192.0.2.7 192.0.2.1\r\n", b"PROXY TCP4\r\n", b"PROXY\r\n", b"PROXY \r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 1000 80\r\n", b"PROXY TCP6 192.0.2.7 192.0.2.1 1000 80\r\n",
    b"PROXY TCP6 2001:db8::7%eth0 2001:db8::1 1000 80\r\n",
    b"PROXY TCP6 2001:db8:::7 2001:db8::1 1000 80\r\n", b"PROXY TCP6 [2001:db8::7] 2001:db8::1 1000 80\r\n",
    b"PROXY TCP6 20001:db8::7 2001:db8::1 1000 80\r\n",
    b"PROXY TCP4 192.0.2.7\0 192.0.2.1 1000 80\r\n", b"PROXY TCP4 a.example 192.0.2.1 1000 80\r\n", b"PROXY UNKNOWNx\r\n",
    b"PROXY UNKNOWN\n",
    b"PROXY UNKNOWN " + b"f" * 100 + b"\r\n", b"PROXY TCP4 192.0.2.7 192.0.2.1 1000 80\r\n"[:20] + b"\r\n", b"\r\n", b"\0",
    b"XPROXY TCP4 192.0.2.7 192.0.2.1 1000 80\r\n", b"PROXY TCP4 192.0.2.7,192.0.2.8 192.0.2.1 1000 80\r\n",
]  # fmt: skip
BINARIES = [
    v2(command=0x01), v2(command=0x11), v2(command=0x31), v2(command=0x22), v2(command=0x2F), v2(command=0x00), v2(family=0x12),
    v2(family=0x22), v2(family=0x32),
    v2(family=0x10), v2(family=0x41), v2(family=0xFF), v2(content=V4[:11]), v2(content=b""), v2(family=0x21, content=V4), v2(family=0x21,
    content=V6[:35]),
    v2(family=0x31, content=V6), v2(content=V4 + b"\x04"), v2(content=V4 + b"\x04\x00"), v2(content=V4 + b"\x04\x00\x05abc"),
    v2(content=V4 + b"\x03\x00\x04\0\0\0\0"),
    v2(content=V4 + b"\x03\x00\x03\0\0\0"), v2(content=V4 + b"\x04\xff\xff"), v2(content=V4 + bytes(3000)), v2(length=65535),
    SIGNATURE[:11] + b"\r" + v2()[12:], b"\r\n\r\n\0\r\nQUIX\n" + v2()[12:],
]  # fmt: skip
RIGHT = {
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1000 80\r\n": "192.0.2.7", b"PROXY TCP4 192.0.2.7 192.0.2.1 0 65535\r\n": "192.0.2.7",
    b"PROXY TCP6 2001:db8::7 2001:db8::1 1000 80\r\n": "2001:db8::7", b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1000 80\r\n": "192.0.2.7",
    b"PROXY UNKNOWN\r\n": "127.0.0.1", b"PROXY UNKNOWN 192.0.2.7 192.0.2.1 1000 80\r\n": "127.0.0.1", v2(): "192.0.2.7", v2(family=0x21,
    content=V6): "2001:db8::7",
    v2(family=0x21, content=MAPPED): "192.0.2.7", v2(command=0x20): "127.0.0.1", v2(command=0x20, family=0, content=b""): "127.0.0.1",
    v2(family=0, content=b""): "127.0.0.1",
    v2(family=0, content=b"anything"): "127.0.0.1", v2(content=V4 + b"\x04\x00\x00"): "192.0.2.7",
    v2(content=V4 + b"\xee\x00\x02\r\n"): "192.0.2.7",
    v2(content=V4 + b"\x02\x00\x20" + REQUEST.ljust(32)[:32]): "192.0.2.7",
}  # fmt: skip


@pytest.fixture(scope="module")
def port():
    backend = http_backend("s", lambda _, fields, __: (200, "", fields["x-forwarded-for"].encode()))
    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app", head=2, proxy_binds=[0])], [pool("app", [server("s", backend.at)])]
    ) as balancer:
        yield balancer.port


@pytest.mark.parametrize("header", LINES + BINARIES, ids=repr)
def test_what_is_no_header_gets_no_answer(port, header):
    with Client(port) as client:
        try:
            client.send(header + REQUEST)
            client.socket.shutdown(socket.SHUT_WR)
            assert client.socket.recv(100) == b""
        except OSError as error:  # it was ended before all was sent
            assert not isinstance(error, TimeoutError)


@pytest.mark.parametrize("header", RIGHT, ids=repr)
def test_what_follows_a_header_is_a_request_of_that_client(port, header):
    with Client(port) as client:
        client.send(header + REQUEST + REQUEST)
        for _ in range(2):
            assert client.reader.response()[2] == RIGHT[header].encode()
        client.send(header)  # one header holds for the connection: a second one is a malformed request
        assert client.reader.response()[0] == 400
        assert client.ended()
