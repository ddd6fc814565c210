"""Another configuration while it runs: connections, statistics, health and affinity go on."""

import socket
import threading
import time

import pytest
from balancer_backends import Backend, Client, Reader, cookie_of, http_backend
from balancer_harness import Balancer, cookie_affinity, http_check, listener, no_check, pool, route, server


class Farm:
    """Servers s0, s1, … whose /healthz can be turned off, and a balancer before some of them."""

    def __init__(self, count, configured=None, threads=1, answer=None, check=None, **options):
        self.healthy = {f"s{index}": True for index in range(count)}
        self.answer, self.check, self.options = answer, check or no_check(), options
        self.backends = {name: self._start(name) for name in self.healthy}
        self.listeners = [listener("web", ["127.0.0.1:0"], "app", served_by="X-Served-By")]
        self.balancer = Balancer(self.listeners, [self.pool(configured or list(self.healthy))], threads=threads)
        self.port = self.balancer.port

    def _start(self, name):
        def reply(first, fields, body):
            if "/healthz" in first:
                return (200 if self.healthy[name] else 500), "", b""
            return self.answer(name, first) if self.answer else None

        return http_backend(name, reply)

    def pool(self, names, name="app", **options):
        servers = [server(item, self.backends[item].at) for item in names]
        return pool(name, servers, check=self.check, **dict(self.options, **options))

    def reload(self, names, listeners=None, **options):
        answer = self.balancer.reconfigure(listeners or self.listeners, [self.pool(names, **options)])
        assert "reconfigured" in answer, answer

    def ask(self, fields=""):
        with Client(self.port) as client:
            return client.get("/", fields)

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


class Load:
    """Clients that ask again and again on kept connections, and note every failure."""

    def __init__(self, port, count=4):
        self.port, self.failures, self.answered = port, [], 0
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]

    def _run(self):
        while not self.stopping.is_set():
            with Client(self.port) as client:
                for _ in range(50):
                    try:
                        status, fields, _ = client.get("/")
                    except (OSError, EOFError) as error:
                        self.failures.append(repr(error))
                        break
                    if status != 200:
                        self.failures.append(status)
                    self.answered += 1
                    if fields.get("connection") == "close" or self.stopping.is_set():
                        break

    def __enter__(self):
        for item in self.threads:
            item.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for item in self.threads:
            item.join(10)


@pytest.mark.parametrize("threads", [1, 2])
def test_reloads_under_load_lose_nothing(threads):
    with Farm(3, configured=["s0", "s1"], threads=threads) as farm:
        with Load(farm.port) as load:
            for turn in range(150):
                farm.reload([["s0", "s1"], ["s0", "s1", "s2"], ["s1", "s2"], ["s2", "s0"]][turn % 4])
        assert load.failures == []
        assert load.answered > 100
        counted = farm.balancer.fresh_status()["listeners"][0]["requests"]
        assert counted >= load.answered, "a listener's figures go on over reloads"


def test_many_reloads_leave_no_memory_behind():
    with Farm(3, configured=["s0", "s1"], affinity=cookie_affinity()) as farm:
        sets = [["s0", "s1"], ["s1", "s2"]]
        for turn in range(60):
            farm.reload(sets[turn % 2])
        before = farm.balancer.rss()
        for turn in range(400):
            farm.reload(sets[turn % 2])
        assert farm.balancer.rss() - before < 1024 * 1024


def test_a_removed_server_finishes_what_it_has_and_gets_nothing_new():
    gate = threading.Event()

    def answer(name, first):
        if "/slow" in first:
            gate.wait(10)
        return 200, "", name.encode()

    with Farm(2, configured=["s0"], answer=answer) as farm:
        with Client(farm.port) as kept, Client(farm.port) as slow:
            assert kept.get("/")[2] == b"s0"
            slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(0.2)
            farm.reload(["s1"])
            assert kept.get("/")[2] == b"s1", "the client's own connection goes on"
            gate.set()
            status, fields, body = slow.reader.response()
            assert (status, body) == (200, b"s0")
            assert fields["x-served-by"] == "n1/s0" and fields.get("connection") != "close"
            slow.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert slow.reader.response()[2] == b"s1"
        shown = farm.balancer.fresh_status()["pools"][0]["servers"]
        assert [item["name"] for item in shown] == ["s1"]


def test_health_statistics_and_affinity_are_kept():
    with Farm(3, check=http_check(every=0.05, fall=1, down=0.05), affinity=cookie_affinity()) as farm:
        farm.healthy["s1"] = False
        farm.balancer.wait_state("app", "s1", "down")
        _, fields, _ = farm.ask()
        cookie = f"Cookie: AFLOAT={cookie_of(fields)}\r\n"
        home = fields["server-name"]
        for _ in range(5):
            assert farm.ask(cookie)[1]["server-name"] == home
        requests = farm.balancer.fresh_status()["listeners"][0]["requests"]
        farm.balancer.changes.clear()
        # In another order, with other weights: places in the pool change, nothing else.
        names = ["s2", "s0", "s1"]
        farm.reload(names)
        for _ in range(5):
            assert farm.ask(cookie)[1]["server-name"] == home
        status = farm.balancer.fresh_status()
        states = {item["name"]: item["state"] for item in status["pools"][0]["servers"]}
        assert states == {"s0": "up", "s1": "down", "s2": "up"}
        assert farm.balancer.changes == [], "nobody was taken for new"
        assert status["listeners"][0]["requests"] == requests + 5
        assert sum(item["requests"] for item in status["pools"][0]["servers"]) == requests + 5


def test_a_drained_server_stays_drained():
    with Farm(2) as farm:
        farm.balancer.orders(("app", "s0", "drain"))
        farm.balancer.wait_state("app", "s0", "drain")
        farm.reload(["s1", "s0"])
        assert {farm.ask()[1]["server-name"] for _ in range(6)} == {"s1"}
        farm.reload(["s1"])
        farm.reload(["s0", "s1"])
        farm.balancer.wait_state("app", "s0", "drain")
        assert {farm.ask()[1]["server-name"] for _ in range(6)} == {"s1"}


def test_a_listener_comes_and_another_goes():
    with Farm(1) as farm:
        with Client(farm.port) as idle, Client(farm.port) as begun:
            assert idle.get("/")[0] == 200
            begun.send("GET / HTTP/1.1\r\nHo")
            time.sleep(0.1)
            second = listener("second", ["127.0.0.1:0"], "app")
            farm.reload(["s0"], listeners=[second])
            status, fields, _ = idle.get("/")
            assert status == 200 and fields["connection"] == "close", "a request that was on its way is answered"
            assert idle.ended()
            begun.send("st: a\r\n\r\n")
            status, fields, _ = begun.reader.response()
            assert status == 200 and fields["connection"] == "close", "what has begun is finished"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", farm.port), 2)
        with Client(farm.balancer.ports["second"]) as client:
            assert client.get("/")[0] == 200
        # The same socket for a listener of another name: nobody is refused meanwhile.
        renamed = listener("third", [f"127.0.0.1:{farm.balancer.ports['second']}"], "app")
        with Load(farm.balancer.ports["second"]) as load:
            time.sleep(0.1)
            farm.reload(["s0"], listeners=[renamed])
            time.sleep(0.1)
        assert load.failures == []
        assert [item["name"] for item in farm.balancer.fresh_status()["listeners"]] == ["third"]


def test_a_tunnel_lives_on_without_its_listener_pool_and_server():
    def echo(connection, _):
        while data := connection.recv(1000):
            connection.sendall(data)

    backend = Backend(echo)
    first = listener("raw", ["127.0.0.1:0"], "old", mode="tcp")
    with Balancer([first], [pool("old", [server("s0", backend.at)])]) as balancer:
        with socket.create_connection(("127.0.0.1", balancer.port), 5) as tunnel:
            tunnel.sendall(b"one")
            assert tunnel.recv(10) == b"one"
            other = listener("other", ["127.0.0.1:0"], "new", mode="tcp")
            for turn in range(3):
                answer = balancer.reconfigure([other], [pool("new", [server(f"t{turn}", backend.at)])])
                assert "reconfigured" in answer
                # The slots of what is still used are not given to others, though those are looked for meanwhile.
                time.sleep(1.2 if turn == 0 else 0.1)
                tunnel.sendall(b"two")
                assert tunnel.recv(10) == b"two"
        with socket.create_connection(("127.0.0.1", balancer.ports["other"]), 5) as tunnel:
            tunnel.sendall(b"three")
            assert tunnel.recv(10) == b"three"


def test_larger_heads_are_taken_after_a_reload():
    with Farm(1) as farm:
        long = "X-Long: " + "a" * 60_000 + "\r\n"
        assert farm.ask(long)[0] == 431
        wide = listener("web", [f"127.0.0.1:{farm.port}"], "app", head_size=128 * 1024)
        farm.reload(["s0"], listeners=[wide])
        assert farm.ask(long)[0] == 200


def test_what_contradicts_itself_is_refused_and_changes_nothing():
    with Farm(1) as farm:
        wrong = [listener("web", [f"127.0.0.1:{farm.port}"], "missing")]
        answer = farm.balancer.reconfigure(wrong, [farm.pool(["s0"])])
        assert "missing" in answer["refused"]["why"]
        unopened = [listener("web", ["127.0.0.1:1"], "app")]
        answer = farm.balancer.reconfigure(unopened, [farm.pool(["s0"])])
        assert "127.0.0.1:1" in answer["refused"]["why"]
        assert farm.ask()[0] == 200
        farm.reload(["s0"])
        assert farm.ask()[0] == 200


@pytest.mark.parametrize("is_named", [True, False])
def test_a_route_that_moves_in_the_list_keeps_its_request(is_named):
    gate = threading.Event()

    def answer(name, first):
        if "/slow" in first:
            gate.wait(10)
        return 200, "", name.encode()

    with Farm(1, answer=answer) as farm:
        def with_routes(*names):
            routes = [
                route(name if is_named else f"web/{place}", "app", f"/{name}",
                      response={"add": [{"name": "X-Route", "value": name}]}) for place, name in enumerate(names)
            ]
            return [listener("web", [f"127.0.0.1:{farm.port}"], "app", routes=routes)]

        farm.reload(["s0"], listeners=with_routes("slow", "other"))
        with Client(farm.port) as client:
            client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(0.2)
            farm.reload(["s0"], listeners=with_routes("new", "other", "slow"))
            gate.set()
            assert client.reader.response()[1]["x-route"] == "slow"
            assert client.get("/new")[1]["x-route"] == "new"


def test_weights_and_switches_are_in_force_at_once_and_kept_over_reloads():
    with Farm(3, configured=["s0", "s1"]) as farm:
        def served(count=20):
            return {farm.ask()[1]["server-name"] for _ in range(count)}

        assert served() == {"s0", "s1"}
        farm.balancer.weigh(("app", "s0", 0))
        farm.balancer.wait(lambda: farm.balancer.server("app", "s0")["weight"] == 0, "weight")
        assert served() == {"s1"}
        farm.reload(["s0", "s1"])
        assert served() == {"s1"}
        farm.balancer.weigh()
        farm.balancer.wait(lambda: farm.balancer.server("app", "s0")["weight"] == 100, "weight")
        assert served() == {"s0", "s1"}

        blue, green = farm.pool(["s0", "s1"]), farm.pool(["s2"], name="green")
        assert "reconfigured" in farm.balancer.reconfigure(farm.listeners, [blue, green])
        with Load(farm.port) as load:
            farm.balancer.switch(web__default="green")
            deadline = time.monotonic() + 5
            while served(3) != {"s2"}:
                assert time.monotonic() < deadline
            assert served() == {"s2"}
            assert "reconfigured" in farm.balancer.reconfigure(farm.listeners, [blue, green])
            assert served() == {"s2"}
            farm.balancer.switch()
            while served(3) <= {"s2"}:
                assert time.monotonic() < deadline
        assert load.failures == []


def test_a_pool_in_the_slots_of_a_removed_one_inherits_nothing_from_it():
    with Farm(2, configured=["s0"]) as farm:
        both = [farm.pool(["s0"]), farm.pool(["s1"], name="old")]
        assert "reconfigured" in farm.balancer.reconfigure(farm.listeners, both)
        farm.balancer.orders(("old", "s1", "maint"))
        farm.balancer.wait_state("old", "s1", "maint")
        farm.reload(["s0"])
        farm.balancer.orders()
        time.sleep(2.5)  # the slots are given back within a second or two
        after = [farm.pool(["s0"]), farm.pool(["s1"], name="new")]
        to_new = [listener("web", [f"127.0.0.1:{farm.port}"], "new", served_by="X-Served-By")]
        assert "reconfigured" in farm.balancer.reconfigure(to_new, after)
        assert [farm.ask()[0] for _ in range(4)] == [200] * 4


def test_a_pool_that_comes_back_at_once_is_new():
    with Farm(2, configured=["s0"]) as farm:
        both = [farm.pool(["s0"]), farm.pool(["s1"], name="other")]
        to_other = [listener("web", [f"127.0.0.1:{farm.port}"], "other", served_by="X-Served-By")]
        assert "reconfigured" in farm.balancer.reconfigure(to_other, both)
        farm.balancer.orders(("other", "s1", "maint"))
        farm.balancer.wait_state("other", "s1", "maint")
        assert farm.ask()[0] == 503
        farm.balancer.reconfigure(farm.listeners, both[:1], wait=False)
        farm.balancer.orders()
        assert "reconfigured" in farm.balancer.reconfigure(to_other, both)
        assert [farm.ask()[0] for _ in range(4)] == [200] * 4


def test_a_server_that_comes_back_is_not_ejected_for_what_was_before():
    failing = threading.Event()

    def handler(connection, backend):
        reader = Reader(connection)
        while True:
            reader.head()
            if failing.is_set():
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    sick, well = Backend(handler), http_backend("well")
    both = [server("sick", sick.at), server("well", well.at)]
    options = {"passive": (5, 1, 30, 50), "on": (), "attempts": 0}
    fronts = [
        listener("web", ["127.0.0.1:0"], "app"), listener("t", ["127.0.0.1:0"], "app", mode="tcp"),
    ]  # fmt: skip
    with Balancer(fronts, [pool("app", both, **options)]) as balancer:
        balancer.wait_up()
        kept = [socket.create_connection(("127.0.0.1", balancer.ports["t"])) for _ in range(2)]  # the slots stay in use
        time.sleep(0.2)

        def fail(count):
            failing.set()
            while count:
                with Client(balancer.port) as client:
                    count -= client.get("/")[0] == 502
            failing.clear()

        for _ in range(2):  # far apart: eight failures that eject nobody
            fail(4)
            time.sleep(1.2)
        assert balancer.fresh_status() and balancer.server("app", "sick")["state"] == "up"
        assert "reconfigured" in balancer.reconfigure(fronts, [pool("app", both[1:], **options)])
        assert "reconfigured" in balancer.reconfigure(fronts, [pool("app", both, **options)])
        fail(1)
        time.sleep(0.2)
        balancer.fresh_status()
        assert balancer.server("app", "sick")["state"] == "up", balancer.server("app", "sick")
        for item in kept:
            item.close()
