"""The table of requests that a proxy is judged by: raw bytes, and what has to become of them.

A case is *served*: every message in it reaches the server as the table says, and the connection stays in step; or it is
*refused*: one answer with the status, the connection is closed, and nothing of it reaches the server as a whole message.
The rules are those of RFC 9110 and RFC 9112 in the strict reading; where they leave a choice, docs/CONFORMANCE.md says
what was chosen. The families are named after what the attack, or the oddity, lives on.
"""

from dataclasses import dataclass

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
HEX_SMUGGLED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)


@dataclass
class Case:
    """`answers`: the statuses that the client gets. `messages`: what reaches the server: (method, target, body)."""

    family: str
    name: str
    raw: bytes
    answers: tuple
    messages: tuple
    is_open: bool
    half_close: bool = False
    methods: tuple = ()

    @property
    def is_refused(self):
        return self.answers[-1:] != (200,)

    @property
    def label(self):
        return f"{self.family}: {self.name}"


CASES = []


def served(family, name, raw, *messages, is_open=True, half_close=False):
    messages = tuple(item if len(item) == 3 else (*item, b"") for item in messages)
    methods = tuple(item[0] for item in messages)
    CASES.append(Case(family, name, raw, (200,) * len(messages), messages, is_open, half_close, methods))


def refused(family, name, raw, status=400, before=()):
    before = tuple((*item, b"") for item in before)
    methods = tuple(item[0] for item in before) + ("GET",)
    CASES.append(Case(family, name, raw, (200,) * len(before) + (status,), before, False, methods=methods))


def request(first, *lines, body=b"", host=b"Host: a"):
    """A head with these lines, each ended by CR LF, and what follows it."""
    lines = ([host] if host else []) + list(lines)
    return b"".join(line + b"\r\n" for line in (first, *lines)) + b"\r\n" + body


def post(*lines, body=b"", host=b"Host: a"):
    return request(b"POST /in HTTP/1.1", *lines, body=body, host=host)


def shown(data):
    """Bytes as a name."""
    text = data if len(data) < 50 else data[:20] + b"..." + data[-10:]
    return repr(text)[2:-1]


GET = ("GET", "/in")
CHUNKED = b"Transfer-Encoding: chunked"

# The request line.

for line in (
    b"GET  /in HTTP/1.1", b"GET /in  HTTP/1.1", b"GET\t/in HTTP/1.1", b"GET /in\tHTTP/1.1", b" GET /in HTTP/1.1",
    b"GET /in HTTP/1.1 ", b"GET /in HTTP/1.1\t", b"GET /in", b"GET /in ", b"GET", b"GET HTTP/1.1", b"/in HTTP/1.1",
    b"GET /in HTTP/1.1 x", b"GET /in x HTTP/1.1", b"GET\x0b/in HTTP/1.1", b"GET\x0c/in HTTP/1.1", b"GET /in\x0bHTTP/1.1",
    b"GET\x00 /in HTTP/1.1", b"GET /in\x00 HTTP/1.1", b"\x00GET /in HTTP/1.1", b"GET /in\rHTTP/1.1", b"GET \r/in HTTP/1.1",
    b"GET /in HTTP/1.1\r", b"G\xc8T /in HTTP/1.1", b"G@T /in HTTP/1.1", b"G(T) /in HTTP/1.1", b"GET, /in HTTP/1.1",
    b"GET: /in HTTP/1.1", b"\"GET\" /in HTTP/1.1", b"GET/in HTTP/1.1", b"[GET] /in HTTP/1.1", b"\xef\xbb\xbfGET /in HTTP/1.1",
    b"A" * 33 + b" /in HTTP/1.1", b"\x80\x80\x01\x03\x01\x00", b"Host: a",
):
    refused("request line", shown(line), request(line))
for method in (b"PURGE", b"get", b"M-SEARCH", b"!#$%&'*+-.^_`|~1", b"A" * 32, b"PRI", b"BREW", b"QUERY"):
    # Parsers with a closed list of methods are not asked about these: see test_requests.py.
    served("request line", f"method {shown(method)}", request(method + b" /in HTTP/1.1"), (method.decode(), "/in"))
refused("request line", "CONNECT", request(b"CONNECT a:443 HTTP/1.1", host=b"Host: a:443"), 501)
refused("request line", "CONNECT of a path", request(b"CONNECT /in HTTP/1.1"), 501)
refused("request line", "the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)
refused("request line", "two empty lines before it", b"\r\n\r\n" + request(b"GET /in HTTP/1.1"))
refused("request line", "LF before it", b"\n" + request(b"GET /in HTTP/1.1"))
refused("request line", "CR before it", b"\r" + request(b"GET /in HTTP/1.1"))
served("request line", "one empty line before it", b"\r\n" + request(b"GET /in HTTP/1.1"), GET)
served("request line", "an empty line between two", request(b"GET /in HTTP/1.1") + b"\r\n" + request(b"GET /b HTTP/1.1"),
       GET, ("GET", "/b"))

# Versions.

for version in (
    b"HTTP/1.", b"HTTP/1", b"HTTP/", b"HTTP/.1", b"HTTP/11", b"HTTP/1.1.1", b"HTTP/1.10", b"HTTP/01.1", b"HTTP/1,1", b"HTTP/a.1",
    b"HTTP/1.a", b"http/1.1", b"Http/1.1", b"HTTP /1.1", b"HTTP/ 1.1", b"HTTP/1 .1", b"HTTP/-1.1", b"HTTP/+1.1", b"ICE/1.0", b"RTSP/1.0",
    b"XHTTP/1.1", b"HTTPS/1.1", b"HTTP/1.1\x00", b"HTTP/\xb1.1", b"HTTP/1.1;x",
):
    refused("version", shown(version), request(b"GET /in " + version))
for version in (b"HTTP/0.9", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/9.9", b"HTTP/0.0"):
    refused("version", shown(version), request(b"GET /in " + version), 505)
for version in (b"HTTP/1.2", b"HTTP/1.9"):
    served("version", shown(version), request(b"GET /in " + version), GET)
served("version", "1.0 closes", request(b"GET /in HTTP/1.0"), GET, is_open=False)
served("version", "1.0 without Host", request(b"GET /in HTTP/1.0", host=b""), GET, is_open=False)
served("version", "1.0 that asks to be kept", request(b"GET /in HTTP/1.0", b"Connection: keep-alive"), GET)
served("version", "1.0 with a tail is one request", request(b"GET /in HTTP/1.0", body=SMUGGLED), GET, is_open=False)
served("version", "1.0 with a body", request(b"POST /in HTTP/1.0", b"Content-Length: 3", body=b"abc"), ("POST", "/in", b"abc"),
       is_open=False)

# Targets.

for target in (
    b"in", b"*", b"#", b"/in#x", b"//in#", b"/in\x7f", b"/in\x01", b"/in\x80", b"/in\xff", b"/\xc3\xa9", b"?x", b"a:80", b"http:/a/in",
    b"http:///in", b"http://", b"http:a/in", b"ftp://a/in", b"ws://a/in", b"http://u@a/in", b"http://u:p@a/in", b"http://a:x/in",
    b"http://a b/in", b"http://a/in#f", b"http://[::1/in", b"http://a\\b/in", b"https//a/in", b"://a/in", b"httpx://a/in", b"\\in",
    b"http://a:80:80/in", b"http://b/in", b"http://a:81/in", b"http://@a/in", b"http://a@/in", b"http://a%00/in", b"http://aa/in",
):
    refused("target", shown(target), request(b"GET " + target + b" HTTP/1.1"))
for target in (
    "/", "//", "/in?", "/in?a=b&c", "/in?a?b", "/%00", "/%0d%0aX:%20y", "/..", "/../../in", "/a/./b", "/in;x=y", "/a//b", "/%2e%2e/",
    "//b/in",
    "/http://b/in", "/in:80", "/@b", "/in\\..\\x", '/in"<>`{}|^', "/in?http://b/", "/" + "a" * 4000, "/in&x=[1]", "/%zz", "/%",
):
    served("target", shown(target.encode()), request(b"GET " + target.encode() + b" HTTP/1.1"), ("GET", target))
served("target", "absolute form", request(b"GET http://a/in?x HTTP/1.1"), ("GET", "/in?x"))
served("target", "absolute form in other letters", request(b"GET hTTp://A/in HTTP/1.1"), GET)
served("target", "absolute form without a path", request(b"GET http://a HTTP/1.1"), ("GET", "/"))
served("target", "absolute form with a query and no path", request(b"GET http://a?x HTTP/1.1"), ("GET", "/?x"))
served("target", "absolute form with two slashes", request(b"GET http://a//b/in HTTP/1.1"), ("GET", "//b/in"))
served("target", "absolute form of https", request(b"GET https://a/in HTTP/1.1"), GET)
served("target", "absolute form in 1.0", request(b"GET http://a/in HTTP/1.0", host=b""), GET, is_open=False)
served("target", "OPTIONS *", request(b"OPTIONS * HTTP/1.1"), ("OPTIONS", "*"))
served("target", "OPTIONS of an address without a path", request(b"OPTIONS http://a HTTP/1.1"), ("OPTIONS", "*"))
refused("target", "an authority for GET", request(b"GET a:443 HTTP/1.1", host=b"Host: a:443"))

# Host.

for host in (
    b"Host: ", b"Host:", b"Host: a b", b"Host: a\tb", b"Host: u@a", b"Host: a/b", b"Host: a?b", b"Host: a#b", b"Host: a:b",
    b"Host: a:80:80",
    b"Host: :80", b"Host: [::1", b"Host: ::1", b"Host: [::1]x", b"Host: [g::1]", b"Host: a\\b", b"Host: http://a", b"Host: a\x00b",
    b"Host: a\xc3\xa9", b"Host: a:123456", b"Host: a:-1", b"Host: a:+1", b"Host: <a>", b"Host: a\x7f", b"Host: a:8 0", b"Host: \"a\"",
    b"Host: a^b", b"Host: a|b", b"Host: a`b", b"Host: {a}",
):
    refused("Host", shown(host), request(b"GET /in HTTP/1.1", host=host))
refused("Host", "none", request(b"GET /in HTTP/1.1", host=b""))
refused("Host", "none, but X-Forwarded-Host", request(b"GET /in HTTP/1.1", b"X-Forwarded-Host: a", host=b""))
refused("Host", "none, but Host with an underscore", request(b"GET /in HTTP/1.1", b"Host_: a", host=b""))
refused("Host", "twice", request(b"GET /in HTTP/1.1", b"Host: b"))
refused("Host", "twice the same", request(b"GET /in HTTP/1.1", b"Host: a"))
refused("Host", "twice in other letters", request(b"GET /in HTTP/1.1", b"hOST: b"))
refused("Host", "twice in 1.0", request(b"GET /in HTTP/1.0", b"Host: b"))
refused("Host", "twice, the first folded", request(b"GET /in HTTP/1.1", host=b"Host:\r\n a\r\nHost: b"))
refused("Host", "a second one folded", request(b"GET /in HTTP/1.1", b" Host: b"))
refused("Host", "a second one with a space before the colon", request(b"GET /in HTTP/1.1", b"Host : b"))
refused("Host", "none in absolute form", request(b"GET http://a/in HTTP/1.1", host=b""))
for host in (b"Host: a:80", b"Host: [::1]:80", b"Host: 192.0.2.1", b"Host: a.b-c_d~e", b"HOST:a", b"Host: \t a \t", b"Host: a:",
    b"Host: a%2db",
             b"Host: a.", b"Host: xn--e1afmkfd", b"Host: a:65535"):
    served("Host", shown(host), request(b"GET /in HTTP/1.1", host=host), GET)

# Lines and fields.

for line in (
    b"X : a", b"X\t: a", b" X: a", b"\tX: a", b": a", b"X", b"X y: a", b"X(y): a", b"X[]: a", b"X/y: a", b"X@: a", b"X\x00: a", b"X\x01: a",
    b"\x00X: a", b"X\x7f: a", b"X\xe9: a", b"\"X\": a", b"X,Y: a", b"X;Y: a", b"X=Y", b"X\\: a", b"{X}: a", b"X\x0b: a", b"X\x0c: a",
    b"X\r: a",
    b"X: a\x00b", b"X: a\x01b", b"X: a\x07b", b"X: a\x0bb", b"X: a\x0cb", b"X: a\x1bb", b"X: a\x7fb", b"X: a\rb", b"X: a\r", b"X: a\r\r",
    b"X: \x00",
    b"X: a\r\n b", b"X: a\r\n\tb", b"X: a\r\n ", b"X:\r\n a", b"X: a\nY: b", b"X: a\n", b"X: a\n\nGET /smuggled HTTP/1.1",
    b"X: a\r\rY: b", b"X: a\n\r", b"X\n: a", b"X:\na", b"X: a\r\n\rY: b", b"nonsense", b"GET /smuggled HTTP/1.1", b"\xef\xbb\xbfX: a",
):
    refused("field", shown(line), request(b"GET /in HTTP/1.1", line))
for raw, name in (
    (b"GET /in HTTP/1.1\nHost: a\n\n", "LF ends every line"), (b"GET /in HTTP/1.1\r\nHost: a\n\r\n", "LF ends a field"),
    (b"GET /in HTTP/1.1\nHost: a\r\n\r\n", "LF ends the first line"), (b"GET /in HTTP/1.1\r\nHost: a\r\n\n", "LF ends the head"),
    (b"GET /in HTTP/1.1\rHost: a\r\r", "CR ends every line"), (b"GET /in HTTP/1.1\r\n\r\n", "no field at all"),
    (b"GET /in HTTP/1.1\r\n Host: a\r\n\r\n", "white space before the first field"),
    (b"GET /in HTTP/1.1\r\n\tHost: a\r\n\r\n", "a tab before the first field"),
    (b"GET /in HTTP/1.1\n\rHost: a\n\r\n\r", "LF CR ends every line"),
):
    refused("field", name, raw)
for line in (b"X:", b"X: ", b"X:a", b"X: a:b", b"X: \t a \t ", b"X: \xe9\xff\x80", b"!#$%&'*+-.^`|~9: a", b"X: \"a, b\\\"\"",
    b"X: " + b"a" * 8000,
             b"X: a, , b", b"x: a\tb", b"X: a b  c", b"0: 1"):
    served("field", shown(line), request(b"GET /in HTTP/1.1", line), GET)

# Content-Length. A tail that a laxer parser would take for a request is there on purpose.

for value in (
    b"", b" ", b"+36", b"-1", b"-36", b"0x24", b"3 6", b"36, 36, 37", b"36,", b",36", b"36;x", b"36.0", b"36e0", b"\"36\"", b"3_6",
    b"36\x0b", b"\x0b36", b"36\x00", b"\x0036", b"3\xb26", b"\xd9\xa3", b"chunked", b"36 37", b"1,36", b"0, 36", b"99999999999999999999",
    b"9223372036854775808", b"18446744073709551652", b"1" * 400, b"36\r\n 37", b"36\r\n ", b"NaN", b"0b1", b"044x", b"36\x0c",
    b"36 chunked",
    b"(comment) 36", b"36,,36", b"+0", b"-0", b"\x85" b"36", b"36\xa0", b"%33%36", b"4294967332x",
):
    refused("Content-Length", shown(value), post(b"Content-Length: " + value, body=SMUGGLED))
for name in (b"Content-Length ", b"Content-Length\t", b" Content-Length", b"Content-Length\x00", b"\x00Content-Length",
    b"Content-Length\x0b",
             b"Content Length", b"Content-\rLength", b"Content-\nLength", b"\rContent-Length", b"X: y\nContent-Length",
             b"X: y\rContent-Length",
             b"Content-Length:", b"\xa0Content-Length", b"Content-Length\xa0", b"Content-Length\r\n"):
    refused("Content-Length", f"name {shown(name)}", post(name + b": %d" % len(SMUGGLED), body=SMUGGLED))
for name in (b"Content_Length", b"X-Content-Length", b"Content-Lengt", b"Content-Length2", b"Content--Length", b"Content.Length",
    b"`Content-Length",
             b"Content-Length~"):
    # Another field: the request has no body, so what follows is a request of its own, for everybody.
    served("Content-Length", f"name {shown(name)} is another field", post(name + b": %d" % len(SMUGGLED), body=SMUGGLED),
           ("POST", "/in"), ("GET", "/smuggled"))
refused("Content-Length", "twice and different", post(b"Content-Length: 0", b"Content-Length: 36", body=SMUGGLED))
refused("Content-Length", "twice and different, the second first", post(b"Content-Length: 36", b"Content-Length: 0", body=SMUGGLED))
refused("Content-Length", "twice, one empty", post(b"Content-Length: 36", b"Content-Length:", body=SMUGGLED))
refused("Content-Length", "thrice, the last different", post(*[b"Content-Length: 36"] * 2, b"content-length: 35", body=SMUGGLED))
refused("Content-Length", "twice, of a GET", request(b"GET /in HTTP/1.1", b"Content-Length: 0", b"Content-Length: 36", body=SMUGGLED))
for lines in ((b"Content-Length: 3", b"Content-Length: 3"), (b"Content-Length: 3, 3",), (b"Content-Length: 3 ,3",),
    (b"Content-Length: 3,3", b"CONTENT-LENGTH:3"),
              (b"Content-Length: 003",), (b"Content-Length:3",), (b"Content-Length: \t3 \t",), (b"Content-Length: 3",
              b"Content-Length: 03"),
              (b"Content-Length: 000000000000000000000000000003",), (b"cONTENT-lENGTH: 3",)):
    served("Content-Length", shown(b" + ".join(lines)), post(*lines, body=b"abc"), ("POST", "/in", b"abc"))
for length in (b"0", b"00", b"0, 0"):
    served("Content-Length", f"{shown(length)} with a tail", post(b"Content-Length: " + length, body=SMUGGLED), ("POST", "/in"),
           ("GET", "/smuggled"))

# Transfer-Encoding. The body is chunked, and would be a request to whoever misses that.

for value in (
    b"", b" ", b"xchunked", b"chunkedx", b"x", b"chunked;q=1", b"chunked; q", b"\"chunked\"", b"'chunked'", b"(x)chunked", b"chunked x",
    b"chunk", b"chunked-", b"\x00chunked", b"chunked\x00", b"\x0bchunked", b"chunked\x0b", b"\x0cchunked", b"chunked\x0c", b"\x7fchunked",
    b"\xffchunked", b"chunked\xff", b"\xa0chunked", b"ch\xfcnked", b"chunked, ", b", chunked", b"chunked,,", b"identity",
    b"chunked, identity",
    b"chunked, chunked", b"chunked,chunked", b"chunked, cow", b"chunked, gzip", b"gzip", b"\r\n chunked", b"x\r\n chunked",
    b"chunked\r\n x", b"chunked\r ",
    b"\rchunked", b"\nchunked", b"chunked\n", b"[chunked]", b"chunked\\", b"ch\x00unked", b"chunKed\x1f", b"%63hunked", b"chun\tked",
    b"c h u n k e d",
    b"chunked:x", b"chunked=", b"=chunked", b"null", b"true", b"chun\xe2\x84\xaaed", b"trailers", b"identity, identity",
):
    refused("Transfer-Encoding", shown(value), post(b"Transfer-Encoding: " + value, body=HEX_SMUGGLED))
for value in (b"gzip, chunked", b"identity, chunked", b"x, chunked", b"deflate,gzip,chunked", b"compress, Chunked"):
    refused("Transfer-Encoding", shown(value), post(b"Transfer-Encoding: " + value, body=HEX_SMUGGLED), 501)
OBSCURED = (
    b"Transfer-Encoding : chunked", b"Transfer-Encoding\t: chunked", b" Transfer-Encoding: chunked", b"\tTransfer-Encoding: chunked",
    b"Transfer-Encoding\x00: chunked", b"\x00Transfer-Encoding: chunked", b"Transfer-Encoding\x0b: chunked",
    b"Transfer-Encoding\r: chunked",
    b"Transfer-Encoding\n: chunked", b"Transfer-Encoding\r\n : chunked", b"X: y\nTransfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked",
    b"Transfer-Encoding", b"Transfer-Encoding chunked", b"Transfer Encoding: chunked", b"\xffTransfer-Encoding: chunked",
    b"Transfer-Encoding:\x00chunked", b"Transfer-\r\nEncoding: chunked", b"X:\nTransfer-Encoding: chunked",
    b"\x01Transfer-Encoding: chunked",
    b"Transfer-Encoding\x85: chunked", b"Foo: bar\r\n\rTransfer-Encoding: chunked", b"Transfer-Encoding:\nchunked",
    b"Transfer-Encoding:\n chunked",
    b"Transfer-Encoding:\r\n chunked", b"Transfer-Encoding:\r\n\tchunked", b": chunked", b"Transfer-Encoding;: chunked",
    b"Transfer-Encodings: chunked", b"Transfer-Encoding~: chunked", b"transfer-encoding-x: chunked",
)
for line in OBSCURED:
    refused("Transfer-Encoding", shown(line), post(line, body=HEX_SMUGGLED))
for line in (b"Transfer_Encoding: chunked", b"X-Transfer-Encoding: chunked", b"Transfer-Encodin: chunked", b"Transfer--Encoding: chunked",
             b"Transfer.Encoding: chunked", b"TE: chunked",
             b"Content-Encoding: chunked", b"Trailer: Transfer-Encoding", b"Connection: transfer-encoding"):
    served("Transfer-Encoding", f"{shown(line)} is another field", post(line, body=SMUGGLED), ("POST", "/in"), ("GET", "/smuggled"))
for line in (b"Transfer-Encoding:chunked", b"transfer-encoding: Chunked", b"TRANSFER-ENCODING: \t CHUNKED \t"):
    served("Transfer-Encoding", shown(line), post(line, body=HEX_SMUGGLED), ("POST", "/in", SMUGGLED))
refused("Transfer-Encoding", "in 1.0", request(b"POST /in HTTP/1.0", CHUNKED, body=HEX_SMUGGLED))
refused("Transfer-Encoding", "in 1.0 that asks to be kept",
        request(b"POST /in HTTP/1.0", b"Connection: keep-alive", CHUNKED, body=HEX_SMUGGLED))
for first, second in ((CHUNKED, CHUNKED), (CHUNKED, b"Transfer-Encoding: identity"), (CHUNKED, b"Transfer-Encoding: x"),
                      (CHUNKED, b"Transfer-Encoding:"), (b"Transfer-Encoding:", CHUNKED), (CHUNKED, b"transfer-encoding: cow"),
                      (CHUNKED, b"Transfer-Encoding: gzip")):
    refused("TE.TE", shown(first + b" + " + second), post(first, second, body=HEX_SMUGGLED))
for first, second in ((b"Transfer-Encoding: identity", CHUNKED), (b"Transfer-Encoding: x", CHUNKED), (b"Transfer-Encoding: gzip", CHUNKED)):
    refused("TE.TE", shown(first + b" + " + second), post(first, second, body=HEX_SMUGGLED), 501)

# Both: whoever honours the one reads another message than whoever honours the other.

CL_TE = b"0\r\n\r\n" + SMUGGLED
for name, lines, body in (
    ("CL.TE", (b"Content-Length: %d" % len(CL_TE), CHUNKED), CL_TE), ("TE.CL", (CHUNKED, b"Content-Length: 4"), HEX_SMUGGLED),
    ("CL.TE", (b"Content-Length: 0", CHUNKED), CL_TE), ("TE.CL", (CHUNKED, b"Content-Length: %d" % len(HEX_SMUGGLED)), HEX_SMUGGLED),
    ("CL.TE", (b"Content-Length: 3, 3", CHUNKED), CL_TE), ("TE.CL", (b"transfer-encoding:CHUNKED", b"CONTENT-LENGTH:4"), HEX_SMUGGLED),
    ("CL.TE", (CHUNKED, b"Content-Length: 6", b"Content-Length: 6"), CL_TE), ("CL.TE", (b"Content-Length: 6",
    b"Transfer-Encoding: identity"), CL_TE),
    ("CL.TE", (b"Content-Length: 6", b"Transfer-Encoding:"), CL_TE), ("CL.TE", (b"Content-Length: 6", b"Transfer-Encoding: x"), CL_TE),
    ("CL.TE", (b"Content-Length: 6", b"Transfer-Encoding: gzip, chunked"), CL_TE), ("TE.CL", (CHUNKED, b"Content-Length: x"), HEX_SMUGGLED),
    ("CL.TE", (b"Connection: transfer-encoding", b"Content-Length: 6", CHUNKED), CL_TE),
    ("TE.CL", (b"Connection: content-length", b"Content-Length: 6", CHUNKED), CL_TE),
):
    refused(name, shown(b" + ".join(lines)), post(*lines, body=body))
refused("CL.TE", "of a GET", request(b"GET /in HTTP/1.1", b"Content-Length: 6", CHUNKED, body=CL_TE))
for line in OBSCURED:
    refused("CL.TE", f"Content-Length + {shown(line)}", post(b"Content-Length: %d" % len(CL_TE), line, body=CL_TE))
for line in (b"Transfer_Encoding: chunked", b"Connection: transfer-encoding"):
    served("CL.TE", f"Content-Length + {shown(line)}", post(b"Content-Length: %d" % len(CL_TE), line, body=CL_TE), ("POST", "/in", CL_TE))
served("TE.CL", "Content_Length with chunks", post(CHUNKED, b"Content_Length: 4", body=HEX_SMUGGLED), ("POST", "/in", SMUGGLED))

# Bodies where servers expect none, and none where they expect one.

for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE", b"PUT", b"PATCH", b"PURGE"):
    first = method + b" /in HTTP/1.1"
    served("CL.0", method.decode(), request(first, b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED), (method.decode(), "/in",
        SMUGGLED))
    served("TE.0", method.decode(), request(first, CHUNKED, body=HEX_SMUGGLED), (method.decode(), "/in", SMUGGLED))
    served("0.CL", f"{method.decode()} without a length", request(first, body=SMUGGLED), (method.decode(), "/in"), ("GET", "/smuggled"))
served("CL.0", "OPTIONS *", request(b"OPTIONS * HTTP/1.1", b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED), ("OPTIONS", "*",
    SMUGGLED))
served("0.CL", "Content-Length named away by Connection",
       post(b"Connection: Content-Length", b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED), ("POST", "/in", SMUGGLED))
served("0.CL", "an upgrade with a body", post(b"Connection: upgrade", b"Upgrade: x", b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
       ("POST", "/in", SMUGGLED))

# Chunks. After "good" comes nothing more; all of these have a whole chunk before the fault, or none.

for name, body in (
    ("no number", b"zz\r\nabc\r\n0\r\n\r\n"), ("an empty size", b"\r\nabc\r\n0\r\n\r\n"), ("a sign", b"+3\r\nabc\r\n0\r\n\r\n"),
    ("a negative size", b"-3\r\nabc\r\n0\r\n\r\n"), ("a prefix", b"0x3\r\nabc\r\n0\r\n\r\n"), ("an underscore", b"0_3\r\nabc\r\n0\r\n\r\n"),
    ("a space before the size", b" 3\r\nabc\r\n0\r\n\r\n"), ("a space after the size", b"3 \r\nabc\r\n0\r\n\r\n"),
    ("a tab after the size", b"3\t\r\nabc\r\n0\r\n\r\n"), ("a space in the size", b"0 3\r\nabc\r\n0\r\n\r\n"),
    ("LF after the size", b"3\nabc\r\n0\r\n\r\n"), ("LF after the data", b"3\r\nabc\n0\r\n\r\n"), ("LF after the last size",
    b"3\r\nabc\r\n0\n\r\n"),
    ("LF at the end", b"3\r\nabc\r\n0\r\n\n"), ("LF everywhere", b"3\nabc\n0\n\n"), ("CR after the size", b"3\rabc\r\n0\r\n\r\n"),
    ("CR CR LF after the size", b"3\r\r\nabc\r\n0\r\n\r\n"), ("data longer than its size", b"2\r\nabc\r\n0\r\n\r\n"),
    ("data shorter than its size", b"4\r\nabc\r\n0\r\n\r\n"), ("no line end after the data", b"3\r\nabc0\r\n\r\n"),
    ("two bytes instead of the line end", b"3\r\nabcXX0\r\n\r\n"), ("CR and another byte instead of the line end", b"3\r\nabc\rX0\r\n\r\n"),
    ("two line ends after the data", b"3\r\nabc\r\n\r\n0\r\n\r\n"), ("65 bits", b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("64 bits", b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n"), ("63 bits", b"7fffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    ("32 bits and zeros before", b"0" * 17 + b"3\r\nabc\r\n0\r\n\r\n"), ("NUL after the size", b"3\x00\r\nabc\r\n0\r\n\r\n"),
    ("a size beyond ASCII", b"\xb3\r\nabc\r\n0\r\n\r\n"), ("a comma after the size", b"3,x\r\nabc\r\n0\r\n\r\n"), ("a decimal point",
    b"3.0\r\nabc\r\n0\r\n\r\n"),
    ("h for hexadecimal", b"3h\r\nabc\r\n0\r\n\r\n"), ("an extension without a semicolon", b"3 x\r\nabc\r\n0\r\n\r\n"),
    ("LF in an extension", b"3;a\nabc\r\n0\r\n\r\n"), ("LF in a quoted extension", b"3;a=\"\n\"\r\nabc\r\n0\r\n\r\n"),
    ("CR in an extension", b"3;a\rb\r\nabc\r\n0\r\n\r\n"), ("NUL in an extension", b"3;a\x00\r\nabc\r\n0\r\n\r\n"),
    ("a line end in a quoted extension", b"3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n"), ("a long extension",
    b"3;" + b"a" * 300 + b"\r\nabc\r\n0\r\n\r\n"),
    ("LF and a smuggled chunk in an extension", b"3;\nxx\r\nabc\r\n0\r\n\r\n"), ("a sized last chunk", b"3\r\nabc\r\n00x\r\n\r\n"),
    ("white space before the colon of a trailer", b"0\r\nX : a\r\n\r\n"), ("a folded trailer", b"0\r\nX: a\r\n b\r\n\r\n"),
    ("a trailer without a colon", b"0\r\nnonsense\r\n\r\n"), ("NUL in a trailer", b"0\r\nX: \x00\r\n\r\n"), ("LF in the trailers",
    b"0\r\nX: a\nY: b\r\n\r\n"),
    ("a request line as trailer", b"0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"), ("CR ends the trailers", b"0\r\nX: a\r\n\rX"),
    ("large trailers", b"0\r\nX: " + b"a" * 5000 + b"\r\n\r\n"), ("many trailers", b"0\r\n" + b"X: a\r\n" * 40 + b"\r\n"),
):
    refused("chunk", name, post(CHUNKED, body=body + SMUGGLED))
for name, body, content in (
    ("small letters", b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"), ("capital letters", b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    ("zeros before the size", b"000003\r\nabc\r\n0000\r\n\r\n", b"abc"), ("an extension", b"3;x=y\r\nabc\r\n0;z\r\n\r\n", b"abc"),
    ("a quoted extension", b"3;x=\"y;z\"\r\nabc\r\n0\r\n\r\n", b"abc"), ("white space before an extension", b"3 \t;x\r\nabc\r\n0\r\n\r\n",
    b"abc"),
    ("many extensions", b"3;a;b=c;d\r\nabc\r\n0\r\n\r\n", b"abc"), ("an empty extension", b"3;\r\nabc\r\n0\r\n\r\n", b"abc"),
    ("bytes beyond ASCII in an extension", b"3;\xff\r\nabc\r\n0\r\n\r\n", b"abc"), ("no content", b"0\r\n\r\n", b""), ("several",
    b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"abc"),
    ("line ends as content", b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"), ("an end as content", b"5\r\n0\r\n\r\n\r\n0\r\n\r\n",
    b"0\r\n\r\n"),
    ("a trailer", b"3\r\nabc\r\n0\r\nX: a\r\n\r\n", b"abc"), ("trailers that frame",
    b"3\r\nabc\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n\r\n", b"abc"),
    ("a trailer that names a host", b"3\r\nabc\r\n0\r\nHost: b\r\nX-Forwarded-For: x\r\n\r\n", b"abc"), ("70,000 bytes",
    b"11170\r\n" + b"a" * 70_000 + b"\r\n0\r\n\r\n", b"a" * 70_000),
    ("500 of one byte", b"1\r\na\r\n" * 500 + b"0\r\n\r\n", b"a" * 500),
):
    served("chunk", name, post(CHUNKED, body=body + SMUGGLED), ("POST", "/in", content), ("GET", "/smuggled"))

# One after another.

served("pipeline", "ten", request(b"GET /in HTTP/1.1") * 10, *[GET] * 10)
served("pipeline", "bodies between", post(b"Content-Length: 3", body=b"abc") + request(b"GET /in HTTP/1.1") + post(CHUNKED,
    body=b"1\r\nx\r\n0\r\n\r\n"),
       ("POST", "/in", b"abc"), GET, ("POST", "/in", b"x"))
served("pipeline", "nothing after close", request(b"GET /in HTTP/1.1", b"Connection: close") + SMUGGLED, GET, is_open=False)
served("pipeline", "nothing after close in a list", request(b"GET /in HTTP/1.1", b"Connection: x, Close") + SMUGGLED, GET, is_open=False)
served("pipeline", "nothing after close in a second field", request(b"GET /in HTTP/1.1", b"Connection: keep-alive",
    b"Connection: close") + SMUGGLED,
       GET, is_open=False)
refused("pipeline", "a bad one after a good one", request(b"GET /in HTTP/1.1") + request(b"GET /in HTTP/1.1", b"X : a"), before=[GET])
refused("pipeline", "a tail that is no request", request(b"GET /in HTTP/1.1") + b"X" * 40 + b"\r\n\r\n", before=[GET])
refused("pipeline", "a length one too small", post(b"Content-Length: 2", body=b"abc") + b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", before=[])
CASES[-1] = Case("pipeline", "a length one too small", CASES[-1].raw, (200, 400), (("POST", "/in", b"ab"),), False, methods=("POST", "GET"))
served("pipeline", "HEAD and GET", request(b"HEAD /in HTTP/1.1") + request(b"GET /in HTTP/1.1"), ("HEAD", "/in"), GET)
served("pipeline", "cut within the second head", request(b"GET /in HTTP/1.1") + b"GET /smuggled HTTP/1.1\r\nHo", GET, is_open=False,
       half_close=True)
CASES.append(Case("pipeline", "cut within a counted body", post(b"Content-Length: 50", body=SMUGGLED), (), (), False, True))
CASES.append(Case("pipeline", "cut within a chunk", post(CHUNKED, body=b"50\r\n" + SMUGGLED), (), (), False, True))
CASES.append(Case("pipeline", "cut before the last chunk", post(CHUNKED, body=HEX_SMUGGLED[:-5]), (), (), False, True))
CASES.append(Case("pipeline", "cut within the last chunk", post(CHUNKED, body=HEX_SMUGGLED[:-2]), (), (), False, True))

# Connection, Expect, Upgrade, and fields that a proxy must not pass on.

for line in (b"Connection: ,", b"Connection: , close2 ,", b"Connection: host", b"Connection: te, x-y", b"Connection: via, date",
    b"Connection:",
             b"Connection: cookie, authorization, x-forwarded-for", b"Keep-Alive: timeout=1000", b"Proxy-Connection: close"):
    served("Connection", shown(line), request(b"GET /in HTTP/1.1", line), GET)
for line in (b"Connection: a b", b"Connection: \"close\"", b"Connection: close;x", b"Connection: \xff", b"Connection: (x)",
    b"Connection: " + b"a, " * 40 + b"b"):
    refused("Connection", shown(line), request(b"GET /in HTTP/1.1", line))
for value in (b"100-continue", b"100-Continue"):
    served("Expect", shown(value), post(b"Expect: " + value, b"Content-Length: 3", body=b"abc"), ("POST", "/in", b"abc"))
served("Expect", "chunked", post(b"Expect: 100-continue", CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n"), ("POST", "/in", b"abc"))
served("Expect", "of a GET without a body", request(b"GET /in HTTP/1.1", b"Expect: 100-continue"), GET)
served("Expect", "of a GET with a body", request(b"GET /in HTTP/1.1", b"Expect: 100-continue", b"Content-Length: %d" % len(SMUGGLED),
    body=SMUGGLED),
       ("GET", "/in", SMUGGLED))
served("Expect", "in 1.0", request(b"POST /in HTTP/1.0", b"Expect: 100-continue", b"Content-Length: 3", body=b"abc"), ("POST", "/in",
    b"abc"), is_open=False)
for value in (b"y 100-continue", b"100-continue, 100-continue", b"200-ok", b"", b"\"100-continue\""):
    served("Expect", shown(value), post(b"Expect: " + value, b"Content-Length: 3", body=b"abc"), ("POST", "/in", b"abc"))
served("Expect", "twice", post(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 3", body=b"abc"), ("POST", "/in",
    b"abc"))
for lines in ((b"Connection: upgrade", b"Upgrade: websocket"), (b"Connection: Upgrade", b"Upgrade: h2c"), (b"Upgrade: h2c",),
    (b"Connection: upgrade",),
              (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"),
              (b"Connection: upgrade", b"Upgrade: websocket, h2c"), (b"Connection: upgrade", b"Upgrade: TLS/1.0, HTTP/1.1"),
              (b"Connection: upgrade", b"Upgrade:"), (b"Connection: upgrade", b"Upgrade: x", b"Upgrade: h2c")):
    served("Upgrade", shown(b" + ".join(lines)), request(b"GET /in HTTP/1.1", *lines) + SMUGGLED, GET, ("GET", "/smuggled"))
served("Upgrade", "in 1.0", request(b"GET /in HTTP/1.0", b"Connection: upgrade", b"Upgrade: websocket"), GET, is_open=False)
served("Max-Forwards", "of a GET says nothing", request(b"GET /in HTTP/1.1", b"Max-Forwards: x"), GET)
served("Max-Forwards", "of OPTIONS", request(b"OPTIONS * HTTP/1.1", b"Max-Forwards: 5"), ("OPTIONS", "*"))
for value in (b"x", b"-1", b"", b"1, 1", b"9" * 20):
    refused("Max-Forwards", shown(value), request(b"OPTIONS * HTTP/1.1", b"Max-Forwards: " + value))

# Bounds: the last that fits, and one more.


def sized(count):
    start = b"GET /in HTTP/1.1\r\nHost: a\r\nX: "
    return start + b"a" * (count - len(start) - 4) + b"\r\n\r\n"


served("bound", "a head of 16,384 bytes", sized(16_384), GET)
refused("bound", "a head of 16,385 bytes", sized(16_385), 431)
served("bound", "100 fields", request(b"GET /in HTTP/1.1", *[b"X: a"] * 99), GET)
refused("bound", "101 fields", request(b"GET /in HTTP/1.1", *[b"X: a"] * 100), 431)
served("bound", "a target of 8,192 bytes", request(b"GET /" + b"a" * 8191 + b" HTTP/1.1"), ("GET", "/" + "a" * 8191))
refused("bound", "a target of 8,193 bytes", request(b"GET /" + b"a" * 8192 + b" HTTP/1.1"), 414)
refused("bound", "a target that does not end", b"GET /" + b"a" * 20_000, 414)
refused("bound", "a method that does not end", b"A" * 20_000)
refused("bound", "a field name that does not end", request(b"GET /in HTTP/1.1", b"a" * 20_000), 431)
refused("bound", "fields without values", request(b"GET /in HTTP/1.1", *[b"a:"] * 4000), 431)
