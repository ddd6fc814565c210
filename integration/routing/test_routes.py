"""Routes of a listener: which requests go where, what is answered here, and what servers and clients see of it."""

import json

import pytest
from lab import Lan
from lone_balancer import start_with
from peers import Server, Wire, request_loop

ROUTES = """listeners:
  web:
    bind: ["*:80"]
    pool: app
    served_by_header: X-Served-By
    routes:
      - {name: ping, match: {path: /ping}, respond: {body: "pong\\n", headers: {X-Why: monitor}}}
      - {match: {path: /nothing}, respond: {status: 204}}
      - {match: {host: example.org}, redirect: {to: "https://www.{host}{uri}"}}
      - {match: {host: old.example.org}, redirect: {to: "/new{path}", status: 308}}
      - name: admin
        match: {path_prefix: /admin, not: {source: [198.51.100.0/24]}}
        respond: {status: 403, body: "only from inside\\n"}
      - match: {host: ["api.example.org", "*.api.example.org"], path_prefix: /v1}
        pool: api
        rewrite: {prefix: {from: /v1, to: /}}
        headers:
          request: {set: {X-Zone: zone-a}, add: {X-List: [b, c]}, remove: [X-Debug]}
          response: {set: {Cache-Control: no-store}, remove: [Server]}
      - {match: {header: {X-Version: "2"}, method: [GET, HEAD]}, pool: api}
      - {match: {path_regex: "\\\\.(png|jpe?g)$"}, pool: api}
      - {match: {path_regex: "^/(a+)+$"}, pool: api}
pools:
  app: {servers: {s1: "{0}"}, check: none}
  api: {servers: {s1: "{1}"}, check: none}
"""


def echo(name):
    """Answers with what it was sent, as JSON, under its name."""

    def answer(_server, wire, head, body):
        text = json.dumps({"server": name, "first": head.first, "lines": head.lines, "body": (body or b"").decode()}).encode()
        wire.send(
            f"HTTP/1.1 200 OK\r\nServer: {name}\r\nCache-Control: public\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text
        )

    return request_loop(answer)


@pytest.fixture(scope="module")
def site():
    with Lan(nodes=1, backends=2) as lan:
        servers = [Server(host, echo(name)) for host, name in zip(lan.backends, ("app", "api"))]
        text = ROUTES.replace("{0}", servers[0].address).replace("{1}", servers[1].address)
        lone = start_with(lan, servers, text)
        try:
            yield lone
        finally:
            lone.stop()
            lone.close()


def ask(site, target, host="www.example.org", method="GET", fields="", body=b"", wire=None):
    """(head, decoded or raw body) of one request; on `wire` if that is given."""
    own = wire or site.dial()
    own.send(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode() + body)
    head, answer = own.response(method)
    if not wire:
        own.close()
    try:
        return head, json.loads(answer)
    except ValueError:
        return head, answer


@pytest.mark.parametrize(
    "target, host, fields, server",
    [
        ("/", "www.example.org", "", "app"),
        ("/v1/x", "www.example.org", "", "app"),
        ("/v1/x", "api.example.org", "", "api"),
        ("/v1/x", "a.b.API.example.org.:80", "", "api"),
        ("/v12/x", "api.example.org", "", "app"),
        ("/x", "www.example.org", "X-Version: 2\r\n", "api"),
        ("/x", "www.example.org", "X-Version: 3\r\n", "app"),
        ("/a/b.jpeg?x", "www.example.org", "", "api"),
        ("/a/b.jpeg/x", "www.example.org", "", "app"),
        ("http://api.example.org/v1/x", "api.example.org", "", "api"),
        ("/x/../v1/y", "api.example.org", "", "api"),
        ("/%76%31/y", "api.example.org", "", "api"),
        ("/aaaa", "www.example.org", "", "api"),
    ],
)
def test_the_first_route_that_matches_takes_a_request(site, target, host, fields, server):
    head, seen = ask(site, target, host, fields=fields)
    assert head.status == 200 and seen["server"] == server


def test_a_method_is_part_of_a_match(site):
    assert ask(site, "/", method="GET", fields="X-Version: 2\r\n")[1]["server"] == "api"
    assert ask(site, "/", method="DELETE", fields="X-Version: 2\r\n")[1]["server"] == "app"


@pytest.mark.parametrize("target", ["/admin", "/admin/x", "//admin", "/x/../admin", "/%61dmin/", "/x/%2e%2e%2fadmin", "/./admin?x"])
def test_a_refusal_cannot_be_evaded_by_spelling(site, target):
    head, body = ask(site, target)
    assert head.status == 403 and body == b"only from inside\n"


@pytest.mark.parametrize("target", ["/..", "/%", "/x%00", "/a/../../admin", "/%2e%2e/admin", "/" + "a" * 3000 + "b"])
def test_a_path_without_a_clear_meaning_is_refused(site, target):
    assert ask(site, target)[0].status == 400


def test_respond_answers_here_and_the_connection_goes_on(site):
    wire = site.dial()
    before = sum(len(server.heads) for server in site.servers)
    for _ in range(3):
        head, body = ask(site, "/ping", wire=wire)
        assert (head.status, body, head.get("x-why")) == (200, b"pong\n", "monitor")
        assert head.get("content-type") == "text/plain; charset=utf-8" and head.get("date")
    head, body = ask(site, "/ping", method="HEAD", wire=wire)
    assert head.status == 200 and head.get("content-length") == "5" and body == b""
    head, body = ask(site, "/nothing", wire=wire)
    assert head.status == 204 and "content-length" not in head.fields
    # A body that has come as a whole does not end the connection; several requests at once are answered in order.
    head, body = ask(site, "/ping", method="POST", fields="Content-Length: 3\r\n", body=b"abc", wire=wire)
    assert body == b"pong\n"
    wire.send(b"GET /ping HTTP/1.1\r\nHost: h\r\n\r\n" * 2 + b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n")
    assert [wire.response()[0].status for _ in range(3)] == [200, 200, 204]
    assert sum(len(server.heads) for server in site.servers) == before
    wire.close()


def test_a_large_body_to_an_answer_of_ours_ends_the_connection(site):
    wire = site.dial()
    wire.send(b"POST /ping HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nabc")
    head, body = wire.response()
    assert head.status == 200 and head.get("connection") == "close" and body == b"pong\n"
    assert wire.rest() == b""


def test_redirects_keep_path_and_query(site):
    head, _ = ask(site, "/a%20b?c=d&e", "Example.Org:8080")
    assert head.status == 301 and head.get("location") == "https://www.example.org/a%20b?c=d&e"
    head, _ = ask(site, "/x?y", "old.example.org", method="POST", fields="Content-Length: 0\r\n")
    assert head.status == 308 and head.get("location") == "/new/x"
    head, _ = ask(site, "http://example.org?q", "example.org")
    assert head.get("location") == "https://www.example.org/?q"


def test_a_redirect_holds_nothing_that_ends_a_line_or_a_tag(site):
    head, _ = ask(site, "/%0d%0aSet-Cookie:x\"<b>\\", "example.org")
    assert head.get("location") == "https://www.example.org/%0d%0aSet-Cookie:x%22%3Cb%3E%5C"
    assert "set-cookie" not in head.fields


def test_heads_are_edited_and_prefixes_rewritten(site):
    fields = "X-Debug: 1\r\nx-zone: forged\r\nX-List: a\r\n"
    head, seen = ask(site, "/v1/users/a%2Fb?x=%31", "api.example.org", fields=fields)
    assert seen["first"] == "GET /users/a%2Fb?x=%31 HTTP/1.1"
    lines = [line for line in seen["lines"] if line.lower().startswith("x-") and "forwarded" not in line.lower()]
    assert lines == ["X-List: a", "X-Zone: zone-a", "X-List: b", "X-List: c"]
    assert head.get("cache-control") == "no-store" and "server" not in head.fields
    assert head.get("x-served-by") == "n1/s1" or head.get("x-served-by").endswith("/s1")
    # Other routes of the same listener change nothing.
    head, seen = ask(site, "/v1/x", fields=fields)
    assert head.get("server") == "app" and head.get("cache-control") == "public"
    assert "X-Debug: 1" in seen["lines"] and seen["first"] == "GET /v1/x HTTP/1.1"


@pytest.mark.parametrize(
    "target, first",
    [("/v1", "/"),
     ("/v1/", "/"), ("/v1?x", "/?x"), ("/x/../v1//y", "/y"), ("/%761/%20?z", "/%20?z"), ("http://api.example.org/v1/q", "/q")],
)  # fmt: skip
def test_a_rewritten_target_is_a_target(site, target, first):
    _, seen = ask(site, target, "api.example.org")
    assert seen["first"] == f"GET {first} HTTP/1.1"


def test_a_body_goes_with_its_route(site):
    body = b"x" * 50_000
    _, seen = ask(site, "/v1/in", "api.example.org", "POST", f"Content-Length: {len(body)}\r\n", body)
    assert seen["server"] == "api" and seen["body"] == body.decode()


BEHIND = """balancer: {{threads: 1}}
listeners:
  web:
    bind: ["*:80"]
    pool: app
    forwarded: {{trust: [{trusted}/32]}}
    routes:
      - {{match: {{path: /where}}, redirect: {{to: "{{scheme}}://x.example.org:{{port}}/"}}}}
      - {{match: {{header: {{X_Under: "1"}}}}, respond: {{body: "under\\n"}}}}
      - {{match: {{header: {{X-Hop: "1"}}}}, respond: {{body: "hop\\n"}}}}
      - {{match: {{header: {{Upgrade: chat}}}}, respond: {{body: "chat\\n"}}}}
      - match: {{path_prefix: /keyed}}
        pool: app
        rate_limit: {{per: header X-Forwarded-Key, requests: 2, every: 1h}}
      - {{match: {{path_prefix: /hashed}}, pool: hashed}}
      - {{match: {{not: {{header: {{X-Forwarded-Proto: https}}}}}}, redirect: {{to: "https://{{host}}{{uri}}"}}}}
pools:
  app: {{servers: {{s1: "{one}"}}, check: none}}
  hashed: {{servers: {{s1: "{one}", s2: "{two}"}}, check: none, balance: {{hash: {{header: X-Forwarded-User}}}}}}
"""


def test_routes_see_the_fields_that_servers_get(stage):
    lan = stage.lan(nodes=1, backends=2, clients=2)
    servers = [Server(host, echo(host.name)) for host in lan.backends]
    stranger, forwarder = lan.clients
    text = BEHIND.format(trusted=forwarder.address, one=servers[0].address, two=servers[1].address)
    lone = start_with(lan, servers, text)

    def seen(host, target, fields):
        wire = Wire(host.connect(lan.nodes[0].address, 80, timeout=15))
        try:
            return ask(lone, target, fields=fields, wire=wire)
        finally:
            wire.close()

    try:
        secure = "X-Forwarded-Proto: https\r\n"
        for fields in ("", secure, "X_Under: 1\r\n", "X-Hop: 1\r\nConnection: x-hop\r\n", "Upgrade: chat\r\n"):
            head, _ = seen(stranger, "/a?b", fields)
            assert head.status == 301 and head.get("location") == "https://www.example.org/a?b", fields
        head, body = seen(forwarder, "/a", secure)
        assert head.status == 200 and secure.strip() in body["lines"]
        assert seen(stranger, "/", "X-Hop: 1\r\n")[1] == b"hop\n"
        assert seen(stranger, "/", "Connection: upgrade\r\nUpgrade: chat\r\n")[1] == b"chat\n"

        def where(host):
            return seen(host, "/where", secure)[0].get("location")

        assert where(stranger) == "http://x.example.org:80/"
        assert where(forwarder) == "https://x.example.org:443/"
        # Keys that servers never get give nobody a bucket, or a server, of its own.
        keyed = [seen(stranger, "/keyed", f"X-Forwarded-Key: {key}\r\n")[0].status for key in range(4)]
        assert keyed == [200, 200, 429, 429]
        assert [seen(forwarder, "/keyed", f"X-Forwarded-Key: {key}\r\n")[0].status for key in range(4)] == [200] * 4
        for host, count in ((stranger, 1), (forwarder, 2)):
            names = {seen(host, "/hashed", f"X-Forwarded-User: {user}\r\n")[1]["server"] for user in range(30)}
            assert len(names) == count
    finally:
        lone.stop()
        lone.close()


def test_without_a_default_what_no_route_takes_is_not_found(stage):
    lan = stage.lan(nodes=1, backends=1)
    servers = [Server(lan.backends[0], echo("app"))]
    text = f"""listeners:
  web: {{bind: ["*:80"], routes: [{{match: {{path: /a}}, pool: app}}]}}
pools:
  app: {{servers: {{s1: "{servers[0].address}"}}, check: none}}
"""
    lone = start_with(lan, servers, text)
    try:
        assert ask(lone, "/a")[0].status == 200
        head, body = ask(lone, "/b")
        assert head.status == 404 and b"no route of this listener" in body
    finally:
        lone.stop()
        lone.close()


def test_a_tcp_listener_routes_by_source(stage):
    lan = stage.lan(nodes=1, backends=2, clients=2)
    servers = [Server(host, lambda _server, wire, name=host.name: wire.send(name)) for host in lan.backends]
    text = f"""listeners:
  mail:
    bind: ["*:80"]
    mode: tcp
    pool: one
    routes: [{{match: {{source: {lan.clients[1].address}/32}}, pool: two}}]
pools:
  one: {{servers: {{s1: "{servers[0].address}"}}, check: none}}
  two: {{servers: {{s1: "{servers[1].address}"}}, check: none}}
"""
    lone = start_with(lan, servers, text)
    try:
        seen = [Wire(host.connect(lan.nodes[0].address, 80, timeout=15)).rest() for host in lan.clients]
        assert seen == [b"b1", b"b2"]
    finally:
        lone.stop()
        lone.close()
