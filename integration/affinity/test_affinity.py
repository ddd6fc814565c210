"""A client stays on its server: by cookie and by source, on every node alike, and after the VIP has moved."""

import pytest

from lab import Traffic, wait_until
from peers import Wire


def ask(client, address, cookie=None, port=80):
    """One request on a fresh connection: (server, cookie that was set)."""
    wire = Wire(client.connect(address, port))
    field = f"Cookie: {cookie}\r\n" if cookie else ""
    wire.send(f"GET / HTTP/1.1\r\nHost: a\r\n{field}Connection: close\r\n\r\n")
    head, _ = wire.response()
    wire.close()
    assert head.status == 200
    return head.get("x-backend"), head.get("set-cookie").split(";")[0]


def other_node(cluster):
    """Moves the VIP to another node and returns that agent."""
    holder = cluster.wait_for_holder()
    other = next(agent for agent in cluster.agents if agent is not holder)
    done = holder.afloat("move", "web", other.name)
    assert done.returncode == 0, done.stdout + done.stderr
    # The previous holder keeps the address, behind its shut gate, while clients have connections there.
    wait_until(lambda: all(agent.holder() == other.name for agent in cluster.agents), 20, f"{other.name} as the holder")
    return other


def test_a_cookie_keeps_its_server_also_over_a_move(stage):
    cluster = stage.cluster(backends=3, pool_options={"affinity": "{cookie: {}}"})
    client = cluster.lan.client
    clients = [ask(client, cluster.vip) for _ in range(12)]
    assert len({server for server, _ in clients}) == 3, "new clients are spread"
    assert all(cookie.startswith("AFLOAT=") for _, cookie in clients)
    for server, cookie in clients:
        again, fresh = ask(client, cluster.vip, cookie)
        assert (again, fresh) == (server, ""), "a valid cookie is not set anew"
    other_node(cluster)
    for server, cookie in clients:
        assert ask(client, cluster.vip, cookie)[0] == server


def test_a_forged_cookie_chooses_no_server(stage):
    cluster = stage.cluster(nodes=1, backends=3, pool_options={"affinity": "{cookie: {}}"})
    for forged in ("AFLOAT=b1", "AFLOAT=", "AFLOAT=" + "f" * 16, "AFLOAT=" + "A" * 2000):
        _, fresh = ask(cluster.lan.client, cluster.vip, forged)
        assert fresh.startswith("AFLOAT="), "an unknown value is replaced"


@pytest.mark.parametrize("how", ["affinity: source", "balance: {hash: source}"])
def test_a_source_keeps_its_server_on_every_node(stage, how):
    key, value = how.split(": ", 1)
    cluster = stage.cluster(backends=3, clients=6, pool_options={key: value})
    before = {client.name: ask(client, cluster.vip)[0] for client in cluster.lan.clients}
    for client in cluster.lan.clients:
        assert {ask(client, cluster.vip)[0] for _ in range(5)} == {before[client.name]}
    # Each node answers on its own address alike: nothing is replicated, all compute the same.
    for agent in cluster.agents:
        wait_until(lambda agent=agent: set(agent.server_states().values()) == {"up"}, 10, "servers up")
        assert {client.name: ask(client, agent.host.address)[0] for client in cluster.lan.clients} == before
    other_node(cluster)
    assert {client.name: ask(client, cluster.vip)[0] for client in cluster.lan.clients} == before


def test_only_the_clients_of_a_lost_server_move(stage):
    cluster = stage.cluster(nodes=1, backends=3, pool_options={"affinity": "{cookie: {}}"})
    client, agent = cluster.lan.client, cluster.agents[0]
    clients = [ask(client, cluster.vip) for _ in range(12)]
    lost = cluster.backends[0]
    lost.stop()
    wait_until(lambda: agent.server_states().get(lost.name) == "down", 10, "the server down")
    for server, cookie in clients:
        now = ask(client, cluster.vip, cookie)[0]
        assert now == server if server != lost.name else now != lost.name


def test_sticky_traffic_survives_a_move_without_a_failure(stage):
    cluster = stage.cluster(backends=3, pool_options={"affinity": "{cookie: {}}"})
    with Traffic(cluster.lan.client, cluster.vip, clients=8, rate=400) as traffic:
        traffic.lap()
        other_node(cluster)
        import time
        time.sleep(2)
        seen = traffic.stop()
    assert (seen["failed"], seen["moved"]) == (0, 0), seen
