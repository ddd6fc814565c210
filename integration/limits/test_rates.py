"""Rate limits of routes: a bucket per source or per value of a field, shared by all workers, with plain refusals."""

import time

import pytest
from lab import Lan
from lone_balancer import start_with
from peers import Server, Wire, plain

CONFIGURATION = """balancer: {threads: 2}
listeners:
  web:
    bind: ["*:80"]
    pool: app
    routes:
      - {match: {path: /few}, pool: app, rate_limit: {per: source, requests: 5, every: 1h}}
      - {match: {path: /also-few}, respond: {body: "ok\\n"}, rate_limit: {requests: 2, every: 1h, burst: 3}}
      - {match: {path: /keyed}, pool: app, rate_limit: {per: header X-Api-Key, requests: 2, every: 1h}}
      - {match: {path: /soon}, pool: app, rate_limit: {requests: 20, every: 2s, burst: 1}}
pools:
  app: {servers: {s1: "{0}"}, check: none}
"""


@pytest.fixture
def site():
    with Lan(nodes=1, backends=1, clients=3) as lan:
        servers = [Server(lan.backends[0], plain())]
        lone = start_with(lan, servers, CONFIGURATION.replace("{0}", servers[0].address))
        try:
            yield lone
        finally:
            lone.stop()
            lone.close()


def ask(site, path, host=None, fields="", body=b"", wire=None):
    own = wire or site.dial(host)
    own.send(f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n".encode() + body)
    head, answer = own.response()
    if not wire:
        own.close()
    return head, answer


def statuses(site, path, count, **options):
    return [ask(site, path, **options)[0].status for _ in range(count)]


def test_each_source_has_a_bucket_over_all_connections_and_workers(site):
    for host in site.lan.clients:
        assert statuses(site, "/few", 8, host=host) == [200] * 5 + [429] * 3
    # Other routes are others, and have buckets of their own.
    assert statuses(site, "/also-few", 4) == [200] * 3 + [429]
    assert statuses(site, "/", 20) == [200] * 20


def test_a_refusal_says_when_to_come_again_and_keeps_the_connection(site):
    wire = site.dial()
    assert [ask(site, "/few", wire=wire)[0].status for _ in range(5)] == [200] * 5
    head, body = ask(site, "/few", wire=wire)
    assert head.status == 429 and b"more requests than this route allows" in body
    # One request each 720 seconds.
    assert 700 <= int(head.get("retry-after")) <= 720
    head, _ = ask(site, "/few", wire=wire, fields="Content-Length: 3\r\n", body=b"abc")
    assert head.status == 429 and "connection" not in head.fields
    assert ask(site, "/", wire=wire)[0].status == 200
    assert len(site.servers[0].heads) == 6
    wire.close()


def test_each_value_of_a_field_has_a_bucket_and_requests_without_it_share_one(site):
    for key in ("a", "b"):
        assert statuses(site, "/keyed", 3, fields=f"X-API-Key: {key}\r\n") == [200, 200, 429]
    assert statuses(site, "/keyed", 3) == [200, 200, 429]
    assert statuses(site, "/keyed", 1, fields="x-api-key: c\r\n") == [200]


def test_a_repeated_field_gives_no_bucket_of_its_own(site):
    def twice(number, first=True):
        mine, other = "X-Api-Key: d\r\n", f"X-Api-Key: random{number}\r\n"
        return ask(site, "/keyed", fields=other + mine if first else mine + other)[0].status

    assert statuses(site, "/keyed", 3, fields="X-Api-Key: d\r\n") == [200, 200, 429]
    assert [twice(number, first=number % 2 == 0) for number in range(4)] == [200, 200, 429, 429]
    assert statuses(site, "/keyed", 1) == [429]  # theirs is the bucket of requests without the field
    assert statuses(site, "/keyed", 1, fields="X-Api-Key: e\r\n") == [200]


def test_a_bucket_fills_again(site):
    assert ask(site, "/soon")[0].status == 200
    assert 429 in statuses(site, "/soon", 3)
    time.sleep(0.25)
    assert ask(site, "/soon")[0].status == 200


def test_a_flood_from_one_source_leaves_others_alone(site):
    wire = Wire(site.lan.clients[1].connect(site.lan.nodes[0].address, 80, timeout=15))
    for _ in range(50):
        wire.send(b"GET /few HTTP/1.1\r\nHost: h\r\n\r\n" * 100)
        seen = [wire.response()[0].status for _ in range(100)]
        assert seen.count(200) <= 5
    assert statuses(site, "/few", 3) == [200] * 3
    wire.close()
