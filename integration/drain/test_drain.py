"""`afloat drain` empties a node: VIPs, servers and connections, with no failed request, and it survives restarts."""

import time

from lab import Traffic, wait_until

MEMBERS = """pools:
  app:
    servers: {members: true, port: 8080}
    check: {http: /healthz, every: 500ms, timeout: 300ms, fast: 100ms, down: 500ms}
    affinity: {cookie: {}}
    sticky_grace: 1s
"""


def members_cluster(stage):
    """Three nodes that run the application themselves: a drain takes a node's VIP and its server."""
    from lab import Backend

    cluster = stage.cluster(start=False, extra=["listeners:", '  web: {bind: ["*:80"], pool: app}', MEMBERS])
    for node in cluster.lan.nodes:
        Backend(node).start()
    cluster.start()
    cluster.wait_for_holder()
    cluster.wait_for_service()
    wait_until(lambda: all(set(agent.server_states().values()) == {"up"} for agent in cluster.agents), 15, "servers up")
    return cluster


def test_drain_of_the_holder_under_load_fails_no_request(stage):
    cluster = members_cluster(stage)
    holder = cluster.holder()
    other = next(agent for agent in cluster.agents if agent is not holder)
    with Traffic(cluster.lan.client, cluster.vip, clients=16, rate=1000) as traffic:
        time.sleep(1)
        before = traffic.lap()
        assert before["failed"] == 0 and len(before["servers"]) == 3
        done = other.afloat("drain", holder.name, "--reason", "maintenance", timeout=90)
        assert done.returncode == 0, done.stdout + done.stderr
        during = traffic.lap()
        time.sleep(1.5)  # clients with its cookie have a second of grace
        gracious = traffic.lap()
        time.sleep(1)
        after = traffic.stop()
    assert [lap["failed"] for lap in (during, gracious, after)] == [0, 0, 0], (during, gracious, after)
    assert holder.name not in after["servers"], "no request reaches the drained node's server"
    assert cluster.holder() not in (None, holder)
    for agent in cluster.agents:
        assert agent.server_states()[holder.name] in ("drain", "maint")
    states = {one["name"]: one["state"] for one in other.query("members")}
    assert states[holder.name] in ("drained", "draining")


def test_a_drain_survives_a_restart_and_undrain_ends_it(stage):
    cluster = members_cluster(stage)
    holder = cluster.holder()
    assert holder.afloat("drain", timeout=90).returncode == 0, "without a name it drains the node itself"
    successor = cluster.wait_for_holder(other_than=holder)
    holder.stop()
    holder.start()
    wait_until(lambda: holder.holder() == successor.name, 20, "the node back in the cluster")
    time.sleep(2)
    assert cluster.holder() is successor
    for agent in cluster.agents:
        wait_until(lambda agent=agent: agent.server_states().get(holder.name) in ("drain", "maint"), 10, "still drained")
    done = successor.afloat("undrain", holder.name)
    assert done.returncode == 0, done.stdout + done.stderr
    for agent in cluster.agents:
        wait_until(lambda agent=agent: agent.server_states().get(holder.name) == "up", 15, "the server back")
    assert cluster.holder() is successor, "undrain forces no failback"


def test_a_server_can_be_drained_on_every_node_and_made_ready(stage):
    cluster = stage.cluster(backends=3)
    agent = cluster.agents[0]
    assert agent.afloat("server", "app/b2", "drain").returncode == 0
    for one in cluster.agents:
        wait_until(lambda one=one: one.server_states().get("b2") == "drain", 10, "b2 in drain")
    with Traffic(cluster.lan.client, cluster.vip, rate=300, cookies=False) as traffic:
        time.sleep(1)
        seen = traffic.stop()
    assert seen["failed"] == 0 and "b2" not in seen["servers"]
    assert agent.afloat("server", "app/b2", "ready").returncode == 0
    for one in cluster.agents:
        wait_until(lambda one=one: one.server_states().get("b2") == "up", 10, "b2 up")
    assert agent.afloat("server", "app/nothing", "drain").returncode != 0


def test_drain_of_an_unknown_node_is_a_usage_error(stage):
    cluster = stage.cluster()
    assert cluster.agents[0].afloat("drain", "nobody").returncode == 2
