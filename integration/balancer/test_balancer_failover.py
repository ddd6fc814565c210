"""Requests whose server fails them: who gets them then, what that costs, and who is the last resort."""

import socket
import threading
import time

import pytest
from balancer_backends import Backend, Client, Reader, cookie_of, http_backend
from balancer_harness import SOURCE_AFFINITY, Balancer, cookie_affinity, http_check, listener, pool, server, tcp_check

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def run(pools, trust=(), **options):
    return Balancer([listener("web", ["127.0.0.1:0"], pools[0]["name"], trust=trust)], pools, **options)


@pytest.mark.parametrize("affinity", [cookie_affinity(), SOURCE_AFFINITY])
@pytest.mark.parametrize("method, expected", [("GET", 200), ("POST", 502)])
def test_clients_that_belong_to_a_server_are_not_lost_with_it(affinity, method, expected):
    """A kept connection is closed as it is used, and so is the new one: it was the server's end, not the connection's."""
    dying = threading.Event()

    def handler(connection, backend):
        reader = Reader(connection)
        while True:
            reader.head()
            if dying.is_set():
                backend.requests.append(1)
                return
            connection.sendall(OK)

    backends = [Backend(handler), Backend(handler)]
    servers = [server(f"s{index}", item.at) for index, item in enumerate(backends)]
    with run([pool("app", servers, affinity=affinity)]) as balancer, Client(balancer.port) as client:
        fields = client.get()[1]
        cookie = f"Cookie: AFLOAT={cookie_of(fields)}\r\n" if "set-cookie" in fields else ""
        own = next(item for item in backends if item.connections)
        other = backends[1 - backends.index(own)]
        other.handler = http_backend("other").handler
        dying.set()
        assert client.get(method=method, fields=cookie)[0] == expected
        # The kept connection and a new one; what may not be sent twice goes over a new one at once, or over the kept one.
        assert len(own.requests) == (2 if expected == 200 else 1)


def failing_unless_checked(state):
    def handler(connection, _):
        reader = Reader(connection)
        while True:
            first, _ = reader.head()
            if state["broken"] and "/healthz" not in first:
                return
            connection.sendall(OK)

    return handler


@pytest.mark.parametrize("affinity", [None, cookie_affinity(), SOURCE_AFFINITY])
def test_an_ejected_server_is_the_last_resort(affinity):
    state = {"broken": True}
    bad, good = Backend(failing_unless_checked(state)), http_backend("good")
    servers = [server("bad", bad.at), server("good", good.at)]
    options = {"affinity": affinity} if affinity else {}
    with run([pool("app", servers, passive=(5, 10, 60, 50), check=http_check(), **options)]) as balancer:
        balancer.wait_up()
        for source in range(1, 60):
            with Client(balancer.port, source=f"127.0.0.{source}") as client:
                assert client.get()[0] == 200
        balancer.wait_state("app", "bad", "down", 5)
        assert "ejected for" in balancer.server("app", "bad")["lastCheck"]
        state["broken"] = False
        good.close()
        with Client(balancer.port) as client:
            # At once, while "good" still counts as up: all others have failed the request.
            assert client.get()[0] == 200
            balancer.wait_state("app", "good", "down", 5)
            assert {client.get()[0] for _ in range(20)} == {200}
            first = cookie_of(client.get()[1]) if affinity == cookie_affinity() else None
            if first:
                answer = client.get(fields=f"Cookie: AFLOAT={first}\r\n")[1]
                assert "set-cookie" not in answer, "its cookie is as good as any"
        # Connections to it are used again, as there may be much to do.
        assert len(bad.connections) < 40
        server_of = balancer.server("app", "bad")
        assert server_of["state"] == "down", "nobody is to rely on it"
        assert server_of["lastCheck"].startswith("in use as the last resort, ejected for"), server_of


def test_the_last_server_that_is_up_is_not_ejected():
    servers = [server("bad", Backend(failing_unless_checked({"broken": True})).at), server("down", "127.0.0.1:1")]
    with run([pool("app", servers, passive=(3, 10, 60, 50), check=http_check())]) as balancer:
        balancer.wait_state("app", "bad", "up")
        balancer.wait_state("app", "down", "down")
        with Client(balancer.port) as client:
            for _ in range(20):
                assert client.get()[0] == 502
        time.sleep(0.3)
        assert "ejected" not in balancer.server("app", "bad")["lastCheck"]


@pytest.mark.parametrize(
    "failure, method, status, moves",
    [
        ("silent", "GET", 200, True),
        ("silent", "PUT", 504, False),
        ("silent", "POST", 504, False),
        ("status 500", "GET", 504, False),
    ],
)
def test_requests_leave_a_server_that_has_fallen_silent(failure, method, status, moves):
    failing, hold = threading.Event(), threading.Event()

    def handler(connection, backend):
        reader = Reader(connection)
        while True:
            first, fields = reader.head()
            reader.body(fields)
            if "/healthz" not in first:
                backend.requests.append(first)
                hold.wait(20)
            elif failing.is_set():
                if failure == "silent":
                    hold.wait(20)
                connection.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
                continue
            connection.sendall(OK)

    held = Backend(handler)
    other = http_backend("other", lambda first, *_: (200, "", b"") if "/healthz" in first else None)
    servers = [server("held", held.at), server("other", other.at)]
    check = http_check(timeout=0.2, every=0.2)
    try:
        with run([pool("app", servers, check=check, response=4, passive=None)], threads=1) as balancer:
            balancer.wait_up()
            clients = [Client(balancer.port) for _ in range(4)]
            for client in clients:
                client.send(f"{method} /x HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n")
            balancer.wait(lambda: len(held.requests) == 2, "two requests with the server that holds them")
            began = time.monotonic()
            failing.set()
            found = sorted(client.reader.response()[0] for client in clients)
            assert found == [200, 200, status, status]
            assert (time.monotonic() - began < 3) == moves, "who is not moved waits for its time-out"
            for client in clients:
                client.close()
            failures = sum(item["failures"] for item in balancer.fresh_status()["pools"][0]["servers"])
            assert failures == 2
    finally:
        hold.set()


def test_a_backup_that_is_up_comes_before_an_ejected_server():
    state = {"broken": True}
    bad, first, backup = Backend(failing_unless_checked(state)), http_backend("first"), http_backend("backup")
    servers = [server("bad", bad.at), server("first", first.at), server("backup", backup.at, backup=True)]
    check = http_check(every=30, fast=30)
    with run([pool("app", servers, passive=(5, 10, 60, 50), check=check)]) as balancer, Client(balancer.port) as client:
        for name, standing in (("bad", "up"), ("first", "up"), ("backup", "backup")):
            balancer.wait_state("app", name, standing)
        for _ in range(30):
            assert client.get()[0] == 200
        balancer.wait_state("app", "bad", "down", 5)
        state["broken"] = False
        first.close()
        for _ in range(5):
            assert client.get()[1].get("server-name") == "backup", "the others have failed this request, or traffic before"


def test_a_retry_that_nobody_has_room_for_is_none():
    hold = threading.Event()

    def holding(connection, _):
        reader = Reader(connection)
        while True:
            if "/slow" in reader.head()[0]:
                hold.wait(20)
            connection.sendall(OK)

    def dying(connection, _):
        reader = Reader(connection)
        if "/die" not in reader.head()[0]:
            connection.sendall(OK)

    servers = [server("dying", Backend(dying).at), server("full", Backend(holding).at, maximum=1)]
    with run([pool("app", servers, balance="hash header X-Key", queue=(0, 5), budget=0)]) as balancer:
        with Client(balancer.port) as client, Client(balancer.port) as busy:
            keys = {}
            for key in range(40):
                client.get(fields=f"X-Key: {key}\r\n")
                counts = {item["name"]: item["requests"] for item in balancer.fresh_status()["pools"][0]["servers"]}
                keys.setdefault(max(counts, key=lambda name: counts[name] - sum(k == name for k in keys)), key)
                if len(keys) == 2:
                    break
            busy.send(f"GET /slow HTTP/1.1\r\nHost: t\r\nX-Key: {keys['full']}\r\n\r\n")
            time.sleep(0.2)
            for _ in range(120):
                assert client.get("/die", f"X-Key: {keys['dying']}\r\n")[0] == 502
            assert balancer.figures()["pools"][0]["retries"] == 0
            hold.set()
            assert busy.reader.response()[0] == 200
            # A hundred retries are there from the start, and none of them has been spent.
            for _ in range(100):
                assert client.get("/die", f"X-Key: {keys['dying']}\r\n")[0] == 200
            assert balancer.figures()["pools"][0]["retries"] == 100


@pytest.mark.parametrize("kind", ["hash", "hash of a trusted client's word", "cookie"])
def test_who_comes_from_a_queue_to_a_pool_that_stands_in_gets_its_own_server_there(kind):
    hold = threading.Event()

    def slow(first, *_):
        if "/slow" in first:
            hold.wait(20)

    app = http_backend("app", slow)
    farm = [http_backend(f"s{index}") for index in range(3)]
    name = "X-Key" if kind == "hash" else "X-Forwarded-User"
    option = {"affinity": cookie_affinity()} if kind == "cookie" else {"balance": f"hash header {name}"}
    pools = [
        pool("app", [server("a", app.at, maximum=1)], check=tcp_check(), stand_in="other"),
        pool("other", [server(f"s{index}", item.at) for index, item in enumerate(farm)], **option),
    ]
    with run(pools, trust=["127.0.0.0/8"], threads=1) as balancer:
        balancer.wait_state("app", "a", "up")
        balancer.orders(("app", "a", "maint"))
        balancer.wait_state("app", "a", "maint")
        wanted = {}
        for number in range(12):
            fields = f"{name}: {number}\r\n"
            with Client(balancer.port) as client:
                answer = client.get(fields=fields)[1]
            if kind == "cookie":
                fields = f"Cookie: AFLOAT={cookie_of(answer)}\r\n"
            wanted[fields] = answer["server-name"]
        assert set(wanted.values()) == {"s0", "s1", "s2"}
        balancer.orders(("app", "a", "ready"))
        balancer.wait_state("app", "a", "up")
        with Client(balancer.port) as busy:
            busy.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n")
            time.sleep(0.2)
            clients = {fields: Client(balancer.port) for fields in wanted}
            for fields, client in clients.items():
                client.send(f"GET / HTTP/1.1\r\nHost: t\r\n{fields}\r\n")
            time.sleep(0.3)
            balancer.orders(("app", "a", "maint"))
            for fields, client in clients.items():
                status, answer, _ = client.reader.response()
                assert (status, answer["server-name"]) == (200, wanted[fields])
                assert "set-cookie" not in answer
                client.close()
            hold.set()
            assert busy.reader.response()[0] == 200


def test_who_has_ended_its_direction_gets_a_slow_answer_from_a_second_server_whole():
    def pausing(connection, _):
        reader = Reader(connection)
        reader.head()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        time.sleep(2)
        connection.sendall(b"after")

    servers = [server("gone", "127.0.0.1:1"), server("slow", Backend(pausing).at)]
    with run([pool("app", servers)], threads=1) as balancer:
        for _ in range(2):
            with Client(balancer.port) as client:
                client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
                client.socket.shutdown(socket.SHUT_WR)
                assert client.reader.response()[2] == b"firstafter"
