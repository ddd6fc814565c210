"""Servers that are told by a PROXY header who is connected: nginx, which takes nothing else there, and bytes looked at."""

import os
import socket
import struct

import pytest
from lab import Lan, wait_until
from lone_balancer import start_with
from peers import Server

NGINX = """
daemon off; master_process off; pid {dir}/told.pid; error_log {dir}/told.err;
events {{}}
http {{
  access_log off;
  client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir}; uwsgi_temp_path {dir}; scgi_temp_path {dir};
  server {{
    listen {address}:8081 proxy_protocol;
    location / {{ return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port $connection"; }}
  }}
}}
"""
CONFIGURATION = """listeners:
  one: {bind: ["*:80"], pool: one}
  two: {bind: ["*:81"], pool: two}
  raw: {bind: ["*:25"], mode: tcp, pool: raw}
  in: {bind: [{address: "*:26", proxy_protocol: yes}], mode: tcp, pool: raw}
  silent: {bind: ["*:27"], mode: tcp, pool: silent}
pools:
  one: {servers: {s1: {address: "{nginx}", proxy_protocol: v1}}, check: {http: /, every: 200ms, timeout: 150ms}}
  two: {servers: {s1: {address: "{nginx}", proxy_protocol: v2}}, check: {http: /, every: 200ms, timeout: 150ms}}
  raw: {servers: {s1: {address: "{raw}", proxy_protocol: v2}}, check: none}
  silent: {servers: {s1: {address: "{silent}", proxy_protocol: v1}}}
"""


def tell(_server, wire):
    """Sends back the header that it got, in hexadecimal, and whatever follows it."""
    head = wire.take(16)
    rest = wire.take(struct.unpack(">H", head[14:16])[0])
    wire.send((head + rest).hex().encode() + b"\n")
    wire.send(wire.until(b"\n"))


def echo_later(_server, wire):
    """Says nothing before the client has, as most servers."""
    wire.until(b"\r\n")
    wire.send(wire.until(b"\n"))


@pytest.fixture(scope="module")
def site():
    with Lan(nodes=1, backends=2) as lan:
        host = lan.backends[0]
        path = os.path.join(host.directory, "told.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(NGINX.format(dir=host.directory, address=host.address))
        os.chmod(host.directory, 0o777)
        host.start("/usr/sbin/nginx", "-p", host.directory, "-c", path, log="told.log")
        raw = Server(lan.backends[1], tell)
        silent = Server(lan.backends[1], echo_later, 8082)
        text = CONFIGURATION.replace("{nginx}", f"{host.address}:8081").replace("{raw}", raw.address)
        lone = start_with(lan, [raw, silent], text.replace("{silent}", silent.address))
        try:
            yield lone
        finally:
            lone.stop()
            lone.close()


@pytest.mark.parametrize("port", [80, 81])
def test_nginx_is_told_who_asks(site, port):
    client, node = site.lan.client, site.lan.nodes[0]
    command = ["curl", "-s", "-m", "2", "-w", " %{http_code} %{local_port}\n", f"http://{node.address}:{port}/"]
    # Up at all: its checks came with headers, too.
    wait_until(lambda: " 200 " in client.run(*command, check=False).stdout, 10, "a server that is up")
    lines = client.run(*command, f"http://{node.address}:{port}/").stdout.splitlines()
    connections = set()
    for line in lines:
        address, source, destination, connection, status, local = line.split()
        assert (address, source, destination, status) == (client.address, local, str(port), "200")
        connections.add(connection)
    assert len(lines) == 2 and len(connections) == 2, "a connection to the server belongs to one request"


def test_tcp_starts_with_the_header(site):
    client, node = site.lan.client, site.lan.nodes[0]
    with client.connect(node.address, 25) as connection:
        connection.sendall(b"after\n")
        answer = connection.makefile("rb")
        header = bytes.fromhex(answer.readline().decode())
        local = connection.getsockname()
        assert header[12:16] == b"\x21\x11\0\x0c"
        assert header[16:24] == socket.inet_aton(client.address) + socket.inet_aton(node.address)
        assert struct.unpack(">HH", header[24:]) == (local[1], 25)
        assert answer.readline() == b"after\n"


def test_what_a_proxy_before_us_says_is_passed_on(site):
    client, node = site.lan.client, site.lan.nodes[0]
    with client.connect(node.address, 26) as connection:
        connection.sendall(b"PROXY TCP4 203.0.113.77 203.0.113.200 4242 443\r\nafter\n")
        answer = connection.makefile("rb")
        header = bytes.fromhex(answer.readline().decode())
        assert header[16:24] == socket.inet_aton("203.0.113.77") + socket.inet_aton("203.0.113.200")
        assert struct.unpack(">HH", header[24:28]) == (4242, 443)
        assert answer.readline() == b"after\n"
    # Nothing of that is left for whoever gets the place next.
    with client.connect(node.address, 26) as connection:
        local = connection.getsockname()
        connection.sendall(b"PROXY UNKNOWN\r\nafter\n")
        header = bytes.fromhex(connection.makefile("rb").readline().decode())
        assert header[16:24] == socket.inet_aton(client.address) + socket.inet_aton(node.address)
        assert struct.unpack(">HH", header[24:28]) == (local[1], 26)


def test_a_server_that_waits_for_its_client_is_up_by_the_usual_check(site):
    """The check's header goes out, and nothing is expected to come back."""
    client, node = site.lan.client, site.lan.nodes[0]

    def answered():
        with client.connect(node.address, 27) as connection:
            connection.settimeout(1)
            try:
                connection.sendall(b"hello\n")
                return connection.makefile("rb").readline() == b"hello\n"
            except OSError:
                return False

    wait_until(answered, 10, "a server that is up")
