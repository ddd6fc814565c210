"""What a client sends, written by Afloat into heads of its own making: redirects, rewritten targets, X-Forwarded-Host. None of
it may end a line, split a message or lead to another host."""

import re

import pytest
from balancer_harness import Balancer, listener, pool, server
from client_panel import read_responses
from stand import Stand, route
from test_requests import disagreements

POISON = [
    "%0d%0aSet-Cookie:x=y", "%0D%0A%0D%0Apoison", "%0aX:y", "%0dX:y", "%00", "%0b", "%7f", "%c4%8a%c4%8d", "%e5%98%8a%e5%98%8d", "%u000a",
    "%%0d0a", "%250d%250a",
    "%20HTTP/1.1%0d%0aHost:b%0d%0a%0d%0aGET%20/smuggled", "%09", "%ff", "%80", "%22", "%3c%3e", "%5c", "%3f", "%23", "%25", "%2e%2e%2f",
    "\\r\\n", "<>\"{}|^`", ";", "%3b",
    "%0d%0a" * 50, "\\\\evil", "%5c%5cevil", "@evil", "%40evil", ":80", "//evil", "%2f%2fevil", "/..//evil", "/%2e%2e//evil",
    "%0d%0a%20folded",
]  # fmt: skip
REDIRECTS = {
    "path": "/new{path}", "bare path": "{path}", "query": "/q?{query}", "uri": "{uri}", "host": "https://{host}/",
    "host and uri": "https://{host}{uri}",
    "host and port": "{scheme}://{host}:{port}/x{path}?{query}",
}  # fmt: skip


def start(recorder):
    routes = [
        route(f"web/{index}", {"redirect": {"to": to, "status": 302}}, f"/r{index}") for index, to in enumerate(REDIRECTS.values())
    ]
    routes.append(route("web/rewrite", {"pool": {"_0": "app"}}, "/old", rewrite={"from": "/old", "to": "/new"}))
    routes.append(route("web/root", {"pool": {"_0": "app"}}, "/top", rewrite={"from": "/top", "to": "/"}))
    balancer = Balancer(
        [listener("web", ["127.0.0.1:0"], "app", routes=routes, style="both")], [pool("app", [server("s", recorder.at)], response=5)])
    return balancer.port, lambda: balancer.__exit__()


@pytest.fixture(scope="module")
def stand():
    made = Stand(start)
    yield made
    made.close()


def get(target, host="a"):
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


@pytest.mark.parametrize("place", range(len(REDIRECTS)), ids=list(REDIRECTS))
def test_a_redirect_is_one_answer_with_one_clean_location(stand, place):
    redirected = 0
    for poison in POISON:
        for target in (f"/r{place}/{poison}", f"/r{place}{poison}", f"/r{place}?{poison}", f"/r{place}/x?a={poison}",
            f"http://a/r{place}/{poison}"):
            outcome = stand.exchange(get(target), ["GET"], expects_close=False)
            if outcome.statuses == [400]:
                continue
            assert outcome.fault == "" and outcome.sentinel == 200, (target, outcome)
            for name, reading in read_responses(outcome.own, ["GET"], False).items():
                assert len(reading.messages) == 1 and not reading.fault, (target, name, reading)
            if outcome.statuses != [302]:
                continue  # the spelling leads out of the route
            redirected += 1
            head = outcome.own.split(b"\r\n\r\n")[0]
            found = re.findall(rb"(?mi)^location: (.*)\r?$", head)
            assert len(found) == 1, (target, head)
            location = found[0].rstrip(b"\r")
            assert re.fullmatch(rb"[!-~]+", location) and not re.search(rb"[\"<>\\^`{|}]", location), (target, location)
            assert b"set-cookie" not in re.sub(rb"(?mi)^location:.*$", b"", head).lower(), head
            assert not location.startswith(b"//") and re.match(rb"/[^/]|/$|https?://a(:\d+)?/", location), (target, location)
    assert redirected >= 40


@pytest.mark.parametrize("host", ["a\r\nX: y", "a%0d%0aX:y", "a/evil", "a?x", "a#x", "a@evil", "a\\evil", "a\tb", "[::1", "a,b", "%0a",
    "a:80@evil", "a;x", "evil:80/x"])
def test_a_host_in_a_redirect_leads_to_that_host_alone(stand, host):
    outcome = stand.exchange(get("/r4", host), ["GET"], half_close=True)
    if outcome.statuses == [400]:
        return
    location = re.search(rb"(?mi)^location: (.*?)\r$", outcome.own)[1]
    assert re.fullmatch(rb"https://[A-Za-z0-9.%,;:-]+/", location), location
    assert b"\n" not in location and not re.search(rb"(?mi)^x: ?y", outcome.own.split(b"\r\n\r\n")[0])


@pytest.mark.parametrize("prefix", ["/old", "/top", "/%6fld", "//old", "/x/../old"])
def test_a_rewritten_target_is_one_target(stand, prefix):
    passed = 0
    for poison in POISON:
        for target in (f"{prefix}/{poison}", f"{prefix}/x?{poison}", f"{prefix}/{poison}?{poison}"):
            outcome = stand.exchange(get(target), None, half_close=True)
            messages = list(stand.recorder.messages)
            assert len(messages) == (1 if outcome.statuses == [200] else 0), (target, outcome)
            assert not disagreements(target, outcome.forwarded, messages, may_break_off=True), outcome
            if not messages:
                continue
            passed += 1
            sent = messages[0][1]
            assert re.fullmatch(r"/[!-~]*", sent), (target, sent)
            assert not sent.startswith("//") or sent == target, "what leads out of the route goes on as it was sent"
    assert passed >= 60
