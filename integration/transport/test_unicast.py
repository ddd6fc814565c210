"""Heartbeats where multicasts do not get through, or are not used at all. Counts and holders, no tight times: that a dead
holder is replaced within the detection time is tested on virtual clocks."""

import re
import time

import pytest

from lab import Probe, wait_until

SOON_MS = 1000


def sent(host, seconds=1.0):
    """How many heartbeats leave a host meanwhile: (to the group, to single members)."""
    capture = host.run("timeout", str(seconds), "tcpdump", "-lnQ", "out", "-i", "eth0", "udp port 7076", check=False).stdout
    targets = re.findall(r"> (\d+)\.\d+\.\d+\.\d+\.7076:", capture)
    return sum(int(first) >= 224 for first in targets), sum(int(first) < 224 for first in targets)


@pytest.mark.parametrize("direction", ["everywhere", "from the holder", "to the holder"])
def test_a_switch_that_drops_multicasts_moves_nothing(stage, direction):
    cluster = stage.cluster()
    lan = cluster.lan
    holder = wait_until(lambda: cluster.agreed(), 10, "agreement")
    with Probe(lan.client, cluster.vip) as probe:
        time.sleep(0.3)
        if direction == "everywhere":
            lan.drop_multicasts()
        elif direction == "from the holder":
            lan.drop_multicasts(sources=[holder.host])
        else:
            lan.drop_multicasts(targets=[holder.host])
        time.sleep(2)
        assert cluster.holders() == [holder]
        assert all(agent.holder() == holder.name for agent in cluster.agents)
        assert all(one["state"] == "alive" for one in cluster.agents[0].query("members"))
        group, single = sent(holder.host)
        assert group > 20 and single > 20
        assert single < 3 * group, "one for each other member at the most"
        lan.heal()
        wait_until(lambda: sent(holder.host, 0.5)[1] == 0, 10, "an end of what is sent besides multicasts")
        assert cluster.holders() == [holder]
        probe.assert_unharmed()


def test_a_cluster_that_starts_without_multicasts_works(stage):
    cluster = stage.cluster(start=False)
    cluster.lan.drop_multicasts()
    cluster.start()
    cluster.wait_for_holder()
    holder = wait_until(lambda: cluster.agreed(), 10, "agreement")
    struck = time.time()
    with Probe(cluster.lan.client, cluster.vip) as probe:
        holder.kill()
        wait_until(lambda: [one for one in cluster.holders() if one is not holder], 10, "a successor")
        assert probe.outage_after(struck) < SOON_MS


@pytest.mark.parametrize("fault", ["cable", "silent"])
def test_with_unicast_a_cut_off_holder_is_replaced(stage, fault):
    cluster = stage.cluster(cluster={"transport": "unicast", "group": "239.1.2.3:7999"})
    lan = cluster.lan
    holder = wait_until(lambda: cluster.agreed(), 10, "agreement")
    lan.drop_multicasts()
    assert sent(holder.host) == (0, 0), "nothing leaves for the default port"
    with Probe(lan.client, cluster.vip) as probe:
        time.sleep(0.3)
        struck = time.time()
        (lan.pull_cable if fault == "cable" else lan.silence)(holder.host)
        wait_until(lambda: [one for one in cluster.holders() if one is not holder], 10, "a successor")
        assert 0 < probe.outage_after(struck) < SOON_MS
        (lan.plug_cable if fault == "cable" else lan.restore)(holder.host)
        wait_until(lambda: len(cluster.holders()) == 1 and cluster.agreed(), 10, "one holder after the repair")


def test_with_unicast_the_resign_of_a_killed_elector_reaches_the_peers(stage):
    cluster = stage.cluster(cluster={"transport": "unicast"}, heartbeat="500ms")
    holder = wait_until(lambda: cluster.agreed(), 20, "agreement")
    cluster.lan.drop_multicasts()
    assert sent(holder.host, 2)[0] == 0
    struck = time.time()
    with Probe(cluster.lan.client, cluster.vip) as probe:
        holder.host.run("kill", "-9", str(holder.elector))
        wait_until(lambda: [one for one in cluster.holders() if one is not holder], 10, "a successor")
        # The detection time is 1.75 s.
        assert probe.outage_after(struck) < SOON_MS
