"""`on_change`: a program runs when a VIP comes and goes, in order, and nothing waits for it."""

import os
import signal
import time

from lab import Probe, wait_until


def with_hook(stage, text, **options):
    """A cluster whose nodes run a hook of their own; it writes into `changes` beside it."""
    cluster = stage.cluster(start=False, **options)
    for agent in cluster.agents:
        path = os.path.join(agent.directory, "hook")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\n{text.replace('@', agent.directory)}\n")
        os.chmod(path, 0o755)
        agent.write(cluster.configuration(vip_options={"on_change": path}))
    cluster.start()
    cluster.wait_for_holder()
    return cluster


def changes(agent):
    try:
        with open(os.path.join(agent.directory, "changes"), encoding="utf-8") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


RECORD = 'echo "$AFLOAT_VIP $AFLOAT_EVENT $AFLOAT_NODE $AFLOAT_ADDRESSES $AFLOAT_INTERFACE: $AFLOAT_CAUSE" >> @/changes'


def test_gains_and_losses_are_told_with_their_causes_and_the_output_is_logged(stage):
    cluster = with_hook(stage, RECORD + "; echo hello from the hook", nodes=2)
    first = cluster.holder()
    second = next(agent for agent in cluster.agents if agent is not first)
    base = f"{cluster.vip}/24 eth0: "
    wait_until(lambda: changes(first) == [f"web gained {first.name} {base}nobody held it"], 10, "the first gain")
    wait_until(lambda: {one["name"]: one["state"] for one in first.query("members")}[second.name] == "alive", 20, "both")
    moved = wait_until(lambda: first.afloat("move", "web", second.name), 10)
    assert moved.returncode == 0, moved.stderr
    wait_until(lambda: len(changes(first)) == 2 and len(changes(second)) == 1, 10, "the move")
    assert changes(first)[1].startswith(f"web lost {first.name} {base}moved by an operator")
    assert changes(second)[0].startswith(f"web gained {second.name} {base}moved by an operator")
    with open(first.log, encoding="utf-8") as log:
        assert "hook of VIP web: hello from the hook" in log.read()
    # A killed elector cannot say what it lost: the agent does. And a stop waits for the hook.
    os.kill(second.elector, signal.SIGKILL)
    wait_until(lambda: len(changes(second)) >= 2, 10, "the loss")
    assert changes(second)[1].startswith(f"web lost {second.name} {base}the elector ended: signal 9")
    wait_until(lambda: len(changes(first)) == 3, 10, "the gain back")
    assert first.stop() == 0
    assert changes(first)[3].startswith(f"web lost {first.name}"), changes(first)


def test_a_hook_that_hangs_delays_no_move(stage):
    cluster = with_hook(stage, RECORD + "; sleep 1000", nodes=2)
    first = cluster.holder()
    second = next(agent for agent in cluster.agents if agent is not first)
    wait_until(lambda: changes(first), 10, "the hook of the gain")
    wait_until(lambda: {one["name"]: one["state"] for one in first.query("members")}[second.name] == "alive", 20, "both")
    with Probe(cluster.lan.client, cluster.vip) as probe:
        time.sleep(0.3)
        struck = time.time()
        assert first.afloat("move", "web", second.name).returncode == 0
        cluster.wait_for_holder(other_than=first)
        assert probe.outage_after(struck) < 1000
    assert len(changes(first)) == 1, "the second event waits for the first hook"
    began = time.monotonic()
    assert first.stop() == 0
    assert time.monotonic() - began < 12
    with open(first.log, encoding="utf-8") as log:
        assert "hook (gained): the agent stops and it was killed" in log.read()
