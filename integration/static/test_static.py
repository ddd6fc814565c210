"""Files served by the balancer itself: what is sent, what is not, and what a slow or gone client costs."""

import os
import socket
import subprocess
import time
from email.utils import parsedate_to_datetime

import pytest
from lab import Lan, wait_until
from lone_balancer import ask, start_with
from peers import Server, Wire, plain

CONFIGURATION = """listeners:
  web:
    bind: ["*:80"]
    pool: app
    timeouts: {idle: 2s}
    routes:
      - match: {path_prefix: /files}
        static: {root: ROOT}
        rewrite: {prefix: {from: /files, to: /}}
        headers: {response: {set: {Cache-Control: max-age=60}}}
      - match: {host: site.example.org}
        static: {root: ROOT, index: start.html}
      - match: {host: gone.example.org}
        static: {root: /nonexistent}
      - match: {path_prefix: /gone}
        static: {root: /nonexistent}
        rewrite: {prefix: {from: /gone, to: /}}
      - match: {path: /about}
        static: {root: ROOT}
        rewrite: {prefix: {from: /about, to: /}}
pools:
  app: {servers: {s1: "SERVER"}, check: none}
"""
BIG = os.urandom(1 << 20) * 8
PAGE = b"<h1>start</h1>\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    parent = tmp_path_factory.mktemp("files")
    for folder in [parent, *list(parent.parents)[:-2]]:
        os.chmod(folder, os.stat(folder).st_mode | 0o055)  # the balancer is an ordinary user
    root = parent / "www"
    (root / "sub").mkdir(parents=True)
    (root / ".well-known").mkdir()
    (root / ".git").mkdir()
    (root / "index.html").write_bytes(PAGE)
    (root / "start.html").write_bytes(b"other start\n")
    (root / "sub" / "index.html").write_bytes(b"sub\n")
    (root / "big.bin").write_bytes(BIG)
    (root / "a b.TXT").write_bytes(b"spaces\n")
    (root / "empty.css").write_bytes(b"")
    (root / "digits").write_bytes(b"0123456789")
    (root / "medium.js").write_bytes(b"m" * 20_000)
    (root / ".hidden").write_bytes(b"secret\n")
    (root / ".git" / "config").write_bytes(b"secret\n")
    (root / ".well-known" / "token").write_bytes(b"token\n")
    (root / ".well-knownx").write_bytes(b"secret\n")
    (root / "private").write_bytes(b"secret\n")
    (root / "private").chmod(0o600)
    (parent / "outside.txt").write_bytes(b"secret\n")
    (root / "within.txt").symlink_to("digits")
    (root / "out.txt").symlink_to("../outside.txt")
    (root / "absolute.txt").symlink_to(parent / "outside.txt")
    os.mkfifo(root / "pipe")
    os.utime(root / "digits", (1_700_000_000, 1_700_000_000))
    with Lan(nodes=1, backends=1) as lan:
        servers = [Server(lan.backends[0], plain(b"app\n"))]
        lone = start_with(lan, servers, CONFIGURATION.replace("ROOT", str(root)).replace("SERVER", servers[0].address))
        lone.root = root
        try:
            yield lone
        finally:
            lone.stop()
            lone.close()


def descriptors(site):
    return len(os.listdir(f"/proc/{site.agent.balancer}/fd"))


def settled(site):
    """How many there are once nothing comes or goes: the balancer has started, connections of other tests are closed."""
    counts = [descriptors(site)]
    while len(counts) < 4 or len(set(counts[-4:])) > 1:
        time.sleep(0.05)
        counts.append(descriptors(site))
    return counts[-1]


@pytest.mark.parametrize(
    "target, body, kind",
    [
        ("/files/", PAGE, "text/html; charset=utf-8"), ("/files/index.html?x", PAGE, "text/html; charset=utf-8"),
        ("/files/sub/", b"sub\n", "text/html; charset=utf-8"), ("/files/a%20b.TXT", b"spaces\n", "text/plain; charset=utf-8"),
        ("/files/empty.css", b"", "text/css; charset=utf-8"), ("/files/digits", b"0123456789", "application/octet-stream"),
        ("/files/medium.js", b"m" * 20_000, "text/javascript; charset=utf-8"),
        ("/files/within.txt", b"0123456789", "text/plain; charset=utf-8"),
        ("/files/.well-known/token", b"token\n", "application/octet-stream"), ("/files/big.bin", BIG, "application/octet-stream"),
        ("/files//sub/../sub/./index.html", b"sub\n", "text/html; charset=utf-8"),
    ],
)  # fmt: skip
def test_files_go_out_with_their_type(site, target, body, kind):
    head, seen = ask(site, target)
    assert head.status == 200 and seen == body and head.get("content-type") == kind
    assert head.get("content-length") == str(len(body)) and head.get("accept-ranges") == "bytes"
    assert head.get("etag").startswith('"') and head.get("last-modified").endswith("GMT") and head.get("date")
    assert head.get("cache-control") == "max-age=60"
    head, seen = ask(site, target, method="HEAD")
    assert head.status == 200 and head.get("content-length") == str(len(body)) and seen == b""


@pytest.mark.parametrize(
    "target, status",
    [
        ("/files/missing", 404), ("/files/sub/missing/", 404), ("/files/digits/x", 404), ("/files/.hidden", 404),
        ("/files/.git/config", 404), ("/files/.well-knownx", 404), ("/files/.well-known", 404), ("/files/private", 403),
        ("/files/out.txt", 404), ("/files/absolute.txt", 404), ("/files/pipe", 404), ("/files/%2e%2e/outside.txt", 200),
        ("/files/sub/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd", 400), ("/files/x%00.html", 400), ("/files/" + "x/" * 3000, 404),
        ("/files/%2fetc/passwd", 404), ("/files//etc/passwd", 404),
    ],
)  # fmt: skip
def test_nothing_else_goes_out(site, target, status):
    before = settled(site)
    head, body = ask(site, target)
    assert head.status == status and b"secret" not in body and b"root:" not in body
    if status == 200:
        assert body == b"app\n"  # it left the prefix, so it is no file at all
    # The client's end is noticed a moment later; one connection to the server may stay.
    wait_until(lambda: descriptors(site) <= before + 1, 5, "no descriptor of a file")


def test_another_method_is_refused(site):
    head, _ = ask(site, "/files/digits", method="DELETE")
    assert head.status == 405 and head.get("allow") == "GET, HEAD"


def test_a_folder_without_its_slash_is_redirected(site):
    head, _ = ask(site, "/files/sub?x=1")
    assert head.status == 301 and head.get("location") == "/files/sub/?x=1"
    head, _ = ask(site, "//sub", host="site.example.org")
    assert head.status == 301 and head.get("location") == "/sub/"


@pytest.mark.parametrize(
    "target, location",
    [
        ("/files", "/files/"), ("/files?x=1", "/files/?x=1"), ("//files", "/files/"), ("/x/../files", "/x/../files/"),
        ("/%66iles", "/%66iles/"), ("http://h/files", "/files/"), ("//evil.example.org/..//files", "/evil.example.org/..//files/"),
    ],
)  # fmt: skip
def test_the_root_is_a_folder_too(site, target, location):
    head, body = ask(site, target)
    assert head.status == 301 and head.get("location") == location and body == b""
    head, _ = ask(site, target, method="HEAD")
    assert head.status == 301 and head.get("location") == location


def test_a_route_for_one_path_is_a_page_of_its_own(site):
    """With "/" at its end the path would be none of this route's."""
    head, body = ask(site, "/about")
    assert head.status == 200 and body == PAGE


def test_another_index_and_a_root_that_is_not_there(site):
    assert ask(site, "/", host="site.example.org")[1] == b"other start\n"
    assert ask(site, "/", host="gone.example.org")[0].status == 404
    assert ask(site, "/gone/")[0].status == 404 and ask(site, "/gone")[0].status == 404


@pytest.mark.parametrize(
    "field, status, body, place",
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"), ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"), ("bytes=5-100", 206, b"56789", "bytes 5-9/10"),
        ("bytes=-100", 206, b"0123456789", "bytes 0-9/10"), ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"), ("bytes=3-1", 200, b"0123456789", ""), ("bytes=0-1,3-4", 200, b"0123456789", ""),
        ("chars=0-1", 200, b"0123456789", ""), ("bytes=", 200, b"0123456789", ""), ("bytes=99999999999999999999-", 416, b"", "bytes */10"),
    ],
)  # fmt: skip
def test_one_range_is_answered(site, field, status, body, place):
    wire = site.dial()
    head, seen = ask(site, "/files/digits", f"Range: {field}\r\n", wire=wire)
    assert (head.status, seen, head.get("content-range")) == (status, body, place)
    assert ask(site, "/files/digits", wire=wire)[1] == b"0123456789"
    wire.close()


def test_a_range_of_a_large_file(site):
    head, body = ask(site, "/files/big.bin", "Range: bytes=1000000-3999999\r\n")
    assert head.status == 206 and body == BIG[1_000_000:4_000_000]


def test_conditions(site):
    head, _ = ask(site, "/files/digits")
    tag, date = head.get("etag"), head.get("last-modified")
    assert date == "Tue, 14 Nov 2023 22:13:20 GMT"

    def status(fields, **options):
        head, body = ask(site, "/files/digits", fields, **options)
        if head.status == 304:
            assert body == b"" and head.get("etag") == tag and "content-length" not in head.fields
        return head.status

    assert status(f"If-None-Match: {tag}\r\n") == 304
    assert status(f'If-None-Match: "x", W/{tag}\r\n') == 304
    assert status("If-None-Match: *\r\n") == 304
    assert status('If-None-Match: "x"\r\n') == 200
    assert status(f'If-None-Match: "x"\r\nIf-Modified-Since: {date}\r\n') == 200
    assert status(f"If-Modified-Since: {date}\r\n") == 304
    assert status("If-Modified-Since: Tue, 14 Nov 2023 22:13:19 GMT\r\n") == 200
    assert status("If-Modified-Since: yesterday\r\n") == 200
    assert status("If-Modified-Since: Tuesday, 14-Nov-23 22:13:20 GMT\r\n") == 304
    assert status("If-Modified-Since: Tue Nov 14 22:13:20 2023\r\n") == 304
    assert status("If-Modified-Since: Tue Nov 14 22:13:19 2023\r\n") == 200
    assert status("If-Range: Tue Nov 14 22:13:20 2023\r\nRange: bytes=0-0\r\n") == 206
    assert status(f"If-None-Match: {tag}\r\n", method="HEAD") == 304
    assert status(f"If-Match: {tag}\r\n") == 200
    assert status(f"If-Match: W/{tag}\r\n") == 412
    assert status("If-Unmodified-Since: Tue, 14 Nov 2023 22:13:19 GMT\r\n") == 412
    assert status(f"If-Range: {tag}\r\nRange: bytes=0-0\r\n") == 206
    assert status(f"If-Range: {date}\r\nRange: bytes=0-0\r\n") == 206
    assert status('If-Range: "x"\r\nRange: bytes=0-0\r\n') == 200


def test_a_file_that_is_rewritten_within_the_second_is_another_one(site):
    path, second = site.root / "rewritten", 1_700_000_000
    path.write_bytes(b"AAAA")
    os.utime(path, ns=(0, second * 10**9 + 100_000_000))
    tag = ask(site, "/files/rewritten")[0].get("etag")
    path.write_bytes(b"BBBB")
    os.utime(path, ns=(0, second * 10**9 + 104_000_000))
    head, body = ask(site, "/files/rewritten", f"If-None-Match: {tag}\r\n")
    assert head.status == 200 and body == b"BBBB" and head.get("etag") != tag
    head, body = ask(site, "/files/rewritten", f"If-Range: {tag}\r\nRange: bytes=2-3\r\n")
    assert head.status == 200 and body == b"BBBB"


def test_what_was_changed_just_now_is_never_taken_for_what_comes_after_it(site):
    path = site.root / "changing"
    path.write_bytes(b"0000")
    head, body = ask(site, "/files/changing")
    for turn in range(1, 60):
        held, tag = body, head.get("etag")
        path.write_bytes(b"%04d" % turn)
        head, body = ask(site, "/files/changing", f"If-None-Match: {tag}\r\n" if tag else "")
        assert head.status == 200 and body == b"%04d" % turn, f"{held} was called fresh"
        if turn % 3 == 0:
            time.sleep(0.03)
            head, body = ask(site, "/files/changing")
            assert head.get("etag")


def test_dates_of_files(site):
    path = site.root / "dated"
    path.write_bytes(b"0123456789")
    while time.time() % 1 > 0.6:
        time.sleep(0.05)
    os.utime(path)
    head, _ = ask(site, "/files/dated")
    date = head.get("last-modified")
    within = ask(site, "/files/dated", f"If-Range: {date}\r\nRange: bytes=0-0\r\n")[0]
    if within.get("date") == date:  # the machine may be slow
        assert within.status == 200
    time.sleep(1.1)
    assert ask(site, "/files/dated", f"If-Range: {date}\r\nRange: bytes=0-0\r\n")[0].status == 206
    ahead = time.time() + 86_400
    os.utime(path, (ahead, ahead))
    head, _ = ask(site, "/files/dated")
    age = parsedate_to_datetime(head.get("date")) - parsedate_to_datetime(head.get("last-modified"))
    assert 0 <= age.total_seconds() <= 1


def test_requests_on_one_connection_are_answered_in_order(site):
    wire = site.dial()
    names = ["digits", "medium.js", "big.bin", "sub/", "big.bin", "digits"]
    wire.send("".join(f"GET /files/{name} HTTP/1.1\r\nHost: h\r\n\r\n" for name in names))
    sizes = [len(wire.response()[1]) for _ in names]
    assert sizes == [10, 20_000, len(BIG), 4, len(BIG), 10]
    head, body = ask(site, "/files/big.bin", "Connection: close\r\n", wire=wire)
    assert head.get("connection") == "close" and body == BIG and wire.rest() == b""
    wire.close()


def test_curl_agrees(site):
    url = f"http://{site.lan.nodes[0].address}/files/big.bin"
    for version in ("--http1.1", "--http1.0"):
        done = subprocess.run(
            ["ip", "netns", "exec", site.lan.client.namespace, "curl", "-sf", version, url], capture_output=True, timeout=60
        )
        assert done.returncode == 0 and done.stdout == BIG


def test_clients_that_do_not_read_cost_a_descriptor_for_their_idle_time_and_no_memory(site):
    with open(f"/proc/{site.agent.balancer}/statm", encoding="ascii") as file:
        memory = int(file.read().split()[1])
    before = descriptors(site)
    wires = []
    for _ in range(50):
        connection = site.lan.client.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect((site.lan.nodes[0].address, 80))
        wires.append(Wire(connection))
        wires[-1].send("GET /files/big.bin HTTP/1.1\r\nHost: h\r\n\r\n")
    time.sleep(0.5)
    with open(f"/proc/{site.agent.balancer}/statm", encoding="ascii") as file:
        grown = (int(file.read().split()[1]) - memory) * os.sysconf("SC_PAGESIZE")
    assert descriptors(site) >= before + 100 and grown < 8 << 20
    assert ask(site, "/files/digits")[1] == b"0123456789"  # others go on meanwhile
    end = time.monotonic() + 15
    while descriptors(site) > before + 10:
        assert time.monotonic() < end, "their files are still open"
        time.sleep(0.1)
    for wire in wires:
        assert len(wire.rest()) < len(BIG)  # reset, not a clean end
        wire.close()


def test_a_file_that_shrinks_on_its_way_aborts_the_client(site):
    path = site.root / "shrinking"
    path.write_bytes(BIG)
    connection = site.lan.client.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(20)
    connection.connect((site.lan.nodes[0].address, 80))
    wire = Wire(connection)
    wire.send("GET /files/shrinking HTTP/1.1\r\nHost: h\r\n\r\n")
    wire.head()
    os.truncate(path, 100)
    assert len(wire.rest()) < len(BIG)
    wire.close()


def test_a_file_that_is_not_in_memory_comes_from_the_disk(site):
    path = site.root / "cold"
    path.write_bytes(BIG)
    subprocess.run(["sync", str(path)], check=True)
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert ask(site, "/files/cold")[1] == BIG
