"""The table of responses: what a server answers, and what has to become of it at the client.

An answer is *passed*: status and content reach the client, framed so that every client reads the same; *bad*: the client
gets a 502 instead; or *broken off*: its head was good and its body is not, so the client's connection is cut and no client
may take what it got for a whole message. Whatever came behind an answer must never reach anybody.
"""

from dataclasses import dataclass

POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
CHUNKED = b"Transfer-Encoding: chunked"


@dataclass
class Answer:
    """`pieces` are sent one after another; `status` 0 is broken off."""

    family: str
    name: str
    pieces: tuple
    status: int
    content: bytes
    method: str
    version: str
    lines: tuple
    server_closes: bool
    is_open: bool

    @property
    def comes_late(self):
        """Something that nobody asked for follows: what is sent before that has come cannot be told from its cause."""
        return self.family == "tail" and len(self.pieces) > 1

    @property
    def label(self):
        return f"{self.family}: {self.name}"


ANSWERS = []


def passed(family, name, *pieces, status=200, content=b"abc", method="GET", version="1.1", lines=(), server_closes=False, is_open=None):
    is_open = version == "1.1" if is_open is None else is_open
    ANSWERS.append(Answer(family, name, pieces, status, content, method, version, tuple(lines), server_closes, is_open))


def bad(family, name, *pieces, method="GET", version="1.1", lines=(), server_closes=False):
    # A 502 of ours leaves the connection open.
    ANSWERS.append(Answer(family, name, pieces, 502, None, method, version, tuple(lines), server_closes, version == "1.1"))


def broken(family, name, *pieces, method="GET", version="1.1", server_closes=False):
    ANSWERS.append(Answer(family, name, pieces, 0, None, method, version, (), server_closes, False))


def answer(first, *lines, body=b""):
    return b"".join(line + b"\r\n" for line in (first, *lines)) + b"\r\n" + body


def ok(*lines, body=b""):
    return answer(b"HTTP/1.1 200 OK", *lines, body=body)


def shown(data):
    return repr(data if len(data) < 50 else data[:20] + b"..." + data[-10:])[2:-1]


THREE = b"Content-Length: 3"

for first in (b"HTTP/1.1 200 OK", b"HTTP/1.1 200 ", b"HTTP/1.1 200", b"HTTP/1.1 200 \xe9\xff", b"HTTP/1.1 200 a\tb", b"HTTP/1.1 200  OK",
    b"HTTP/1.2 200 OK",
              b"HTTP/1.0 200 OK"):
    passed("status line", shown(first), answer(first, THREE, body=b"abc"))
for status in (200, 201, 206, 299, 301, 401, 404, 499, 500, 503, 599):
    passed("status line", str(status), answer(b"HTTP/1.1 %d X" % status, THREE, body=b"abc"), status=status)
passed("status line", "205 with content", answer(b"HTTP/1.1 205 X", THREE, body=b"abc"), status=205)
passed("status line", "one byte after another", *[bytes([byte]) for byte in ok(THREE, body=b"abc")])
for first in (b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 099 OK", b"HTTP/1.1 2x0 OK", b"HTTP/1.1  200 OK", b"HTTP/1.1\t200 OK",
    b"HTTP/1.1 +20 OK",
              b"HTTP/1.1 -20 OK", b"HTTP/2.0 200 OK", b"HTTP/2 200 OK", b"HTTP/0.9 200 OK", b"http/1.1 200 OK", b"ICY 200 OK",
              b"RTSP/1.0 200 OK", b"HTTP/1.1",
              b"HTTP/1.1200 OK", b"HTTP/1.1 200\x00OK", b"HTTP/1.1 200 O\x00K", b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 O\x01K",
              b" HTTP/1.1 200 OK", b"\r\nHTTP/1.1 200 OK",
              b"HTTP/1.1 200,OK", b"HTTP/11 200 OK", b"HTTP/1.10 200 OK", b"200 OK", b"HTTP/1.1 \xb2\xb0\xb0 OK", b"XHTTP/1.1 200 OK",
              b"\x16\x03\x03\x00\x02"):
    bad("status line", shown(first), answer(first, THREE, body=b"abc"), server_closes=True)
bad("status line", "nothing but an end", b"", method="POST", server_closes=True)
bad("status line", "LF ends every line", b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc")
bad("status line", "HTTP/0.9", b"<html>abc</html>\n" + b" " * 20, server_closes=True)

for line in (b"X : a", b" X: a", b": a", b"X", b"X y: a", b"X(y): a", b"X\x00: a", b"X: a\x00b", b"X: a\rb", b"X: a\x01", b"X: a\x7f",
    b"X: a\r\n b", b"X: a\nY: b",
             b"X: a\n\nHTTP/1.1 200 OK", b"X: a\r\n\rSet-Cookie: b", b"HTTP/1.1 200 OK", b"\xe9: a", b"Connection: a b", b"X: a\r\r"):
    bad("field", shown(line), ok(line, THREE, body=b"abc"))
for line in (b"X:", b"X: \xe9\xff", b"X:a", b"X: a:b", b"x_y: a", b"Connection: x", b"Proxy-Connection: close", b"Keep-Alive: timeout=1",
    b"Trailer: X",
             b"Set-Cookie: a\r\nSet-Cookie: b", b"Connection: content-length", b"Upgrade: h2c", b"Connection: upgrade\r\nUpgrade: h2c"):
    passed("field", shown(line), ok(line, THREE, body=b"abc"))
bad("field", "1,001 fields", ok(*[b"X: a"] * 1001, THREE, body=b"abc"))
bad("field", "a head of 70,000 bytes", ok(b"X: " + b"a" * 70_000, THREE, body=b"abc"))
passed("field", "a head of 60,000 bytes", ok(b"X: " + b"a" * 60_000, THREE, body=b"abc"))

for value in (b"", b"+3", b"-3", b"0x3", b"3;", b"3 3", b"3, 4", b"3,", b"99999999999999999999", b"a", b"3\x00", b"3\r\n 4", b"3.0",
    b"\xb3", b"3\x0b"):
    bad("Content-Length", shown(value), ok(b"Content-Length: " + value, body=b"abc"), server_closes=True)
bad("Content-Length", "twice and different", ok(THREE, b"Content-Length: 4", body=b"abcd"))
bad("Content-Length", "name with a space", ok(b"Content-Length : 3", body=b"abc"), server_closes=True)
for lines in ((THREE, THREE), (b"Content-Length: 3, 3",), (b"Content-Length: 003",), (b"Content-Length:3",), (b"Content-Length:\t3\t ",),
    (b"CONTENT-LENGTH: 3",)):
    passed("Content-Length", shown(b" + ".join(lines)), ok(*lines, body=b"abc"))
passed("Content-Length", "0", ok(b"Content-Length: 0"), content=b"")
passed("Content-Length", "an underscore is another field", ok(b"Content_Length: 9", THREE, body=b"abc"))
passed("Content-Length", "none, to the end", ok(body=b"abc"), server_closes=True)
passed("Content-Length", "none, to the end, for 1.0", ok(body=b"abc"), server_closes=True, version="1.0")
passed("Content-Length", "none, what looks like an answer is content", ok(body=POISON), content=POISON, server_closes=True)
broken("Content-Length", "one byte is missing", ok(b"Content-Length: 4", body=b"abc"), server_closes=True)
broken("Content-Length", "one byte is missing, for 1.0", ok(b"Content-Length: 4", body=b"abc"), server_closes=True, version="1.0")

EXTRA = ok(THREE, body=b"abc") + POISON
passed("tail", "an answer too many", EXTRA)
passed("tail", "an answer too many, later", ok(THREE, body=b"abc"), POISON)
passed("tail", "one byte too many", ok(THREE, body=b"abcd"))
passed("tail", "a line end too many", ok(THREE, body=b"abc\r\n"))
passed("tail", "content after HEAD", ok(THREE, body=b"abc") + POISON, method="HEAD", content=b"")
passed("tail", "content after HEAD, later", ok(b"Content-Length: %d" % len(POISON)), POISON, method="HEAD", content=b"")
passed("tail", "chunks after HEAD, later", ok(CHUNKED), b"2\r\nab\r\n0\r\n\r\n", method="HEAD", content=b"")
for status in (204, 304):
    first = b"HTTP/1.1 %d X" % status
    passed("tail", f"{status} and an answer", answer(first) + POISON, status=status, content=b"")
    passed("tail", f"{status} with a length and content", answer(first, b"Content-Length: %d" % len(POISON), body=POISON), status=status,
        content=b"")
    passed("tail", f"{status} with a length and content, later", answer(first, b"Content-Length: %d" % len(POISON)), POISON, status=status,
        content=b"")
    passed("tail", f"{status} with chunks", answer(first, CHUNKED, body=b"0\r\n\r\n" + POISON), status=status, content=b"")
    passed("tail", f"{status} with nothing", answer(first), status=status, content=b"")
passed("tail", "an answer behind the last chunk", ok(CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n" + POISON))
passed("tail", "an answer behind the last chunk, later", ok(CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n"), POISON)
passed("tail", "no content and an answer", ok(b"Content-Length: 0", body=POISON), content=b"")

for value in (b"", b"x", b"gzip", b"identity", b"chunked, chunked", b"chunked, gzip", b"gzip, chunked", b"chunked;x", b"xchunked",
    b"\x0bchunked", b"\"chunked\"", b"chunked,",
              b"chunked\x00", b"\r\n chunked"):
    bad("Transfer-Encoding", shown(value), ok(b"Transfer-Encoding: " + value, body=b"3\r\nabc\r\n0\r\n\r\n"), server_closes=True)
bad("Transfer-Encoding", "with a length", ok(CHUNKED, THREE, body=b"3\r\nabc\r\n0\r\n\r\n"))
bad("Transfer-Encoding", "with a length before it", ok(THREE, CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n"))
bad("Transfer-Encoding", "as the beginning of a name", ok(b"Transfer-Encoding+: chunked", THREE, body=b"abc"))
bad("Transfer-Encoding", "in 1.0", answer(b"HTTP/1.0 200 OK", CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n"))
bad("Transfer-Encoding", "a space before the colon", ok(b"Transfer-Encoding : chunked", body=b"3\r\nabc\r\n0\r\n\r\n"), server_closes=True)
for body, content, name in (
    (b"3\r\nabc\r\n0\r\n\r\n", b"abc", "plain"), (b"03;x=y\r\nabc\r\n00;z\r\n\r\n", b"abc", "zeros and extensions"),
    (b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"abc", "several"),
    (b"0\r\n\r\n", b"", "none"), (b"3\r\nabc\r\n0\r\nX: y\r\n\r\n", b"abc", "a trailer"),
    (b"3\r\nabc\r\n0\r\nContent-Length: 9\r\nSet-Cookie: x\r\n\r\n", b"abc", "trailers that may not pass"),
    (b"11170\r\n" + b"a" * 70_000 + b"\r\n0\r\n\r\n", b"a" * 70_000, "70,000 bytes"),
):
    passed("chunk", name, ok(CHUNKED, body=body), content=content)
    passed("chunk", f"{name}, for 1.0", ok(CHUNKED, body=body), content=content, version="1.0")
passed("chunk", "one byte after another", *[bytes([byte]) for byte in ok(CHUNKED, body=b"3;x\r\nabc\r\n0\r\nX: y\r\n\r\n")])
for body, name in (
    (b"zz\r\n", "no number"), (b"-3\r\nabc\r\n0\r\n\r\n", "a sign"), (b"3\nabc\n0\n\n", "LF"), (b"3\r\nabcd\r\n0\r\n\r\n",
    "data longer than its size"), (b"3 \r\nabc\r\n0\r\n\r\n", "a space"),
    (b"0x3\r\nabc\r\n0\r\n\r\n", "a prefix"), (b"fffffffffffffffff\r\nabc", "too large"), (b"3\r\nabc\r\n0\r\nX : y\r\n\r\n",
    "a bad trailer"), (b"3\r\nabc\r\n0\r\nX\r\n\r\n", "a trailer without a colon"),
    (b"3;\nx\r\nabc\r\n0\r\n\r\n", "LF in an extension"), (b"\r\n", "an empty size"), (b"3\r\nabc\r\n" + POISON,
    "an answer instead of a size"),
):
    broken("chunk", name, ok(CHUNKED, body=body))
for body, name in ((b"", "cut before the first"), (b"3\r\nab", "cut within one"), (b"3\r\nabc\r\n", "cut before the last"),
    (b"3\r\nabc\r\n0\r\n", "cut within the last"), (b"3", "cut within a size"),
                   (b"3\r\nabc\r\n0\r\nX: y\r\n", "cut within the trailers")):
    broken("chunk", name, ok(CHUNKED, body=body), server_closes=True)

FINAL = ok(THREE, body=b"abc")
for first, lines in ((b"HTTP/1.1 100 Continue", ()), (b"HTTP/1.1 102 X", ()), (b"HTTP/1.1 103 Early Hints", (b"Link: </a>",)),
    (b"HTTP/1.1 199 X", ()),
                     (b"HTTP/1.1 103 X", (b"Content-Length: 5",)), (b"HTTP/1.1 100 X", (CHUNKED,)), (b"HTTP/1.1 100 X",
                     (b"Connection: close",)), (b"HTTP/1.0 100 X", ())):
    passed("interim", shown(b" + ".join((first, *lines))), answer(first, *lines) + FINAL)
    passed("interim", shown(b" + ".join((first, *lines))) + ", final later", answer(first, *lines), FINAL)
passed("interim", "three", answer(b"HTTP/1.1 103 X") * 3 + FINAL)
passed("interim", "none of it for 1.0", answer(b"HTTP/1.1 103 X") + FINAL, version="1.0")
passed("interim", "before HEAD's", answer(b"HTTP/1.1 103 X") + ok(THREE), method="HEAD", content=b"")
bad("interim", "forty", answer(b"HTTP/1.1 103 X") * 40 + FINAL)
bad("interim", "101 that nobody asked for", answer(b"HTTP/1.1 101 X", b"Connection: upgrade", b"Upgrade: x") + POISON)
bad("interim", "101 without Upgrade", answer(b"HTTP/1.1 101 X", b"Connection: upgrade") + POISON, lines=(b"Connection: upgrade",
    b"Upgrade: x"))
bad("interim", "101 without Connection", answer(b"HTTP/1.1 101 X", b"Upgrade: x") + POISON, lines=(b"Connection: upgrade", b"Upgrade: x"))
bad("interim", "an end behind it", answer(b"HTTP/1.1 103 X"), method="POST", server_closes=True)
passed("Connection", "close", ok(THREE, b"Connection: close", body=b"abc"), server_closes=True)
passed("Connection", "close, and the server does not", ok(THREE, b"Connection: close", body=b"abc") + POISON)
passed("Connection", "1.0 that keeps", answer(b"HTTP/1.0 200 OK", THREE, b"Connection: keep-alive", body=b"abc"))
