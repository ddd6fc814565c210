"""Figures and the access log of a whole agent: /metrics, `afloat top`, `afloat pools`, rotation, reloads, and wrk's own counts."""

import json
import os
import re
import subprocess
import time

import lone_balancer
import pytest
from lab import wait_until

SAMPLE = re.compile(r'([a-z0-9_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? ([0-9.e+-]+|\+Inf|NaN)')


class Metrics(dict):
    """The samples of a page, by name and labels, checked as strictly as Prometheus would."""

    def __init__(self, text):
        assert text.endswith("\n")
        family = kind = None
        families = set()
        for line in text.splitlines():
            if line.startswith("# HELP "):
                assert re.fullmatch(r"# HELP [a-z0-9_]+ .+", line), line
                continue
            if line.startswith("# TYPE "):
                _, _, family, kind = line.split(" ")
                assert family not in families and kind in ("gauge", "counter", "histogram"), line
                families.add(family)
                continue
            found = SAMPLE.fullmatch(line)
            assert found, line
            name, labels, value = found.groups()
            suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            assert name in [family + suffix for suffix in suffixes], line
            key = (name, *sorted(re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', labels or "")))
            assert key not in self, line
            self[key] = float(value)
        for key, value in self.items():
            if key[0].endswith("_bucket") and ("le", "+Inf") in key:
                labels = tuple(item for item in key[1:] if item[0] != "le")
                assert value == self[(key[0][:-7] + "_count", *labels)]
                bounds = sorted(
                    (float(dict(other[1:])["le"]), count) for other, count in self.items()
                    if other[0] == key[0] and tuple(item for item in other[1:] if item[0] != "le") == labels)  # fmt: skip
                counts = [count for _, count in bounds]
                assert counts == sorted(counts)

    def of(self, name, **labels):
        return self[("afloat_" + name, *sorted(labels.items()))]


def get(agent, path):
    done = subprocess.run(["curl", "-sS", "--unix-socket", agent.socket, f"http://localhost{path}"],
                          capture_output=True, text=True, timeout=20, check=True)  # fmt: skip
    return done.stdout


def metrics(agent):
    return Metrics(get(agent, "/metrics"))


def configuration(servers, access=None):
    text = lone_balancer.CONFIGURATION.format(
        listener="", servers=", ".join(f"{name}: {address}" for name, address in servers.items()), check="none", pool="")
    return text + (f"log: {{access: {access}}}\n" if access else "")


@pytest.fixture
def front(stage):
    """A lone balancer in front of two nginx; `front(access)` starts it."""
    made = []

    def start(access=None):
        lan = stage.lan(nodes=1, backends=2)
        backends = stage.backends(lan)
        servers = {f"b{number + 1}": f"{host.address}:8080" for number, host in enumerate(lan.backends)}
        one = lone_balancer.start_with(lan, [], configuration(servers, access and access.replace("LOG", log(lan))))
        one.names, one.backends = servers, backends
        stage.item.clusters.append(one)
        made.append(one)
        return one

    def log(lan):
        return os.path.join(lan.nodes[0].directory, "access.log")

    yield start
    for one in made:
        one.stop()


def lines(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file.read().splitlines()]


def test_figures_are_what_wrk_counted(front):
    one = front("{to: LOG, format: json}")
    address = one.lan.nodes[0].address
    path = os.path.join(one.lan.nodes[0].directory, "access.log")
    before = metrics(one.agent)
    done = one.lan.client.run("wrk", "-t1", "-c8", "-d2s", f"http://{address}/")
    found = re.search(r"(\d+) requests in .*, ([\d.]+)([KMG]?B) read", done.stdout)
    requests = int(found.group(1))
    time.sleep(1)
    after = metrics(one.agent)

    def grown(name, **labels):
        # What was never counted before is not there.
        return after.of(name, **labels) - before.get(("afloat_" + name, *sorted(labels.items())), 0)

    # wrk does not count what was under way when it ended.
    answered = grown("listener_responses_total", listener="web", **{"class": "2xx"})
    assert requests <= answered <= requests + 8
    assert answered <= grown("listener_requests_total", listener="web") <= answered + 8
    cut = after.get(("afloat_listener_endings_total", ("cause", "left_waiting"), ("listener", "web")), 0)
    cut += after.get(("afloat_listener_endings_total", ("cause", "left_answer"), ("listener", "web")), 0)
    of_servers = [grown("server_responses_total", pool="app", server=name, **{"class": "2xx"}) for name in one.names]
    assert sum(of_servers) == answered and min(of_servers) > 0.4 * answered
    assert grown("pool_first_byte_seconds_count", pool="app") == answered
    assert grown("listener_duration_seconds_count", listener="web") == answered + cut
    factor = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}[found.group(3)]
    assert grown("listener_bytes_total", listener="web", direction="out") == pytest.approx(
        float(found.group(2)) * factor, rel=0.02)
    logged = wait_until(lambda: (found := lines(path)) and len(found) >= answered and found, 10, "the log")
    assert sum(1 for line in logged if line["status"] == 200) == answered
    assert after.of("access_log_dropped_total") == 0
    assert metrics(one.agent).of("access_log_lines_total") == len(lines(path))
    assert after.of("verdict", verdict="OK") == 1 and after.of("process_up", process="balancer") == 1


def test_top_and_pools_show_what_passes(front):
    one = front()
    address = one.lan.nodes[0].address
    wrk = one.lan.client.start("wrk", "-t1", "-c4", "-d6s", f"http://{address}/")
    time.sleep(1.5)
    try:
        top = json.loads(one.agent.afloat("top", "--once", "--json").stdout)
        text = one.agent.afloat("top", "--once").stdout
        pools = one.agent.afloat("pools").stdout
        listed = json.loads(one.agent.afloat("pools", "--json").stdout)
    finally:
        wrk.wait(20)
    web, app = top["listeners"][0], top["pools"][0]
    assert 0.9 < top["interval_s"] < 3 and top["verdict"] == "OK"
    rate = web["traffic"]["requests_per_s"]
    assert rate > 100 and web["connections"] == 4
    assert app["traffic"]["requests_per_s"] == pytest.approx(rate, rel=0.1)
    first_byte = web["traffic"]["first_byte_ms"]
    assert 0 < first_byte["p50"] <= first_byte["p90"] <= first_byte["p99"] < 1000
    assert web["traffic"]["responses_per_s"][1] == pytest.approx(rate, rel=0.1)
    assert re.search(r"^web +4 +", text, re.M) and re.search(r"^app +2 of 2 up +", text, re.M)
    assert re.search(r"^app/b1 +\S+ +up +100 +\d+ +[\d.]+ +\d+ +0 +0 +[\d.]+ ms", pools, re.M), pools
    assert all(server["requests_per_s"] > 20 for server in listed[0]["servers"])
    refused = one.agent.afloat("top", "--interval", "0")
    assert refused.returncode == 2 and "--interval must be from 0.2 to 3600" in refused.stderr


def ask(one, path):
    address = one.lan.nodes[0].address
    done = one.lan.client.run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{size_header} %{size_download}",
                              f"http://{address}{path}")  # fmt: skip
    return [int(part) for part in done.stdout.split()]


def test_a_log_that_is_renamed_goes_on_in_a_new_file(front):
    one = front("{to: LOG, format: json}")
    path = os.path.join(one.lan.nodes[0].directory, "access.log")
    assert oct(os.stat(path).st_mode & 0o777) == "0o640"
    status, head, body = ask(one, "/1")
    first = wait_until(lambda: lines(path), 5, "a line")[0]
    assert (first["status"], first["bytes_out"]) == (status, head + body), "what curl counted"

    os.rename(path, path + ".1")
    ask(one, "/2")
    wait_until(lambda: len(lines(path + ".1")) == 2, 5, "a line in the old file")
    one.agent.afloat("reload")
    assert os.path.exists(path), "opened anew by the reload"
    time.sleep(0.2)
    ask(one, "/3")
    wait_until(lambda: [line["target"] for line in lines(path)] == ["/3"], 5, "a line in the new file")

    os.remove(path)
    wait_until(lambda: os.path.exists(path), 5, "a new file without being told")
    time.sleep(0.2)
    ask(one, "/4")
    wait_until(lambda: [line["target"] for line in lines(path)] == ["/4"], 5, "a line in the newest file")
    assert [line["target"] for line in lines(path + ".1")] == ["/1", "/2"]

    # A balancer that died and came back writes there too.
    balancer = one.agent.balancer
    os.kill(balancer, 9)
    wait_until(lambda: one.agent.balancer not in (None, balancer), 10, "another balancer")

    def served():
        try:
            return ask(one, "/5")[0] == 200
        except subprocess.CalledProcessError:
            return False

    wait_until(served, 10, "service")
    wait_until(lambda: lines(path)[-1]["target"] == "/5", 5, "its line")


def test_a_log_that_cannot_be_opened_is_refused_or_waited_for(front):
    one = front("{to: /no/such/folder/access.log}")
    status = one.agent.afloat("status").stdout
    assert "there is no access log: cannot open /no/such/folder/access.log: no such file or directory" in status
    assert ask(one, "/")[0] == 200, "requests matter more than lines"
    one.agent.write(configuration(one.names))
    assert one.agent.afloat("reload").returncode == 0
    # Lines that waited for a file are lost with it, and that is said; but nothing is missing any more.
    assert "there is no access log" not in one.agent.afloat("status").stdout
    one.agent.write(configuration(one.names, "{to: /no/such/folder/access.log}"))
    refused = one.agent.afloat("reload")
    assert refused.returncode != 0
    assert "log.access: cannot open /no/such/folder/access.log: no such file or directory" in refused.stderr
    path = os.path.join(one.lan.nodes[0].directory, "other.log")
    one.agent.write(configuration(one.names, f"{{to: {path}, format: json}}"))
    assert one.agent.afloat("reload").returncode == 0
    time.sleep(0.2)
    ask(one, "/now")
    wait_until(lambda: [line["target"] for line in lines(path)] == ["/now"], 5, "a line")


def test_lines_on_standard_output(front):
    one = front("{to: stdout, format: hap}")
    ask(one, "/out")
    # The lab sends both outputs of an agent to one file.
    wait_until(lambda: re.search(r' web app/b[12] .* "GET /out HTTP/1\.1"$', one.logs(), re.M), 5, "a line")


def test_metrics_of_a_cluster(stage):
    cluster = stage.cluster(nodes=2, backends=1)
    holder = cluster.holder()
    other = next(agent for agent in cluster.agents if agent.name != holder.name)
    # What is measured takes a few heartbeats.
    measured = ("member_round_trip_seconds", "member_loss_in_ratio")
    wait_until(lambda: all(("afloat_" + name, ("member", other.name)) in metrics(holder) for name in measured), 10, "a round trip")
    page = metrics(holder)
    assert page.of("vip_held_here", vip="web") == 1 and page.of("vip_held", vip="web") == 1
    assert page.of("member_alive", member=holder.name) == 1
    assert page.of("process_up", process="elector") == 1
    assert metrics(other).of("vip_held_here", vip="web") == 0
    assert page.of("member_loss_in_ratio", member=other.name) < 0.5
    assert page.of("member_round_trip_seconds", member=other.name) < 0.1
