"""What checks look at, when they run, and what a pool does while its servers are being killed."""

import json
import os
import re
import signal
import statistics
import subprocess
import tempfile
import threading
import time

import pytest
from balancer_backends import Backend, Client, Reader, cookie_of, http_backend
from balancer_harness import (
    NO_AFFINITY, SOURCE_AFFINITY, Balancer, cookie_affinity, http_check, listener, no_check, pool, server, tcp_check,
)  # fmt: skip


def run(servers, **options):
    return Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", servers, **options)])


def test_checks_can_look_for_a_pattern_in_the_body():
    backend = http_backend("s", lambda *_: (200, "", json.dumps({"state": "ready", "lag": 12}).encode()))
    for pattern, state in [('"lag": [0-9]{1,2}\\b', "up"), ('"lag": [0-9]{3}', "down")]:
        with run([server("s", backend.at)], check=http_check(pattern=pattern)) as balancer:
            balancer.wait_state("app", "s", state)
            if state == "down":
                assert "does not match" in balancer.server("app", "s")["lastCheck"]


def test_a_pattern_that_takes_too_long_fails_the_check_and_holds_up_no_other():
    hard = http_backend("hard", lambda *_: (200, "", b"a" * 30_000 + b"!"))
    easy = http_backend("easy")
    pools = [
        pool("app", [server("s", hard.at)], check=http_check(pattern="(a+)+$")),
        pool("other", [server("s", easy.at)], check=http_check(every=0.05)),
    ]
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], pools) as balancer:
        balancer.wait_state("app", "s", "down")
        assert "takes too long to match" in balancer.server("app", "s")["lastCheck"]
        balancer.wait_state("other", "s", "up")


def test_checks_have_a_port_of_their_own():
    app, health = http_backend("app", lambda *_: (500, "", b"")), http_backend("health")
    with run([server("s", app.at)], check=http_check(port=health.port)) as balancer:
        balancer.wait_state("app", "s", "up")


def test_checks_do_not_march_in_step():
    times, lock = [], threading.Lock()

    def answer(first, fields, body):
        with lock:
            times.append(time.monotonic())

    backend = http_backend("s", answer)
    servers = [server(f"s{index}", f"127.0.9.{index + 1}:{backend.port}") for index in range(40)]
    backend = http_backend("s", answer, address="0.0.0.0")
    for item in servers:
        item["endpoint"]["port"] = backend.port
    with run(servers, check=http_check(every=0.5)) as balancer:
        balancer.wait_up()
        time.sleep(3)
        # Forty servers, four rounds: in step they would fall into one or two of the ten phases. A busy machine may bunch
        # what it does for a moment, not in each of three looks.
        for look in range(3):
            with lock:
                times.clear()
            time.sleep(2)
            with lock:
                phases = [(at % 0.5) // 0.05 for at in times]
            counts = [phases.count(index) for index in range(10)]
            if 120 <= len(phases) <= 200 and max(counts) < len(phases) * 0.35 and sum(map(bool, counts)) >= 5:
                return
    raise AssertionError(counts)


def test_a_live_failure_has_a_server_checked_soon():
    backend = http_backend("s")
    other = http_backend("o")
    servers = [server("s", backend.at), server("o", other.at)]
    check = tcp_check(every=30, fall=1, fast=0.05)
    with run(servers, check=check, passive=(100, 10, 30, 50)) as balancer:
        balancer.wait_up()
        backend.close()
        from balancer_backends import Client

        started = time.monotonic()
        with Client(balancer.port) as client:
            for _ in range(4):
                assert client.get()[0] == 200
        balancer.wait_state("app", "s", "down", 5)
        assert time.monotonic() - started < 5, "its next check was half a minute away"


class Nginx:
    """A server in a process of its own, to be killed."""

    def __init__(self, port):
        self.directory = tempfile.TemporaryDirectory()
        path = self.directory.name
        with open(f"{path}/conf", "w") as file:
            file.write(
                f"daemon off; master_process off; user root; pid {path}/pid; error_log {path}/err crit;"
                "events { worker_connections 1024; } http { access_log off; keepalive_requests 1000000;"
                + "".join(f"{kind}_temp_path {path};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
                + f'server {{ listen 127.0.0.1:{port} reuseport; location / {{ return 200 "ok"; }} }} }}'
            )
        self.start()

    def start(self):
        command = ["nginx", "-p", self.directory.name, "-c", f"{self.directory.name}/conf"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def free_ports(count):
    import socket

    sockets = [socket.socket() for _ in range(count)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


CLOSE_CHECK = {"every": 0.5, "timeout": 0.5, "fast": 0.1, "down": 0.2}
USUAL_CHECK = {"every": 2, "timeout": 1, "fast": 0.5, "down": 5}


@pytest.mark.parametrize(
    "affinity, outage, times",
    [
        (NO_AFFINITY, 0.6, CLOSE_CHECK),
        (NO_AFFINITY, 1.5, USUAL_CHECK),
        (cookie_affinity(), 1.5, USUAL_CHECK),
        (SOURCE_AFFINITY, 0.8, USUAL_CHECK),
    ],
    ids=["short", "long", "cookie", "source"],
)
def test_servers_are_killed_one_after_the_other_and_no_request_fails(affinity, outage, times):
    """Longer than three failed checks take, or shorter: all servers must not end up out of use at the same time."""
    seconds = int(os.environ.get("AFLOAT_KILL_SECONDS", "10"))
    ports = free_ports(3)
    farm = [Nginx(port) for port in ports]
    servers = [server(f"s{index}", f"127.0.0.1:{port}") for index, port in enumerate(ports)]
    try:
        with run(servers, check=http_check("/", **times), passive=(5, 10, 30, 50), affinity=affinity) as balancer:
            balancer.wait_up()
            url = f"http://127.0.0.1:{balancer.port}/"
            command = ["wrk", "-t1", "-c24", f"-d{seconds}s", "--latency", url]
            with Client(balancer.port) as client:
                fields = client.get()[1]
                if "set-cookie" in fields:
                    command += ["-H", f"Cookie: AFLOAT={cookie_of(fields)}"]
            load = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            end, kills = time.monotonic() + seconds - 1, 0
            while time.monotonic() < end - 1:
                victim = farm[kills % 3]
                victim.kill()
                kills += 1
                time.sleep(outage)
                victim.start()
                time.sleep(2 - outage)
            output = load.communicate(timeout=30)[0]
            requests = int(re.search(r"(\d+) requests in", output).group(1))
            assert kills >= 3 and "Socket errors" not in output and "Non-2xx" not in output, output
            assert requests > 1000 * seconds, output
            failures = sum(item["failures"] for item in balancer.fresh_status()["pools"][0]["servers"])
            assert failures > 0, "the kills were felt by the balancer, not by its clients"
    finally:
        for item in farm:
            item.kill()


@pytest.mark.parametrize("count", [400])
def test_checks_of_many_servers_cost_little(count):
    """An order of magnitude; bench_checks.py has the figures."""
    backend = Nginx(free_ports(1)[0])
    port = int(re.search(r"127.0.0.1:(\d+)", open(f"{backend.directory.name}/conf").read()).group(1))
    try:
        pools = [
            pool(f"p{index}", [server(f"s{place}", f"127.0.0.1:{port}") for place in range(count // 4)],
                 check=http_check("/", every=0.5))
            for index in range(4)
        ]  # fmt: skip
        with Balancer([listener("web", ["127.0.0.1:0"], "p0")], pools) as balancer:
            balancer.wait_up(20)
            shares = []
            for _ in range(3):
                before, started = balancer.cpu_seconds(), time.monotonic()
                time.sleep(1)
                shares.append((balancer.cpu_seconds() - before) / (time.monotonic() - started))
            # 800 checks a second of well under a tenth of a millisecond each; debug builds are several times slower.
            assert statistics.median(shares) < 0.6, shares
    finally:
        backend.kill()


def test_without_checks_a_live_failure_starts_none():
    failing = threading.Event()
    failing.set()
    opened = []

    def handler(connection, backend):
        opened.append(1)
        reader = Reader(connection)
        reader.head()
        if not failing.is_set():
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    servers = [server("a", Backend(handler).at), server("b", http_backend("b").at)]
    with run(servers, check=no_check(), passive=(50, 10, 30, 50)) as balancer:
        balancer.wait_up()
        for _ in range(4):
            with Client(balancer.port) as client:
                assert client.get()[0] == 200
        failing.clear()
        time.sleep(0.1)
        count = len(opened)
        time.sleep(3)
        assert len(opened) == count
        balancer.fresh_status()
        assert balancer.server("app", "a")["lastCheck"] == "not checked"


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize(
    "answer, check",
    [
        ("Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", {"pattern": "^ok$"}),
        ("Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nready\r\n3\r\nset\r\n0\r\n\r\n", {"contains": "readyset"}),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nready\r\n3\r\nset\r\n0\r\nT: 1\r\n\r\n", {"pattern": "^readyset$"}),
        ("Content-Length: 2\r\n\r\nok", {"pattern": "^ok$"}),
        ("Content-Length: 0\r\n\r\n", {"pattern": "^$"}),
        ("X: 1\r\n\r\nok", {"pattern": "^ok$"}),
    ],
)
def test_checks_look_at_the_content_of_a_body(answer, check, closes):
    if answer.startswith("X") and not closes:
        pytest.skip("only its end ends it")

    def handler(connection, backend):
        reader = Reader(connection)
        reader.head()
        data = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n" + answer.encode()
        for position in range(0, len(data), 7):
            connection.sendall(data[position : position + 7])
            time.sleep(0.002)
        if not closes:
            connection.recv(1)

    with run([server("s", Backend(handler).at)], check=http_check(**check)) as balancer:
        balancer.wait_state("app", "s", "up")
        assert balancer.server("app", "s")["lastCheck"].startswith("200 in")


def test_a_malformed_body_fails_its_check():
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nok\r\n0\r\n\r\n"
    with run([server("s", http_backend("s", lambda *_: data).at)], check=http_check(contains="ok")) as balancer:
        balancer.wait_state("app", "s", "down")
        assert "its body is malformed" in balancer.server("app", "s")["lastCheck"]


def test_what_keeps_the_balancer_from_its_checks_counts_against_no_server():
    """Stopped for longer than a check may take, with the answer there or on its way: the checks go on afterwards."""
    backend = http_backend("s", lambda *_: time.sleep(0.1))
    check = http_check(every=0.02, timeout=0.4, fall=1, rise=1)
    with run([server("s", backend.at)], check=check) as balancer:
        balancer.wait_up()
        for turn in range(8):
            time.sleep(0.15 + turn * 0.013)
            os.kill(balancer.process.pid, signal.SIGSTOP)
            time.sleep(0.6)
            os.kill(balancer.process.pid, signal.SIGCONT)
        time.sleep(0.3)
        assert [item["cause"] for item in balancer.changes if item["state"] == "down"] == []


def test_a_large_pool_takes_over_a_weight_without_holding_up_checks():
    backend = http_backend("s", lambda *_: time.sleep(0.1))
    check = http_check(every=0.02, timeout=0.3, fall=1, rise=1)
    large = [server(f"s{index}", f"127.1.{index // 250}.{index % 250 + 1}:9") for index in range(1000)]
    pools = [pool("app", [server("s", backend.at)], check=check), pool("large", large, balance="hash source")]
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], pools) as balancer:
        balancer.wait_state("app", "s", "up")
        for weight in (50, 60, 70):
            started = time.monotonic()
            balancer.weigh(("large", "s0", weight))
            balancer.wait(lambda: balancer.server("large", "s0")["weight"] == weight, "weight")
            assert time.monotonic() - started < 2
        assert [item["cause"] for item in balancer.changes if item["state"] == "down"] == []
