"""A drain on a whole cluster: servers run on the members themselves, sticky clients send through the VIP without pause."""

import json
import os
import time

import pytest

from cluster.lab.agent import Cluster, wait_until
from cluster.lab.backend import Backend
from cluster.lab.lan import Lan
from cluster.lab.measure import Traffic


class MemberCluster(Cluster):
    """Three members, each with a web server of its own in pool `app`."""

    def configuration(self, **changes):
        members = "\n".join(f"    {node.name}: {node.address}" for node in self.lan.nodes)
        return (
            f"cluster:\n  name: lab\n  interface: eth0\n  key: file:cluster.key\n  heartbeat: {self.heartbeat}\n  members:\n{members}\n"
            f"vips:\n  web: {{addresses: [{self.vip}/24], prefer: [n1, n2, n3]}}\n"
            "listeners:\n  web: {bind: [\"*:80\"], pool: app}\n"
            "pools:\n  app:\n    servers: {members: true, port: 8080}\n    affinity: {cookie: {}}\n    sticky_grace: 2s\n"
            "    check: {http: /healthz, every: 500ms, timeout: 300ms, fast: 100ms, down: 500ms}\n")


def call(agent, path, body=None):
    """The local API: (status, value)."""
    command = ["curl", "-s", "-m", "20", "-w", "\n%{http_code}", "--unix-socket", agent.socket]
    if body is not None:
        command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    output = agent.host.run(*command, f"http://localhost{path}", check=False).stdout.rsplit("\n", 1)
    try:
        return int(output[1]), json.loads(output[0])
    except (ValueError, IndexError):
        return 0, None


def drains(agent):
    return call(agent, "/v1/drains")[1] or []


def phase(agent, node):
    return next((one["phase"] for one in drains(agent) if one["node"] == node), None)


def states(agent):
    for pool in call(agent, "/v1/pools")[1] or []:
        return {server["name"]: server["state"] for server in pool["servers"]}
    return {}


@pytest.fixture
def cluster():
    with Lan(nodes=3, clients=1) as lan:
        backends = [Backend(node).start() for node in lan.nodes]
        cluster = MemberCluster(lan, key="afloat-key-1:" + "61" * 32 + "\n")
        cluster.start()
        try:
            cluster.wait_for_holder()
            for agent in cluster.agents:
                wait_until(lambda: set(states(agent).values()) == {"up"}, what=f"servers up on {agent.name}")
                wait_until(lambda: not any("not connected" in line for line in call(agent, "/v1/status")[1]["warnings"]),
                           what=f"{agent.name} connected to all agents")
            yield cluster
        finally:
            cluster.stop()
            for backend in backends:
                backend.stop()


def roles(cluster):
    """The holder and the two others."""
    holder = cluster.holder()
    return holder, *[agent for agent in cluster.agents if agent is not holder]


def test_a_drain_of_the_holder_under_load_loses_nothing_survives_a_kill_and_ends_with_undrain(cluster):
    holder, asked, watching = roles(cluster)
    with Traffic(cluster.lan.client, cluster.vip, rate=2500, clients=16) as traffic:
        time.sleep(2)
        before = traffic.lap()
        assert before["failed"] == 0 and holder.name in before["servers"], before
        status, answer = call(asked, "/v1/drain", {"node": holder.name, "reason": "kernel", "by": "root"})
        assert status == 202 and answer["steps"][-1] == "recorded on 3 of 3 nodes", answer
        wait_until(lambda: phase(watching, holder.name) == "drained", timeout=30, what=f"{holder.name} drained")
        during = traffic.lap()
        time.sleep(1)
        after = traffic.lap()
        assert during["failed"] == 0 and after["failed"] == 0, (during, after)
        assert holder.name not in after["servers"], after
        assert cluster.holder() in (asked, watching)
        for agent in cluster.agents:
            assert states(agent)[holder.name] == "drain"
            wait_until(lambda: phase(agent, holder.name) == "drained", what=f"drained in the eyes of {agent.name}")

        old = holder.elector
        holder.kill()
        wait_until(lambda: not os.path.exists(f"/proc/{old}"), what="children of the killed agent end")
        holder.start()
        wait_until(lambda: phase(holder, holder.name) == "drained", timeout=20, what="the drain known after the restart")
        time.sleep(1)
        assert cluster.holder() in (asked, watching)
        assert states(holder)[holder.name] == "drain"

        status, answer = call(watching, "/v1/undrain", {"node": holder.name})
        assert status == 200 and answer["changed"]
        for agent in cluster.agents:
            wait_until(lambda: states(agent).get(holder.name) == "up", what=f"its server back on {agent.name}")
        time.sleep(1)
        assert cluster.holder() in (asked, watching), "undrain forces no failback"
        last = traffic.lap()
        assert last["failed"] == 0, last


def test_a_second_drain_is_refused_and_a_server_is_ordered_everywhere(cluster):
    n1, n2, n3 = cluster.agents
    assert call(n3, "/v1/drain", {})[0] == 202
    status, error = call(n1, "/v1/drain", {"node": "n2"})
    assert status == 409 and error["override"] == "--force --yes" and "n3" in error["error"]
    refused = n1.afloat("drain", "n2")
    assert refused.returncode == 3 and "--force --yes" in refused.stdout + refused.stderr, refused
    done = n1.afloat("drain", "n3")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert n2.afloat("undrain", "n3").returncode == 0
    assert call(n1, "/v1/server", {"pool": "app", "server": "n2", "state": "maint"}) == (
        200, {"pool": "app", "server": "n2", "state": "maint", "pending": []})
    for agent in cluster.agents:
        wait_until(lambda: states(agent).get("n2") == "maint", what=f"n2's server out on {agent.name}")
    assert call(n3, "/v1/server", {"pool": "app", "server": "n2", "state": "ready"})[0] == 200
    for agent in cluster.agents:
        wait_until(lambda: states(agent).get("n2") == "up", what=f"n2's server back on {agent.name}")


def test_a_move_is_carried_out_by_the_holder_wherever_it_is_asked_for(cluster):
    holder, to, asked = roles(cluster)
    status, answer = call(asked, "/v1/move", {"vip": "web", "to": to.name})
    assert status == 200 and answer["from"] == holder.name and answer["to"] == to.name, answer
    wait_until(lambda: cluster.holder() is to, what="the VIP moves")
