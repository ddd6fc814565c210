"""Which server gets what: affinity, checks, orders, retries."""

import collections
import contextlib
import select
import socket
import threading
import time

import pytest
from balancer_backends import Backend, Client, Reader, cookie_of, http_backend, refusing
from balancer_harness import (
    SOURCE_AFFINITY, Balancer, cookie_affinity, http_check, listener, no_check, pool, server, tcp_check,
)  # fmt: skip


class Farm:
    """Servers whose /healthz answers what `health` says, and a balancer before them."""

    def __init__(self, count=3, answer=None, check=None, listener_options=None, threads=1, **options):
        self.health = {f"s{index}": 200 for index in range(count)}
        self.backends = {name: self.start(name, answer) for name in self.health}
        servers = [server(name, item.at, member=name.replace("s", "n")) for name, item in self.backends.items()]
        self.balancer = Balancer(
            [listener("web", ["127.0.0.1:0"], "app", **(listener_options or {}))],
            [pool("app", servers, check=check or http_check(), **options)], threads=threads,
        )  # fmt: skip
        self.port = self.balancer.port

    def start(self, name, answer, port=0):
        def reply(first, fields, body):
            if "/healthz" in first:
                return self.health[name], "", b"health"
            return answer(name, first) if answer else None

        return http_backend(name, reply, port=port)

    def ask(self, fields="", source=None, path="/"):
        with Client(self.port, source=source) as client:
            return client.get(path, fields)

    def names(self, count, **options):
        return [self.ask(**options)[1].get("server-name") for _ in range(count)]

    def __enter__(self):
        self.balancer.wait_up()
        return self

    def __exit__(self, *error):
        self.balancer.__exit__(*error)
        for item in self.backends.values():
            try:
                item.close()
            except OSError:
                pass


def test_a_cookie_keeps_its_server():
    with Farm(affinity=cookie_affinity(max_age=3600, secure=True, same_site="Lax")) as farm:
        _, fields, _ = farm.ask()
        line, name = fields["set-cookie"], fields["server-name"]
        assert "Max-Age=3600" in line and "Secure" in line and "SameSite=Lax" in line and "HttpOnly" in line
        cookie = f"Cookie: other=1; AFLOAT={cookie_of(fields)}; more=2\r\n"
        for _ in range(20):
            _, fields, _ = farm.ask(cookie)
            assert fields["server-name"] == name and "set-cookie" not in fields


def test_a_foreign_cookie_is_replaced():
    with Farm(affinity=cookie_affinity()) as farm:
        for value in ["0123456789abcdef", "nonsense", ""]:
            _, fields, _ = farm.ask(f"Cookie: AFLOAT={value}\r\n")
            assert cookie_of(fields)


def test_the_same_cookie_means_the_same_server_on_another_node():
    cookies = {}
    for _ in range(2):
        with Farm(affinity=cookie_affinity()) as farm:
            for _ in range(6):
                _, fields, _ = farm.ask()
                cookies.setdefault(fields["server-name"], set()).add(cookie_of(fields))
    assert len(cookies) == 3 and all(len(values) == 1 for values in cookies.values())


def test_source_affinity_keeps_a_source_and_spreads_sources():
    with Farm(affinity=SOURCE_AFFINITY) as farm:
        seen = collections.Counter()
        for last in range(1, 61):
            names = set(farm.names(3, source=f"127.0.7.{last}"))
            assert len(names) == 1
            seen.update(names)
        assert len(seen) == 3 and min(seen.values()) >= 8


def test_least_connections_prefers_the_idle_server():
    def answer(name, first):
        if "/slow" in first:
            time.sleep(1.5)

    with Farm(2, answer, balance="least_connections") as farm:
        slow = [Client(farm.port) for _ in range(3)]
        slow[0].send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(0.1)
        busy = next(name for name, item in farm.backends.items() if any("/slow" in r[0] for r in item.requests))
        assert set(farm.names(10)) == {"s0", "s1"} - {busy}
        for client in slow:
            client.close()


def test_weights_share_the_traffic():
    backends = [http_backend("heavy"), http_backend("light")]
    servers = [server("heavy", backends[0].at, weight=300), server("light", backends[1].at, weight=100)]
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", servers)]) as balancer:
        with Client(balancer.port) as client:
            counts = collections.Counter(client.get()[1]["server-name"] for _ in range(80))
    assert counts == {"heavy": 60, "light": 20}


def test_a_server_that_fails_its_checks_gets_nothing_until_it_is_back():
    with Farm() as farm:
        farm.health["s1"] = 500
        farm.balancer.wait_state("app", "s1", "down")
        assert "s1" not in farm.names(12)
        assert farm.balancer.server("app", "s1")["lastCheck"] == "status 500"
        change = [item for item in farm.balancer.changes if item["server"] == "s1"][-1]
        assert change["state"] == "down" and "status 500" in change["cause"]
        farm.health["s1"] = 200
        farm.balancer.wait_state("app", "s1", "up")
        time.sleep(0.3)
        assert "s1" in farm.names(12)


def test_a_server_that_refuses_or_hangs_is_taken_out():
    with Farm(check=http_check(timeout=0.2)) as farm:
        farm.backends["s0"].close()
        farm.balancer.wait_state("app", "s0", "down")
        assert "refused" in farm.balancer.server("app", "s0")["lastCheck"]
        assert set(farm.names(8)) == {"s1", "s2"}
    silent = Backend(lambda connection, _: time.sleep(3))
    servers = [server("silent", silent.at)]
    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app")], [pool("app", servers, check=http_check(timeout=0.2))]
    ) as balancer:
        balancer.wait_state("app", "silent", "down")
        assert balancer.server("app", "silent")["lastCheck"] == "no answer within 200 ms"


def test_unknown_is_not_up():
    """A server that has not been checked gets nothing while another is up, or another pool stands in."""
    silent = Backend(lambda connection, _: time.sleep(3))
    other = http_backend("other")
    check = http_check(timeout=2)
    web = [listener("web", ["127.0.0.1:0"], "app")]
    for pools in (
        [pool("app", [server("s", silent.at), server("o", other.at)], check=check)],
        [pool("app", [server("s", silent.at)], check=check, stand_in="spare"), pool("spare", [server("o", other.at)])],
    ):
        with Balancer(web, pools) as balancer:
            place = "app" if len(pools) == 1 else "spare"
            balancer.wait_state(place, "o", "up")
            with Client(balancer.port) as client:
                assert [client.get()[1]["server-name"] for _ in range(6)] == ["other"] * 6
            assert balancer.server("app", "s")["state"] == "starting"


def test_tcp_checks_look_at_what_is_sent_and_expected():
    def handler(connection, _):
        connection.sendall(b"+PONG\r\n" if connection.recv(100) == b"PING\r\n" else b"-ERR\r\n")
        time.sleep(0.2)

    backend = Backend(handler)
    for expect, state in [(b"PONG", "up"), (b"NOPE", "down")]:
        check = tcp_check(b"PING\r\n", expect, timeout=0.3)
        with Balancer(
            [listener("t", ["127.0.0.1:0"], "app", mode="tcp")], [pool("app", [server("s", backend.at)], check=check)]
        ) as balancer:
            balancer.wait_state("app", "s", state)


def test_checks_can_look_into_the_body():
    backend = http_backend("s", lambda *_: (200, "", b"status: all is fine"))
    for text, state in [("all is fine", "up"), ("all is bad", "down")]:
        with Balancer(
            [listener("w", ["127.0.0.1:0"], "app")],
            [pool("app", [server("s", backend.at)], check=http_check(contains=text))],
        ) as balancer:
            balancer.wait_state("app", "s", state)


def test_a_draining_server_keeps_its_cookie_clients_for_the_grace_only():
    with Farm(affinity=cookie_affinity(), sticky_grace=0.8) as farm:
        _, fields, _ = farm.ask()
        name, cookie = fields["server-name"], f"Cookie: AFLOAT={cookie_of(fields)}\r\n"
        farm.balancer.orders(("app", name, "drain"))
        farm.balancer.wait_state("app", name, "drain")
        time.sleep(0.3)
        assert name not in farm.names(9)
        assert set(farm.names(5, fields=cookie)) == {name}
        time.sleep(1)
        _, fields, _ = farm.ask(cookie)
        assert fields["server-name"] != name and cookie_of(fields)
        farm.balancer.orders()
        farm.balancer.wait_state("app", name, "up")
        time.sleep(0.3)
        assert name in farm.names(9)


def test_maintenance_keeps_nobody():
    with Farm(affinity=cookie_affinity()) as farm:
        _, fields, _ = farm.ask()
        name, cookie = fields["server-name"], f"Cookie: AFLOAT={cookie_of(fields)}\r\n"
        farm.balancer.orders(("app", name, "maint"))
        farm.balancer.wait_state("app", name, "maint")
        time.sleep(0.3)
        assert name not in farm.names(6, fields=cookie)


def test_source_clients_leave_a_draining_server_with_their_next_connection():
    with Farm(affinity=SOURCE_AFFINITY) as farm, Client(farm.port) as client:
        name = client.get()[1]["server-name"]
        farm.balancer.orders(("app", name, "drain"))
        farm.balancer.wait_state("app", name, "drain")
        time.sleep(0.3)
        _, fields, _ = client.get()
        assert fields["server-name"] == name and fields["connection"] == "close"
        assert client.ended()
        assert name not in farm.names(3)


def test_a_refused_connection_is_tried_on_another_server_whatever_the_method():
    with Farm(check=no_check()) as farm:
        farm.backends["s0"].close()
        with Client(farm.port) as client:
            for _ in range(9):
                assert client.get(method="POST", body=b"once")[0] == 200
        assert farm.balancer.fresh_status()["pools"][0]["servers"][0]["failures"] == 3
    assert sum(len(item.requests) for item in farm.backends.values()) == 9


def dying(times):
    """Closes the first `times` connections on their first request without an answer, later ones work."""
    state = {"left": times}

    def handler(connection, backend):
        reader = Reader(connection)
        while True:
            first, fields = reader.head()
            body = reader.body(fields)
            backend.requests.append(first)
            if state["left"] > 0:
                state["left"] -= 1
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    return Backend(handler)


@pytest.mark.parametrize("method, expected", [("GET", 200), ("PUT", 200), ("POST", 502)])
def test_a_lost_fresh_connection_is_repeated_only_where_that_is_safe(method, expected):
    backends = [dying(1), dying(0)]
    servers = [server(f"s{index}", item.at) for index, item in enumerate(backends)]
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", servers)]) as balancer:
        with Client(balancer.port) as client:
            body = b"" if method == "GET" else b"data"
            status, _, answer = client.get(method=method, body=body)
            assert status == expected
            if expected == 200:
                assert answer == body and len(backends[1].requests) == 1
            else:
                assert len(backends[1].requests) == 0


def test_a_kept_connection_that_the_server_closed_is_replaced():
    """The server closes each connection after its first answer without saying so."""

    def handler(connection, backend):
        Reader(connection).head()
        backend.requests.append(1)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        if len(backend.requests) % 2 == 0:
            return
        # The request that follows on this connection meets a reset.
        Reader(connection).head()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    backend = Backend(handler)
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s", backend.at)])]) as balancer:
        with Client(balancer.port) as client:
            for _ in range(20):
                assert client.get()[0] == 200


def test_requests_in_flight_survive_the_death_of_their_server():
    def answer(name, first):
        if "/slow" in first and name == "s0":
            time.sleep(30)

    with Farm(2, answer) as farm:
        clients = [Client(farm.port) for _ in range(10)]
        for client in clients:
            client.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(0.3)
        farm.backends["s0"].close()
        for client in clients:
            status, fields, _ = client.reader.response()
            assert (status, fields["server-name"]) == (200, "s1")
            client.close()


def test_max_connections_of_a_server_are_kept():
    backend = http_backend("s", lambda *_: time.sleep(0.5))
    servers = [server("s", backend.at, maximum=1)]
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", servers, queue=(0, 5))]) as balancer:
        with Client(balancer.port) as one, Client(balancer.port) as two:
            one.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            time.sleep(0.1)
            status, _, body = two.get()
            assert status == 503 and b"max_connections" in body
            assert one.reader.response()[0] == 200


def test_several_workers_share_the_traffic_and_one_status():
    with Farm(threads=2) as farm:
        for _ in range(60):
            assert farm.ask()[0] == 200
        status = farm.balancer.fresh_status()
        assert sum(item["requests"] for item in status["pools"][0]["servers"]) == 60
        farm.health["s2"] = 503
        farm.balancer.wait_state("app", "s2", "down")
        time.sleep(0.3)
        assert "s2" not in farm.names(20)


def test_a_body_goes_on_after_a_refused_connection_when_the_next_server_has_one_open():
    alive = http_backend("alive")
    web = listener("web", ["127.0.0.1:0"], "app", body=3)
    with refusing() as dead, Balancer([web], [pool("app", [server("dead", dead), server("alive", alive.at)])]) as balancer:
        with Client(balancer.port) as client:
            for _ in range(3):  # leaves an open connection to the server that lives
                assert client.get()[0] == 200
            for _ in range(4):  # more than is held for a second try, and than one read takes
                assert client.get("/up", method="POST", body=b"x" * 60_000)[0] == 200
        assert {len(body) for first, _, body in alive.requests if "/up" in first} == {60_000}
        balancer.fresh_status()
        assert balancer.server("app", "dead")["failures"] > 0


def test_a_node_without_descriptors_says_so_and_blames_no_server():
    enough = threading.Event()

    def handler(connection, backend):
        reader = Reader(connection)
        reader.head()
        enough.wait(10)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    servers = [server(name, Backend(handler).at) for name in ("a", "b")]
    pools = [pool("app", servers, passive=(3, 10, 30, 100), budget=100, attempts=2)]
    few = ("prlimit", "--nofile=80:80")
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], pools, prefix=few) as balancer:
        # Whether a connection to a client or to a server takes the last descriptor is a matter of luck.
        for _ in range(5):
            enough.clear()
            clients = [Client(balancer.port) for _ in range(50)]
            for client in clients:
                client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            # The servers answer when one has been refused, and the others have had the time for it.
            select.select([client.socket for client in clients], [], [], 3)
            time.sleep(0.5)
            enough.set()
            answers = [client.reader.response() for client in clients]
            for client in clients:
                client.close()
            counts = collections.Counter(status for status, _, _ in answers)
            assert set(counts) <= {200, 503} and counts[200] >= 10, counts
            if counts[503]:
                break
        refused = [(fields, body) for status, fields, body in answers if status == 503]
        assert refused
        assert all(b"this node can open no more connections" in body for _, body in refused), refused[0]
        assert all(fields["retry-after"] == "1" for fields, _ in refused)
        balancer.fresh_status()
        for name in ("a", "b"):
            assert balancer.server("app", name)["failures"] == 0 and balancer.server("app", name)["state"] == "up"


class Prefork:
    """A server of so many processes, each of which serves one connection until that ends."""

    def __init__(self, slots):
        self.slots, self.lock, self.open, self.most, self.accepted = threading.Semaphore(slots), threading.Lock(), 0, 0, 0
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.at = "127.0.0.1:%d" % self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            self.slots.acquire()
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with self.lock:
                self.open, self.accepted = self.open + 1, self.accepted + 1
                self.most = max(self.most, self.open)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        reader = Reader(connection)
        with contextlib.suppress(OSError, EOFError):
            while True:
                _, fields = reader.head()
                reader.body(fields)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        connection.close()
        with self.lock:
            self.open -= 1
        self.slots.release()


@pytest.mark.parametrize("slots", [1, 2])
def test_idle_connections_of_one_thread_leave_room_for_another(slots):
    """Each idle connection takes one of the server's slots: without room for it, another thread's request would wait."""
    backend = Prefork(slots)
    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s0", backend.at, maximum=slots)])], threads=2
    ) as balancer:
        slowest = 0
        # The kernel spreads connections over the threads.
        clients = [Client(balancer.port) for _ in range(12)]
        for _ in range(5):
            for client in clients:
                began = time.monotonic()
                assert client.get("/")[0] == 200
                slowest = max(slowest, time.monotonic() - began)
        assert slowest < 3
        results, threads = [], []
        for client in clients:
            def work(client=client):
                for _ in range(50):
                    results.append(client.get("/")[0])
            threads.append(threading.Thread(target=work))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert results == [200] * 600
        assert backend.most <= slots


def test_connections_are_still_kept_below_the_limit():
    backend = Prefork(20)
    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s0", backend.at, maximum=20)])], threads=2
    ) as balancer:
        for _ in range(5):
            for client in [Client(balancer.port) for _ in range(10)]:
                assert client.get("/")[0] == 200
        assert backend.accepted <= 2, "one for each thread"


@pytest.mark.parametrize("limit, count, workers", [(4, 16, 2), (1, 6, 2), (8, 24, 4)])
def test_a_full_server_is_not_opened_connections_to_again_and_again(limit, count, workers):
    """Those that wait are on other threads: what one of them gives back is for the others."""
    backend = Prefork(100)
    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s0", backend.at, maximum=limit)])], threads=workers
    ) as balancer:
        clients, results = [Client(balancer.port) for _ in range(count)], []

        def work(client):
            for _ in range(60):
                results.append(client.get("/")[0])

        threads = [threading.Thread(target=work, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert results == [200] * (60 * count)
        assert backend.accepted <= 2 * limit and backend.most <= limit


def test_slow_posts_pile_up_no_connections():
    backend = Prefork(100)
    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s0", backend.at)])]
    ) as balancer, Client(balancer.port) as client:
        for _ in range(4):
            assert client.get("/", method="POST", body=b"1")[0] == 200
            time.sleep(1.1)
        time.sleep(0.2)
        assert backend.accepted == 4 and backend.open == 1


def test_idle_connections_that_are_everybodys_end_as_well():
    """Those of a server at its limit belong to no thread; they end with their time, and when their server goes down."""
    backend, down = Prefork(100), threading.Event()
    health = http_backend("health", lambda *_: b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n" if down.is_set() else None)
    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app")],
        [pool("app", [server("s0", backend.at, maximum=1)], idle=1, check=http_check(port=health.port))], threads=2,
    ) as balancer:
        balancer.wait_up()
        with Client(balancer.port) as client:
            assert client.get("/")[0] == 200
            assert client.get("/")[0] == 200
            assert (backend.accepted, backend.open) == (1, 1)
            balancer.wait(lambda: backend.open == 0, "its end by time", 4)
            assert client.get("/")[0] == 200 and backend.open == 1
            down.set()
            balancer.wait(lambda: backend.open == 0, "its end with the server", 0.9)


def test_what_must_not_be_sent_twice_goes_over_a_connection_of_this_second():
    backend = http_backend("s0")
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s0", backend.at)])]) as balancer:
        with Client(balancer.port) as client:
            assert client.get("/", method="POST", body=b"1")[0] == 200
            assert client.get("/", method="POST", body=b"2")[0] == 200
            assert len(backend.connections) == 1
            time.sleep(1.2)
            assert client.get("/", method="PUT", body=b"3")[0] == 200
            assert len(backend.connections) == 1, "a PUT may be sent again"
            time.sleep(1.2)
            assert client.get("/", method="POST", body=b"4")[0] == 200
            assert len(backend.connections) == 2
