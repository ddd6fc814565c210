"""Slow clients cost little and are cut off; slow readers stop the fast writer instead of filling memory."""

import resource
import time

from lab import wait_until
from peers import plain, request_loop

SLOW_CLIENTS = 2000
# What 2,000 slow clients may add to the balancer's memory: 16 KiB of head each would be 32 MB; twice that is the limit.
MEMORY_LIMIT_KB = 64 * 1024


def resident_kb(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def room_for(count):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 1000) if hard > 0 else count, hard))


def test_two_thousand_slow_heads_are_bounded_in_memory_and_time(lone):
    room_for(SLOW_CLIENTS)
    dial, _, agent = lone(plain(), listener="timeouts: {request_head: 6s}")
    before = resident_kb(agent.balancer)
    began = time.monotonic()
    slow = []
    for _ in range(SLOW_CLIENTS):
        wire = dial()
        wire.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: " + "a" * 4000)
        slow.append(wire)
    took = time.monotonic() - began
    grown = resident_kb(agent.balancer) - before
    assert grown < MEMORY_LIMIT_KB, f"{grown} KB more for {SLOW_CLIENTS} slow clients"
    wire = dial()
    asked = time.monotonic()
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert wire.response()[0].status == 200
    assert time.monotonic() - asked < 2, "others are served meanwhile"
    # The deadline is absolute: one more byte now and then does not move it.
    for wire in slow:
        try:
            wire.send("b")
        except OSError:
            pass
    closed = 0
    deadline = time.monotonic() + 20 + took
    for wire in slow:
        wire.connection.settimeout(max(0.1, deadline - time.monotonic()))
        try:
            wire.rest()
            closed += 1
        except TimeoutError:
            pass
        wire.close()
    assert closed == SLOW_CLIENTS
    assert agent.running()


def test_readers_that_do_not_read_stop_the_writer(lone):
    body = b"z" * 20_000_000

    def behave(_server, wire, _head, _body):
        wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    dial, _, agent = lone(request_loop(behave))
    before = resident_kb(agent.balancer)
    wires = [dial() for _ in range(50)]
    for wire in wires:
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    time.sleep(3)
    grown = resident_kb(agent.balancer) - before
    assert grown < MEMORY_LIMIT_KB, f"{grown} KB more for {len(wires)} readers that do not read"
    head, received = wires[0].response()
    assert head.status == 200 and len(received) == len(body), "a reader that goes on gets everything"


def test_the_number_of_connections_is_limited(lone):
    dial, _, _ = lone(plain(), listener="limits: {connections: 10}")
    held = []
    for _ in range(10):
        wire = dial()
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert wire.response()[0].status == 200
        held.append(wire)
    extra = dial()
    extra.connection.settimeout(3)
    try:
        extra.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = extra.rest()
    except (TimeoutError, OSError):
        answer = b""
    assert not answer.startswith(b"HTTP/1.1 200")
    held[0].send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert held[0].response()[0].status == 200, "those that are in stay in"
    for wire in held:
        wire.close()

    def served():
        wire = dial()
        wire.connection.settimeout(1)
        try:
            wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            return wire.response()[0].status == 200
        except (OSError, EOFError):
            return False
        finally:
            wire.close()

    wait_until(served, 10, "room again")


def test_a_large_body_is_refused_where_the_listener_says_so(lone):
    dial, (server,), _ = lone(plain(), listener="limits: {body_size: 1KiB}")
    wire = dial()
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n")
    assert wire.response()[0].status == 413
    assert server.heads == []
