"""What a VIP requires of a node: each kind, what happens when it is missing, and what is said of it."""

import os
import subprocess
import time

import pytest

from lab import Probe, wait_until


def vip(agent, name="web"):
    return next((one for one in agent.query("vips") or [] if one["name"] == name), {})


def require(stage, text, **options):
    """A cluster whose VIP requires `text`; `@` in it is the node's own directory, which the configuration of each has."""
    cluster = stage.cluster(start=False, **options)
    for agent in cluster.agents:
        own = cluster.configuration(vip_options={"requires": f"[{text.replace('@', agent.directory)}]"})
        agent.write(own)
    return cluster


def touch(agent, name):
    with open(os.path.join(agent.directory, name), "w", encoding="utf-8"):
        pass


def write_script(agent, name, text):
    path = os.path.join(agent.directory, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n" + text + "\n")
    os.chmod(path, 0o755)
    return path


def test_a_missing_file_moves_the_vip_and_the_last_holder_keeps_it(stage):
    cluster = require(stage, "{file: @/ready}", nodes=2)
    cluster.start()
    for agent in cluster.agents:
        wait_until(lambda: "ready: it is not there" in (vip(agent).get("ineligible") or ""), 20, "a cause")
        touch(agent, "ready")
    wait_until(lambda: cluster.agreed(), 20, "a holder")
    first = cluster.holder()
    second = next(agent for agent in cluster.agents if agent is not first)
    wait_until(lambda: set(vip(first)["eligible"]) == {"n1", "n2"}, 10, "two that may hold it")
    with Probe(cluster.lan.client, cluster.vip) as probe:
        time.sleep(0.3)
        struck = time.time()
        os.remove(os.path.join(first.directory, "ready"))
        cluster.wait_for_holder(other_than=first)
        # Planned: no detection time in it.
        assert probe.outage_after(struck) < 1000
    assert "ready: it is not there" in wait_until(lambda: vip(first).get("ineligible"), 10, "a cause")
    lost = [event for event in first.query("events") if event["kind"] == "vip_lost"][-1]
    assert "this node may not hold it any more: file" in lost["cause"], lost
    # Now nobody may: whoever has it keeps it, and says so, on every node.
    os.remove(os.path.join(second.directory, "ready"))
    wait_until(lambda: vip(second).get("ineligible"), 10, "the second to miss it too")
    time.sleep(1)
    assert cluster.holders() == [second]
    wait_until(lambda: second.afloat("status").returncode == 1, 10, "DEGRADED")
    text = second.afloat("status").stdout
    assert text.startswith("DEGRADED") and "is kept by a node that should not hold it: file" in text, text
    text = first.afloat("status").stdout
    assert text.startswith("DEGRADED") and f"VIP web is kept by {second.name}, which should not hold it" in text, text
    required = vip(second)["requires"]
    assert [(one["met"], one["strict"]) for one in required] == [(False, False)]
    assert required[0]["requirement"].startswith("file ") and required[0]["cause"] == "it is not there"


def test_where_nobody_has_what_is_required_somebody_holds_it_all_the_same(stage):
    """From the start, and after the end of the node that held it."""
    cluster = require(stage, "{file: @/ready}", nodes=2)
    cluster.start()
    first = cluster.wait_for_holder()
    second = next(agent for agent in cluster.agents if agent is not first)
    wait_until(lambda: second.afloat("status").returncode == 1, 10, "DEGRADED")
    text = second.afloat("status").stdout
    assert f"VIP web is kept by {first.name}, which should not hold it" in text, text
    first.kill()
    wait_until(lambda: second in cluster.holders(), 20, "the other to take it")
    assert "ready: it is not there" in vip(second)["ineligible"]


def test_a_strict_requirement_leaves_nobody(stage):
    cluster = require(stage, "{file: @/ready, strict: yes}", nodes=2)
    for agent in cluster.agents:
        touch(agent, "ready")
    cluster.start()
    cluster.wait_for_holder()
    for agent in cluster.agents:
        os.remove(os.path.join(agent.directory, "ready"))
    wait_until(lambda: cluster.holders() == [], 10, "nobody holds it")
    wait_until(lambda: cluster.agents[0].afloat("status").returncode == 2, 10, "CRITICAL")
    assert "nobody holds VIP web, and this node may not: file" in cluster.agents[0].afloat("status").stdout
    touch(cluster["n2"], "ready")
    wait_until(lambda: [one.name for one in cluster.holders()] == ["n2"], 10, "n2 holds it")


def test_a_script_decides_with_rise_and_fall_and_its_words_are_shown(stage):
    cluster = require(stage, "{script: @/check, every: 100ms, timeout: 2s, rise: 3, fall: 2}", nodes=2)
    for agent in cluster.agents:
        write_script(agent, "check", f"""echo run >> {agent.directory}/runs
            echo first line; test -e {agent.directory}/bad || exit 0; echo the disk is full >&2; exit 3""")
    cluster.start()
    first = cluster.wait_for_holder()
    touch(first, "bad")
    cluster.wait_for_holder(other_than=first)
    cause = wait_until(lambda: vip(first).get("ineligible"), 10, "a cause")
    assert cause.endswith("check: exit status 3: the disk is full"), cause
    os.remove(os.path.join(first.directory, "bad"))
    wait_until(lambda: vip(first)["requires"][0]["met"], 10, "the script to count as good again")
    with open(os.path.join(first.directory, "runs"), encoding="utf-8") as runs:
        assert len(runs.readlines()) > 5


def test_a_script_that_hangs_costs_a_vip_but_no_election(stage):
    cluster = require(stage, "{script: @/check, every: 200ms, timeout: 300ms, fall: 2}", nodes=2)
    for agent in cluster.agents:
        write_script(agent, "check", f"test -e {agent.directory}/hang && sleep 1000; exit 0")
    cluster.start()
    first = cluster.wait_for_holder()
    touch(first, "hang")
    cluster.wait_for_holder(other_than=first)
    assert "took longer than 300 ms" in wait_until(lambda: vip(first).get("ineligible"), 10, "a cause")
    # Nothing piles up: at most one run at a time, and its children go with it.
    for _ in range(10):
        time.sleep(0.1)
        found = subprocess.run(["pgrep", "-fc", f"{first.directory}/check"], capture_output=True, text=True).stdout
        assert int(found or 0) <= 1
    first.stop()
    found = subprocess.run(["pgrep", "-fc", f"{first.directory}/check"], capture_output=True, text=True).stdout
    assert int(found or 0) == 0, "the script outlives its agent"


def test_a_pool_without_servers_moves_the_vip(stage):
    """Only one node loses sight of the backends; its balancer itself is fine."""
    cluster = stage.cluster(nodes=2, backends=2, vip_options={"requires": "[balancer, {pool: app, at_least: 2}]"})
    first = cluster.holder()
    second = next(agent for agent in cluster.agents if agent is not first)
    wait_until(lambda: set(vip(first)["eligible"]) == {"n1", "n2"}, 20, "two that may hold it")
    first.host.run("ip", "route", "add", "blackhole", f"{cluster.lan.backends[0].address}/32")
    cluster.wait_for_holder(other_than=first)
    cause = wait_until(lambda: vip(first).get("ineligible"), 10, "a cause")
    assert cause == "pool app (at least 2): 1 of 2 servers are up"
    cluster.wait_for_service()
    assert vip(second)["ineligible"] is None


def test_a_required_pool_is_the_one_that_its_clients_are_switched_to(stage):
    options = {"requires": "[balancer, {pool: app}]"}
    cluster = stage.cluster(nodes=2, backends=2, vip_options=options)
    green = f"  green: {{servers: {{only: {cluster.backends[1].address}}}, check: {{tcp: {{}}, every: 200ms}}}}"
    for agent in cluster.agents:
        agent.write(cluster.configuration(pools=[green], vip_options=options))
        assert agent.afloat("reload").returncode == 0
    first = cluster.holder()
    wait_until(lambda: set(vip(first)["eligible"]) == {"n1", "n2"}, 20, "two that may hold it")
    assert first.afloat("switch", "web/default", "green").returncode == 0
    wait_until(lambda: all(agent.query("listeners")[0]["switched"] for agent in cluster.agents), 10, "the switch")
    # The other backend, and with it pool app, is still there.
    first.host.run("ip", "route", "add", "blackhole", f"{cluster.lan.backends[1].address}/32")
    cluster.wait_for_holder(other_than=first)
    cause = wait_until(lambda: vip(first).get("ineligible"), 10, "a cause")
    assert cause == "pool app: its clients are switched to pool green: 0 of 1 servers are up"
    cluster.wait_for_service()
    # Back to a pool that is there.
    assert first.afloat("switch", "web/default", "--back").returncode == 0
    wait_until(lambda: vip(first)["ineligible"] is None, 10, "the first node to be fit again")


def test_an_interface_and_a_process(stage):
    name = f"afloat-{os.getpid() % 100000}"
    cluster = require(stage, f"{{interface: up0}}, {{process: {name}}}", nodes=2)
    runs = []
    for agent in cluster.agents:
        agent.host.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "peer0")
        agent.host.run("ip", "link", "set", "up0", "up")
        agent.host.run("ip", "link", "set", "peer0", "up")
    program = os.path.join(cluster.lan.directory, name)
    subprocess.run(["cp", "/bin/sleep", program], check=True)
    runs.append(cluster.lan.nodes[0].start(program, "600"))
    cluster.start()
    first = cluster.wait_for_holder()
    first.host.run("ip", "link", "set", "peer0", "down")
    second = cluster.wait_for_holder(other_than=first)
    assert wait_until(lambda: vip(first).get("ineligible"), 10, "a cause") == "interface up0: no carrier"
    first.host.run("ip", "link", "set", "peer0", "up")
    wait_until(lambda: vip(first)["ineligible"] is None, 10, "the interface back")
    # Both nodes see the same process here (namespaces of networks only). One of them notices first and gives the VIP to
    # the other, which notices next: then nobody is eligible, and the last holder keeps the VIP.
    runs[0].kill()
    runs[0].wait(10)
    assert wait_until(lambda: vip(second).get("ineligible"), 10, "a cause") == \
        f"process {name}: no process of that name runs"
    assert wait_until(lambda: vip(first).get("ineligible"), 10, "a cause there too") == \
        f"process {name}: no process of that name runs"
    cluster.wait_for_holder()
    time.sleep(0.5)
    assert len(cluster.holders()) == 1


@pytest.mark.parametrize("fault", ["missing", "plain", "open"])
def test_a_script_that_cannot_be_run_is_warned_of_before(stage, fault):
    cluster = require(stage, "{script: @/check}", nodes=1)
    agent = cluster.agents[0]
    if fault != "missing":
        path = write_script(agent, "check", "exit 0")
        os.chmod(path, 0o644 if fault == "plain" else 0o777)
    done = agent.afloat("check", agent.configuration)
    assert done.returncode == 0
    words = {"missing": "no such file", "plain": "it is not executable", "open": "others than its owner may change it"}
    assert f"VIP web requires the script {agent.directory}/check: {words[fault]}" in done.stdout, done.stdout
