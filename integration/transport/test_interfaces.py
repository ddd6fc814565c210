"""Two interfaces for heartbeats: the cable that works carries the evidence."""

import time

import pytest

from lab import Probe, wait_until


def agreed(cluster):
    holder = cluster.holder()
    return holder if holder and all(agent.holder() == holder.name for agent in cluster.agents) else None


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
    holder = wait_until(lambda: agreed(cluster), 10, "agreement")
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
        assert probe.stop()["lost"] == 0
    assert all(agent.holder() == holder.name for agent in cluster.agents)


def test_heartbeats_alone_cross_to_the_other_network(stage):
    # The first switch is silent for the holder, whose link stays up: the others still hear it by the second one.
    cluster = two_networks(stage)
    holder = wait_until(lambda: agreed(cluster), 10, "agreement")
    cluster.lan.silence(holder.host)
    time.sleep(1)
    assert cluster.holders() == [holder]
    assert all(one["state"] == "alive" for agent in cluster.agents for one in agent.query("members"))
    cluster.lan.restore(holder.host)


def test_a_vip_leaves_its_interface_at_once_when_that_loses_its_carrier(stage):
    cluster = two_networks(stage)
    lan = cluster.lan
    holder = wait_until(lambda: agreed(cluster), 10, "agreement")
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
    holder = wait_until(lambda: agreed(cluster), 10, "agreement")
    lan.pull_cable(holder.host)
    lan.pull_cable(holder.host, second=True)
    wait_until(lambda: [one for one in cluster.holders() if one is not holder], 10, "a successor")
    wait_until(lambda: holder not in cluster.holders(), 10, "nothing on the node without cables")
    lan.plug_cable(holder.host)
    lan.plug_cable(holder.host, second=True)
    wait_until(lambda: agreed(cluster), 10, "agreement after the repair")
