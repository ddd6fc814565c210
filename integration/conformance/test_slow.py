"""slowhttptest in its three ways of being slow: others are served meanwhile, the slow ones are cut off, memory is bounded."""

import multiprocessing
import subprocess
import threading
import time

import pytest
from balancer_backends import Client, http_backend
from balancer_harness import Balancer, listener, pool, server

ATTACKERS = 200
# What slow clients may add to the balancer's memory: 16 KiB for a head each, and as much again.
MEMORY_LIMIT = ATTACKERS * 32 * 1024
# Longest that a polite client may wait on a busy machine; it takes a millisecond on a quiet one.
PATIENCE = 3.0
CONTENT = b"c" * (1 << 20)
# They come within a second or two, have 2 s, and as much for a last answer: so they are gone after 6 s, on a busy machine later.
CUT_OFF = 25.0
FEW = ATTACKERS // 20
WAYS = {
    # They send one more line, or two more bytes, each second, for ever.
    "headers": ["-H", "-i", "1", "-x", "8", "-t", "GET"],
    "body": ["-B", "-i", "1", "-x", "2", "-s", "8192", "-t", "POST"],
    # They read 32 bytes each second, through a window that is hardly larger.
    "read": ["-X", "-n", "1", "-z", "32", "-w", "512", "-y", "1024"],
}


def attack(port, options, seconds):
    command = ["slowhttptest", *options, "-c", str(ATTACKERS), "-r", "200", "-l", str(seconds), "-p", "3"]
    return subprocess.Popen(
        [*command, "-u", f"http://127.0.0.1:{port}/slow"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def backend_in_a_process():
    """A server whose threads do not take the polite client's turns: (address, process)."""
    ours, theirs = multiprocessing.Pipe()

    def serve():
        backend = http_backend("s", lambda first, *_: (200, "", CONTENT if "/slow" in first else b"ok"))
        theirs.send(backend.at)
        threading.Event().wait()

    process = multiprocessing.get_context("fork").Process(target=serve, daemon=True)
    process.start()
    return ours.recv(), process


@pytest.mark.parametrize("way", WAYS)
def test_slow_clients_starve_nobody_and_are_cut_off(way):
    address, backend = backend_in_a_process()
    listeners = [listener("web", ["127.0.0.1:0"], "app", head=2, body=2, idle=2)]
    with Balancer(listeners, [pool("app", [server("s", address)])]) as balancer:
        time.sleep(0.1)
        before, largest, slowest, served, open_most, open_now = balancer.rss(), 0, 0.0, 0, 0, 0
        attacker = attack(balancer.port, WAYS[way], 30)
        began = time.monotonic()
        while time.monotonic() - began < CUT_OFF and not (open_most > ATTACKERS // 2 and open_now < FEW):
            asked = time.monotonic()
            with Client(balancer.port) as client:
                assert client.get("/polite")[0] == 200
            slowest, served = max(slowest, time.monotonic() - asked), served + 1
            largest = max(largest, balancer.rss() - before)
            open_now = balancer.status["listeners"][0]["connections"] if balancer.status else 0
            open_most = max(open_most, open_now)
            time.sleep(0.02)
        took = time.monotonic() - began
        attacker.terminate()
        output = attacker.communicate(timeout=20)[0]
        backend.terminate()
        print(f"{way}: {served} polite requests, the slowest {slowest:.3f} s; {open_most} connections at most, {open_now} after "
              f"{took:.1f} s; {largest >> 10} KiB more memory")
        assert open_most > ATTACKERS // 2, f"the attack was none: {output[-2000:]}"
        assert slowest < PATIENCE
        assert open_now < FEW, f"{open_now} are still connected after {took:.1f} s"
        assert largest < MEMORY_LIMIT, f"{largest} bytes for {ATTACKERS} slow clients"
