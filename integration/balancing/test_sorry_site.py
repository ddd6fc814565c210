"""`when_all_down`: what clients get while no server of a pool is up, and that nobody else gets it."""

import json
import os
import time

import pytest
from lab import Lan, wait_until
from lone_balancer import ask, start_with
from peers import Server, plain

CONFIGURATION = """listeners:
  web:
    bind: ["*:80"]
    routes:
      - {match: {host: words}, pool: words}
      - {match: {host: default}, pool: default}
      - {match: {host: fine}, pool: fine}
      - {match: {host: chain}, pool: chain}
      - {match: {host: missing}, pool: missing}
      - {match: {host: ejected}, pool: ejected}
      - {match: {host: slow}, pool: slow, rewrite: {prefix: {from: /app, to: /}}}
      - {match: {path_prefix: /app}, pool: page, rewrite: {prefix: {from: /app, to: /}}}
      - {match: {path_prefix: /}, pool: page, headers: {response: {set: {X-Route: here}}}}
pools:
  page: {servers: {s: "GONE"}, check: CHECK, when_all_down: {static: {root: ROOT}}}
  words:
    servers: {s: "GONE"}
    check: CHECK
    when_all_down: {respond: {status: 500, body: "<p>later</p>", headers: {Content-Type: text/html, X-Sorry: "yes"}}}
  default: {servers: {s: "GONE"}, check: CHECK, when_all_down: {respond: {}}}
  chain: {servers: {s: "GONE"}, check: CHECK, when_all_down: {pool: page}}
  missing: {servers: {s: "GONE"}, check: CHECK, when_all_down: {static: {root: ROOT/nowhere}}}
  fine:
    servers: {s: {address: "SERVER", max_connections: 1}}
    check: CHECK
    queue: {size: 1, timeout: 5s}
    when_all_down: {static: {root: ROOT}}
  ejected:
    servers: {s: "SERVER", gone: "GONE"}
    check: CHECK
    passive: {failures: 1, within: 10s, eject: 1s, at_most: 100%}
    when_all_down: {static: {root: ROOT}}
  slow:
    servers: {s: "SERVER"}
    check: CHECK
    timeouts: {response: 1s}
    retry: {on: [timeout]}
    when_all_down: {static: {root: ROOT}}
log: {access: {to: LOG, format: json}}
"""
CHECK = "{tcp: {}, every: 100ms, fast: 50ms, timeout: 200ms, rise: 1, fall: 2, down: 3s}"
PAGE = b"<h1>sorry</h1>\n"
SHEET = b"h1 {color: red}\n"
BIG = os.urandom(1 << 20)
SORRY = "no server is up, answered by the sorry site"


@pytest.fixture
def site(tmp_path):
    for folder in [tmp_path, *list(tmp_path.parents)[:-2]]:
        os.chmod(folder, os.stat(folder).st_mode | 0o055)  # the balancer is an ordinary user
    root = tmp_path / "sorry"
    root.mkdir()
    (root / "index.html").write_bytes(PAGE)
    (root / "sorry.css").write_bytes(SHEET)
    (root / "big.png").write_bytes(BIG)
    with Lan(nodes=1, backends=1) as lan:
        server = Server(lan.backends[0], plain(b"app\n"))
        text = CONFIGURATION.replace("ROOT", str(root)).replace("SERVER", server.address).replace("CHECK", CHECK)
        text = text.replace("GONE", f"{lan.backends[0].address}:9").replace("LOG", str(tmp_path / "access.log"))
        lone = start_with(lan, [server], text)
        lone.root = root
        lone.log = tmp_path / "access.log"
        wait_until(lambda: lone.agent.server_states(pool="fine") == {"s": "up"}, 10, "the server up")
        try:
            yield lone
        finally:
            lone.stop()
            lone.close()


def ends(site):
    return [json.loads(line) for line in site.log.read_text().splitlines()]


def test_a_page_for_every_path_and_what_belongs_to_it(site):
    wire = site.dial()
    for target in ["/", "/a/b?c", "/index.html", "/sub/", "/nowhere.css", "/../../etc/passwd", "/app", "/app/deep/er"]:
        if ".." in target:  # climbs above the root: refused before any pool is asked
            assert ask(site, target)[0].status == 400
            continue
        head, body = ask(site, target, wire=wire)
        assert (head.status, body) == (503, PAGE), target
        assert head.get("retry-after") == "3" and head.get("cache-control") == "no-store"
        assert head.get("content-type") == "text/html; charset=utf-8" and "etag" not in head.fields
        assert "x-route" not in head.fields
    for target in ["/sorry.css", "/app/sorry.css"]:
        head, body = ask(site, target, wire=wire)
        assert (head.status, body) == (200, SHEET)
        assert head.get("content-type").startswith("text/css") and head.get("cache-control") == "no-store"
        assert "retry-after" not in head.fields
    tag = head.get("etag")
    assert ask(site, "/sorry.css", f"If-None-Match: {tag}\r\n", wire=wire)[0].status == 304
    assert ask(site, "/big.png", wire=wire)[1] == BIG
    head, body = ask(site, "/big.png", "Range: bytes=10-19\r\n", wire=wire)
    assert (head.status, body) == (206, BIG[10:20])
    # Conditions and ranges are the files': the page is the page.
    head, body = ask(site, "/", "Range: bytes=0-1\r\nIf-None-Match: *\r\n", wire=wire)
    assert (head.status, body) == (503, PAGE)


def test_methods_versions_and_bodies(site):
    wire = site.dial()
    head, body = ask(site, "/x", method="HEAD", wire=wire)
    assert head.status == 503 and head.get("content-length") == str(len(PAGE)) and not body
    for method in ["DELETE", "OPTIONS"]:
        head, body = ask(site, "/sorry.css", method=method, wire=wire)
        assert (head.status, body, head.get("content-length")) == (503, b"", "0")
        assert head.get("retry-after") == "3"
    wire.close()
    wire = site.dial()
    wire.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + "x" * 70000)
    head, body = wire.response("POST")
    assert (head.status, body, head.get("connection")) == (503, b"", "close")
    head, body = ask(site, "/", version="1.0")
    assert (head.status, body, head.get("connection")) == (503, PAGE, "close")


def test_a_page_that_is_large_or_not_there(site):
    (site.root / "index.html").write_bytes(BIG)
    wire = site.dial()
    for _ in range(2):
        head, body = ask(site, "/any", wire=wire)
        assert (head.status, body) == (503, BIG)
    head, body = ask(site, host="missing", wire=wire)
    assert head.status == 503 and b"no server of pool missing is up" in body and head.get("retry-after") == "1"
    wait_until(lambda: len(ends(site)) == 3, 5, "the log")
    assert [line["end"] for line in ends(site)] == [SORRY, SORRY, "no server is up"]


def test_an_answer_in_words_and_a_chain_that_ends_in_a_page(site):
    wire = site.dial()
    head, body = ask(site, "/x", host="words", wire=wire)
    assert (head.status, body) == (500, b"<p>later</p>")
    assert head.get("content-type") == "text/html" and head.get("x-sorry") == "yes"
    assert "retry-after" not in head.fields
    head, body = ask(site, "/x", host="words", method="HEAD", wire=wire)
    assert head.status == 500 and not body
    head, body = ask(site, host="default", wire=wire)
    assert (head.status, body, head.get("retry-after")) == (503, b"", "3")
    assert ask(site, "/x", host="chain", wire=wire)[1] == PAGE
    wait_until(lambda: len(ends(site)) == 4, 5, "the log")
    assert {line["end"] for line in ends(site)} == {SORRY}
    assert [line["pool"] for line in ends(site)] == ["words", "words", "default", "page"]
    metrics = site.lan.nodes[0].run("curl", "-s", "--unix-socket", site.agent.socket, "http://x/metrics").stdout
    assert 'afloat_listener_endings_total{listener="web",cause="sorry_site"} 4' in metrics


def keep_silent(held):
    def behave(_server, wire):
        held.append(wire.head())
        time.sleep(20)

    return behave


def test_only_when_all_are_down(site):
    """A full queue, and a server that fails what it is given, are not "all down"."""
    (server,) = site.servers
    held = []
    server.behave = keep_silent(held)
    first, waiting, third = site.dial(), site.dial(), site.dial()
    first.send("GET /first HTTP/1.1\r\nHost: fine\r\n\r\n")
    wait_until(lambda: held, 5, "the first request at the server")
    waiting.send("GET /sorry.css HTTP/1.1\r\nHost: fine\r\n\r\n")
    time.sleep(0.3)
    head, body = ask(site, "/third", host="fine", wire=third)
    assert head.status == 503 and b"max_connections" in body
    # Nobody is left: who waits is told at once; who is being served is not.
    begun = time.monotonic()
    assert site.agent.afloat("server", "fine/s", "maint").returncode == 0
    head, body = waiting.response("GET")
    assert (head.status, body) == (200, SHEET)
    assert time.monotonic() - begun < 4  # before the queue's time-out of 5 s
    assert ask(site, "/later", host="fine")[1] == PAGE
    assert site.agent.afloat("server", "fine/s", "ready").returncode == 0
    wait_until(lambda: site.agent.server_states(pool="fine") == {"s": "up"}, 10, "the server up")
    # It dies: until the checks say so this is a failed connection.
    server.close()
    head, body = first.response("GET")
    assert head.status == 502
    wait_until(lambda: site.agent.server_states(pool="fine") == {"s": "down"}, 10, "the server down")
    assert ask(site, "/last", host="fine")[1] == PAGE
    wait_until(lambda: len(ends(site)) == 5, 5, "the log")
    log = {line["target"]: line["end"] for line in ends(site)}
    assert log["/third"] == "too many wait for a server" and log["/first"] == "server closed before its response"
    assert log["/sorry.css"] == log["/later"] == log["/last"] == SORRY


def test_a_retry_that_finds_nobody(site):
    (server,) = site.servers
    held = []
    server.behave = keep_silent(held)
    for target, body in [("/app/x?y", PAGE), ("/app/sorry.css", SHEET)]:
        held.clear()
        wire = site.dial()
        wire.send(f"GET {target} HTTP/1.1\r\nHost: slow\r\n\r\n")
        wait_until(lambda: held, 5, "the request at the server")
        assert held[0].first == f"GET {target[4:]} HTTP/1.1"
        assert site.agent.afloat("server", "slow/s", "maint").returncode == 0
        assert wire.response("GET")[1] == body
        assert site.agent.afloat("server", "slow/s", "ready").returncode == 0
        wait_until(lambda: site.agent.server_states(pool="slow") == {"s": "up"}, 10, "the server up")


def test_a_server_in_maintenance(site):
    assert ask(site, host="fine")[1] == b"app\n"
    assert site.agent.afloat("server", "fine/s", "maint").returncode == 0
    wait_until(lambda: ask(site, host="fine")[1] == PAGE, 5, "the sorry site")
    assert site.agent.afloat("server", "fine/s", "ready").returncode == 0
    wait_until(lambda: ask(site, host="fine")[1] == b"app\n", 10, "the server again")


def test_the_last_server_that_is_up_is_tried_whatever_live_traffic_says(site):
    (server,) = site.servers
    wait_until(lambda: site.agent.server_states(pool="ejected") == {"s": "up", "gone": "down"}, 10, "one server")
    usual = server.behave
    server.behave = lambda _server, wire: wire.head()
    for _ in range(20):
        assert ask(site, host="ejected")[0].status == 502
    server.behave = usual
    assert ask(site, host="ejected")[1] == b"app\n"
