"""What dies is replaced: elector, balancer, agent, by SIGKILL and by SIGTERM."""

import os
import signal
import time

from lab import ArpWatch, Probe, wait_until

SOON_MS = 1000


def single_answerer(cluster):
    with ArpWatch(cluster.lan.client, cluster.vip) as watch:
        return watch.answerers(0.6)


def test_sigkill_of_the_elector_hands_over_and_it_comes_back(stage):
    cluster = stage.cluster()
    holder = cluster.holder()
    first = holder.elector
    with Probe(cluster.lan.client, cluster.vip) as probe:
        time.sleep(0.3)
        struck = time.time()
        os.kill(first, signal.SIGKILL)
        successor = cluster.wait_for_holder(other_than=holder)
        assert 0 <= probe.outage_after(struck) < SOON_MS
    assert single_answerer(cluster) == {successor.host.mac()}
    wait_until(lambda: holder.elector not in (None, first), 15, "a new elector")
    wait_until(lambda: all(agent.holder() == successor.name for agent in cluster.agents), 15, "agreement")
    assert holder.running()
    assert cluster.holders() == [successor]


def test_a_hanging_elector_is_replaced(stage):
    cluster = stage.cluster()
    holder = cluster.holder()
    first = holder.elector
    with Probe(cluster.lan.client, cluster.vip) as probe:
        struck = time.time()
        os.kill(first, signal.SIGSTOP)
        successor = cluster.wait_for_holder(other_than=holder)
        assert probe.outage_after(struck) < 2 * SOON_MS
    assert single_answerer(cluster) == {successor.host.mac()}
    wait_until(lambda: holder.elector not in (None, first), 15, "a new elector")


def test_sigkill_of_the_balancer_hands_over_and_it_comes_back_on_its_listeners(stage):
    cluster = stage.cluster(backends=2)
    holder = cluster.holder()
    first = holder.balancer
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: holder.balancer not in (None, first), 15, "a new balancer")
    cluster.wait_for_service()
    wait_until(lambda: len(cluster.holders()) == 1, 10, "one holder")
    assert holder.running() and holder.elector
    # It serves again on this node's own address too, and counts its servers as up.
    wait_until(lambda: set(holder.server_states().values()) == {"up"}, 10, "servers up again")
    cluster.lan.client.run("curl", "-sf", "-m", "2", f"http://{holder.host.address}/")


def test_sigkill_of_the_agent_ends_its_children_and_hands_over(stage):
    cluster = stage.cluster(backends=2)
    holder = cluster.holder()
    children = [holder.elector, holder.balancer]
    with Probe(cluster.lan.client, cluster.vip) as probe:
        time.sleep(0.3)
        struck = time.time()
        holder.kill()
        successor = cluster.wait_for_holder(other_than=holder)
        assert probe.outage_after(struck) < SOON_MS
    assert single_answerer(cluster) == {successor.host.mac()}
    cluster.wait_for_service()
    wait_until(lambda: not os.path.exists(f"/proc/{children[0]}"), 10, "the elector's end")
    assert cluster.vip not in holder.host.addresses()
    holder.start()
    wait_until(lambda: holder.holder() == successor.name, 20, "the agent back in the cluster")


def test_sigterm_hands_over_before_it_ends(stage):
    cluster = stage.cluster(backends=2)
    holder = cluster.holder()
    children = [holder.elector, holder.balancer]
    with Probe(cluster.lan.client, cluster.vip) as probe:
        time.sleep(0.3)
        struck = time.time()
        assert holder.stop() == 0
        successor = cluster.wait_for_holder(other_than=holder)
        assert probe.outage_after(struck) < SOON_MS
    assert cluster.vip not in holder.host.addresses()
    assert not any(os.path.exists(f"/proc/{child}") for child in children)
    assert single_answerer(cluster) == {successor.host.mac()}
    cluster.wait_for_service()


def test_everything_killed_at_once_leaves_the_vip_to_another_node(stage):
    cluster = stage.cluster()
    holder = cluster.holder()
    pids = [holder.pid, holder.elector]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: [one for one in cluster.holders() if one is not holder], 10, "a successor")
    holder.process.wait(10)
    # The dead node may keep the address until it is started again; then it must give it up by itself.
    holder.start()
    wait_until(lambda: len(cluster.holders()) == 1, 20, "one holder after the restart")
    wait_until(lambda: len({agent.holder() for agent in cluster.agents}) == 1, 10, "agreement")
