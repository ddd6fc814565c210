"""Cables, switches and partitions. Times are compared with limits far above the figures of `make bench-failover`:
what is tested is that the right thing happens at all, soon."""

import time

import pytest

from lab import ArpWatch, Probe, wait_until

# The detection time at 10 ms × 3 is 30 ms. A busy machine with two cores may be slow to schedule six namespaces.
SOON_MS = 1000


@pytest.mark.parametrize("fault", ["cable", "silent"])
def test_a_cut_off_holder_is_replaced(stage, fault):
    cluster = stage.cluster()
    lan, holder = cluster.lan, cluster.holder()
    with Probe(lan.client, cluster.vip) as probe:
        time.sleep(0.3)
        struck = time.time()
        (lan.pull_cable if fault == "cable" else lan.silence)(holder.host)
        successor = wait_until(lambda: [one for one in cluster.holders() if one is not holder], 10, "a successor")[0]
        outage = probe.outage_after(struck)
        assert 0 < outage < SOON_MS
        assert lan.client.neighbour(cluster.vip) == successor.host.mac()
        healed = time.time()
        (lan.plug_cable if fault == "cable" else lan.restore)(holder.host)
        wait_until(lambda: len(cluster.holders()) == 1, 10, "one holder after the repair")
        wait_until(lambda: len({agent.holder() for agent in cluster.agents}) == 1, 10, "agreement after the repair")
        time.sleep(1)
        assert len(cluster.holders()) == 1
        assert lan.client.neighbour(cluster.vip) == cluster.holder().host.mac()
        assert probe.outage_after(healed) < SOON_MS


def test_a_healed_partition_ends_with_one_holder_that_announces_again(stage):
    cluster = stage.cluster(clients=2)
    lan, holder = cluster.lan, cluster.holder()
    others = [agent for agent in cluster.agents if agent is not holder]
    near, far = lan.clients
    for client in lan.clients:
        client.run("ping", "-c", "1", "-W", "1", cluster.vip)
    lan.partition([holder.host, near], [agent.host for agent in others] + [far])
    wait_until(lambda: len(cluster.holders()) == 2, 10, "a holder on each side")
    # Each side's clients are served by their own side.
    wait_until(lambda: far.run("ping", "-c", "1", "-W", "1", cluster.vip, check=False).returncode == 0, 5, "service there")
    assert near.neighbour(cluster.vip) != far.neighbour(cluster.vip)
    with ArpWatch(near, cluster.vip, period=5) as here, ArpWatch(far, cluster.vip, period=5) as there:
        time.sleep(0.3)
        healed = time.time()
        lan.heal()
        wait_until(lambda: len(cluster.holders()) == 1, 10, "one holder after the heal")
        survivor = cluster.holder()
        wait_until(lambda: all(agent.holder() == survivor.name for agent in cluster.agents), 10, "agreement")
        time.sleep(1.5)
        assert cluster.holders() == [survivor]
        mac = survivor.host.mac()
        for watch in (here, there):
            announced = [claim for claim in watch.claims(healed, announcements=True)]
            assert announced, "nobody announced after the heal"
            assert announced[-1]["mac"] == mac
    for client in lan.clients:
        assert client.neighbour(cluster.vip) == mac
        client.run("ping", "-c", "1", "-W", "1", cluster.vip)


def test_a_link_that_is_cut_between_two_nodes_only_moves_nothing(stage):
    cluster = stage.cluster()
    lan, holder = cluster.lan, cluster.holder()
    wait_until(lambda: all(agent.holder() == holder.name for agent in cluster.agents), 10, "agreement")
    other = next(agent for agent in cluster.agents if agent is not holder)
    with Probe(lan.client, cluster.vip) as probe:
        lan.cut([holder.host], [other.host])
        lan.cut([other.host], [holder.host])
        time.sleep(2)
        assert cluster.holders() == [holder], "the third node still hears the holder: no takeover on own evidence alone"
        lan.heal()
        time.sleep(1)
        assert cluster.holders() == [holder]
        probe.assert_unharmed()
