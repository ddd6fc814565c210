"""Planned handover: `afloat move` names the successor, loses next to nothing, and refuses what cannot be."""

import time

from lab import ArpWatch, Probe, wait_until


def test_move_to_each_node_in_turn(stage):
    cluster = stage.cluster()
    with Probe(cluster.lan.client, cluster.vip) as probe, ArpWatch(cluster.lan.client, cluster.vip) as watch:
        for name in ("n1", "n2", "n3", "n1"):
            if cluster.holder().name == name:
                continue
            moved = time.time()
            # Any node takes the command.
            done = cluster["n2"].afloat("move", "web", name)
            assert done.returncode == 0, done.stdout + done.stderr
            wait_until(lambda: cluster.holder() is cluster[name], 10, f"{name} to hold the VIP")
            assert probe.outage_after(moved) < 500
            assert watch.answerers(0.4) == {cluster[name].host.mac()}
            wait_until(lambda: all(agent.holder() == name for agent in cluster.agents), 10, "agreement")
        causes = [one["cause"] for one in cluster["n1"].query("vips")]
        assert all(causes), "the cause of the last change is said"


def test_move_refuses_unknown_names_and_dead_nodes(stage):
    cluster = stage.cluster()
    holder = cluster.holder()
    for arguments in (["web", "nobody"], ["nothing", "n1"]):
        done = holder.afloat("move", *arguments)
        assert done.returncode != 0
        assert done.stderr.strip() or done.stdout.strip()
    other = next(agent for agent in cluster.agents if agent is not holder)
    other.kill()
    wait_until(lambda: other.name in [one["name"] for one in holder.query("members") if one["state"] == "dead"], 15, "a death")
    assert holder.afloat("move", "web", other.name).returncode != 0
    assert holder in cluster.holders()
