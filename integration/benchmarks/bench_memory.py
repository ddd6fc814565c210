#!/usr/bin/python3
"""Memory of connections: idle keep-alive clients, and clients that do not read what they asked for.

    bench_memory.py [--idle 9000] [--slow 4000] [--rounds 3] [--json FILE]

afloat-balancer and HAProxy in turn, one thread each, before one nginx, on the loopback of a namespace of their own. `idle`:
so many clients have had one answer each and keep their connection; the growth of the process's resident memory (Pss of
/proc/PID/smaps_rollup), per connection. `slow`: so many clients have asked for 1 MiB and read nothing (their receive
buffers are 4 KiB); resident memory of the process after 5 s. What the kernel keeps in socket buffers is not in it. Each slow
client takes two descriptors of the proxy, so the limit of open files bounds their number.
"""

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "cluster")))

from lab import Agent, Lan, sweep, wait_until  # noqa: E402  (the path comes first)

BACKEND = """
daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/nginx.err crit;
worker_rlimit_nofile 40000;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; default_type text/plain;
  client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir}; uwsgi_temp_path {dir}; scgi_temp_path {dir};
  server {{
    listen 127.0.0.1:9001 backlog=4096;
    location / {{ return 200 "{body}"; }}
    location /files/ {{ alias {dir}/files/; }}
  }}
}}
"""
HAPROXY = """
global
  nbthread 1
  maxconn {most}
defaults
  mode http
  option http-keep-alive
  option forwardfor
  http-reuse always
  timeout connect 3s
  timeout client 600s
  timeout server 600s
listen web
  bind 127.0.0.1:8002 backlog 4096
  server s1 127.0.0.1:9001
"""
AFLOAT = """balancer: {{threads: 1}}
listeners:
  web: {{bind: ["127.0.0.1:8001"], pool: app, limits: {{connections: {most}}}, timeouts: {{idle: 600s}}}}
pools:
  app: {{servers: {{s1: 127.0.0.1:9001}}, check: {{http: /}}}}
"""
CLIENTS = r"""
import resource, select, socket, sys, time
port, count, path, reads = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4] == "reads"
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
clients = []
for number in range(count):
    client = socket.socket()
    if not reads:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(20)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n".encode())
    if reads:
        assert client.recv(4096).startswith(b"HTTP/1.1 200"), number
    clients.append(client)
print("ready", flush=True)
sys.stdin.readline()
"""


def resident(pid):
    """Bytes of a process's own memory."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("Pss:"))


class Proxy:
    """One proxy that runs while it is measured."""

    def __init__(self, host, name, most):
        self.agent = None
        if name == "afloat":
            self.agent = Agent(host, AFLOAT.format(most=most)).start()
            self.port = 8001
            self.pid = wait_until(lambda: self.agent.balancer, 20, "a balancer")
        else:
            path = os.path.join(host.directory, "haproxy.cfg")
            with open(path, "w", encoding="utf-8") as file:
                file.write(HAPROXY.format(most=most))
            self.process = host.start(os.environ.get("HAPROXY", "haproxy"), "-db", "-f", path, log="haproxy.log")
            self.port, self.pid = 8002, self.process.pid
        url = f"http://127.0.0.1:{self.port}/"
        wait_until(lambda: host.run("curl", "-sf", "-m", "1", url, check=False).returncode == 0, 20, f"{name} to answer")

    def stop(self):
        process = self.agent.process if self.agent else self.process
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def measure(host, name, count, path, reads, most):
    """Bytes before and while `count` clients are connected."""
    proxy = Proxy(host, name, most)
    try:
        before = resident(proxy.pid)
        clients = host.start(
            sys.executable, "-c", CLIENTS, str(proxy.port), str(count), path, "reads" if reads else "-",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            if clients.stdout.readline().strip() not in (b"ready", "ready"):
                raise RuntimeError(f"{name}: the clients failed")
            time.sleep(1 if reads else 5)
            return before, resident(proxy.pid)
        finally:
            clients.kill()
            clients.wait(20)
    finally:
        proxy.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=int, default=9_000)
    parser.add_argument("--slow", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    options = parser.parse_args()
    sweep()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    seen = {}
    with Lan(nodes=1, clients=0) as lan:
        host = lan.nodes[0]
        os.mkdir(os.path.join(host.directory, "files"))
        with open(os.path.join(host.directory, "files", "1m"), "wb") as file:
            file.write(os.urandom(1 << 20))
        path = os.path.join(host.directory, "nginx.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(BACKEND.format(dir=host.directory, body="x" * 64))
        host.start("/usr/sbin/nginx", "-p", host.directory, "-c", path, log="nginx.log")
        most = max(options.idle, options.slow) + 20
        for round_number in range(options.rounds):
            for name in ("afloat", "haproxy"):
                before, after = measure(host, name, options.idle, "/", True, most)
                seen.setdefault(f"idle/{name}", []).append((after - before) / options.idle)
                before, after = measure(host, name, options.slow, "/files/1m", False, most)
                seen.setdefault(f"slow/{name}", []).append(after)
            print(f"round {round_number + 1}: " + ", ".join(f"{key} {values[-1]:,.0f} B" for key, values in seen.items()),
                  flush=True)
    for name in ("afloat", "haproxy"):
        idle, slow = (statistics.median(seen[f"{kind}/{name}"]) for kind in ("idle", "slow"))
        print(f"{name:8} {idle:,.0f} bytes per idle connection at {options.idle:,}; "
              f"{slow / 2**20:.0f} MiB resident with {options.slow:,} clients that do not read")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(seen, file, indent=1)


if __name__ == "__main__":
    main()
