"""Two interfaces for heartbeats: the cable that works carries the evidence, and the one that does not is told of."""

import re
import time

import pytest

from lab import Probe, wait_until


def two_networks(stage, **options):
    options.setdefault("member", lambda node: f"{{address: [{node.address}, {node.second_address}]}}")
    options.setdefault("interface", "[eth0, eth1]")
    return stage.cluster(second=True, **options)


def replays(agent):
    """Datagrams that this agent's elector counted as replayed, as its status says."""
    return sum(one.get("dropped", {}).get("replayed", 0) for one in [agent.query("status") or {}])


@pytest.mark.parametrize("fault", ["cable", "silent"])
@pytest.mark.parametrize("transport", ["multicast", "unicast"])
def test_the_loss_of_the_second_network_moves_nothing(stage, fault, transport):
    cluster = two_networks(stage, cluster={"transport": transport})
    lan = cluster.lan
    holder = wait_until(lambda: cluster.agreed(), 10, "agreement")
    with Probe(lan.client, cluster.vip) as probe:
        time.sleep(0.3)
        for break_it, mend in [((lan.pull_cable, lan.plug_cable) if fault == "cable" else (lan.silence, lan.restore))] * 2:
            break_it(holder.host, second=True)
            time.sleep(1)
            assert cluster.holders() == [holder]
            assert all(one["state"] == "alive" for one in holder.query("members"))
            mend(holder.host, second=True)
            time.sleep(0.5)
        assert cluster.holders() == [holder]
        probe.assert_unharmed()
    assert all(agent.holder() == holder.name for agent in cluster.agents)


def test_heartbeats_alone_cross_to_the_other_network(stage):
    # The first switch is silent for the holder, whose link stays up: the others still hear it by the second one.
    cluster = two_networks(stage)
    holder = wait_until(lambda: cluster.agreed(), 10, "agreement")
    cluster.lan.silence(holder.host)
    time.sleep(1)
    assert cluster.holders() == [holder]
    assert all(one["state"] == "alive" for agent in cluster.agents for one in agent.query("members"))
    cluster.lan.restore(holder.host)


def test_a_vip_leaves_its_interface_at_once_when_that_loses_its_carrier(stage):
    cluster = two_networks(stage)
    lan = cluster.lan
    holder = wait_until(lambda: cluster.agreed(), 10, "agreement")
    struck = time.time()
    with Probe(lan.client, cluster.vip) as probe:
        time.sleep(0.2)
        struck = time.time()
        lan.pull_cable(holder.host)
        successor = cluster.wait_for_holder(other_than=holder)
        assert 0 < probe.outage_after(struck) < 1000
    assert all(agent.holder() == successor.name for agent in cluster.agents), "heartbeats still pass by the second network"
    lan.plug_cable(holder.host)
    time.sleep(1)
    assert cluster.holders() == [successor]


def test_both_cables_out_are_a_dead_node(stage):
    cluster = two_networks(stage)
    lan = cluster.lan
    holder = wait_until(lambda: cluster.agreed(), 10, "agreement")
    lan.pull_cable(holder.host)
    lan.pull_cable(holder.host, second=True)
    wait_until(lambda: [one for one in cluster.holders() if one is not holder], 10, "a successor")
    wait_until(lambda: holder not in cluster.holders(), 10, "nothing on the node without cables")
    lan.plug_cable(holder.host)
    lan.plug_cable(holder.host, second=True)
    wait_until(lambda: cluster.agreed(), 10, "agreement after the repair")


def paths(agent, name):
    """Interface → how this agent hears the member there."""
    member = next((one for one in agent.query("members") or [] if one["name"] == name), {"paths": []})
    return {path["interface"]: path for path in member["paths"]}


def events(agent, kind):
    return [one for one in agent.query("events") or [] if one["kind"] == kind]


def hears(agent, name, **wanted):
    found = paths(agent, name)
    return len(found) == 2 and all(found[interface]["heard"] is heard for interface, heard in wanted.items())


@pytest.mark.parametrize("fault", ["cable", "silent"])
def test_a_path_that_is_dead_is_told_of_while_the_other_works(stage, fault):
    cluster = two_networks(stage)
    lan = cluster.lan
    one, two, three = cluster.agents
    for agent in cluster.agents:
        for other in cluster.agents:
            if other is not agent:
                wait_until(lambda: hears(agent, other.name, eth0=True, eth1=True) and all(
                    path["multicast"] and path["last_heard_ms"] < 1000 for path in paths(agent, other.name).values()), 15, "all paths")
        wait_until(lambda: agent.query("status")["verdict"] == "OK", 15, "a cluster that is well")
    assert paths(one, one.name) == {}
    assert "HEARD HERE  ON eth0  ON eth1" in one.afloat("members").stdout
    holder = cluster.holder()
    (lan.pull_cable if fault == "cable" else lan.silence)(two.host, second=True)
    for agent in (one, three):
        wait_until(lambda: hears(agent, "n2", eth0=True, eth1=False), 10, "the dead path")
        other = three if agent is one else one
        assert hears(agent, other.name, eth0=True, eth1=True)
        lost = wait_until(lambda: events(agent, "path_lost"), 5, "the event")
        assert [(event["subject"], event["cause"]) for event in lost] == [("eth1", "n2 is not heard on eth1")]
    # For the node itself it is the whole network.
    wait_until(lambda: hears(two, "n1", eth0=True, eth1=False) and hears(two, "n3", eth0=True, eth1=False), 10, "both paths")
    wait_until(lambda: events(two, "path_lost"), 5, "the event")
    status = one.afloat("status")
    assert status.returncode == 1
    assert re.match(r"DEGRADED: n2 is not heard on eth1 \(\d+ m?s\): heartbeats have one interface left\n", status.stdout), status.stdout
    assert re.match(
        r"DEGRADED: no member is heard on eth1 \(\d+ m?s\): heartbeats have one interface left\n", two.afloat("status").stdout)
    assert re.search(r"(?m)^n2 +yes +not for \d+ s$", one.afloat("members").stdout), one.afloat("members").stdout
    assert cluster.holders() == [holder] and all(member["state"] == "alive" for member in one.query("members"))
    (lan.plug_cable if fault == "cable" else lan.restore)(two.host, second=True)
    wait_until(lambda: one.query("status")["verdict"] == two.query("status")["verdict"] == "OK", 10, "the end of the complaint")
    assert events(one, "path_back") == [], "it has to work for a while first"
    back = wait_until(lambda: events(one, "path_back"), 15, "the event")
    assert [(event["subject"], event["cause"]) for event in back] == [("eth1", "n2 is heard on eth1 again")]
    assert len(events(one, "path_lost")) == 1


def test_an_interface_without_multicasts_says_so(stage):
    cluster = two_networks(stage)
    one = cluster["n1"]
    wait_until(lambda: hears(one, "n2", eth0=True, eth1=True), 15, "both paths")
    cluster.lan.drop_multicasts()
    found = wait_until(lambda: (lambda now: now if now["eth0"]["multicast"] is False else None)(paths(one, "n2")), 10, "unicasts only")
    assert found["eth0"]["heard"] and found["eth1"]["heard"] and found["eth1"]["multicast"]
    assert re.search(r"(?m)^n2 +by unicast +yes$", one.afloat("members").stdout), one.afloat("members").stdout
    assert one.query("status")["verdict"] == "OK" and events(one, "path_lost") == []
