"""Parting with clients before an address leaves: Connection: close first, then no answer to new connections, no failure."""

import os
import signal
import socket
import threading
import time

from balancer_backends import Client, http_backend
from balancer_harness import Balancer, listener, pool, server

LEAVING, STAYING = "127.0.5.1", "127.0.5.2"


def front(backend, threads=1):
    balancer = Balancer(
        [listener("web", ["0.0.0.0:0"], "app")], [pool("app", [server("s0", backend.at)])], threads=threads
    )
    time.sleep(0.02)
    return balancer


def connects(balancer, address, seconds=0.4):
    try:
        socket.create_connection((address, balancer.port), seconds).close()
        return True
    except TimeoutError:
        return False


def test_with_nobody_connected_it_is_answered_at_once():
    with front(http_backend("s"), threads=2) as balancer:
        with Client(balancer.port, STAYING) as other:
            assert other.get()[0] == 200
            balancer.quieten(7, [LEAVING], 2)
            assert balancer.wait_quietened(7) < 0.5
            assert other.get()[1].get("connection") is None


def test_new_connections_are_ignored_afterwards_and_accepted_again_after_resume():
    with front(http_backend("s"), threads=2) as balancer:
        balancer.quieten(1, [LEAVING], 0.5)
        balancer.wait_quietened(1)
        # No answer at all, rather than a refusal; other addresses are not concerned.
        assert not connects(balancer, LEAVING)
        assert connects(balancer, STAYING)
        balancer.resume([LEAVING])
        time.sleep(0.1)
        with Client(balancer.port, LEAVING) as client:
            status, fields, _ = client.get()
            assert status == 200 and "connection" not in fields


def test_a_request_in_flight_finishes_first():
    with front(http_backend("s", lambda *_: time.sleep(0.4))) as balancer:
        with Client(balancer.port, LEAVING) as client:
            client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            time.sleep(0.1)
            started = time.monotonic()
            balancer.quieten(2, [LEAVING], 2)
            status, fields, _ = client.reader.response()
            assert status == 200 and fields["connection"] == "close"
            balancer.wait_quietened(2)
            assert time.monotonic() - started < 1.9
            assert client.ended()


def test_an_idle_connection_is_closed():
    with front(http_backend("s")) as balancer, Client(balancer.port, LEAVING) as client:
        assert client.get()[0] == 200
        balancer.quieten(3, [LEAVING], 2)
        assert client.ended()
        balancer.wait_quietened(3)


def test_the_deadline_holds_whatever_a_client_does():
    with front(http_backend("s", lambda *_: time.sleep(3))) as balancer:
        with Client(balancer.port, LEAVING) as client:
            client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            time.sleep(0.1)
            started = time.monotonic()
            balancer.quieten(4, [LEAVING], 0.5)
            balancer.wait_quietened(4)
            assert 0.3 < time.monotonic() - started < 1.5


def test_busy_clients_lose_no_request():
    """Clients that reconnect when told to: every request that was sent gets its answer."""
    with front(http_backend("s"), threads=2) as balancer:
        failures, counts, stop = [], [0] * 4, threading.Event()

        def ask(index):
            client = None
            while not stop.is_set():
                try:
                    if client is None:
                        client = Client(balancer.port, LEAVING, timeout=2)
                except TimeoutError:
                    return  # a SYN without an answer: by now the address is elsewhere
                try:
                    status, fields, _ = client.get()
                    counts[index] += 1
                    if status != 200:
                        failures.append(status)
                    if fields.get("connection") == "close":
                        client.close()
                        client = None
                except OSError as error:
                    failures.append(repr(error))
                    client = None

        threads = [threading.Thread(target=ask, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        balancer.quieten(5, [LEAVING], 0.5)
        seconds = balancer.wait_quietened(5)
        stop.set()
        for thread in threads:
            thread.join()
        assert failures == [] and min(counts) > 0 and seconds < 1


def test_whoever_waits_in_the_queue_is_served_first():
    with Balancer([listener("web", ["0.0.0.0:0"], "app")], [pool("app", [])]) as balancer:
        os.kill(balancer.process.pid, signal.SIGSTOP)
        clients = [Client(balancer.port, LEAVING) for _ in range(300)]
        for client in clients:
            client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        balancer.quieten(6, [LEAVING], 5)
        os.kill(balancer.process.pid, signal.SIGCONT)
        balancer.wait_quietened(6)
        for client in clients:
            client.socket.settimeout(0.5)
            assert client.reader.response()[0] == 503
            client.close()
