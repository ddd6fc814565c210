"""Checks by a script: what it gets, how its end is told, and that none of its processes is left behind."""

import contextlib
import fcntl
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
from balancer_backends import Client, http_backend
from balancer_harness import Balancer, _check, listener, no_check, pool, server, tcp_check


def script_check(path, every=0.2, timeout=1.0, rise=1, fall=2, fast=0.1, down=0.2):
    return _check({"script": {"path": str(path)}}, every, timeout, rise, fall, fast, down)


@pytest.fixture
def place():
    """A directory that everybody may read and write: the balancer is nobody."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="afloat-scripts-"))
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


def script(place, text, name="check"):
    path = place / name
    path.with_suffix(".new").write_text("#!/bin/sh\n" + text + "\n")
    path.with_suffix(".new").chmod(0o755)
    path.with_suffix(".new").rename(path)
    return path


@contextlib.contextmanager
def running(check, servers=("s",), **options):
    backend = http_backend("b")
    items = [server(name, f"127.0.0.1:{backend.port}") for name in servers]
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], [pool("app", items, check=check)], **options) as balancer:
        yield balancer


def said(balancer, words, name="s", seconds=10):
    balancer.wait(lambda: balancer.status and words in balancer.server("app", name)["lastCheck"], words, seconds)


def processes(mark):
    """Processes whose command line has `mark` in it."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if mark.encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    return found


def wait_gone(mark, seconds=5):
    end = time.monotonic() + seconds
    while processes(mark):
        assert time.monotonic() < end, f"{processes(mark)} are left"
        time.sleep(0.02)


def children(pid):
    """Each is listed with the thread that started it."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += (task / "children").read_text().split()
    return found


def test_up_and_down_with_its_own_words(place):
    path = script(place, f'test -e {place}/broken || exit 0; echo "no replication"; echo more; exit 2')
    with running(script_check(path)) as balancer:
        balancer.wait_state("app", "s", "up")
        said(balancer, f"script {path} succeeded in ")
        with Client(balancer.port) as client:
            assert client.get()[0] == 200
        (place / "broken").touch()
        balancer.wait_state("app", "s", "down")
        assert balancer.server("app", "s")["lastCheck"] == f"script {path} exited with 2: no replication"
        causes = [change["cause"] for change in balancer.changes if change["state"] == "down"]
        assert causes == [f"2 checks in a row failed: script {path} exited with 2: no replication"]
        with Client(balancer.port) as client:
            assert client.get()[0] == 503
        (place / "broken").unlink()
        balancer.wait_state("app", "s", "up")


def test_all_that_it_gets(place):
    text = f"""env > {place}/environment.new && mv {place}/environment.new {place}/environment
ls -l /proc/self/fd > {place}/descriptors
grep -E 'Sig(Blk|Ign)|CapEff|NoNewPrivs|^Uid' /proc/self/status > {place}/status
ps -o pgid= -p $$ > {place}/group; ulimit -Sn > {place}/limit; echo $$ > {place}/pid"""
    check = script_check(script(place, text))
    check["port"] = 4242
    with running(check) as balancer:
        balancer.wait_state("app", "s", "up")
        lines = dict(line.split("=", 1) for line in (place / "environment").read_text().splitlines())
        for name in ("PWD", "_", "SHLVL", "OLDPWD"):  # the shell's own
            lines.pop(name, None)
        assert lines == {
            "AFLOAT_POOL": "app", "AFLOAT_SERVER": "s", "AFLOAT_ADDRESS": "127.0.0.1", "AFLOAT_PORT": "4242",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }  # fmt: skip
        fields = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
        # 32 and 33 are the C library's own: it has every program that it spawns ignore them.
        assert int(fields["SigBlk"], 16) == 0 and int(fields["SigIgn"], 16) & ~(3 << 31) == 0
        assert int(fields["CapEff"], 16) == 0 and fields["NoNewPrivs"].strip() == "1"
        assert "0" not in fields["Uid"].split(), "not root"
        # /dev/null, the file that ls prints to, standard error, and the folder that ls itself has open.
        open_ones = [line.split(" ", 8)[-1] for line in (place / "descriptors").read_text().splitlines() if "->" in line]
        assert len(open_ones) == 4, open_ones
        assert not any("socket" in one or "anon_inode" in one for one in open_ones), open_ones
        assert (place / "group").read_text().strip() == (place / "pid").read_text().strip(), "a group of its own"
        assert int((place / "limit").read_text()) <= 1024


def test_one_that_hangs_is_ended_with_all_that_it_started(place):
    mark = f"86{os.getpid()}"
    path = script(place, f"echo waiting for the disk; sleep {mark} & sleep {mark}")
    with running(script_check(path, timeout=0.3)) as balancer:
        balancer.wait_state("app", "s", "down")
        said(balancer, f"script {path} did not end within 300 ms: waiting for the disk")
        script(place, "exit 0")
        balancer.wait_state("app", "s", "up")
        wait_gone(mark)
        assert not [pid for pid in processes(str(path)) if pid != os.getpid()]
        # None is left as a zombie either, but for one whose turn it is.
        balancer.wait(lambda: len(children(balancer.process.pid)) <= 1, "no zombies")


def test_children_that_hold_the_output_open_hold_up_nothing(place):
    mark = f"87{os.getpid()}"
    path = script(place, f"sleep {mark} & echo done; exit 0")
    with running(script_check(path, every=0.2)) as balancer:
        balancer.wait_state("app", "s", "up", 2)
        said(balancer, ": done")
        count = balancer.statuses
        balancer.wait(lambda: balancer.statuses > count + 6, "more checks")
        assert balancer.server("app", "s")["state"] == "up"
        assert len(processes(mark)) <= 1, "they end with the script"
    wait_gone(mark)


def test_a_signal_and_a_program_that_is_not_there(place):
    path = script(place, "kill -SEGV $$")
    with running(script_check(path)) as balancer:
        said(balancer, f"script {path} was ended by signal 11 (segmentation fault)")
        path.chmod(0o644)
        said(balancer, f"script {path} cannot be started: permission denied")
        path.unlink()
        said(balancer, f"script {path} cannot be started: no such file or directory")
        assert balancer.server("app", "s")["state"] == "down"


def test_endless_output_ends_the_check_and_delays_no_other(place):
    path = script(place, "echo begun; while :; do echo line line line line line line line line; done")
    with running(script_check(path, timeout=30)) as balancer:
        balancer.wait_state("app", "s", "down")
        said(balancer, f"script {path} printed more than 64 KiB: begun")
        script(place, "printf '\\033[2J\\377secret\\n'")
        said(balancer, ": [2J?secret")


def test_a_reload_and_the_end_leave_none_running(place):
    mark = f"88{os.getpid()}"
    path = script(place, f"sleep {mark}; exit 0")
    with running(script_check(path, timeout=600), servers=("s", "t")) as balancer:
        balancer.wait(lambda: len(processes(mark)) == 2, "two scripts")
        first = processes(mark)
        listeners, pools = balancer._configuration["listeners"], balancer._configuration["pools"]
        shrunk = [dict(pools[0], servers=pools[0]["servers"][:1])]
        assert "reconfigured" in balancer.reconfigure(listeners, shrunk)
        balancer.wait(lambda: len(processes(mark)) == 1, "one script")
        assert set(processes(mark)) < set(first), "what goes on is not begun anew"
        balancer.wait(lambda: len(children(balancer.process.pid)) == 1, "no zombie")
        # Another check: the script that runs for the old one is of no use.
        assert "reconfigured" in balancer.reconfigure(listeners, [dict(shrunk[0], check=no_check())])
        wait_gone(mark)
        balancer.wait_state("app", "s", "up")
        assert "reconfigured" in balancer.reconfigure(listeners, shrunk)
        balancer.wait(lambda: processes(mark), "a script")
    wait_gone(mark)


@contextlib.contextmanager
def unreadable(path):
    """Whoever opens the file, to run it too, hangs in the kernel meanwhile (for `fs.lease-break-time` at most, 45 s)."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        yield
    finally:
        os.close(descriptor)
        signal.signal(signal.SIGIO, before)


def test_a_start_that_hangs_holds_up_nobody(place):
    bad, good = script(place, f"echo ran >> {place}/runs"), script(place, "exit 0", "good")
    backend = http_backend("b")
    at = f"127.0.0.1:{backend.port}"
    pools = [
        pool("app", [server("s", at)], check=script_check(bad, timeout=0.3)),
        pool("other", [server("t", at)], check=script_check(good, every=0.1)),
    ]  # fmt: skip
    with Balancer([listener("web", ["127.0.0.1:0"], "app")], pools) as balancer:
        balancer.wait_state("app", "s", "up")
        balancer.wait_state("other", "t", "up")
        with unreadable(bad):
            said(balancer, f"script {bad} did not end within 300 ms")
            began, count = time.monotonic(), balancer.statuses
            said(balancer, f"script {bad} was killed and has not ended, it hangs in the kernel")
            balancer.wait(lambda: balancer.statuses >= count + 4, "reports go on")
            assert time.monotonic() - began < 5
            assert balancer.server("app", "s")["state"] == "down" and balancer.server("other", "t")["state"] == "up"
            assert len(children(balancer.process.pid)) <= 2, "the only one for its server"
            count = len((place / "runs").read_text().splitlines())
        balancer.wait_state("app", "s", "up")
        assert len((place / "runs").read_text().splitlines()) > count


def allow_descriptors(balancer, count):
    """From now on, by its own user's leave."""
    status = pathlib.Path(f"/proc/{balancer.process.pid}/status").read_text()
    user, group = (int(status.split(f"\n{what}:")[1].split()[0]) for what in ("Uid", "Gid"))
    command = ["prlimit", f"--pid={balancer.process.pid}", f"--nofile={count}:"]
    subprocess.run(command, user=user, group=group, extra_groups=[], check=True)


@pytest.mark.parametrize("by", ["script", "connection"])
def test_a_check_that_the_node_cannot_make_is_put_off(place, by):
    path = script(place, f"test ! -e {place}/broken")
    # The server keeps the connection open, so that each check needs a socket of its own.
    kept = tcp_check(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n", b"200", rise=1, fall=2)
    check = script_check(path) if by == "script" else kept
    with running(check) as balancer:
        balancer.wait_state("app", "s", "up")
        allow_descriptors(balancer, 3)
        what = f"script {path} cannot be started" if by == "script" else "no connection can be opened"
        words = f"checks are put off, this node lacks something for them: {what}: too many open files"
        balancer.wait(lambda: words in balancer.status["warnings"], words)
        time.sleep(1)  # tries enough to fail by
        balancer.fresh_status()
        assert balancer.server("app", "s")["state"] == "up" and not [one for one in balancer.changes if one["state"] == "down"]
        allow_descriptors(balancer, 500)
        if by == "script":
            (place / "broken").touch()
            balancer.wait_state("app", "s", "down")


def test_many_servers_share_the_bound(place):
    """Forty servers whose scripts take a while: never more than 32 at once, and nobody fails for having waited."""
    mark = f"1.{os.getpid()}"
    path = script(place, f"sleep {mark}")
    with running(script_check(path, every=5, timeout=4), servers=[f"s{index}" for index in range(40)]) as balancer:
        most = 0
        end = time.monotonic() + 20
        while {one["state"] for one in balancer.status["pools"][0]["servers"]} != {"up"} if balancer.status else True:
            most = max(most, len(children(balancer.process.pid)))
            assert time.monotonic() < end, balancer.status
            time.sleep(0.01)
        assert 8 <= most <= 32
        assert not [change for change in balancer.changes if change["state"] == "down"]
