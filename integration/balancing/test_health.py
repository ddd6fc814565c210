"""Servers that fall ill are taken out, and taken back when they are well: refused, hanging, answering 500."""

import time

import pytest

from lab import Traffic, wait_until


@pytest.mark.parametrize("illness", ["refuses", "hangs", "answers 500"])
def test_an_ill_server_is_taken_out_and_back(stage, illness):
    cluster = stage.cluster(nodes=1, backends=3)
    agent = cluster.agents[0]
    sick = cluster.backends[1]
    wait_until(lambda: set(agent.server_states().values()) == {"up"}, 10, "all servers up")
    {"refuses": sick.stop, "hangs": sick.hang, "answers 500": sick.fall_ill}[illness]()
    wait_until(lambda: agent.server_states().get(sick.name) == "down", 10, f"{sick.name} down")
    checks = {server["name"]: server["last_check"] for server in agent.query("pools")[0]["servers"]}
    assert checks[sick.name], "the cause is said in words"
    with Traffic(cluster.lan.client, cluster.vip, rate=500, cookies=False) as traffic:
        time.sleep(1)
        seen = traffic.stop()
    assert seen["failed"] == 0
    assert sick.name not in seen["servers"] and len(seen["servers"]) == 2
    {"refuses": sick.start, "hangs": sick.wake, "answers 500": sick.recover}[illness]()
    wait_until(lambda: agent.server_states().get(sick.name) == "up", 10, f"{sick.name} up again")
    with Traffic(cluster.lan.client, cluster.vip, rate=500, cookies=False) as traffic:
        time.sleep(1)
        seen = traffic.stop()
    assert seen["failed"] == 0
    assert len(seen["servers"]) == 3


def test_a_server_is_not_up_before_its_first_check(stage):
    cluster = stage.cluster(nodes=1, backends=2, start=False)
    cluster.backends[0].fall_ill()
    cluster.start()
    cluster.wait_for_service()
    with Traffic(cluster.lan.client, cluster.vip, rate=200, cookies=False) as traffic:
        time.sleep(0.5)
        seen = traffic.stop()
    assert list(seen["servers"]) == [cluster.backends[1].name]
    assert cluster.agents[0].server_states()[cluster.backends[0].name] in ("down", "starting")
