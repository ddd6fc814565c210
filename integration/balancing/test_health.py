"""Servers that fall ill are taken out, and taken back when they are well: refused, hanging, answering 500."""

import os
import time

import pytest

from lab import Traffic, wait_until
from lone_balancer import ask
from peers import plain


@pytest.mark.parametrize("illness", ["refuses", "hangs", "answers 500"])
def test_an_ill_server_is_taken_out_and_back(stage, illness):
    cluster = stage.cluster(nodes=1, backends=3)
    agent = cluster.agents[0]
    sick = cluster.backends[1]
    wait_until(lambda: set(agent.server_states().values()) == {"up"}, 10, "all servers up")
    {"refuses": sick.stop, "hangs": sick.hang, "answers 500": sick.fall_ill}[illness]()
    wait_until(lambda: agent.server_states().get(sick.name) == "down", 10, f"{sick.name} down")
    checks = {server["name"]: server["last_check"] for server in agent.query("pools")[0]["servers"]}
    assert checks[sick.name], "the cause is said in words"
    with Traffic(cluster.lan.client, cluster.vip, rate=500, cookies=False) as traffic:
        time.sleep(1)
        seen = traffic.stop()
    assert seen["failed"] == 0
    assert sick.name not in seen["servers"] and len(seen["servers"]) == 2
    {"refuses": sick.start, "hangs": sick.wake, "answers 500": sick.recover}[illness]()
    wait_until(lambda: agent.server_states().get(sick.name) == "up", 10, f"{sick.name} up again")
    with Traffic(cluster.lan.client, cluster.vip, rate=500, cookies=False) as traffic:
        time.sleep(1)
        seen = traffic.stop()
    assert seen["failed"] == 0
    assert len(seen["servers"]) == 3


def test_a_server_is_not_up_before_its_first_check(stage):
    cluster = stage.cluster(nodes=1, backends=2, start=False)
    cluster.backends[0].fall_ill()
    cluster.start()
    cluster.wait_for_service()
    with Traffic(cluster.lan.client, cluster.vip, rate=200, cookies=False) as traffic:
        time.sleep(0.5)
        seen = traffic.stop()
    assert list(seen["servers"]) == [cluster.backends[1].name]
    assert cluster.agents[0].server_states()[cluster.backends[0].name] in ("down", "starting")


def test_a_script_checks_servers(lone, tmp_path_factory):
    """Its words are in `afloat pools` and in the events; one that cannot be run is refused before it takes servers away."""
    directory = tmp_path_factory.mktemp("scripts")
    for folder in (directory, directory.parent, directory.parent.parent):
        os.chmod(folder, 0o755)  # the balancer is no root
    path = directory / "works"
    path.write_text(f"#!/bin/sh\ntest -e {directory}/$AFLOAT_SERVER || exit 0\necho $AFLOAT_POOL has no replication\nexit 2\n")
    path.chmod(0o755)
    check = f"{{script: {path}, every: 200ms, fast: 100ms, timeout: 5s, rise: 1, fall: 2}}"
    site = lone(plain(b"one"), plain(b"two"), check=check)
    agent = site.agent
    wait_until(lambda: agent.server_states() == {"b1": "up", "b2": "up"}, 10, "both up")
    (directory / "b1").touch()
    wait_until(lambda: agent.server_states() == {"b1": "down", "b2": "up"}, 10, "one down")
    words = f"script {path} exited with 2: app has no replication"
    assert words in agent.afloat("pools").stdout and words in agent.afloat("events").stdout
    assert {ask(site)[1] for _ in range(4)} == {b"two"}

    with open(agent.configuration, encoding="utf-8") as file:
        text = file.read()
    assert f"checked by the script {path} every 200ms" in agent.afloat("check", agent.configuration).stdout
    for mistake, cause in [("gone", "no such file or directory"), ("plain", "it is not executable (chmod +x")]:
        (directory / "plain").write_text("#!/bin/sh\n")
        agent.write(text.replace(str(path), f"{directory}/{mistake}"))
        refused = agent.afloat("check", agent.configuration)
        assert refused.returncode == 2, refused.stdout
        assert f"pool app is checked by {directory}/{mistake}, which every node must have: {cause}" in refused.stderr
        reloaded = agent.afloat("reload")
        assert reloaded.returncode != 0 and cause in reloaded.stdout + reloaded.stderr
    assert agent.server_states() == {"b1": "down", "b2": "up"}
