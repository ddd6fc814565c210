"""`afloat members` tells who hears whom, of every pair, on every node; links that work in one direction only, and a holder behind
one."""

import time

from lab import wait_until


def links(agent):
    """(hearer, other) → the link as this agent knows it."""
    members = agent.query("members") or []
    return {(one["name"], link["name"]): link for one in members for link in one["links"]}


def test_the_matrix_is_known_everywhere_and_a_one_way_link_is_named(stage):
    cluster = stage.cluster()
    names = [agent.name for agent in cluster.agents]
    pairs = {(one, other) for one in names for other in names if one != other}
    for agent in cluster.agents:
        known = wait_until(
            lambda: (lambda found: found if set(found) == pairs and all(
                one["hears"] and one["heard"] and one["rtt_ms"] for one in found.values()) else None)(links(agent)),
            20, "the whole matrix")
        assert all(0 <= one["loss_in"] < 0.5 and 0 < one["rtt_ms"] < 500 for one in known.values()), known
    third = cluster["n3"]
    text = third.afloat("members").stdout
    assert "HEARS" in text and "OF n1" in text and "one-way" not in text, text
    # n1's packets do not reach n2 any more; n2's reach n1.
    cluster.lan.cut([cluster["n1"].host], [cluster["n2"].host])
    for agent in (cluster["n1"], third):
        wait_until(lambda: (lambda found: ("n2", "n1") in found and found["n2", "n1"]["hears"] is False and
                            found["n1", "n2"]["hears"] and found["n1", "n2"]["heard"] is False)(links(agent)),
                   20, "the one-way link")
        text = agent.afloat("members").stdout
        assert "link n2 does not hear n1, which hears n2: a one-way link" in text, text


def web(agent):
    return next((one for one in agent.query("vips") or [] if one["name"] == "web"), {})


def test_a_holder_that_is_heard_by_others_only_is_named_with_who_says_so(stage):
    cluster = stage.cluster()
    first = cluster.holder()
    second, third = [agent for agent in cluster.agents if agent is not first]
    for agent in cluster.agents:
        wait_until(lambda: agent.query("status")["verdict"] == "OK", 20, "a cluster that is well")
    # The third takes the VIP, and the second cannot hear it.
    cluster.lan.cut([third.host], [second.host])
    done = first.afloat("move", "web", third.name)
    assert done.returncode == 0, done.stderr

    def hearsay():
        vip = web(second)
        return vip.get("holder") == third.name and vip.get("holder_told_by") == first.name and vip

    vip = wait_until(hearsay, 10, "the first's word of the holder")
    words = f"{third.name} holds it, as {first.name} says (not heard here)"
    assert vip["cause"] == words and vip["since"] is None
    assert words in second.afloat("vips").stdout
    status = second.afloat("status")
    assert status.returncode == 1 and status.stdout.startswith("DEGRADED: "), status.stdout
    assert f"{third.name} holds VIP web, as {first.name} says (not heard here)" in status.stdout and "nobody holds" not in status.stdout
    assert web(first)["holder"] == third.name and web(first)["holder_told_by"] is None
    # Nor has a node that starts now ever heard it.
    second.stop()
    cluster.lan.cut([second.host], [third.host])
    second.start()
    wait_until(hearsay, 15, "the first's word after a restart")
    wait_until(lambda: second.query("status")["verdict"] == "DEGRADED", 10, "the verdict of a node that misses a member")
    cluster.lan.heal()
    wait_until(lambda: web(second).get("holder") == third.name and web(second)["holder_told_by"] is None, 10, "the holder's own word")
    wait_until(lambda: second.query("status")["verdict"] == "OK", 15, "the end of the complaint")
    # The address that the first kept for its connections has gone, and nobody else took it.
    wait_until(lambda: cluster.holders() == [third], 10, "one holder")


def test_a_node_that_nobody_hears_takes_nothing_when_it_starts(stage):
    cluster = stage.cluster()
    lan, holder = cluster.lan, cluster.holder()
    third, other = [agent for agent in cluster.agents if agent is not holder]
    third.stop()
    # A firewall on the others, or a switch that works in one direction only.
    lan.cut([third.host], [holder.host, other.host])
    third.start()
    words = "a member holds it that does not hear this node, and no other does"
    wait_until(lambda: web(third).get("ineligible") == words, 15, words)
    end = time.monotonic() + 7
    while time.monotonic() < end:
        assert third not in cluster.holders()
        time.sleep(0.1)
    assert words in third.afloat("status").stdout
    lan.heal()
    wait_until(lambda: web(third).get("ineligible") is None, 10, "a node like any other")
    # Or it is alone after all.
    third.stop()
    lan.cut([third.host], [holder.host, other.host])
    third.start()
    wait_until(lambda: web(third).get("ineligible") == words, 15, words)
    for agent in (other, holder):
        agent.kill()
    wait_until(lambda: cluster.holders() == [third], 15, "the last node to take the VIP")
