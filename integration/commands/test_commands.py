"""The command line without a cluster, and what it prints with one."""

import json
import os
import re
import subprocess

import pytest

GOOD = """cluster:
  name: zone-a
  interface: eth0
  key: file:cluster.key
  members:
    n1: 192.0.2.11
    n2: 192.0.2.12
    n3: 192.0.2.13
vips:
  web: {addresses: [192.0.2.100/24]}
listeners:
  web: {bind: ["*:80"], pool: app}
pools:
  app:
    servers: {members: true, port: 8080}
    check: {http: /healthz}
"""


@pytest.fixture
def check(tmp_path, afloat):
    def run(text, key=True):
        (tmp_path / "afloat.yaml").write_text(text)
        if key:
            (tmp_path / "cluster.key").write_text(afloat("keygen").stdout)
            os.chmod(tmp_path / "cluster.key", 0o600)
        return afloat("check", "afloat.yaml", cwd=tmp_path)

    return run


def test_check_accepts_the_minimal_file(check):
    done = check(GOOD)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("old, new, line, words", [
    ("listeners:\n", "listners:\n", 11, "listeners"),
    ("pool: app}", "pool: ap}", 12, "app"),
    ("192.0.2.100/24", "192.0.2.100/77", 10, ""),
    ("  interface: eth0\n", "  interface: eth0\n  heartbeat: fast\n", 4, "heartbeat"),
    ("n3: 192.0.2.13", "n3: 192.0.2.12", 8, "192.0.2.12"),
    ("check: {http: /healthz}", "check: {https: /healthz}", 16, "http"),
    ("    check:", "    check: {tls: yes}\n    #", 16, "not supported yet"),
    ("    check:", "    check: {script: works}\n    #", 16, "is not a path from the root"),
    ("    check:", "    check: {script: /nonexistent/x}\n    #", 16, "no such file or directory"),
])
def test_check_says_where_and_what(check, old, new, line, words):
    done = check(GOOD.replace(old, new))
    output = done.stdout + done.stderr
    assert done.returncode == 2, output
    assert re.search(rf"afloat\.yaml:{line}:\d+: ", output), output
    assert words in output


def test_check_reports_all_errors_at_once(check):
    text = GOOD.replace("pool: app}", "pool: ap}").replace("listeners:\n", "colour: blue\nlisteners:\n")
    done = check(text)
    assert done.returncode == 2
    assert len(re.findall(r"afloat\.yaml:\d+:\d+: ", done.stdout + done.stderr)) >= 2


def test_check_of_nothing_and_of_no_yaml(check, afloat, tmp_path):
    assert afloat("check", str(tmp_path / "missing.yaml")).returncode == 2
    assert check("cluster: [\n").returncode == 2


def test_a_key_that_others_can_read_is_refused(check, tmp_path, afloat):
    check(GOOD)
    os.chmod(tmp_path / "cluster.key", 0o644)
    done = afloat("check", "afloat.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "600" in done.stdout + done.stderr


def test_keygen_prints_another_key_each_time(afloat):
    keys = {afloat("keygen").stdout.strip() for _ in range(5)}
    assert len(keys) == 5 and all(len(key) >= 32 for key in keys)


def test_version(afloat):
    done = afloat("version")
    assert done.returncode == 0 and re.search(r"\d+\.\d+", done.stdout)


def test_an_order_that_takes_no_number_says_so(afloat):
    done = afloat("server", "app/s1", "drain", "5")
    assert done.returncode == 2
    assert "drain takes no number (afloat server app/s1 weight 5 sets a weight)" in done.stderr, done.stderr


def test_commands_without_an_agent_say_so(afloat, tmp_path):
    done = afloat("status", "--socket", str(tmp_path / "none.sock"))
    assert done.returncode == 2
    assert "none.sock" in done.stdout + done.stderr


def test_status_and_its_parts(stage):
    cluster = stage.cluster(backends=2)
    agent = cluster.agents[0]
    from lab import wait_until
    wait_until(lambda: (agent.query("status") or {}).get("verdict") == "OK", 15, "the verdict OK")
    done = agent.afloat("status")
    assert done.returncode == 0 and done.stdout.startswith("OK")
    status = agent.query("status")
    assert status["node"] == "n1"
    vip = status["vips"][0]
    assert vip["name"] == "web" and vip["holder"] == cluster.holder().name and vip["addresses"] == ["192.0.2.100/24"]
    assert {server["name"] for server in status["pools"][0]["servers"]} == {"b1", "b2"}
    assert {member["name"] for member in status["members"]} == {"n1", "n2", "n3"}
    assert agent.query("vips") == json.loads(agent.afloat("vips", "--json").stdout)
    for command in ("members", "vips", "pools"):
        plain = agent.afloat(command)
        assert plain.returncode == 0 and plain.stdout.strip()
    # One node less: degraded or worse, and exit status 1 or 2 with it.
    next(one for one in cluster.agents if one is not agent and one is not cluster.holder()).kill()
    wait_until(lambda: agent.afloat("status").returncode in (1, 2), 15, "a verdict that is not OK")
    assert not agent.afloat("status").stdout.startswith("OK")


def test_the_api_answers_on_its_socket(stage):
    cluster = stage.cluster(nodes=1)
    agent = cluster.agents[0]
    for path in ("status", "members", "vips", "pools"):
        done = agent.host.run("curl", "-s", "-f", "--unix-socket", agent.socket, f"http://localhost/v1/{path}")
        json.loads(done.stdout)
    mode = os.stat(agent.socket).st_mode & 0o777
    assert mode & 0o007 == 0, f"the socket is open to everybody ({mode:o})"


@pytest.mark.parametrize("command", [["keygen"], ["version"], ["--help"]])
def test_output_that_cannot_be_written_is_an_error(afloat, command):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = afloat(*command, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and "no space left" in done.stderr, done
