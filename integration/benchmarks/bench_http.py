#!/usr/bin/python3
"""CPU time, throughput and latency of proxying: afloat-balancer, HAProxy and nginx, turn by turn.

    bench_http.py [--rounds 5] [--seconds 3] [--connections 4 32 256 2000] [--scenario NAME …] [--threads 1] [--no-nginx]
                  [--beside HAPROXY] [--rate N] [--congestion bbr] [--json FILE] [--list]

Each proxy runs with one thread, pinned to core 0; wrk (one thread) and the nginx backends run on core 1; everything is on
the loopback of a namespace of its own. With `--threads 2` nothing is pinned. The CPU time is the scheduler's own (sum of
/proc/PID/task/*/schedstat) over one run of wrk, divided by the requests, or the GiB, that wrk counted. Ratios are taken
within a round, between runs seconds apart.

wrk asks as fast as it is answered: latencies are those of a full second core, and a faster proxy fills it more. `--rate N` asks
for N requests a second of each instead (h2load of Debian's nghttp2-client): latencies at the same load.

HAProxy (`HAPROXY=PATH` for another than Debian's; `--beside PATH` for one more, `newer` in the tables) is set for the least work
that still is the same job: round robin over keep-alive connections that are shared between clients (`http-reuse always`),
X-Forwarded-For, no log, no checks. Afloat also writes X-Forwarded-Proto, X-Forwarded-Host and Via, and checks its servers. In the
scenario `features` both keep the client on its server by cookie, write the three X-Forwarded fields, set one more field and write an
access log to a file. The scenario `costs` is Afloat alone: what each feature adds to a request.

`shuttle` (shuttle.c) is what passing bytes costs at the least: it reads and writes them and looks at nothing. Nobody who does the
same by the same calls can need less; what of a proxy's cost is its own, and not the kernel's, is what lies above it.
"""

import argparse
import functools
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "cluster")))

from lab import Agent, Lan, sweep, wait_until  # noqa: E402  (the path comes first)

HAPROXY_PROGRAM = os.environ.get("HAPROXY", "haproxy")
with open("/proc/sys/net/ipv4/tcp_available_congestion_control", encoding="ascii") as available:
    AVAILABLE = available.read()
BACKEND = """
daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/nginx.err crit;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; default_type text/plain;
  sendfile on; tcp_nopush on;
  client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir}; uwsgi_temp_path {dir}; scgi_temp_path {dir};
  server {{
    listen {port} backlog=4096;
    location / {{ return 200 "{body}"; }}
    location /files/ {{ alias {files}/; open_file_cache max=16; }}
  }}
}}
"""
NGINX = """
daemon off; master_process off; pid {dir}/proxy.pid; error_log {dir}/proxy.err crit;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s;
  client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir}; uwsgi_temp_path {dir}; scgi_temp_path {dir};
  upstream app {{ server 127.0.0.1:9001; server 127.0.0.1:9002; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:8003 backlog=4096;
    location / {{
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"""
HAPROXY = """
global
  nbthread {threads}
  maxconn 6000
  {tuning}
  log stdout format raw local0
defaults
  mode http
  option http-keep-alive
  option forwardfor
  http-reuse always
  timeout connect 3s
  timeout client 60s
  timeout server 60s
frontend web
  bind 127.0.0.1:{http}
  default_backend app
backend app
  balance roundrobin
  server s1 127.0.0.1:9001
  server s2 127.0.0.1:9002
frontend features
  bind 127.0.0.1:{features}
  log global
  option httplog
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  http-request set-header X-Zone a
  default_backend kept
backend kept
  balance roundrobin
  cookie KEPT insert indirect nocache
  server s1 127.0.0.1:9001 cookie one
  server s2 127.0.0.1:9002 cookie two
listen tcp
  mode tcp
  {splice}
  bind 127.0.0.1:{tcp}
  server s1 127.0.0.1:9001
  server s2 127.0.0.1:9002
"""
AFLOAT = """balancer: {{threads: {threads}}}
listeners:
  web: {{bind: ["127.0.0.1:8001"], pool: app}}
  tcp: {{bind: ["127.0.0.1:8021"], mode: tcp, pool: plain}}
pools:
  app:
    servers: {{s1: 127.0.0.1:9001, s2: 127.0.0.1:9002}}
    check: {{http: /}}
  plain:
    servers: {{s1: 127.0.0.1:9001, s2: 127.0.0.1:9002}}
    check: {{tcp: {{}}}}
"""
FEATURES = """balancer: {{threads: {threads}}}
log: {{access: {{to: {dir}/access.log, format: hap}}}}
listeners:
  features:
    bind: ["127.0.0.1:8011"]
    routes:
      - {{match: {{path_prefix: /}}, pool: app, headers: {{request: {{set: {{X-Zone: a}}}}}}}}
pools:
  app:
    affinity: {{cookie: {{}}}}
    servers: {{s1: 127.0.0.1:9001, s2: 127.0.0.1:9002}}
    check: {{http: /}}
"""
# What each feature costs, one per listener; one nginx is both servers, so that who is kept on its server meets the same.
COSTS = """balancer: {{threads: {threads}}}
listeners:
  none: {{bind: ["127.0.0.1:{none}"], pool: app}}
  cookie: {{bind: ["127.0.0.1:{cookie}"], pool: kept}}
  request: {{bind: ["127.0.0.1:{request}"], routes: [{{pool: app, headers: {{request: {{set: {{X-Zone: a}}}}}}}}]}}
  response: {{bind: ["127.0.0.1:{response}"], routes: [{{pool: app, headers: {{response: {{set: {{X-Zone: a}}}}}}}}]}}
  routes: {{bind: ["127.0.0.1:{routes}"], pool: app, routes: [{twenty}]}}
  regex: {{bind: ["127.0.0.1:{regex}"], pool: app, routes: [{{match: {{path_regex: "^/v[0-9]+/"}}, respond: {{}}}}]}}
  rate: {{bind: ["127.0.0.1:{rate}"], routes: [{{pool: app, rate_limit: {{per: source, requests: 1000000}}}}]}}
  source: {{bind: ["127.0.0.1:{source}"], pool: hashed}}
  least: {{bind: ["127.0.0.1:{least}"], pool: least}}
  served: {{bind: ["127.0.0.1:{served}"], pool: app, served_by_header: X-Served-By}}
pools:
  app: {{servers: {{s1: 127.0.0.1:9001, s2: 127.0.0.2:9001}}, check: {{http: /}}}}
  kept: {{servers: {{s1: 127.0.0.1:9001, s2: 127.0.0.2:9001}}, check: {{http: /}}, affinity: {{cookie: {{}}}}}}
  hashed: {{servers: {{s1: 127.0.0.1:9001, s2: 127.0.0.2:9001}}, check: {{http: /}}, affinity: source}}
  least: {{servers: {{s1: 127.0.0.1:9001, s2: 127.0.0.2:9001}}, check: {{http: /}}, balance: least_connections}}
"""
FEATURE_PORTS = {name: 8301 + place for place, name in enumerate((
    "none", "cookie", "request", "response", "routes", "regex", "rate", "source", "least", "served"))}  # fmt: skip
TWENTY_ROUTES = ", ".join(f"{{match: {{host: h{n}.example, path_prefix: /{n}}}, respond: {{}}}}" for n in range(20))
# name: what is measured, path, connections (None: as asked for), whether per GiB, further arguments of wrk, who takes part
SCENARIOS = {
    "plain": ("keep-alive, 64 bytes", "/", None, False, [], ["afloat", "haproxy", "newer", "nginx", "shuttle"]),
    "features": ("cookie, X-Forwarded-*, a header, access log", "/", [32], False, [],
                 ["afloat-features", "haproxy-features", "newer-features"]),
    "close": ("connection per request", "/", [32], False, ["-H", "Connection: close"],
              ["afloat", "haproxy", "newer", "nginx"]),
    "16k": ("keep-alive, 16 KiB", "/files/16k", [32], False, [], ["afloat", "haproxy", "newer", "nginx", "shuttle"]),
    "1m": ("keep-alive, 1 MiB", "/files/1m", [16], False, [], ["afloat", "haproxy", "newer", "nginx", "shuttle"]),
    "tcp": ("TCP mode, ping-pong of 64 bytes", "/", [32], False, [], ["afloat-tcp", "haproxy-tcp", "newer-tcp", "shuttle"]),
    "tcp-bulk": ("TCP mode, 64 MiB a message", "/files/64m", [1, 16], True, [], ["afloat-tcp", "haproxy-splice", "haproxy-256k"]),
    "costs": ("what each feature adds", "/", [32], False, [], [*FEATURE_PORTS, "log"]),
}


def cpu_nanoseconds(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total


def resident_mb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:")) / 1024


def milliseconds(number, unit):
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


class Stage:
    """Backends and proxies in one namespace."""

    def __init__(self, host, options, needs):
        self.host = host
        self.threads = threads = options.threads
        self.own, self.others = (("taskset", "-c", "0"), ("taskset", "-c", "1")) if threads == 1 else ((), ())
        self.agents = []
        self.proxies = {}
        files = os.path.join(host.directory, "files")
        os.mkdir(files)
        for name, size in (("16k", 16 << 10), ("1m", 1 << 20), ("64m", 64 << 20)):
            with open(os.path.join(files, name), "wb") as file:
                file.write(os.urandom(1 << 14) * (size >> 14))
        for port in (9001, 9002):
            path = self._write(f"nginx-{port}.conf", BACKEND.format(dir=host.directory, port=port, body="x" * 64, files=files))
            host.start(*self.others, "/usr/sbin/nginx", "-p", host.directory, "-c", path, log="nginx.log")
        plain = self._haproxy("haproxy", 8002, 8012, 8022)
        self.proxies["haproxy"] = plain, 8002
        self.proxies["haproxy-features"] = plain, 8012
        self.proxies["haproxy-tcp"] = plain, 8022
        if "haproxy-splice" in needs:
            self.proxies["haproxy-splice"] = self._haproxy("splice", 8102, 8112, 8122, splice="option splice-auto"), 8122
        if "haproxy-256k" in needs:
            self.proxies["haproxy-256k"] = self._haproxy("256k", 8202, 8212, 8222, tuning="tune.bufsize 262144"), 8222
        if options.beside:
            newer = self._haproxy("newer", 8702, 8712, 8722, program=options.beside)
            self.proxies |= {"newer": (newer, 8702), "newer-features": (newer, 8712), "newer-tcp": (newer, 8722)}
        if "shuttle" in needs and threads == 1:
            shuttle = os.path.join(host.directory, "shuttle")
            source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shuttle.c")
            subprocess.run(["cc", "-O2", "-o", shuttle, source], check=True)
            self.proxies["shuttle"] = host.start(*self.own, shuttle, "8800", "9001", "9002", log="shuttle.log").pid, 8800
        if not options.no_nginx:
            path = self._write("proxy.conf", NGINX.format(dir=host.directory))
            self.proxies["nginx"] = host.start(*self.own, "/usr/sbin/nginx", "-p", host.directory, "-c", path, log="proxy.log").pid, 8003
        pid = self._afloat(AFLOAT)
        self.proxies["afloat"] = pid, 8001
        self.proxies["afloat-tcp"] = pid, 8021
        if "afloat-features" in needs:
            self.proxies["afloat-features"] = self._afloat(FEATURES), 8011
        if "log" in needs:
            pid = self._afloat(COSTS, twenty=TWENTY_ROUTES, **FEATURE_PORTS)
            self.proxies |= {name: (pid, port) for name, port in FEATURE_PORTS.items()}
            log = "log: {{access: {{to: {dir}/access.log}}}}\n"
            ports = {name: port + 100 for name, port in FEATURE_PORTS.items()}
            self.proxies["log"] = self._afloat(log + COSTS, twenty=TWENTY_ROUTES, **ports), ports["none"]
        for _, port in self.proxies.values():
            wait_until(lambda port=port: self._get(port, "-f").returncode == 0, 20, f"an answer on port {port}")

    def _write(self, name, text):
        path = os.path.join(self.host.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def _get(self, port, *arguments):
        return self.host.run("curl", "-s", "-m", "1", *arguments, f"http://127.0.0.1:{port}/", check=False)

    def _haproxy(self, name, http, features, tcp, splice="", tuning="", program=HAPROXY_PROGRAM):
        path = self._write(f"{name}.cfg", HAPROXY.format(
            threads=self.threads, http=http, features=features, tcp=tcp, splice=splice, tuning=tuning))
        return self.host.start(*self.own, program, "-db", "-f", path, log=f"{name}.log").pid

    def _afloat(self, configuration, **values):
        directory = os.path.join(self.host.directory, f"agent-{len(self.agents)}")
        os.mkdir(directory)
        everywhere, self.host.directory = self.host.directory, directory
        try:
            agent = Agent(self.host, configuration.format(threads=self.threads, dir=directory, **values))
        finally:
            self.host.directory = everywhere
        # The agent and its children inherit the mask: the balancer's thread runs on core 0.
        mask = os.sched_getaffinity(0)
        if self.threads == 1:
            os.sched_setaffinity(0, {0})
        agent.start()
        os.sched_setaffinity(0, mask)
        self.agents.append(agent)
        return wait_until(lambda: agent.balancer, 20, "a balancer")

    def cookie(self, port):
        """What the client brings along so as to stay on its server."""
        found = re.search(r"(?im)^set-cookie: ([^;\r]+)", self._get(port, "-i").stdout)
        return ["-H", f"Cookie: {found.group(1)}"] if found else []

    def run(self, name, path, connections, seconds, arguments):
        """One run of wrk: CPU in ns, requests, bytes, requests per second, p50 and p99 in ms, RSS in MB."""
        pid, port = self.proxies[name]
        before = cpu_nanoseconds(pid)
        output = self.host.run(
            *self.others, "wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--latency", "--timeout", "20s",
            *arguments, f"http://127.0.0.1:{port}{path}", timeout=seconds + 60).stdout
        spent = cpu_nanoseconds(pid) - before
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", output), re.search(r"Socket errors: (.*)", output)
        if any(bad):
            raise RuntimeError(f"{name}: wrk saw errors:\n{output}")
        requests, amount, unit = re.search(r"(\d+) requests in [^,]+, ([\d.]+)(KB|MB|GB) read", output).groups()
        return {
            "cpu_ns": spent,
            "requests": int(requests),
            "gib": float(amount) * {"KB": 2 ** -20, "MB": 2 ** -10, "GB": 1}[unit],
            "per_second": float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1)),
            "p50_ms": milliseconds(*re.search(r"50%\s+([\d.]+)(us|ms|s)", output).groups()),
            "p99_ms": milliseconds(*re.search(r"99%\s+([\d.]+)(us|ms|s)", output).groups()),
            "rss_mb": resident_mb(pid),
        }

    def run_at(self, rate, name, path, connections, seconds, arguments):
        """The same by h2load, at a given rate of requests per second."""
        pid, port = self.proxies[name]
        log = os.path.join(self.host.directory, "h2load.log")
        before = cpu_nanoseconds(pid)
        output = self.host.run(
            *self.others, "h2load", "--h1", "-t", "1", "-c", str(connections), f"--rps={rate / connections}", "-D", str(seconds),
            f"--log-file={log}", *arguments, f"http://127.0.0.1:{port}{path}", timeout=seconds + 60).stdout
        spent = cpu_nanoseconds(pid) - before
        with open(log, encoding="ascii") as file:
            lines = [line.split() for line in file]
        os.unlink(log)
        if any(line[1] != "200" for line in lines):
            raise RuntimeError(f"{name}: h2load saw errors:\n{output}")
        spans = sorted(int(line[2]) / 1000 for line in lines)
        return {
            "cpu_ns": spent,
            "requests": len(spans),
            "gib": 0.0,
            "per_second": len(spans) / seconds,
            "p50_ms": spans[len(spans) // 2],
            "p99_ms": spans[len(spans) * 99 // 100],
            "rss_mb": resident_mb(pid),
        }

    def stop(self):
        for agent in self.agents:
            agent.process.send_signal(signal.SIGTERM)
            agent.process.wait(20)


def cost(run, per_gib):
    """µs of CPU per request, or s per GiB."""
    return run["cpu_ns"] / 1e9 / run["gib"] if per_gib else run["cpu_ns"] / 1000 / run["requests"]


def measure(stage, scenario, connections, options):
    """Interleaved runs of one scenario; prints and returns name → runs."""
    title, path, _, per_gib, arguments, names = SCENARIOS[scenario]
    names = [name for name in names if name in stage.proxies]
    extra = {name: stage.cookie(stage.proxies[name][1]) if scenario in ("features", "costs") else [] for name in names}
    runs = {name: [] for name in names}
    for number in range(-1, options.rounds):  # the first is to warm up and not counted
        for name in names if number % 2 == 0 else reversed(names):
            run = functools.partial(stage.run_at, options.rate) if options.rate else stage.run
            result = run(name, path, connections, options.seconds if number >= 0 else 1, arguments + extra[name])
            if number >= 0:
                runs[name].append(result)
    print(f"\n{scenario}: {title}, {connections} connections: median (least–most)")
    for name in names:
        cpu = [cost(run, per_gib) for run in runs[name]]
        middle = {key: statistics.median(run[key] for run in runs[name]) for key in runs[name][0]}
        print(f"  {name:16} {statistics.median(cpu):7.2f} {'s per GiB' if per_gib else 'µs per request'} "
              f"({min(cpu):.2f}–{max(cpu):.2f})  {middle['per_second']:8,.0f} requests/s  p50 {middle['p50_ms']:6.2f}  "
              f"p99 {middle['p99_ms']:6.2f} ms  {middle['rss_mb']:5.1f} MB")
    if scenario == "costs":
        for name in names[1:]:
            more = [cost(run, False) - cost(base, False) for run, base in zip(runs[name], runs[names[0]])]
            print(f"  {name:16} {statistics.median(more):+7.2f} µs per request ({min(more):+.2f}–{max(more):+.2f})", flush=True)
        return runs
    for other in names[1:]:
        ratios = [cost(ours, per_gib) / cost(theirs, per_gib) for ours, theirs in zip(runs[names[0]], runs[other])]
        # A run of few large messages may end before the first of them.
        tails = [ours["p99_ms"] / theirs["p99_ms"] if theirs["p99_ms"] else math.nan for ours, theirs in zip(runs[names[0]], runs[other])]
        print(f"  {'ratio':16} {statistics.median(ratios):7.2f} to {other} ({min(ratios):.2f}–{max(ratios):.2f}), "
              f"p99 {statistics.median(tails):.2f} ({min(tails):.2f}–{max(tails):.2f}); below 1: Afloat needs less", flush=True)
    return runs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[4, 32, 256, 2000], help="of the scenario plain")
    parser.add_argument("--scenario", nargs="+", choices=list(SCENARIOS), default=list(SCENARIOS))
    parser.add_argument("--threads", type=int, default=1, choices=[1, 2])
    parser.add_argument("--no-nginx", action="store_true")
    parser.add_argument("--beside", metavar="HAPROXY", help="another HAProxy in the same rounds")
    parser.add_argument("--rate", type=int, help="requests per second, the same for each; not for tcp-bulk and close")
    parser.add_argument(
        "--congestion", default="cubic", choices=AVAILABLE.split(),
        help="TCP's congestion control for all of them, cubic as Linux has it where nobody chose: bbr paces what it sends with timers")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument("--json")
    options = parser.parse_args()
    if options.list:
        for name, scenario in SCENARIOS.items():
            print(f"{name:10} {scenario[0]}")
        return
    if options.rate and not {"tcp-bulk", "close"}.isdisjoint(options.scenario):
        parser.error("--rate is for requests on connections that are kept: choose scenarios other than tcp-bulk and close")
    if os.cpu_count() < 2:
        sys.exit("the comparison needs two cores")
    sweep()
    programs = [HAPROXY_PROGRAM, *([options.beside] if options.beside else [])]
    version = " and ".join(
        subprocess.run([program, "-v"], capture_output=True, text=True).stdout.splitlines()[0].split(" - ")[0] for program in programs)
    nginx = subprocess.run(["/usr/sbin/nginx", "-v"], capture_output=True, text=True).stderr.strip().split(": ")[-1]
    place = "pinned to core 0, wrk and the backends on core 1" if options.threads == 1 else "nothing pinned"
    load = f"h2load at {options.rate} requests/s," if options.rate else "wrk"
    print(f"{version}, {nginx}; {load} {options.seconds} s a run, {options.rounds} interleaved rounds; "
          f"{options.threads} thread{'s' if options.threads > 1 else ''} each, {place}")
    seen = {}
    needs = {name for scenario in options.scenario for name in SCENARIOS[scenario][5]}
    with Lan(nodes=1, clients=0) as lan:
        # By the routes: a namespace may not be free to choose its own default.
        for destination in ("127.0.0.0/8", "127.0.0.1"):
            lan.nodes[0].run("ip", "route", "change", "local", destination, "dev", "lo", "table", "local", "congctl", options.congestion)
        print(f"congestion control: {options.congestion}")
        stage = Stage(lan.nodes[0], options, needs)
        for scenario in options.scenario:
            for connections in SCENARIOS[scenario][2] or options.connections:
                seen[f"{scenario}/{connections}"] = measure(stage, scenario, connections, options)
        stage.stop()
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"versions": [version, nginx], "runs": seen}, file, indent=1)


if __name__ == "__main__":
    main()
