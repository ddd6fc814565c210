"""Who holds the VIP: exactly one node, the same in everybody's eyes, also with five nodes and after failures."""

import time

import pytest

from lab import ArpWatch, Probe, wait_until


@pytest.mark.parametrize("nodes", [1, 3, 5])
def test_one_node_holds_the_vip_and_all_agree_on_it(stage, nodes):
    cluster = stage.cluster(nodes=nodes)
    with ArpWatch(cluster.lan.client, cluster.vip) as watch:

        def one_answers():
            # On a starved machine the VIP may move in between: what counts is a calm second.
            holder = cluster.agreed()
            answerers = watch.answerers(1.0)
            return holder and holder is cluster.holder() and answerers == {holder.host.mac()}

        wait_until(one_answers, 20, "one second with one holder that alone answers")
    if nodes > 1:
        wait_until(lambda: {one["name"]: one["state"] for one in cluster.agents[0].query("members")} ==
                   {node.name: "alive" for node in cluster.lan.nodes}, 10, "every member alive")


@pytest.mark.parametrize("preferred", ["n1", "n3"])
def test_the_preferred_node_holds_the_vip_where_failback_is_at_once(stage, preferred):
    order = [preferred] + [name for name in ("n1", "n2", "n3") if name != preferred]
    cluster = stage.cluster(vip_options={"prefer": f"[{', '.join(order)}]", "failback": "at_once"})
    wait_until(lambda: cluster.agreed() is cluster[preferred], 10, f"{preferred} to hold the VIP")


def test_a_node_that_comes_back_does_not_take_the_vip_with_failback_never(stage):
    cluster = stage.cluster()
    first = cluster.wait_for_holder()
    second = next(agent for agent in cluster.agents if agent is not first)
    cluster.stop()
    # The preferred node comes last, and finds the VIP held.
    text = cluster.configuration(vip_options={"prefer": f"[{first.name}, {second.name}]"})
    for agent in cluster.agents:
        agent.write(text)
    for agent in cluster.agents:
        if agent is not first:
            agent.start()
    holder = cluster.wait_for_holder()
    first.start()
    wait_until(lambda: first.holder() == holder.name, 15, f"{first.name} in the cluster")
    with Probe(cluster.lan.client, cluster.vip) as probe:
        time.sleep(2)
        assert cluster.holders() == [holder]
        probe.assert_unharmed()


def test_failback_at_once_returns_the_vip(stage):
    cluster = stage.cluster(vip_options={"prefer": "[n1, n2, n3]", "failback": "at_once"})
    wait_until(lambda: cluster.agreed() is cluster["n1"], 10, "n1 to hold the VIP")
    cluster["n1"].stop()
    cluster.wait_for_holder(other_than=cluster["n1"])
    cluster["n1"].start()
    wait_until(lambda: cluster.agreed() is cluster["n1"], 20, "the VIP back on n1")


def test_five_nodes_lose_two_one_after_the_other(stage):
    cluster = stage.cluster(nodes=5)
    gone = []
    for _ in range(2):
        holder = cluster.wait_for_holder()
        holder.kill()
        gone.append(holder)
        wait_until(lambda: [one for one in cluster.holders() if one not in gone], 15, "a new holder")
    alive = [agent for agent in cluster.agents if agent not in gone]
    wait_until(lambda: len({agent.holder() for agent in alive}) == 1 and alive[0].holder() in
               {agent.name for agent in alive}, 10, "agreement of the rest")


def test_a_calm_cluster_keeps_its_holder(stage):
    cluster = stage.cluster(heartbeat="10ms")
    wait_until(lambda: cluster.agreed(), 10, "agreement")
    since = [one["since"] for one in cluster.agents[0].query("vips")]
    with Probe(cluster.lan.client, cluster.vip) as probe:
        time.sleep(10)
        probe.assert_unharmed()
    assert [one["since"] for one in cluster.agents[0].query("vips")] == since
