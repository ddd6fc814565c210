"""Who gets a request: hashes, backups, slow start, queues, pools that stand in, hosts of servers' own."""

import collections
import threading
import time

import pytest
from balancer_backends import Backend, Client, Reader, cookie_of, http_backend
from balancer_harness import SOURCE_AFFINITY, Balancer, cookie_affinity, listener, pool, server, tcp_check
from test_balancer_servers import Farm


def run(pools, mode="http", threads=1):
    return Balancer([listener("web", ["127.0.0.1:0"], pools[0]["name"], mode=mode)], pools, threads=threads)


def farm(count, **options):
    backends = [http_backend(f"s{index}") for index in range(count)]
    return backends, [server(f"s{index}", item.at, **options) for index, item in enumerate(backends)]


def ask(balancer, path="/", fields="", source=None):
    with Client(balancer.port, source=source) as client:
        status, answer, body = client.get(path, fields)
        return answer.get("server-name") if status == 200 else (status, body.decode())


@pytest.mark.parametrize(
    "subject, request_of",
    [
        ("uri", lambda key: {"path": f"/item?id={key}"}),
        ("header X-User", lambda key: {"fields": f"x-user: user{key}\r\n"}),
        ("cookie SID", lambda key: {"fields": f"Cookie: a=b; SID=session{key}\r\n"}),
    ],
)
def test_a_hash_keeps_its_key_on_a_server_and_spreads_keys(subject, request_of):
    _, servers = farm(3)
    owners = []
    for _ in range(2):
        with run([pool("app", servers, balance=f"hash {subject}")]) as balancer:
            owners.append([ask(balancer, **request_of(key)) for key in range(60)])
            for key in range(0, 60, 6):
                assert ask(balancer, source=f"127.0.3.{key + 1}", **request_of(key)) == owners[-1][key]
    assert owners[0] == owners[1], "another node chooses the same"
    assert min(collections.Counter(owners[0]).values()) >= 8


def test_a_request_without_what_is_hashed_goes_by_its_source():
    _, servers = farm(3)
    with run([pool("app", servers, balance="hash header X-User")]) as balancer:
        names = [{ask(balancer, source=f"127.0.3.{last}") for _ in range(3)} for last in range(1, 31)]
    assert all(len(item) == 1 for item in names) and len(set.union(*names)) == 3


def test_backups_serve_only_while_nobody_else_is_up():
    backends, servers = farm(3)
    servers[2]["isBackup"] = True
    check = tcp_check(every=0.05, fall=1, rise=1)
    with run([pool("app", servers, check=check)]) as balancer:
        balancer.wait_state("app", "s2", "backup")
        balancer.wait_state("app", "s1", "up")
        balancer.wait_state("app", "s0", "up")
        assert {ask(balancer) for _ in range(12)} == {"s0", "s1"}
        backends[0].close()
        balancer.wait_state("app", "s0", "down")
        assert {ask(balancer) for _ in range(6)} == {"s1"}
        backends[1].close()
        balancer.wait_state("app", "s2", "up")
        assert {ask(balancer) for _ in range(6)} == {"s2"}


def test_a_server_that_comes_back_starts_slowly():
    with Farm(2, slow_start=4) as farm:
        time.sleep(4.2)
        farm.health["s1"] = 500
        farm.balancer.wait_state("app", "s1", "down")
        farm.health["s1"] = 200
        farm.balancer.wait_state("app", "s1", "up")
        shares = []
        with Client(farm.port) as client:
            for _ in range(3):
                names = collections.Counter(client.get()[1]["server-name"] for _ in range(200))
                shares.append(names["s1"] / 200)
                time.sleep(1.2)
            time.sleep(2.5)
            names = collections.Counter(client.get()[1]["server-name"] for _ in range(200))
        assert shares[0] < 0.2 and shares == sorted(shares) and 0.45 <= names["s1"] / 200 <= 0.55, (shares, names)


def test_a_pool_stands_in_when_all_servers_are_down():
    sorry = http_backend("sorry", lambda *_: (503, "", b"sorry, back soon"))
    app = http_backend("app")
    pools = [
        pool("app", [server("a", app.at)], check=tcp_check(every=0.05, fall=1), stand_in="middle"),
        pool("middle", [server("m", "127.0.0.1:1")], check=tcp_check(every=0.05, fall=1), stand_in="sorry"),
        pool("sorry", [server("s", sorry.at)]),
    ]
    with run(pools) as balancer:
        balancer.wait_state("app", "a", "up")
        balancer.wait_state("middle", "m", "down")
        assert ask(balancer) == "app"
        app.close()
        balancer.wait_state("app", "a", "down")
        assert ask(balancer) == (503, "sorry, back soon")


def test_servers_get_the_host_that_is_configured_for_them():
    def answer(first, fields, body):
        return 200, "", f"{fields['host']} {fields.get('x-forwarded-host')}".encode()

    plain, other, dead = http_backend("p", answer), http_backend("o", answer), Backend(lambda *_: None)
    dead.close()
    servers = [
        server("dead", dead.at, host="this.name.is.much.longer.example"), server("o", other.at, host="o.example"),
        server("p", plain.at),
    ]  # fmt: skip
    with run([pool("app", servers, attempts=2)]) as balancer:
        seen = set()
        for method in ["GET", "POST"]:
            for _ in range(6):
                with Client(balancer.port) as client:
                    body = b"x" * 3000 if method == "POST" else b""
                    status, _, text = client.get("/", method=method, body=body)
                    assert status == 200
                    seen.add(text.decode())
        # The client's own comes back when the request goes from the dead server, with its host, to the one without.
        assert seen == {"o.example test", "test test"}


# Queues


def slow(seconds, name="s"):
    return http_backend(name, lambda *_: time.sleep(seconds))


def test_requests_wait_in_their_order_for_a_server_that_is_full():
    order, lock = [], threading.Lock()

    def answer(first, fields, body):
        with lock:
            order.append(first.split()[1])
        time.sleep(0.1)

    backend = http_backend("s", answer)
    with run([pool("app", [server("s", backend.at, maximum=1)])]) as balancer:
        clients = []
        for number in range(8):
            client = Client(balancer.port)
            client.send(f"GET /{number} HTTP/1.1\r\nHost: t\r\n\r\n")
            clients.append(client)
            time.sleep(0.02)
        for client in clients:
            assert client.reader.response()[0] == 200
            client.close()
        assert order == [f"/{number}" for number in range(8)]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_limit_is_kept_and_everybody_served_over_all_workers(threads):
    state, lock = {"now": 0, "most": 0}, threading.Lock()

    def answer(first, fields, body):
        with lock:
            state["now"] += 1
            state["most"] = max(state["most"], state["now"])
        time.sleep(0.01)
        with lock:
            state["now"] -= 1

    backends = [http_backend(f"s{index}", answer) for index in range(2)]
    servers = [server(f"s{index}", item.at, maximum=2) for index, item in enumerate(backends)]
    with run([pool("app", servers, queue=(1000, 20))], threads=threads) as balancer:
        statuses, waits = [], []

        def client(_):
            with Client(balancer.port, timeout=30) as connection:
                for _ in range(10):
                    started = time.monotonic()
                    statuses.append(connection.get()[0])
                    waits.append(time.monotonic() - started)

        workers = [threading.Thread(target=client, args=(index,)) for index in range(40)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert statuses == [200] * 400 and state["most"] <= 4
        # 400 requests of 10 ms, four at a time, take a second: nobody waited for a large part of it.
        assert max(waits) < 10 * sorted(waits)[len(waits) // 2] + 0.5
        connections = [item["connections"] for item in balancer.fresh_status()["pools"][0]["servers"]]
        assert connections == [0, 0]


def test_a_queue_that_is_full_and_one_that_takes_too_long_say_so():
    backend = slow(1.2)
    with run([pool("app", [server("s", backend.at, maximum=1)], queue=(1, 0.4))]) as balancer:
        with Client(balancer.port) as first, Client(balancer.port) as second, Client(balancer.port) as third:
            first.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            time.sleep(0.1)
            second.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            time.sleep(0.1)
            status, fields, body = third.get()
            assert status == 503 and b"1 requests wait already" in body and fields["retry-after"] == "1"
            status, _, body = second.reader.response()
            assert status == 503 and b"none came free within 400 ms" in body
            # The connection is as good as before.
            assert first.reader.response()[0] == 200
            assert second.get()[0] == 200


def test_a_client_that_leaves_the_queue_takes_nothing():
    backend = slow(0.5)
    with run([pool("app", [server("s", backend.at, maximum=1)])]) as balancer:
        with Client(balancer.port) as first, Client(balancer.port) as last:
            first.send("GET /first HTTP/1.1\r\nHost: t\r\n\r\n")
            time.sleep(0.1)
            for method in ["GET", "POST"]:
                leaver = Client(balancer.port)
                length = "Content-Length: 5\r\n" if method == "POST" else ""
                leaver.send(f"{method} /left HTTP/1.1\r\nHost: t\r\n{length}\r\n")
                time.sleep(0.05)
                leaver.close()
            time.sleep(0.05)
            assert last.get("/last")[0] == 200
            assert first.reader.response()[0] == 200
    assert [request[0].split()[1] for request in backend.requests] == ["/first", "/last"]


def test_clients_of_a_full_server_hold_up_nobody_else():
    with Farm(2, lambda name, first: time.sleep(0.8) if "/slow" in first else None, affinity=cookie_affinity()) as farm:
        _, fields, _ = farm.ask()
        name, cookie = fields["server-name"], f"Cookie: AFLOAT={cookie_of(fields)}\r\n"
        for pools in farm.balancer._configuration["pools"]:
            for item in pools["servers"]:
                item["maximumConnections"] = 1
        answer = farm.balancer.reconfigure(
            farm.balancer._configuration["listeners"], farm.balancer._configuration["pools"]
        )
        assert "reconfigured" in answer
        with Client(farm.port) as busy, Client(farm.port) as waiting:
            busy.send(f"GET /slow HTTP/1.1\r\nHost: t\r\n{cookie}\r\n")
            time.sleep(0.1)
            waiting.send(f"GET /mine HTTP/1.1\r\nHost: t\r\n{cookie}\r\n")
            time.sleep(0.1)
            others = farm.names(6)
            assert name not in others and None not in others
            assert busy.reader.response()[1]["server-name"] == name
            assert waiting.reader.response()[1]["server-name"] == name


def test_those_who_wait_for_a_server_that_goes_down_go_elsewhere():
    with Farm(2, lambda name, first: time.sleep(3) if "/slow" in first else None, affinity=cookie_affinity()) as farm:
        _, fields, _ = farm.ask()
        name, cookie = fields["server-name"], f"Cookie: AFLOAT={cookie_of(fields)}\r\n"
        for item in farm.balancer._configuration["pools"][0]["servers"]:
            item["maximumConnections"] = 1
        farm.balancer.reconfigure(farm.balancer._configuration["listeners"], farm.balancer._configuration["pools"])
        with Client(farm.port) as busy, Client(farm.port) as waiting:
            busy.send(f"GET /slow HTTP/1.1\r\nHost: t\r\n{cookie}\r\n")
            time.sleep(0.1)
            waiting.send(f"GET / HTTP/1.1\r\nHost: t\r\n{cookie}\r\n")
            time.sleep(0.1)
            started = time.monotonic()
            farm.balancer.orders(("app", name, "maint"))
            status, fields, _ = waiting.reader.response()
            assert status == 200 and fields["server-name"] != name and cookie_of(fields)
            assert time.monotonic() - started < 2


def test_tcp_connections_wait_too():
    def handler(connection, backend):
        backend.requests.append(connection.recv(10))
        connection.sendall(b"hello")
        time.sleep(0.3)

    backend = Backend(handler)
    with run([pool("app", [server("s", backend.at, maximum=1)], queue=(10, 5))], mode="tcp") as balancer:
        clients = [Client(balancer.port) for _ in range(4)]
        for number, client in enumerate(clients):
            client.send(b"%d" % number)
        for client in clients:
            assert client.reader.exactly(5) == b"hello"
            assert client.ended()
            client.close()
        assert sorted(backend.requests) == [b"0", b"1", b"2", b"3"]


def test_who_may_not_wait_for_its_own_server_is_told_that_it_is_full():
    held = threading.Event()

    def answer(first, *_):
        if "/hold" in first:
            held.wait(10)

    backends = [http_backend(f"s{place}", answer) for place in range(2)]
    servers = [server(f"s{place}", item.at, maximum=1) for place, item in enumerate(backends)]
    with run([pool("app", servers, affinity=cookie_affinity(), queue=(0, 5))]) as balancer:
        with Client(balancer.port) as first, Client(balancer.port) as second:
            cookie = cookie_of(first.get("/")[1])
            first.send(f"GET /hold HTTP/1.1\r\nHost: t\r\nCookie: AFLOAT={cookie}\r\n\r\n")
            time.sleep(0.2)
            status, _, body = second.get("/", f"Cookie: AFLOAT={cookie}\r\n")
            assert status == 503 and b"the server of this client in pool app has reached max_connections" in body
            assert second.get("/")[0] == 200, "another has room"
            held.set()
            assert first.reader.response()[0] == 200


def test_clients_of_a_draining_server_wait_for_no_room_in_it():
    gate = threading.Event()
    backends = [http_backend(name, lambda first, *_: gate.wait(20) and None if "/slow" in first else None) for name in "ab"]
    servers = [server(name, item.at, maximum=1) for name, item in zip("ab", backends)]
    with run([pool("app", servers, affinity=SOURCE_AFFINITY, queue=(100, 5))]) as balancer:
        with Client(balancer.port) as first, Client(balancer.port, timeout=20) as second:
            name = first.get()[1]["server-name"]
            assert second.get()[1]["server-name"] == name
            balancer.orders(("app", name, "drain"))
            balancer.wait_state("app", name, "drain")
            first.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n")
            time.sleep(0.2)
            spent = balancer.cpu_seconds()
            status, fields, _ = second.get("/fast")
            assert status == 200 and fields["server-name"] != name
            time.sleep(0.5)
            assert balancer.cpu_seconds() - spent < 0.3
            gate.set()
            assert first.reader.response()[1]["server-name"] == name


def test_those_who_wait_go_on_when_a_reload_lifts_the_limit():
    gate = threading.Event()
    backends = [http_backend(name, lambda first, *_: gate.wait(20) and None if "/slow" in first else None) for name in "ab"]

    def pools(limit):
        servers = [server(name, item.at, maximum=limit) for name, item in zip("ab", backends)]
        return [pool("app", servers, affinity=cookie_affinity(), queue=(100, 15))]

    fronts = [listener("web", ["127.0.0.1:0"], "app")]
    with Balancer(fronts, pools(1)) as balancer:
        with Client(balancer.port) as client:
            cookie = f"Cookie: AFLOAT={cookie_of(client.get()[1])}\r\n"
        with Client(balancer.port, timeout=20) as busy, Client(balancer.port, timeout=20) as waiting:
            busy.send(f"GET /slow HTTP/1.1\r\nHost: t\r\n{cookie}\r\n")
            time.sleep(0.2)
            waiting.send(f"GET /fast HTTP/1.1\r\nHost: t\r\n{cookie}\r\n")
            time.sleep(0.2)
            started = time.monotonic()
            assert "reconfigured" in balancer.reconfigure(fronts, pools(None))
            assert waiting.reader.response()[0] == 200
            assert time.monotonic() - started < 5, "long before the queue's time-out"
            gate.set()
            assert busy.reader.response()[0] == 200


@pytest.mark.parametrize("threads", [1, 3])
def test_a_request_that_can_only_have_a_full_server_holds_up_nobody(threads):
    gate = threading.Event()

    def failing(connection, backend):
        reader = Reader(connection)
        while True:
            first, _ = reader.head()
            if "/boom" in first:
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")

    def occupied(first, fields, body):
        backends[1].requests.append(first)
        if "/slow" in first:
            gate.wait(20)

    backends = [Backend(failing), http_backend("b", occupied)]
    servers = [server(name, item.at, maximum=1) for name, item in zip("ab", backends)]
    with run([pool("app", servers, queue=(100, 15), budget=100)], threads=threads) as balancer:
        slow = []
        while not any("/slow" in str(request) for request in backends[1].requests):
            slow.append(Client(balancer.port, timeout=30))
            slow[-1].send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n")
            time.sleep(0.1)
        with Client(balancer.port, timeout=30) as failed:
            failed.send("GET /boom HTTP/1.1\r\nHost: t\r\n\r\n")
            time.sleep(0.2)
            started = time.monotonic()
            for _ in range(8):
                with Client(balancer.port, timeout=10) as other:
                    assert other.get()[2] == b"a"
            assert time.monotonic() - started < 3
            gate.set()
            assert failed.reader.response()[1]["server-name"] == "b"
        for item in slow:
            item.close()


def test_who_has_to_wait_elsewhere_keeps_its_place_and_its_deadline():
    gate, order = threading.Event(), []

    def answer(name):
        def reply(first, fields, body):
            order.append(first.split()[1])
            gate.wait(20)

        return reply

    backends = [http_backend(name, answer(name)) for name in "ab"]
    servers = [server(name, item.at, maximum=1) for name, item in zip("ab", backends)]
    pools = [pool("app", servers, affinity=cookie_affinity(), queue=(100, 3))]
    with run(pools) as balancer:
        gate.set()
        with Client(balancer.port) as client:
            _, fields, _ = client.get("/first")
        gate.clear()
        name, cookie = fields["server-name"], f"Cookie: AFLOAT={cookie_of(fields)}\r\n"
        busy = [Client(balancer.port, timeout=30) for _ in range(2)]
        for client in busy:
            client.send("GET /busy HTTP/1.1\r\nHost: t\r\n\r\n")
            time.sleep(0.1)
        with Client(balancer.port, timeout=30) as mine, Client(balancer.port, timeout=30) as other:
            started = time.monotonic()
            mine.send(f"GET /mine HTTP/1.1\r\nHost: t\r\n{cookie}\r\n")
            time.sleep(0.7)
            other.send("GET /other HTTP/1.1\r\nHost: t\r\n\r\n")
            time.sleep(0.7)
            # Its server is gone for new requests: it waits for any now, before the one that came later.
            balancer.orders(("app", name, "maint"))
            assert mine.reader.response()[0] == 503
            assert 2.8 < time.monotonic() - started < 3.6, "three seconds since it came, not since it moved"
            gate.set()
            assert other.reader.response()[0] == 200
        for client in busy:
            client.close()


# Retries as configured


def answering(name, status):
    return http_backend(name, lambda *_: (status, "", b"from " + name.encode()))


def test_an_answer_that_is_configured_for_it_is_asked_for_elsewhere():
    backends = [answering("bad", 503), answering("good", 200)]
    servers = [server("bad", backends[0].at), server("good", backends[1].at)]
    with run([pool("app", servers, status=(502, 503), budget=100)]) as balancer:
        with Client(balancer.port) as client:
            assert [client.get()[0] for _ in range(10)] == [200] * 10
            statuses = {client.get(method="POST", body=b"x")[0] for _ in range(6)}
        assert statuses == {200, 503}, "what is not idempotent is not sent twice"
        assert len(backends[0].requests) >= 5


def test_the_answer_stands_where_there_is_no_other_server():
    backend = answering("only", 503)
    with run([pool("app", [server("only", backend.at)], status=(503,))]) as balancer, Client(balancer.port) as client:
        for _ in range(3):
            status, _, body = client.get()
            assert status == 503 and body == b"from only"


def test_a_server_that_takes_too_long_is_replaced_where_that_is_configured():
    servers = [server("slow", slow(2, "slow").at), server("fast", http_backend("fast").at)]
    for causes, expected in [(("connect", "timeout"), {200}), (("connect",), {200, 504})]:
        with run([pool("app", servers, on=causes, response=0.3, budget=100)]) as balancer:
            with Client(balancer.port) as client:
                assert {client.get()[0] for _ in range(4)} == expected


def test_retries_keep_within_their_budget():
    dead = Backend(lambda *_: None)
    servers = [server("dead", dead.at), server("good", http_backend("good").at)]
    with run([pool("app", servers, budget=0)]) as balancer, Client(balancer.port) as client:
        statuses = collections.Counter(client.get()[0] for _ in range(260))
    # A pool starts with a hundred; half of the requests meet the server that closes without an answer.
    assert statuses == {200: 130 + 100, 502: 30}


def test_a_refused_connection_costs_nothing_of_the_budget():
    dead = Backend(lambda *_: None)
    dead.close()
    servers = [server("dead", dead.at), server("good", http_backend("good").at)]
    with run([pool("app", servers, budget=0)]) as balancer, Client(balancer.port) as client:
        assert {client.get()[0] for _ in range(260)} == {200}


# Live traffic's say


def test_live_failures_eject_a_server_for_a_while_and_say_why():
    state = {"broken": True}

    def handler(connection, backend):
        from balancer_backends import Reader

        reader = Reader(connection)
        while True:
            reader.head()
            backend.requests.append(1)
            if state["broken"]:
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer-Name: bad\r\n\r\nok")

    bad = Backend(handler)
    servers = [server("bad", bad.at), server("good", http_backend("good").at)]
    pools = [pool("app", servers, passive=(5, 10, 1.5, 50), budget=100)]
    with run(pools) as balancer, Client(balancer.port) as client:
        for _ in range(40):
            assert client.get()[0] == 200
            time.sleep(0.01)
        balancer.wait_state("app", "bad", "down", 2)
        assert 5 <= len(bad.requests) <= 8
        seen = balancer.server("app", "bad")["lastCheck"]
        assert "ejected for" in seen and "5 failures" in seen and "connection lost" in seen
        change = [item for item in balancer.changes if item["server"] == "bad"][-1]
        assert change["state"] == "down" and "live traffic" in change["cause"]
        state["broken"] = False
        balancer.wait_state("app", "bad", "up", 5)
        assert {client.get()[1]["server-name"] for _ in range(8)} == {"bad", "good"}


def test_at_most_a_share_of_the_servers_is_ejected():
    def handler(connection, backend):
        connection.recv(1000)

    backends = [Backend(handler) for _ in range(4)]
    servers = [server(f"s{index}", item.at) for index, item in enumerate(backends)]
    with run([pool("app", servers, passive=(3, 10, 30, 50))]) as balancer, Client(balancer.port) as client:
        for _ in range(60):
            assert client.get()[0] in (502, 503)
            time.sleep(0.005)
        states = [item["state"] for item in balancer.fresh_status()["pools"][0]["servers"]]
        assert sorted(states) == ["down", "down", "up", "up"]


def test_checks_that_see_a_recovery_end_an_ejection():
    with Farm(3, lambda name, first: b"nonsense\r\n\r\n" if name == "s0" and state["broken"] else None,
              passive=(3, 10, 60, 50)) as farm:  # fmt: skip
        for _ in range(30):
            farm.ask()
        farm.balancer.wait_state("app", "s0", "down")
        state["broken"] = False
        farm.health["s0"] = 500
        farm.balancer.wait(
            lambda: any("checks in a row failed" in item["cause"] for item in farm.balancer.changes), "failed checks"
        )
        farm.health["s0"] = 200
        farm.balancer.wait_state("app", "s0", "up")


state = {"broken": True}
