"""Servers by the names of their hosts: looked up by the balancer, with a name server that answers, lies or is silent."""

import contextlib
import os
import re
import signal
import time

import pytest
from lab import Lan, wait_until
from lone_balancer import start_with
from name_server import Names, Resolver
from peers import Server, Wire, plain

CHECK = "{http: /, every: 200ms, fast: 50ms, timeout: 500ms, rise: 1, fall: 2, down: 500ms}"
CONFIGURATION = f"""listeners:
  web: {{bind: ["*:80"], pool: app}}
  raw: {{bind: ["*:81"], mode: tcp, pool: raw}}
  other: {{bind: ["*:82"], pool: other}}
  all: {{bind: ["*:83"], pool: all}}
pools:
  app: {{servers: {{s: "App.Example:8080"}}, affinity: cookie, check: {CHECK}}}
  raw: {{servers: {{s: {{address: "app.example:8080", weight: 7}}}}, check: none}}
  other: {{servers: {{s: "b1:8080"}}, check: none}}
  all: {{servers: {{dns: all.example, port: 8080, refresh: 1s}}, affinity: cookie, check: {CHECK}}}
"""
SECONDS = 10  # between two look-ups
UNKNOWN = "app.example: no address: Name or service not known"


@pytest.fixture
def stage():
    """Two servers that say who they are, a name server on a third host, and how to start a balancer."""
    with Lan(nodes=1, backends=3) as lan:
        servers = [Server(host, plain(host.name.encode())) for host in lan.backends[:2]]
        resolver = Resolver(lan.backends[2])
        names = Names(lan.nodes[0], resolver)
        names.write("hosts", f"{lan.backends[0].address} b1\n")
        started = []

        def start():
            started.append(start_with(lan, servers, CONFIGURATION))
            return started[0]

        start.lan, start.resolver, start.names, start.servers = lan, resolver, names, servers
        start.one, start.two = (host.address for host in lan.backends[:2])
        try:
            yield start
        finally:
            for lone in started:
                lone.stop()
            for server in servers:
                server.close()
            resolver.close()
            names.close()


def ask(lone, port=80, cookie=None, wire=None):
    own = wire or Wire(lone.lan.client.connect(lone.lan.nodes[0].address, port, timeout=15))
    field = f"Cookie: {cookie}\r\n" if cookie else ""
    own.send(f"GET / HTTP/1.1\r\nHost: h\r\n{field}\r\n")
    head, body = own.response("GET")
    if not wire:
        own.close()
    return head, body


def seen(lone, pool="app"):
    (server,) = next(one for one in lone.agent.query("pools") if one["name"] == pool)["servers"]
    return server


def shown(lone, pool="app"):
    server = seen(lone, pool)
    return server["state"], server["address"], server["host_name"]


def test_a_name_without_an_address_keeps_nobody_from_starting(stage):
    lone = stage()
    wait_until(lambda: ask(lone, 82)[1] == b"b1", 5, "an answer, by the hosts file")
    wait_until(lambda: seen(lone)["last_check"] == UNKNOWN, 10, "the cause in words")
    assert shown(lone) == ("down", "app.example:8080", "app.example")
    assert shown(lone, "raw")[0] == "down", "not checked, and still without an address"
    head, body = ask(lone)
    assert head.status == 503 and b"no server of pool app is up" in body
    with contextlib.suppress(ConnectionResetError):
        assert Wire(lone.lan.client.connect(lone.lan.nodes[0].address, 81)).rest() == b""
    # It is asked for again by itself …
    begun = time.monotonic()
    stage.resolver.names["app.example"] = [stage.one]
    wait_until(lambda: ask(lone)[1] == b"b1", 2 * SECONDS, "an answer")
    assert time.monotonic() - begun < SECONDS + 3
    wait_until(lambda: shown(lone) == ("up", f"{stage.one}:8080", "app.example"), 3, "what is shown")
    assert ask(lone, 81)[1] == b"b1"
    assert f"{stage.one}:8080 (app.example)" in lone.agent.afloat("pools").stdout
    checked = [head for head in stage.servers[0].heads if head.get("user-agent") == "afloat-check"]
    assert checked[0].get("host") == "app.example:8080"
    events = lone.agent.afloat("events").stdout
    assert UNKNOWN in events and f"app.example is {stage.one}" in events


def test_at_once_on_a_reload(stage):
    lone = stage()
    wait_until(lambda: seen(lone)["last_check"] == UNKNOWN, 10, "the cause in words")
    stage.resolver.names["app.example"] = [stage.one]
    assert lone.agent.afloat("reload").returncode == 0
    wait_until(lambda: ask(lone)[1] == b"b1", 3, "an answer, before the next round")


def test_another_address(stage):
    """What is connected stays where it is; new connections go to the new address; cookies name the server."""
    stage.resolver.names["app.example"] = [stage.one]
    lone = stage()
    wait_until(lambda: ask(lone)[1] == b"b1", 10, "the first address")
    head, _ = ask(lone)
    cookie = head.get("set-cookie").split(";")[0]
    tunnel = Wire(lone.lan.client.connect(lone.lan.nodes[0].address, 81, timeout=15))
    assert ask(lone, wire=tunnel)[1] == b"b1"
    kept = lone.dial()
    assert ask(lone, wire=kept)[1] == b"b1"
    assert lone.agent.afloat("server", "app/s", "weight", "33").returncode == 0

    stage.resolver.names["app.example"] = [stage.two]
    assert lone.agent.afloat("reload").returncode == 0
    wait_until(lambda: ask(lone)[1] == b"b2", 3, "the second address")
    assert ask(lone, wire=tunnel)[1] == b"b1", "a connection stays where it is"
    assert ask(lone, wire=kept)[1] == b"b2", "a client's kept connection is not broken, and goes to the new address"
    head, body = ask(lone, cookie=cookie)
    assert body == b"b2" and not head.get("set-cookie"), "the cookie is still the server's"
    wait_until(lambda: shown(lone) == ("up", f"{stage.two}:8080", "app.example"), 3, "what is shown")
    assert seen(lone)["weight"] == 33
    assert re.search(rf"app\.example is {stage.two} now, it was {stage.one}", lone.agent.afloat("events").stdout)
    # The old one fails: that is nobody's trouble any more.
    stage.servers[0].close()
    time.sleep(1)
    assert seen(lone)["state"] == "up" and ask(lone)[1] == b"b2"


def asked_until(lone, body, port=80, seconds=5):
    """Asks again and again until `body` comes; every answer before it was good, too."""
    end = time.monotonic() + seconds
    while True:
        head, got = ask(lone, port)
        assert head.status == 200, (head, got)
        if got == body:
            return
        assert time.monotonic() < end, f"{got} has not become {body}"


def test_a_pool_of_one_server_has_no_hole_when_that_moves(stage):
    stage.resolver.names["app.example"] = stage.resolver.names["all.example"] = [stage.one]
    lone = stage()
    wait_until(lambda: ask(lone)[1] == b"b1" == ask(lone, 83)[1], 10, "the first address")
    # Nobody listens there yet: the old address goes on, and it is said why.
    third = lone.lan.backends[2]
    stage.resolver.names["app.example"] = stage.resolver.names["all.example"] = [third.address]
    assert lone.agent.afloat("reload").returncode == 0
    words = f"app.example is {third.address} now: connection refused; this one is used until that works"
    wait_until(lambda: words in seen(lone)["last_check"], 5, words)
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        assert ask(lone)[1] == b"b1" == ask(lone, 83)[1]
    assert shown(lone) == ("up", f"{stage.one}:8080", "app.example")
    assert lone.agent.server_states(pool="all") == {stage.one: "up", third.address: "down"}
    # By the rules of its own checks.
    stage.servers[0].close()
    wait_until(lambda: shown(lone)[0] == "down", 5, "the old one down")
    stage.servers[0] = Server(lone.lan.backends[0], plain(b"b1"))
    wait_until(lambda: ask(lone)[1] == b"b1" == ask(lone, 83)[1], 5, "the old one again")
    # Then it is there, and both move.
    stage.servers.append(Server(third, plain(b"b3")))
    asked_until(lone, b"b3")
    asked_until(lone, b"b3", 83)
    wait_until(lambda: shown(lone) == ("up", f"{third.address}:8080", "app.example"), 3, "what is shown")
    wait_until(lambda: lone.agent.server_states(pool="all") == {third.address: "up"}, 3, "one server")
    events = lone.agent.afloat("events").stdout
    assert f"{stage.one} is used until a check of the new one succeeds" in events
    assert f"{third.address} is used from now on, and {stage.one} no more: 200 in" in events
    # And back, with both there.
    stage.resolver.names["app.example"] = stage.resolver.names["all.example"] = [stage.one]
    assert lone.agent.afloat("reload").returncode == 0
    asked_until(lone, b"b1")
    asked_until(lone, b"b1", 83)


def test_a_name_may_not_lead_to_the_node_itself(stage):
    stage.resolver.names["app.example"] = ["127.0.0.1"]
    stage.resolver.names["all.example"] = ["169.254.1.1", stage.one]
    lone = stage()
    words = "app.example: no address: 127.0.0.1 is refused: it is a loopback address"
    wait_until(lambda: seen(lone)["last_check"] == words, 10, words)
    warning = "all.example: 169.254.1.1 is refused: it is a link-local address"
    wait_until(lambda: warning in lone.agent.query("status")["warnings"], 5, warning)
    wait_until(lambda: lone.agent.server_states(pool="all") == {stage.one: "up"}, 5, "the other address")


def test_a_new_balancer_knows_the_addresses_of_the_one_before(stage):
    stage.resolver.names["app.example"] = [stage.one]
    stage.resolver.names["all.example"] = [stage.one, stage.two]
    lone = stage()
    wait_until(lambda: ask(lone)[1] == b"b1" and len(members(lone)) == 2, 10, "both pools")
    wait_until(lambda: set(members(lone).values()) == {"up"}, 5, "both up")
    stage.resolver.silent = True
    balancer = lone.agent.balancer
    os.kill(balancer, signal.SIGKILL)
    wait_until(lambda: lone.agent.balancer not in (None, balancer), 10, "another balancer")

    def serves():
        with contextlib.suppress(OSError, EOFError):
            return ask(lone)[1] == b"b1" and ask(lone, 83)[0].status == 200

    wait_until(serves, 10, "answers without a name server")
    wait_until(lambda: members(lone) == {stage.one: "up", stage.two: "up"}, 5, "all addresses")


def test_one_of_several_is_kept(stage):
    stage.resolver.names["app.example"] = [stage.two]
    lone = stage()
    wait_until(lambda: ask(lone)[1] == b"b2", 10, "the only address")
    for addresses in [[stage.one, stage.two], [stage.two, stage.one]]:
        stage.resolver.names["app.example"] = addresses
        before = len(stage.resolver.asked)
        assert lone.agent.afloat("reload").returncode == 0
        wait_until(lambda: len(stage.resolver.asked) > before + 1, 5, "the look-up")
        time.sleep(0.5)
        assert ask(lone)[1] == b"b2"
    stage.resolver.names["app.example"] = ["0.0.0.0", "192.0.2.251", stage.one]
    assert lone.agent.afloat("reload").returncode == 0
    wait_until(lambda: ask(lone)[1] == b"b1", 3, "the first of those that are left, by number")


def test_a_silent_name_server_takes_no_server_away_and_holds_up_nothing(stage):
    stage.resolver.silent = True
    lone = stage()
    wait_until(lambda: ask(lone, 82)[1] == b"b1", 2, "an answer, by the hosts file")
    wait_until(lambda: shown(lone)[0] == "starting", 2, "what is shown")
    assert seen(lone)["last_check"] == "app.example is being looked up"
    status = lone.agent.query("status")
    assert status["verdict"] == "DEGRADED" and "pool all: names not looked up yet" in status["reasons"], status
    wait_until(lambda: "Temporary failure" in seen(lone)["last_check"], 15, "the cause in words")
    wait_until(lambda: lone.agent.query("status")["verdict"] == "CRITICAL", 15, "a verdict")
    stage.resolver.silent = False
    stage.resolver.names["app.example"] = [stage.one]
    wait_until(lambda: ask(lone)[1] == b"b1", 2 * SECONDS, "an answer")
    stage.resolver.silent = True
    wait_until(lambda: "Temporary failure" in seen(lone)["last_check"], 3 * SECONDS, "the cause in words")
    assert seen(lone)["state"] == "up" and "the last one is kept" in seen(lone)["last_check"]
    assert ask(lone)[1] == b"b1"


def test_a_server_that_gets_a_name_keeps_its_address_until_that_is_known(stage):
    stage.resolver.names["app.example"] = [stage.one]
    lone = stage()
    wait_until(lambda: ask(lone)[1] == b"b1", 10, "an answer")
    stage.resolver.silent = True
    lone.agent.write(CONFIGURATION.replace("App.Example", "new.example"))
    assert lone.agent.afloat("reload").returncode == 0
    end = time.monotonic() + 2
    while time.monotonic() < end:
        assert ask(lone)[1] == b"b1"
    stage.resolver.silent = False
    stage.resolver.names["new.example"] = [stage.two]
    wait_until(lambda: ask(lone)[1] == b"b2", 3 * SECONDS, "the new name's address")


def members(lone):
    return lone.agent.server_states(pool="all")


def test_all_addresses_of_a_name(stage):
    lone = stage()
    warning = "pool all has no servers: all.example: no address: Name or service not known"
    wait_until(lambda: warning in lone.agent.query("status")["warnings"], 5, "the warning")
    assert ask(lone, 83)[0].status == 503 and not members(lone)
    stage.resolver.names["all.example"] = [stage.two, stage.one]
    wait_until(lambda: members(lone) == {stage.one: "up", stage.two: "up"}, 5, "both servers")
    assert not any("all.example" in one for one in lone.agent.query("status")["warnings"])
    assert {ask(lone, 83)[1] for _ in range(8)} == {b"b1", b"b2"}
    cookies = {body: head.get("set-cookie").split(";")[0] for head, body in [ask(lone, 83) for _ in range(8)]}

    # Operators call them by their addresses.
    assert lone.agent.afloat("server", f"all/{stage.one}", "drain").returncode == 0
    wait_until(lambda: members(lone)[stage.one] == "drain", 5, "the drain")
    refused = lone.agent.afloat("server", "all/s1", "drain")
    assert refused.returncode != 0 and "by the addresses of all.example" in refused.stdout + refused.stderr
    assert lone.agent.afloat("server", f"all/{stage.one}", "ready").returncode == 0
    wait_until(lambda: members(lone)[stage.one] == "up", 5, "the server again")

    # One goes: its connections finish, its clients move, the others stay.
    kept = Wire(lone.lan.client.connect(lone.lan.nodes[0].address, 83, timeout=15))
    assert ask(lone, cookie=cookies[b"b2"], wire=kept)[1] == b"b2"
    stage.resolver.names["all.example"] = [stage.one]
    wait_until(lambda: members(lone) == {stage.one: "up"}, 5, "one server")
    assert ask(lone, wire=kept)[1] == b"b1"
    head, body = ask(lone, 83, cookie=cookies[b"b2"])
    assert body == b"b1" and head.get("set-cookie")
    assert not ask(lone, 83, cookie=cookies[b"b1"])[0].get("set-cookie")
    stage.resolver.names["all.example"] = [stage.one, stage.two]
    wait_until(lambda: members(lone) == {stage.one: "up", stage.two: "up"}, 5, "both servers")
    head, body = ask(lone, 83, cookie=cookies[b"b2"])
    assert body == b"b2" and not head.get("set-cookie"), "its cookie is the same again"
    events = lone.agent.afloat("events").stdout
    assert f"all/{stage.two}" in events and "it is an address of all.example" in events
    assert "it is no address of all.example any more" in events
    # Many at once are one event.
    many = [f"192.0.2.{number}" for number in range(200, 220)]
    stage.resolver.names["all.example"] = [stage.one, stage.two, *many]
    wait_until(lambda: len(members(lone)) == 22, 5, "twenty more")
    stage.resolver.names["all.example"] = [stage.one, stage.two]
    wait_until(lambda: len(members(lone)) == 2, 5, "two again")
    changed = [one["cause"] for one in lone.agent.query("events") if one["kind"] == "pool_changed"]
    few = ", ".join(many[:3])
    assert changed == [f"all.example: 20 addresses are {what} ({few} and 17 more)" for what in ("new", "gone")]
    # Without answers they stay.
    del stage.resolver.names["all.example"]
    wait_until(lambda: any("keeps its servers" in one for one in lone.agent.query("status")["warnings"]), 5, "words")
    assert members(lone) == {stage.one: "up", stage.two: "up"}
