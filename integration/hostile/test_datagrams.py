"""Datagrams that are not of this cluster change nothing: wrong key, wrong cluster, garbage, changed and replayed ones."""

import os
import random
import socket
import struct
import time

import pytest

from lab import Agent, Probe, wait_until
from lab.agent import keygen

GROUP, PORT = "239.255.70.76", 7076


def listen(host, seconds):
    """Heartbeats that pass by on the LAN, as bytes."""
    receiver = host.socket(socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    receiver.bind(("", PORT))
    membership = socket.inet_aton(GROUP) + socket.inet_aton(host.address)
    receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    receiver.settimeout(0.5)
    heard, deadline = [], time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            heard.append(receiver.recv(2048))
        except TimeoutError:
            pass
    receiver.close()
    return heard


def shout(host, datagrams, pause=0.0005):
    sender = host.socket(socket.SOCK_DGRAM)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host.address))
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, struct.pack("b", 1))
    for datagram in datagrams:
        sender.sendto(datagram, (GROUP, PORT))
        time.sleep(pause)
    sender.close()


@pytest.mark.parametrize("stranger", ["another key", "another cluster"])
def test_a_stranger_that_claims_to_be_a_member_is_not_believed(stage, stranger):
    cluster = stage.cluster(nodes=3, start=False, vip_options={"prefer": "[n3, n1, n2]", "failback": "at_once"})
    for agent in cluster.agents[:2]:
        agent.start()
    holder = cluster.agents[0]
    wait_until(lambda: cluster.holder() is holder, 20, "n1, preferred of the two, as the holder")
    # n3 is the preferred node, but it has another key or is of another cluster; its VIP address is another, so that what
    # is tested is whether the other two believe it.
    text = cluster.configuration().replace("192.0.2.100/24", "192.0.2.150/24")
    if stranger == "another cluster":
        text = text.replace("name: lab", "name: other")
    impostor = Agent(cluster.lan["n3"], text, key=keygen() if stranger == "another key" else cluster.key)
    with Probe(cluster.lan.client, cluster.vip) as probe:
        impostor.start()
        wait_until(lambda: impostor.holder() == "n3", 20, "the stranger alone with its VIP")
        time.sleep(2)
        assert cluster.holder() is holder
        probe.assert_unharmed()
    for agent in cluster.agents[:2]:
        states = {one["name"]: one["state"] for one in agent.query("members")}
        assert states["n3"] in ("dead", "starting"), states
    impostor.stop()


def test_garbage_changed_and_replayed_datagrams_change_nothing(stage):
    cluster = stage.cluster(vip_options={"failback": "at_once"})
    host = cluster.lan.client
    electors = [agent.elector for agent in cluster.agents]
    heard = listen(host, 1.0)
    holder = cluster.wait_for_holder()
    assert len(heard) > 50
    chance = random.Random(7)
    garbage = [os.urandom(chance.randrange(0, 1400)) for _ in range(1000)]
    changed = []
    for _ in range(2000):
        datagram = bytearray(chance.choice(heard))
        for _ in range(chance.randrange(1, 4)):
            datagram[chance.randrange(len(datagram))] ^= 1 << chance.randrange(8)
        changed.append(bytes(datagram))
    cut = [chance.choice(heard)[:chance.randrange(1, 200)] for _ in range(500)]
    with Probe(host, cluster.vip) as probe:
        for datagrams in (garbage, changed, cut, heard, list(reversed(heard)), [heard[0]] * 1000):
            shout(host, datagrams)
        time.sleep(1)
        probe.assert_unharmed()
    assert cluster.holders() == [holder]
    assert [agent.elector for agent in cluster.agents] == electors, "no elector died"
    assert all(agent.holder() == holder.name for agent in cluster.agents)


def test_heartbeats_of_a_dead_holder_replayed_do_not_revive_it(stage):
    cluster = stage.cluster()
    host, holder = cluster.lan.client, cluster.holder()
    heard = listen(host, 1.0)
    cluster.lan.pull_cable(holder.host)
    successor = wait_until(lambda: [one for one in cluster.holders() if one is not holder], 10, "a successor")[0]
    with Probe(host, cluster.vip) as probe:
        time.sleep(0.3)
        for _ in range(3):
            shout(host, heard)
        states = {one["name"]: one["state"] for one in successor.query("members")}
        assert states[holder.name] == "dead"
        assert successor in cluster.holders()
        probe.assert_unharmed()
