"""Rules on paths against servers that read paths in their own way: whatever the spelling, what a rule keeps closed stays
closed. nginx, http.server and waitress behind Afloat, with /admin refused by a route, or only /public passed on."""

import functools
import http.server
import os
import subprocess
import threading
import time

import pytest
from balancer_backends import Client
from balancer_harness import Balancer, listener, pool, server
from stand import route

SECRET, OPEN = b"the secret\n", b"for everybody\n"
NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log /dev/null;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; root {folder}/root; }}
}}
"""
# Spellings that lead to /admin/secret on some server or other.
SPELLINGS = [
    "/admin/secret", "//admin/secret", "/admin//secret", "///admin///secret", "/./admin/secret", "/admin/./secret", "/x/../admin/secret",
    "/public/../admin/secret", "/public/x/../../admin/secret", "/%61dmin/secret", "/%61%64%6d%69%6e/secret", "/admin%2fsecret",
    "/admin%2Fsecret",
    "/%2fadmin/secret", "/%2e/admin/secret", "/public/%2e%2e/admin/secret", "/public/.%2e/admin/secret", "/public/%2e./admin/secret",
    "/public%2f..%2fadmin%2fsecret", "/public/..%2fadmin/secret", "/public/%2e%2e%2fadmin/secret", "/public/..//admin/secret",
    "/public//../admin/secret", "/public/./../admin/secret", "/public/%2e/%2e%2e/admin/secret", "/../admin/secret",
    "/public/../../admin/secret",
    "/%2e%2e/admin/secret", "/admin/secret?x", "/admin/secret?/public", "/admin/secret%3f", "/public?/../admin/secret",
    "/public%3f/../admin/secret",
    "/public%3f/../../admin/secret", "/admin/secret#x", "/public#/../../admin/secret", "/public%23/../admin/secret", "/admin;/secret",
    "/admin/secret;x=y",
    "/;/admin/secret", "/public;/../admin/secret", "/public/..;/admin/secret", "/public/..;x/admin/secret", "/.;/admin/secret",
    "/\\admin\\secret",
    "/admin\\secret", "/public\\..\\admin\\secret", "/public/..\\admin/secret", "/public/%5c../admin/secret", "/public/..%5cadmin/secret",
    "/%252e%252e/admin/secret", "/public/%252e%252e/admin/secret", "/%2561dmin/secret", "/public%252f..%252fadmin/secret",
    "/admin/secret%00",
    "/admin%00/secret", "/public/%00/../../admin/secret", "/admin/secret/", "/admin/secret/.", "/admin/secret//", "/admin/x/../secret",
    "/Admin/secret",
    "/ADMIN/SECRET", "/%41dmin/secret", "/admin%20/secret", "/%20/../admin/secret", "/admin/secret%20", "/admin%09/secret",
    "/%c0%ae%c0%ae/admin/secret",
    "/public/%c0%ae%c0%ae/admin/secret", "/public/%c0%af..%c0%afadmin/secret", "/%u0061dmin/secret", "/admin/%2e%2e/admin/secret",
    "/public/.../admin/secret",
    "/admin/secret%0d%0aX:y", "/public/%0a/../../admin/secret", "/%0a/../admin/secret", "/%0d%0a/admin/secret", "/~/../admin/secret",
    "/public/../admin/%73ecret",
    "http://a/admin/secret", "http://a//admin/secret", "http://a/public/../admin/secret", "http://a/%61dmin/secret",
    "http://a/./admin/secret",
    "/a/b/../../admin/secret", "/a/b/%2e%2e/%2e%2e/admin/secret", "/a%2fb%2f..%2f../admin/secret", "/%", "/%2", "/admin/%zzsecret",
    "/%%61dmin/secret",
    "/admin/secret?%2e%2e", "/?/../admin/secret", "/&/../admin/secret", "/=/../admin/secret", "/:/../admin/secret", "/@/../admin/secret",
    "/,/../admin/secret",
    "//a/../admin/secret", "//a/admin/secret", "///a/../admin/secret", "/http://a/../../admin/secret", "/http:/../admin/secret",
]  # fmt: skip


class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def log_message(self, *_):
        pass


def through_wsgi(root):
    """A waitress that opens what PATH_INFO names below `root`, as simple programs do."""
    from waitress.server import create_server

    def program(environ, start):
        path = os.path.normpath(environ["PATH_INFO"]).lstrip("/")
        try:
            with open(os.path.join(root, path), "rb") as file:
                content = file.read()
            start("200 OK", [("Content-Length", str(len(content)))])
        except (OSError, ValueError):
            content = b"none\n"
            start("404 Not Found", [("Content-Length", str(len(content)))])
        return [content]

    made = create_server(program, host="127.0.0.1", port=0, threads=2, clear_untrusted_proxy_headers=True)
    threading.Thread(target=made.run, daemon=True).start()
    return made.effective_port


def through_http_server(root):
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root)))
    made.daemon_threads, made.handle_error = True, lambda *_: None  # it stumbles over %00
    threading.Thread(target=made.serve_forever, daemon=True).start()
    return made.server_address[1]


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """name → port."""
    folder = tmp_path_factory.mktemp("paths")
    for name, content in (("admin/secret", SECRET), ("public/open", OPEN)):
        (folder / "root" / name).parent.mkdir(parents=True)
        (folder / "root" / name).write_bytes(content)
    for path in [*folder.parents][:2]:
        path.chmod(0o755)  # nginx reads as another user
    ports = {"http.server": through_http_server(folder / "root"), "waitress": through_wsgi(str(folder / "root"))}
    with http.server.HTTPServer(("127.0.0.1", 0), Quiet) as free:
        ports["nginx"] = free.server_address[1]
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=ports["nginx"]))
    nginx = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL)
    for name, port in ports.items():
        end = time.monotonic() + 10
        while True:
            try:
                with Client(port) as client:
                    assert client.get("/admin/secret")[2] == SECRET, f"{name} would keep the secret by itself"
                    break
            except ConnectionRefusedError:
                assert time.monotonic() < end
                time.sleep(0.05)
    yield ports
    nginx.terminate()
    nginx.wait()


RULES = {
    "/admin is refused": ([route("web/admin", {"respond": {"status": 403, "body": "no\n", "fields": []}}, "/admin")], "app"),
    "only /public is passed on": ([route("web/public", {"pool": {"_0": "app"}}, "/public")], ""),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["nginx", "http.server", "waitress"])
def test_no_spelling_gets_past_a_rule(servers, name, rule):
    routes, default = RULES[rule]
    with Balancer(
        [listener("web", ["127.0.0.1:0"], default, routes=routes)], [pool("app", [server("s", f"127.0.0.1:{servers[name]}")])]
    ) as balancer:
        statuses = {}
        for spelling in SPELLINGS:
            with Client(balancer.port) as client:
                client.send(f"GET {spelling} HTTP/1.1\r\nHost: a\r\n\r\n")
                status, _, body = client.reader.response()
                assert SECRET not in body, f"{spelling} reaches the secret on {name}"
                statuses[status] = statuses.get(status, 0) + 1
        with Client(balancer.port) as client:
            assert client.get("/public/open")[2] == OPEN
        print(name, rule, statuses)
        assert len(statuses) > 1 and statuses.get(502, 0) == 0


@pytest.mark.parametrize("name", ["nginx", "http.server", "waitress"])
def test_many_spellings_reach_the_secret_without_a_rule(servers, name):
    """Or the test above would say nothing."""
    with Balancer(
        [listener("web", ["127.0.0.1:0"], "app")], [pool("app", [server("s", f"127.0.0.1:{servers[name]}")])]
    ) as balancer:
        found = 0
        for spelling in SPELLINGS:
            with Client(balancer.port) as client:
                client.send(f"GET {spelling} HTTP/1.1\r\nHost: a\r\n\r\n")
                found += SECRET in client.reader.response()[2]
        print(name, found)
        assert found >= 15
