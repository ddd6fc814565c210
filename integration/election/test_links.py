"""`afloat members` tells who hears whom, of every pair, on every node; and links that work in one direction only."""

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
