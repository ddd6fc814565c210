#!/usr/bin/python3
"""CPU time of health checks alone: 100 pools of 100 servers, each checked every 2 s by HTTP, Afloat beside HAProxy.

    bench_checks.py [--rounds 5] [--seconds 10] [--pools 100] [--servers 100] [--haproxy PATH]

One nginx answers all checks on the loopback. Each program runs alone, turn by turn, pinned to one core; its CPU time is the
scheduler's own over the measured seconds, after all servers are up. HAProxy runs with one thread, its fewest.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "integration", "balancer"))

from balancer_harness import Balancer, http_check, listener, pool, server  # noqa: E402  (the path comes first)

PORT = 18080


def nginx(directory):
    with open(f"{directory}/nginx.conf", "w") as file:
        file.write(
            f"daemon off; master_process off; user root; pid {directory}/nginx.pid; error_log {directory}/err crit;"
            "events { worker_connections 8192; } http { access_log off;"
            + "".join(f"{kind}_temp_path {directory};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            + f'server {{ listen 127.0.0.1:{PORT} backlog=4096; location / {{ return 200 "ok"; }} }} }}'
        )
    return subprocess.Popen(["nginx", "-p", directory, "-c", f"{directory}/nginx.conf"], stderr=subprocess.DEVNULL)


def cpu_seconds(pid):
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def measure(pid, seconds):
    before, started = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.monotonic() - started) * 1000


def afloat(options):
    pools = [
        pool(f"p{index}", [server(f"s{place}", f"127.0.0.1:{PORT}") for place in range(options.servers)],
             check=http_check("/", every=2, timeout=1))
        for index in range(options.pools)
    ]  # fmt: skip
    listeners = [listener("web", ["127.0.0.1:0"], "p0")]
    with Balancer(listeners, pools, prefix=["taskset", "-c", "0"]) as balancer:
        balancer.wait_up(60)
        time.sleep(2)
        return measure(balancer.process.pid, options.seconds), balancer.rss() >> 20


def haproxy(options, directory):
    with open(f"{directory}/haproxy.cfg", "w") as file:
        file.write("global\n nbthread 1\n maxconn 1000\ndefaults\n mode http\n timeout connect 1s\n timeout client 1m\n")
        file.write(" timeout server 1m\n timeout check 1s\nfrontend web\n bind 127.0.0.1:18081\n default_backend p0\n")
        for index in range(options.pools):
            file.write(f"backend p{index}\n option httpchk GET /\n default-server check inter 2s rise 2 fall 3\n")
            for place in range(options.servers):
                file.write(f" server s{place} 127.0.0.1:{PORT}\n")
    command = ["taskset", "-c", "0", options.haproxy, "-db", "-q", "-f", f"{directory}/haproxy.cfg"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        time.sleep(6)
        assert process.poll() is None, "haproxy has ended"
        with open(f"/proc/{process.pid}/statm") as file:
            rss = int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") >> 20
        return measure(process.pid, options.seconds), rss
    finally:
        process.terminate()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in [("rounds", 5), ("seconds", 10), ("pools", 100), ("servers", 100)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--haproxy", default="haproxy")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as directory:
        server = nginx(directory)
        try:
            time.sleep(0.5)
            ratios = []
            for number in range(options.rounds):
                ours, our_memory = afloat(options)
                theirs, their_memory = haproxy(options, directory)
                ratios.append(ours / theirs)
                print(
                    f"round {number + 1}: afloat {ours:.0f} ms/s ({our_memory} MiB), haproxy {theirs:.0f} ms/s "
                    f"({their_memory} MiB), ratio {ratios[-1]:.2f}", flush=True,
                )  # fmt: skip
            print(f"median ratio {statistics.median(ratios):.2f} (bar: 0.80)")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
