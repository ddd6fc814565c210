#!/usr/bin/python3
"""What clients notice of reloads, of servers that come and go, and of servers that are killed: requests that failed.

    bench_resilience.py [--seconds 60] [--connections 8] [--outage 1.5] [--rate 4000] [--only {reloads,servers,kills,quiet,large}]
                        [--json FILE]

Clients send GETs over keep-alive connections to one afloat-balancer before three nginx, all on the loopback of a namespace of
their own, while, for `--seconds` each,

    reloads   the configuration is reloaded without a pause, a weight changed each time;
    servers   50 times a server is added or removed by a reload;
    kills     every 2 s one of the three nginx is killed (SIGKILL, master and workers at once) and started again `--outage` later;
    quiet     99 more pools of 100 servers each are checked every 2 s, and nothing else happens;
    large     with those, the configuration is reloaded every second, a weight changed each time.

Retries are as the defaults of a pool have them but where `--retry` says otherwise.

For the first three wrk asks as fast as it is answered. For the last two, which are about stalls, h2load (Debian's nghttp2-client)
sends `--rate` requests a second. It and the three nginx stand for other machines there: real-time scheduling keeps what has nothing
to do with them from holding them up. What a virtual machine's host takes away is left out: freezes.c notes when nothing runs at
all, and requests that were under way then are counted apart. Both longest latencies are printed.
"""

import argparse
import bisect
import http.client
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.abspath(os.path.join(HERE, "..", "..", "cluster")))

from lab import Agent, Lan, sweep, wait_until  # noqa: E402  (the path comes first)

BACKEND = """
daemon off; master_process off; pid {dir}/nginx-{port}.pid; error_log {dir}/nginx.err crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; default_type text/plain;
  client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir}; uwsgi_temp_path {dir}; scgi_temp_path {dir};
  server {{ listen {port} backlog=4096; location / {{ return 200 "{body}"; }} }}
}}
"""
PORTS = (9001, 9002, 9003)
# Stands for the 9,900 servers that are only checked: what they are asked must not delay requests.
CHECKED = 9004


class UnixConnection(http.client.HTTPConnection):
    """The local API."""

    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Stage:
    """Three nginx and an agent without a cluster."""

    def __init__(self, host, retry):
        self.host = host
        self.retry = retry
        self.servers = {}
        self.meter = os.path.join(host.directory, "freezes")
        subprocess.run(["gcc", "-O2", "-pthread", "-o", self.meter, os.path.join(HERE, "freezes.c")], check=True)
        for port in (*PORTS, CHECKED):
            self.start(port)
        self.agent = Agent(host, self.configuration(PORTS)).start()
        wait_until(lambda: list(self.agent.server_states().values()) == ["up"] * 3, 20, "three servers up")

    def configuration(self, ports, weight=100, more=0):
        def several(pool):
            return ", ".join(f"s{place}: 127.0.{pool + 1}.{place + 1}:{CHECKED}" for place in range(100))

        rest = "".join(f"  p{pool}: {{servers: {{{several(pool)}}}, check: {{http: /}}}}\n" for pool in range(more))
        servers = ", ".join(f"s{port}: {{address: 127.0.0.1:{port}, weight: {weight}}}" for port in ports)
        return f"""listeners:
  web: {{bind: ["127.0.0.1:8001"], pool: app}}
pools:
  app: {{servers: {{{servers}}}, check: {{http: /}}{self.retry}}}
{rest}"""

    def start(self, port):
        path = os.path.join(self.host.directory, f"nginx-{port}.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(BACKEND.format(dir=self.host.directory, port=port, body="x" * 64))
        self.servers[port] = self.host.start(
            "/usr/sbin/nginx", "-p", self.host.directory, "-c", path, log="nginx.log")

    def kill(self, port):
        self.servers[port].send_signal(signal.SIGKILL)
        self.servers[port].wait(10)

    def reload(self, text):
        """Milliseconds until the balancer goes by it."""
        self.agent.write(text)
        api = UnixConnection(self.agent.socket)
        began = time.monotonic()
        api.request("POST", "/v1/reload", "{}", {"Content-Type": "application/json"})
        answer = api.getresponse()
        body = answer.read()
        api.close()
        if answer.status != 200:
            raise RuntimeError(f"a reload was refused: {answer.status} {body[:300]}")
        return (time.monotonic() - began) * 1e3

    def under_load(self, name, seconds, connections, act):
        """Runs wrk, and calls `act` until its time is over. Returns what wrk saw, and what the calls returned."""
        wrk = self.host.start(
            "wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "10s", "--latency",
            "http://127.0.0.1:8001/", log=f"{name}.log")
        done = self.act_for(seconds, act)
        wrk.wait(seconds + 60)
        output = self.read(f"{name}.log")
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
        return {
            "requests": int(re.search(r"(\d+) requests in", output).group(1)),
            "per_second": float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1)),
            "failed": (int(bad.group(1)) if bad else 0) + (sum(map(int, errors.groups())) if errors else 0),
            "p99": re.search(r"99%\s+([\d.]+(?:us|ms|s))", output).group(1),
            "longest": re.search(r"Latency\s+\S+\s+\S+\s+(\S+)", output).group(1),
        }, done

    def at_rate(self, name, seconds, connections, rate, act):
        """The same with h2load."""
        for port in PORTS:
            self.host.run("chrt", "-f", "-p", "1", str(self.servers[port].pid))
        freezes = self.host.start(self.meter, log=f"{name}-freezes.log")
        load = self.host.start(
            "chrt", "-f", "1", "h2load", "--h1", "-t", "1", "-c", str(connections), f"--rps={rate / connections}", "-D", str(seconds),
            f"--log-file={os.path.join(self.host.directory, name)}.requests", "http://127.0.0.1:8001/", log=f"{name}.log")
        done = self.act_for(seconds, act)
        load.wait(seconds + 60)
        freezes.kill()
        freezes.wait()
        for port in PORTS:
            self.host.run("chrt", "-o", "-p", "0", str(self.servers[port].pid))
        # Start and end of each freeze, and of each request, in µs since 1970.
        frozen = [tuple(map(int, line.split())) for line in self.read(f"{name}-freezes.log").splitlines()]
        ends = [end for _, end in sorted(frozen, key=lambda freeze: freeze[1])]
        starts = [start for start, _ in sorted(frozen, key=lambda freeze: freeze[1])]
        requests = [tuple(map(int, line.split())) for line in self.read(f"{name}.requests").splitlines()]
        if not requests:
            raise RuntimeError(f"h2load sent nothing:\n{self.read(f'{name}.log')}")

        def was_frozen(begin, span):
            place = bisect.bisect_left(ends, begin)
            return place < len(ends) and min(starts[place:place + 8]) < begin + span

        spans = sorted(span / 1000 for begin, _, span in requests if not was_frozen(begin, span))
        longest = max(span for _, _, span in requests) / 1000
        return {
            "requests": len(requests),
            "per_second": len(requests) / seconds,
            "failed": sum(status != 200 for _, status, _ in requests),
            "p99": f"{spans[len(spans) * 99 // 100]:.2f}ms",
            "longest": f"{spans[-1]:.2f}ms",
            "with_freezes": f"{longest:.2f}ms with the machine's own {len(frozen)} freezes, of "
                            f"{len(requests) - len(spans)} requests",
        }, done

    @staticmethod
    def act_for(seconds, act):
        done = []
        end = time.monotonic() + seconds - 0.5
        while time.monotonic() < end:
            done.append(act(len(done)))
        return done

    def read(self, name):
        with open(os.path.join(self.host.directory, name), encoding="utf-8") as file:
            return file.read()


def reloads(stage):
    def act(count):
        return stage.reload(stage.configuration(PORTS, 50 + count % 100))

    return act, lambda times: f"{len(times)} reloads, {statistics.median(times):.0f} ms each (longest {max(times):.0f} ms)"


def servers(stage, seconds):
    def act(count):
        stage.reload(stage.configuration(PORTS[:2] if count % 2 == 0 else PORTS))
        time.sleep(max(0.05, (seconds - 2) / 50))
        return count

    return act, lambda counts: f"{len(counts)} additions and removals of a server"


def kills(stage, outage):
    def act(count):
        port = PORTS[count % 3]
        stage.kill(port)
        time.sleep(outage)
        stage.start(port)
        time.sleep(2 - outage)
        return port

    return act, lambda ports: f"{len(ports)} times one of three servers killed, back after {outage} s"


def quiet(stage):
    stage.reload(stage.configuration(PORTS, more=99))
    time.sleep(5)  # all are checked once
    return lambda _: time.sleep(1), lambda times: "100 pools of 100 servers, nothing else"


def large(stage):
    def act(count):
        time.sleep(1)
        return stage.reload(stage.configuration(PORTS, 50 + count % 100, more=99))

    quiet(stage)
    return act, lambda times: f"the same, {len(times)} reloads, {statistics.median(times):.0f} ms each (longest {max(times):.0f} ms)"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--outage", type=float, default=1.5, help="seconds until a killed server is started again, below 2")
    parser.add_argument("--rate", type=int, default=4000, help="requests per second of quiet and large")
    parser.add_argument("--retry", default="", help="of the pool, for instance '{attempts: 2, budget: 50%%}'")
    parser.add_argument("--only", choices=["reloads", "servers", "kills", "quiet", "large"])
    parser.add_argument("--json")
    options = parser.parse_args()
    sweep()
    seen = {}
    with Lan(nodes=1, clients=0) as lan:
        stage = Stage(lan.nodes[0], f", retry: {options.retry}" if options.retry else "")
        try:
            for name, make in (
                ("reloads", reloads), ("servers", lambda s: servers(s, options.seconds)), ("kills", lambda s: kills(s, options.outage)),
                ("quiet", quiet), ("large", large)
            ):  # fmt: skip
                if options.only not in (None, name):
                    continue
                act, words = make(stage)
                if name in ("quiet", "large"):
                    seen[name], done = stage.at_rate(name, options.seconds, options.connections, options.rate, act)
                else:
                    seen[name], done = stage.under_load(name, options.seconds, options.connections, act)
                load = seen[name]
                apart = f"; {load['with_freezes']}" if "with_freezes" in load else ""
                print(f"{name:8} {words(done)}: {load['failed']} of {load['requests']} requests failed "
                      f"({load['per_second']:.0f}/s, p99 {load['p99']}, longest {load['longest']}{apart})", flush=True)
                stage.reload(stage.configuration(PORTS))
        finally:
            stage.agent.process.send_signal(signal.SIGTERM)
            stage.agent.process.wait(20)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(seen, file, indent=1)
    sys.exit(1 if any(load["failed"] for load in seen.values()) else 0)


if __name__ == "__main__":
    main()
