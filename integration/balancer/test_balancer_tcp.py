"""TCP mode: bytes both ways, half-close, who speaks first, where connections go."""

import collections
import socket
import threading
import time

from balancer_backends import Backend, Client, refusing
from balancer_harness import SOURCE_AFFINITY, Balancer, listener, no_check, pool, server, tcp_check


def echo(connection, backend):
    backend.requests.append(1)
    while data := connection.recv(262_144):
        connection.sendall(data)


def front(*backends, check=None, tunnel=3600, **options):
    servers = [server(f"s{index}", item.at) for index, item in enumerate(backends)]
    balancer = Balancer(
        [listener("t", ["127.0.0.1:0"], "app", mode="tcp", tunnel=tunnel)],
        [pool("app", servers, check=check or no_check(), **options)],
    )
    time.sleep(0.02)
    return balancer


def test_bytes_pass_both_ways_in_bulk():
    total = 48 << 20
    with front(Backend(echo)) as balancer, Client(balancer.port) as client:
        pattern = bytes(index % 251 for index in range(1 << 20))

        def pour():
            for _ in range(total >> 20):
                client.send(pattern)
            client.socket.shutdown(socket.SHUT_WR)

        threading.Thread(target=pour, daemon=True).start()
        for _ in range(total >> 20):
            assert client.reader.exactly(1 << 20) == pattern
        assert client.ended()


def test_the_server_may_speak_first():
    def handler(connection, _):
        connection.sendall(b"220 hello\r\n")
        connection.recv(10)

    with front(Backend(handler)) as balancer, Client(balancer.port) as client:
        assert client.reader.until(b"\r\n") == b"220 hello\r\n"


def test_half_close_is_passed_on_in_both_directions():
    def counting(connection, _):
        count = 0
        while data := connection.recv(65_536):
            count += len(data)
        connection.sendall(b"%d" % count)

    with front(Backend(counting)) as balancer, Client(balancer.port) as client:
        client.send(b"q" * 123_456)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.reader.exactly(6) == b"123456" and client.ended()

    def closing_first(connection, backend):
        connection.sendall(b"bye")
        connection.shutdown(socket.SHUT_WR)
        data = b""
        while part := connection.recv(65_536):
            data += part
        backend.requests.append(data)

    backend = Backend(closing_first)
    with front(backend) as balancer, Client(balancer.port) as client:
        assert client.reader.exactly(3) == b"bye" and client.ended()
        client.send(b"still " * 50_000)
        client.close()
        deadline = time.monotonic() + 5
        while not backend.requests and time.monotonic() < deadline:
            time.sleep(0.02)
        assert backend.requests == [b"still " * 50_000]


def test_a_reset_is_passed_on():
    seen = []

    def handler(connection, _):
        try:
            connection.sendall(b"x")
            seen.append(connection.recv(10))
        except ConnectionResetError:
            seen.append("reset")

    with front(Backend(handler)) as balancer:
        client = Client(balancer.port)
        client.reader.exactly(1)
        client.reset()
        deadline = time.monotonic() + 5
        while not seen and time.monotonic() < deadline:
            time.sleep(0.02)
        assert seen == ["reset"]


def test_connections_take_turns_and_avoid_a_server_that_refuses():
    backends = [Backend(echo) for _ in range(3)]
    with front(*backends) as balancer:
        backends[0].close()
        for _ in range(12):
            with Client(balancer.port) as client:
                client.send(b"ping")
                assert client.reader.exactly(4) == b"ping"
        assert [len(item.requests) for item in backends[1:]] == [6, 6]


def test_least_connections_counts_open_tunnels():
    backends = [Backend(echo) for _ in range(2)]
    with front(*backends, balance="least_connections") as balancer:
        clients = [Client(balancer.port) for _ in range(10)]
        for client in clients:
            client.send(b"a")
            client.reader.exactly(1)
        assert [len(item.requests) for item in backends] == [5, 5]
        status = balancer.fresh_status()
        assert [item["connections"] for item in status["pools"][0]["servers"]] == [5, 5]
        for client in clients:
            client.close()
        time.sleep(0.1)
        assert [item["connections"] for item in balancer.fresh_status()["pools"][0]["servers"]] == [0, 0]


def test_a_source_keeps_its_server():
    def naming(name):
        def handler(connection, _):
            connection.sendall(name)
            connection.recv(1)

        return Backend(handler)

    with front(naming(b"a"), naming(b"b"), naming(b"c"), affinity=SOURCE_AFFINITY) as balancer:
        seen = collections.Counter()
        for last in range(1, 31):
            names = set()
            for _ in range(3):
                with Client(balancer.port, source=f"127.0.8.{last}") as client:
                    names.add(client.reader.exactly(1))
            assert len(names) == 1
            seen.update(names)
        assert len(seen) == 3


def test_no_server_up_closes_at_once():
    check = tcp_check(b"x", b"never", timeout=0.1)
    with front(Backend(echo), check=check) as balancer:
        balancer.wait_state("app", "s0", "down")
        try:
            with Client(balancer.port) as client:
                assert client.ended()
        except ConnectionResetError:
            pass  # so much at once that connect() saw it


def test_an_idle_tunnel_ends():
    with front(Backend(echo), tunnel=0.5) as balancer, Client(balancer.port) as client:
        for _ in range(4):
            time.sleep(0.25)
            client.send(b"k")
            assert client.reader.exactly(1) == b"k"
        started = time.monotonic()
        assert client.ended() and 0.2 < time.monotonic() - started < 3


def test_a_slow_reader_stops_the_sender():
    sent = [0]

    def handler(connection, _):
        while True:
            sent[0] += connection.send(b"f" * 65_536)

    with front(Backend(handler)) as balancer, Client(balancer.port) as client:
        before = balancer.rss()
        client.reader.exactly(1)
        time.sleep(1)
        stopped_at = sent[0]
        time.sleep(0.3)
        assert sent[0] == stopped_at and balancer.rss() - before < 4 << 20


def test_retries_go_by_the_pools_causes_and_refusals_cost_nothing_of_the_budget():
    greeting = Backend(lambda connection, _: connection.sendall(b"hi"))

    def served(count, **options):
        fronts = [listener("t", ["127.0.0.1:0"], "app", mode="tcp")]
        with Balancer(fronts, [pool("app", servers, **options)]) as balancer:
            found = 0
            for _ in range(count):
                try:
                    with Client(balancer.port) as client:
                        found += client.socket.recv(2) == b"hi"
                except ConnectionResetError:
                    pass
            return found

    with refusing() as dead:
        servers = [server("dead", dead), server("alive", greeting.at)]
        assert served(20) == 20
        assert served(20, on=("lost_connection",)) == 10
        # More than the hundred that are saved at the start.
        assert served(260, budget=0) == 260
