"""IPv6: VIPs of both families that move as one, announced to neighbours that remember another holder; heartbeats by IPv6."""

import re
import time

import pytest

from lab import Probe, wait_until

VIP, VIP6 = "192.0.2.100", "2001:db8::100"
SOON_MS = 1000


def both(agent):
    return VIP in agent.host.addresses(), VIP6 in agent.host.addresses6()


def holder_of_both(cluster):
    """The only node that has the addresses, once it has both."""
    states = [(agent, both(agent)) for agent in cluster.agents]
    full = [agent for agent, state in states if all(state)]
    return full[0] if len(full) == 1 and not any(any(state) for agent, state in states if agent is not full[0]) else None


def flags(host, address):
    line = host.run("ip", "-6", "-o", "addr", "show", "to", address).stdout
    return line.split()


@pytest.mark.parametrize("heartbeats", ["IPv4", "IPv6", "IPv6 unicast"])
def test_a_vip_of_both_families_moves_as_one(stage, heartbeats):
    member = (lambda node: node.address) if heartbeats == "IPv4" else (lambda node: f'"{node.address6}"')
    cluster = stage.cluster(
        ipv6=True, member=member, vip_options={"addresses": f'[{VIP}/24, "{VIP6}/64"]'},
        cluster={"transport": "unicast"} if "unicast" in heartbeats else {})
    lan, client = cluster.lan, cluster.lan.client
    holder = wait_until(lambda: holder_of_both(cluster), 10, "one holder of both addresses")
    found = flags(holder.host, VIP6)
    assert "deprecated" in found and "tentative" not in found and "nodad" in found, found
    # A VIP is never where a node's own connections come from.
    route = holder.host.run("ip", "-6", "route", "get", client.address6).stdout
    assert f"src {holder.host.address6} " in route, route
    if heartbeats != "IPv4":
        # `-n`: names are not looked up; a second's heartbeats, none of them by IPv4.
        seen = holder.host.run("timeout", "1", "tcpdump", "-lnQ", "out", "-i", "eth0", "udp port 7076", check=False).stdout
        assert len(re.findall("IP6 ", seen)) > 20 and "IP " not in seen
        assert ("ff02::7076" in seen) == (heartbeats == "IPv6")
    with Probe(client, VIP) as four, Probe(client, VIP6) as six:
        time.sleep(0.3)
        assert client.neighbour(VIP6) == holder.host.mac()
        struck = time.time()
        lan.silence(holder.host)
        successor = wait_until(lambda: [one for one in cluster.agents if one is not holder and all(both(one))], 10, "a successor")[0]
        for probe in (four, six):
            assert 0 < probe.outage_after(struck) < SOON_MS
        # It was told by an advertisement: by itself the client would have asked the old holder for seconds.
        assert client.neighbour(VIP6) == successor.host.mac() and client.neighbour(VIP) == successor.host.mac()
        lan.restore(holder.host)
        wait_until(lambda: holder_of_both(cluster), 10, "one holder after the repair")
    last = holder_of_both(cluster)
    done = last.afloat("move", "web", next(agent.name for agent in cluster.agents if agent is not last))
    assert done.returncode == 0, done.stderr
    moved = wait_until(lambda: (lambda one: one if one is not last else None)(holder_of_both(cluster)), 10, "the move")
    wait_until(lambda: client.neighbour(VIP6) == moved.host.mac(), 5, "the neighbour's cache")
    assert client.run("ping", "-6", "-c", "3", "-i", "0.2", "-W", "1", VIP6).returncode == 0


def test_a_killed_elector_leaves_no_address_of_ipv6(stage):
    cluster = stage.cluster(ipv6=True, vip_options={"addresses": f'[{VIP}/24, "{VIP6}/64"]'})
    holder = wait_until(lambda: holder_of_both(cluster), 10, "one holder of both addresses")
    holder.host.run("kill", "-9", str(holder.elector))
    wait_until(lambda: (lambda one: one if one is not holder else None)(holder_of_both(cluster)), 10, "a successor")


def test_an_address_of_ipv6_that_another_program_removes_is_put_back(stage):
    cluster = stage.cluster(nodes=1, ipv6=True, vip_options={"addresses": f'[{VIP}/24, "{VIP6}/64"]'})
    holder = wait_until(lambda: holder_of_both(cluster), 10, "both addresses")
    holder.host.run("ip", "addr", "del", f"{VIP6}/64", "dev", "eth0")
    wait_until(lambda: VIP6 in holder.host.addresses6(), 5, "the address")
    assert "deprecated" in flags(holder.host, VIP6)


def test_clients_of_ipv6_are_balanced_through_the_vip(stage):
    cluster = stage.cluster(
        backends=2, ipv6=True, vip_options={"addresses": f'[{VIP}/24, "{VIP6}/64"]'},
        listener='{bind: ["*:80"], pool: app}')
    client = cluster.lan.client
    holder = wait_until(lambda: holder_of_both(cluster), 10, "one holder of both addresses")
    command = ["curl", "-6", "-s", "-m", "3", "-o", "/dev/null", "-w", "%{http_code}", f"http://[{VIP6}]/"]
    wait_until(lambda: client.run(*command, check=False).stdout == "200", 10, "a 200 by IPv6")
    assert client.run("curl", "-4", *command[2:-1], f"http://{VIP}/").stdout == "200"
    with Probe(client, VIP6):
        holder.stop()
        wait_until(lambda: client.run(*command, check=False).stdout == "200", 10, "a 200 from the successor")
