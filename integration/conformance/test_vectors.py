"""Vectors of others, from paths that the environment names: LLHTTP, H1SPEC and DESYNC are checked-out repositories of
nodejs/llhttp, uNetworking/h1spec and aws/http-desync-guardian. Without them these tests are skipped.

Whatever a vector says, the panel must read the same as Afloat out of what is forwarded. Beyond that, Afloat may be
stricter or laxer than they are only where a table here says why.
"""

import os
import re
import socket
import time

import pytest
from stand import Stand, start_afloat
from test_requests import disagreements
from vectors import desync_cases, h1spec_cases, llhttp_vectors

LLHTTP, H1SPEC, DESYNC = (os.environ.get(name) for name in ("LLHTTP", "H1SPEC", "DESYNC"))
REQUESTS = [vector for vector in llhttp_vectors(LLHTTP, "request") if vector.kind == "request"] if LLHTTP else []
LENIENT = [vector for vector in llhttp_vectors(LLHTTP, "request") if vector.kind != "request"] if LLHTTP else []
RESPONSES = llhttp_vectors(LLHTTP, "response") if LLHTTP else []
CASES = h1spec_cases(H1SPEC) if H1SPEC else []
DESYNCS = desync_cases(DESYNC) if DESYNC else []

# What llhttp takes and Afloat refuses, by what Afloat says.
STRICTER = {
    "CONNECT is not served here": "a reverse proxy opens no tunnels",
    "the version is malformed": "ICE and RTSP are not HTTP",
    "the first line is not METHOD TARGET VERSION": "HTTP/0.9 is not spoken",
    "the target is not a path, an http or https address, or *": "fragments, user information, and * for others than OPTIONS",
    "a transfer coding other than chunked is used": "no server could be told what is in the body",
}
# What llhttp refuses and Afloat serves, by llhttp's reason.
LAXER = {
    "Invalid method for HTTP/x.x request": "methods are not a closed list",
    "Invalid method encountered": "methods are not a closed list",
    "Expected space after method": "methods are not a closed list",
    "Data after `Connection: close`": "what follows the last request is not read",
    "Invalid character in chunk extensions": "extensions are dropped, whatever they say",
    "Invalid character in chunk extensions quoted value": "extensions are dropped, whatever they say",
}


@pytest.fixture(scope="module")
def stand():
    made = Stand(start_afloat)
    yield made
    made.close()


def with_hosts(raw):
    """Their vectors often lack Host, which would hide what they are about."""

    def add(found):
        rest = raw[found.end() :].split(b"\r\n\r\n")[0]
        if found[3] == b"1.0" or re.search(rb"(?im)^host *:", rest):
            return found[0]
        host = re.match(rb"https?://([^/?]+)", found[2])
        return found[0] + b"Host: " + (host[1] if host else b"a") + b"\r\n"

    return re.sub(rb"(?m)^([A-Z-]+) (\S+) HTTP/(\d\.\d)\r\n", add, raw)


def words(outcome):
    """What Afloat says about a request that it refused; empty if it refused none."""
    refusals = [body for status, body in outcome.answers if status != 200]
    return re.match(rb"\d+ [A-Za-z ]+: (.*)\n", refusals[-1])[1].decode() if refusals else ""


@pytest.mark.skipif(not LLHTTP, reason="LLHTTP is not set to a checked-out nodejs/llhttp")
@pytest.mark.parametrize("vector", REQUESTS, ids=[vector.name for vector in REQUESTS])
def test_llhttp_requests(stand, vector):
    outcome = stand.exchange(with_hosts(vector.raw), None, half_close=True)
    messages, refusal = list(stand.recorder.messages), words(outcome)
    found = disagreements(f"llhttp {vector.name}", outcome.forwarded, messages, may_break_off=True)
    # Their names in Sec-WebSocket-Key1 and trailers are beyond some: a refusal splits no message.
    assert all(reading.endswith("]") and " reads [] [" in reading and "not whole" not in reading for reading in found), found
    if vector.error:
        assert refusal or not messages or vector.error in LAXER, (vector, outcome)
    elif refusal:
        assert refusal in STRICTER, (vector, outcome)
    else:
        assert [body for _, _, body in messages] == vector.bodies, (vector, outcome)


@pytest.mark.skipif(not LLHTTP, reason="LLHTTP is not set to a checked-out nodejs/llhttp")
@pytest.mark.parametrize("vector", LENIENT, ids=[f"{vector.kind}: {vector.name}" for vector in LENIENT])
def test_llhttp_requests_for_the_lenient(stand, vector):
    """What llhttp takes only when it is told to be lenient is refused, or means the same to everybody."""
    outcome = stand.exchange(with_hosts(vector.raw), None, half_close=True)
    messages = list(stand.recorder.messages)
    found = disagreements(f"llhttp {vector.name}", outcome.forwarded, messages, may_break_off=True)
    assert not found, (found, outcome)
    assert words(outcome) or [body for _, _, body in messages] == vector.bodies or not messages, (vector, outcome)


# Responses of llhttp's that Afloat takes otherwise: the name of the vector → why.
DIFFERENT = {
    "connection: HTTP 101 response with Upgrade and Content-Length header": "nobody asked for an upgrade",
    "connection: HTTP 101 response with Upgrade and Transfer-Encoding header": "nobody asked for an upgrade",
    "connection: HTTP 100 first, then 400": "an empty line stands before a status line",
    "sample: Response starting with CRLF": "an empty line stands before a status line",
    "connection: HTTP 103 first, then 200": "the last byte of the content is missing, so it is broken off",
    "transfer-encoding: No extension after semicolon": "extensions are dropped, whatever they say",
}


@pytest.mark.skipif(not LLHTTP, reason="LLHTTP is not set to a checked-out nodejs/llhttp")
@pytest.mark.parametrize("vector", RESPONSES, ids=[f"{vector.kind}: {vector.name}" for vector in RESPONSES])
def test_llhttp_responses(stand, vector):
    stand.recorder.answers["/in"] = (vector.raw,)
    stand.recorder.closing.add("/in")
    outcome = stand.exchange(b"POST /in HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", ["POST"])
    is_passed = outcome.statuses not in ([], [502])
    if vector.name in DIFFERENT:
        return
    if vector.error and not vector.bodies:
        assert not is_passed, (vector, outcome)
    elif vector.kind == "response" and vector.bodies and is_passed:
        assert outcome.answers[-1][1] in vector.bodies, (vector, outcome)
    elif vector.kind == "response":
        assert not vector.bodies, (vector, outcome)


@pytest.mark.skipif(not H1SPEC, reason="H1SPEC is not set to a checked-out uNetworking/h1spec")
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_h1spec(stand, case):
    stand.recorder.begin()
    with socket.create_connection(("127.0.0.1", stand.port), 3) as connection:
        connection.sendall(case.raw)
        connection.settimeout(0.4 if case.waits else 3)
        try:
            data = connection.recv(65536)
        except TimeoutError:
            assert case.waits
            return
        assert not case.waits, data
        status = int(data.split(b" ")[1])
        assert any(low <= status <= high for low, high in case.ranges), data
        if case.body is not None and status == 200:
            time.sleep(0.05)
            assert stand.recorder.messages[0][2] == case.body.encode()


# http-desync-guardian judges heads that come with a body, and takes more methods and targets than a proxy serves.
NO_OTHER_CODING = "no coding but chunked is taken: 501, or 400 with a parameter"
REFUSED_THOUGH_COMPLIANT = {
    "more-compliant-tests: Correct TE OK": NO_OTHER_CODING,
    "more-compliant-tests: Transfer-Encoding: identity and chunked OK": NO_OTHER_CODING,
    "more-compliant-tests: Multiple transfer encoding headers in a single request OK": NO_OTHER_CODING,
    "more-compliant-tests: TE with custom parameters OK": NO_OTHER_CODING,
    "rfc-compliant: Different Transfer-Encoding headers": NO_OTHER_CODING,
    "rfc-compliant: Different Transfer-Encoding headers combined": NO_OTHER_CODING,
    "rfc-compliant: Transfer-Encoding with a param: chunked;custom_param": NO_OTHER_CODING,
    "rfc-compliant: Compliant URL": "the target begins with no slash and no scheme",
    "rfc-compliant: Empty URI": "there is no target",
}
SEVERE_THOUGH_SERVED = {"severe: Bad Content-Length: 1000,1000": "equal numbers become one, as RFC 9110, section 8.6, allows"}


@pytest.mark.skipif(not DESYNC, reason="DESYNC is not set to a checked-out aws/http-desync-guardian")
@pytest.mark.parametrize("case", DESYNCS, ids=[f"{case.tier}: {case.name}" for case in DESYNCS])
def test_desync_guardian(stand, case):
    length = re.search(rb"(?im)^content-length: *(\d{1,6})\r", case.raw)
    body = b"0\r\n\r\n" if re.search(rb"(?im)^transfer-encoding: *chunked\r", case.raw) else b"x" * int(length[1] if length else 0)
    outcome = stand.exchange(with_hosts(case.raw) + body, None, half_close=True)
    messages = list(stand.recorder.messages)
    assert not disagreements(f"desync {case.name}", outcome.forwarded, messages, may_break_off=True), outcome
    refusal = words(outcome)
    if case.tier == "Compliant":
        assert not refusal or case.name in REFUSED_THOUGH_COMPLIANT, (case, outcome)
    elif case.tier == "Severe":
        assert refusal or case.name in SEVERE_THOUGH_SERVED, (case, outcome)
