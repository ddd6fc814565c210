#!/usr/bin/python3
"""CPU time per proxied HTTP/1.1 keep-alive request: afloat-balancer and Debian's HAProxy, turn by turn.

    bench_http.py [--rounds 7] [--seconds 3] [--connections 32 256] [--equal-fields] [--json FILE]

Each proxy runs with one thread, pinned to core 0; wrk (one thread) and two nginx backends run on core 1; everything is on
the loopback of a namespace of its own. The CPU time is the scheduler's own (sum of /proc/PID/task/*/schedstat) over one
run of wrk, divided by the requests that wrk counted. Ratios are taken within a round, between runs seconds apart.

HAProxy is set for the least work that still is the same job: round robin over keep-alive connections that are shared
between clients (`http-reuse always`), X-Forwarded-For, no log, no checks. Afloat also writes X-Forwarded-Proto,
X-Forwarded-Host and Via, and checks its servers; `--equal-fields` has HAProxy write these fields too.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "cluster")))

from lab import Agent, Lan, sweep, wait_until  # noqa: E402  (the path comes first)

NGINX = """
daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/nginx.err crit;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; default_type text/plain;
  client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir}; uwsgi_temp_path {dir}; scgi_temp_path {dir};
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 "{body}"; }} }}
}}
"""
HAPROXY = """
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  option http-keep-alive
  option forwardfor
  http-reuse always
  timeout connect 3s
  timeout client 60s
  timeout server 60s
frontend web
  bind 127.0.0.1:8002
{fields}  default_backend app
backend app
  balance roundrobin
  server s1 127.0.0.1:9001
  server s2 127.0.0.1:9002
"""
FIELDS = """  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  http-request add-header Via "1.1 haproxy"
  http-response add-header Via "1.1 haproxy"
"""
AFLOAT = """balancer: {threads: 1}
listeners:
  web: {bind: ["127.0.0.1:8001"], pool: app}
pools:
  app:
    servers: {s1: 127.0.0.1:9001, s2: 127.0.0.1:9002}
    check: {http: /}
"""


def cpu_nanoseconds(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total


def resident_mb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:")) / 1024


def one_run(host, pid, port, connections, seconds):
    """One run of wrk: µs of the proxy's CPU per request, requests per second, p99 in ms."""
    before = cpu_nanoseconds(pid)
    output = host.run(
        "taskset", "-c", "1", "wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--latency",
        f"http://127.0.0.1:{port}/", timeout=seconds + 60).stdout
    spent = cpu_nanoseconds(pid) - before
    requests = int(re.search(r"(\d+) requests in", output).group(1))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", output), re.search(r"Socket errors: (.*)", output)
    if any(bad):
        raise RuntimeError(f"port {port}: wrk saw errors:\n{output}")
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", output).groups()
    return {
        "us": spent / 1000 / requests,
        "per_second": float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1)),
        "p99_ms": float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit],
        "rss_mb": resident_mb(pid),
    }


def start_all(host, equal_fields):
    """Starts backends and both proxies; returns name → (pid of the proxying process, port), and the agent."""
    for port in (9001, 9002):
        path = os.path.join(host.directory, f"nginx-{port}.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(NGINX.format(dir=host.directory, port=port, body="x" * 64))
        host.start("taskset", "-c", "1", "/usr/sbin/nginx", "-p", host.directory, "-c", path, log="nginx.log")
    path = os.path.join(host.directory, "haproxy.cfg")
    with open(path, "w", encoding="utf-8") as file:
        file.write(HAPROXY.format(fields=FIELDS if equal_fields else ""))
    haproxy = host.start("taskset", "-c", "0", "haproxy", "-db", "-f", path, log="haproxy.log")
    agent = Agent(host, AFLOAT)
    # The agent and its children inherit the mask: the balancer's thread runs on core 0.
    mask = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0})
    agent.start()
    os.sched_setaffinity(0, mask)
    for port in (8001, 8002):
        wait_until(lambda port=port: host.run("curl", "-sf", "-m", "1", f"http://127.0.0.1:{port}/", check=False).returncode == 0,
                   20, f"an answer on port {port}")
    return {"afloat": (agent.balancer, 8001), "haproxy": (haproxy.pid, 8002)}, agent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--equal-fields", action="store_true")
    parser.add_argument("--json")
    options = parser.parse_args()
    if os.cpu_count() < 2:
        sys.exit("the comparison needs two cores")
    sweep()
    version = subprocess.run(["haproxy", "-v"], capture_output=True, text=True).stdout.splitlines()[0].split(" - ")[0]
    print(f"{version}, wrk {options.seconds} s per run, {options.rounds} interleaved rounds; one thread each on core 0, "
          "wrk and nginx on core 1")
    seen = {}
    with Lan(nodes=1, clients=0) as lan:
        proxies, agent = start_all(lan.nodes[0], options.equal_fields)
        for connections in options.connections:
            runs = seen[connections] = {name: [] for name in proxies}
            for pid, port in proxies.values():  # to warm up, not counted
                one_run(lan.nodes[0], pid, port, connections, 1)
            for number in range(options.rounds):
                for name in list(proxies) if number % 2 == 0 else reversed(list(proxies)):
                    pid, port = proxies[name]
                    runs[name].append(one_run(lan.nodes[0], pid, port, connections, options.seconds))
            print(f"\n{connections} connections: median (least–most)")
            for name in proxies:
                cpu = [run["us"] for run in runs[name]]
                print(f"  {name:8} {statistics.median(cpu):6.2f} µs per request ({min(cpu):.2f}–{max(cpu):.2f})   "
                      f"{statistics.median(run['per_second'] for run in runs[name]):8,.0f} requests/s   "
                      f"p99 {statistics.median(run['p99_ms'] for run in runs[name]):6.2f} ms   "
                      f"{runs[name][-1]['rss_mb']:5.1f} MB")
            ratios = [ours["us"] / theirs["us"] for ours, theirs in zip(runs["afloat"], runs["haproxy"])]
            print(f"  ratio    {statistics.median(ratios):6.2f}   ({min(ratios):.2f}–{max(ratios):.2f}); "
                  "below 1: Afloat needs less CPU", flush=True)
        agent.process.send_signal(signal.SIGTERM)
        agent.process.wait(20)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({str(key): value for key, value in seen.items()}, file, indent=1)


if __name__ == "__main__":
    main()
