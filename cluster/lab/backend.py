"""A real web server behind the balancer: nginx, which can fall ill on command."""

import os
import signal
import time

CONFIGURATION = """
daemon off; master_process on; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000; keepalive_timeout 300s; default_type text/plain;
  client_body_temp_path {dir}/tmp; proxy_temp_path {dir}/tmp; fastcgi_temp_path {dir}/tmp;
  uwsgi_temp_path {dir}/tmp; scgi_temp_path {dir}/tmp;
  server {{
    listen {address}:{port} backlog=1024;
    add_header X-Backend {name} always;
    if (-f {dir}/sick) {{ return 500; }}
    location = /healthz {{ return 200 "ok\\n"; }}
    location /files/ {{ alias {dir}/files/; }}
    location / {{ return 200 "{name}\\n"; }}
  }}
}}
"""


class Backend:
    """nginx on a host of the lab, on port 8080. Every answer says in X-Backend who gave it."""

    def __init__(self, host, name=None, port=8080):
        self.host = host
        self.name = name or host.name
        self.port = port
        self.directory = os.path.join(host.directory, f"nginx-{port}")
        self.process = None

    def __repr__(self):
        return f"<backend {self.name} {self.address}>"

    @property
    def address(self):
        return f"{self.host.address}:{self.port}"

    def start(self):
        os.makedirs(os.path.join(self.directory, "files"), exist_ok=True)
        os.makedirs(os.path.join(self.directory, "tmp"), exist_ok=True)
        for directory in (self.directory, os.path.join(self.directory, "tmp"), os.path.join(self.directory, "files")):
            os.chmod(directory, 0o777)
        path = os.path.join(self.directory, "nginx.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(CONFIGURATION.format(dir=self.directory, address=self.host.address, port=self.port, name=self.name))
        self.process = self.host.start("/usr/sbin/nginx", "-p", self.directory, "-c", path, log=f"nginx-{self.port}.log")
        deadline = time.monotonic() + 10
        while self.host.run("curl", "-s", "-o", "/dev/null", "-m", "2", f"http://{self.address}/", check=False).returncode:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"{self.name}: nginx does not answer; see {self.host.directory}/nginx-{self.port}.log")
            time.sleep(0.05)
        return self

    def stop(self):
        """The server is gone: connections are refused."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)

    def fall_ill(self):
        """From now on every request gets a 500."""
        open(os.path.join(self.directory, "sick"), "w", encoding="utf-8").close()

    def recover(self):
        os.unlink(os.path.join(self.directory, "sick"))

    def _signal_all(self, number):
        os.killpg(self.process.pid, number)

    def hang(self):
        """The kernel still accepts connections, and nobody ever answers."""
        self._signal_all(signal.SIGSTOP)

    def wake(self):
        self._signal_all(signal.SIGCONT)
