"""An exchange of the cluster's key, one node after another: nobody misses a heartbeat, and the agents go on talking."""

import os

import pytest

from bare_elector import Electors, configuration, pump_all, wait_for_holder
from lab import Probe, wait_until
from lab.agent import keygen

OLD, NEW = b"k" * 32, b"n" * 32


@pytest.fixture
def electors():
    made = Electors()
    try:
        yield made
    finally:
        made.end()


def test_a_rolling_reload_exchanges_the_key_without_a_lost_heartbeat(stage, electors):
    lan = stage.lan(nodes=3)
    electors.start(lan, heartbeat=20, key=OLD)
    holder = wait_for_holder(electors)
    pump_all(electors, 0.5)
    for elector in electors.values():
        elector.reports.clear()
    for keys in ([NEW, OLD], [NEW]):
        for name, elector in electors.items():
            assert elector.reload(configuration(lan, name, heartbeat=20, keys=[list(key) for key in keys])) is None
            pump_all(electors, 0.7)
    pump_all(electors, 5.5)
    for name, elector in electors.items():
        assert not elector.events("memberDead") and not elector.events("vipLost"), elector.reports
        assert elector.vip()["holder"] == holder
        for member in elector.status["members"]:
            # 256 heartbeats are 5.1 s: what is shown is the time since the exchange.
            assert member["name"] == name or member["lossIn"] < 0.05, elector.status
        # Copies in the other key are dropped by who has one key, and told from attacks by who has both.
        assert elector.status["dropped"].get("replayed", 0) == 0
    assert wait_for_holder(electors) == holder


def test_a_rolling_restart_exchanges_the_key(stage):
    cluster = stage.cluster(vip_options={"prefer": "[n1, n2, n3]"})
    new = keygen()
    for node in cluster.lan.nodes:
        path = os.path.join(node.directory, "new.key")
        with open(path, "w", encoding="utf-8") as file:
            file.write(new)
        os.chmod(path, 0o600)

    def calm():
        """Everybody sees everybody alive, and every agent is connected with every other one."""
        holder = cluster.holder()
        return holder and all(
            agent.holder() == holder.name and {one["state"] for one in agent.query("members")} == {"alive"}
            and "not connected" not in " ".join((agent.query("status") or {}).get("reasons", []))
            for agent in cluster.agents)

    wait_until(calm, 20, "a calm cluster")
    for keys in ("[file:new.key, file:cluster.key]", "file:new.key"):
        for agent in cluster.agents:
            agent.write(cluster.configuration(keys=keys))
            agent.stop()
            wait_until(lambda: len(cluster.holders()) == 1, 10, "a holder meanwhile")
            holder = cluster.holder()
            with Probe(cluster.lan.client, cluster.vip) as probe:
                agent.start()
                wait_until(calm, 20, f"a calm cluster with {agent.name} on {keys}")
                assert cluster.holder() is holder
                probe.assert_unharmed()
