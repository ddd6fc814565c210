"""The elector by itself, on real packets: this test plays the agent. Elections, addresses, announcements, start and end."""

import os
import re
import signal
import struct
import subprocess

import pytest
from bare_elector import BareElector, Electors, configuration, holders, pump_all, wait_for_holder
from lab.agent import wait_until

VIP = "192.0.2.100"
HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture
def electors():
    made = Electors()
    try:
        yield made
    finally:
        made.end()


def process_status(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return {key: value.strip() for key, _, value in (line.partition(":") for line in file)}


def others(electors, name):
    return {other: elector for other, elector in electors.items() if other != name}


def test_one_of_three_holds_the_address_and_says_why(stage, electors):
    lan = stage.lan(nodes=3)
    electors.start(lan)
    holder = wait_for_holder(electors)
    pump_all(electors, 0.6)
    assert [host.name for host in lan.nodes if VIP in host.addresses()] == [holder]
    for elector in electors.values():
        assert elector.vip()["holder"] == holder
        assert {member["name"]: member["state"] for member in elector.status["members"]} == {
            "n1": "alive", "n2": "alive", "n3": "alive"}
        assert all(member["softwareVersion"] for member in elector.status["members"])
    gained, = electors[holder].events("vipGained")
    assert gained["cause"] == "nobody held it" and gained["steps"]["activate"] > 0
    assert lan.client.run("ping", "-c1", "-W1", VIP, check=False).returncode == 0


def test_heartbeats_leave_at_the_configured_rate_from_the_members_address(stage, electors):
    lan = stage.lan(nodes=2)
    electors.start(lan, heartbeat=10)
    wait_for_holder(electors)
    capture = lan.client.run(
        "timeout", "2", "tcpdump", "-lnvi", "eth0", "udp port 7076", check=False, stderr=subprocess.STDOUT,
        capture_output=False, stdout=subprocess.PIPE).stdout
    for host in lan.nodes:
        sent = capture.count(f"{host.address}.7076 > 239.255.70.76.7076")
        assert 100 < sent < 240, f"{host.name} sent {sent} heartbeats in about 2 s\n{capture[-2000:]}"
    assert "ttl 1," in capture and "tos 0xc0" in capture


def test_it_runs_as_a_plain_user_with_two_capabilities(stage, electors):
    lan = stage.lan(nodes=1)
    electors.start(lan)
    electors["n1"].wait_for(lambda elector: elector.said("ready"))
    status = process_status(electors["n1"].process.pid)
    assert status["Uid"].split()[0] != "0" and status["Groups"] == ""
    assert [status[name] for name in ("CapPrm", "CapEff", "CapBnd")] == ["0000000000003000"] * 3
    assert [int(status[name], 16) for name in ("CapInh", "CapAmb")] == [0, 0]
    assert status["NoNewPrivs"] == "1" and status["Threads"] == "2"


def test_the_shared_page_beats_and_is_ahead_of_the_wire(stage, electors):
    lan = stage.lan(nodes=1)
    electors.start(lan, heartbeat=1000)
    electors["n1"].wait_for(lambda elector: elector.said("ready"))
    ready, = electors["n1"].said("ready")
    page = electors["n1"].page_words()
    assert page["magic"] == 0x41464C4F41540001
    assert (page["bootHigh"], page["bootLow"]) == (ready["bootHigh"], ready["bootLow"])
    assert page["detectionNanoseconds"] >= 3_000_000_000
    before = page["beat"]
    # Even where heartbeats are slow the beat moves, so that a hang is seen in time.
    wait_until(lambda: electors["n1"].page_words()["beat"] >= before + 5, timeout=1, what="five beats")
    wait_until(lambda: electors["n1"].page_words()["nextSequence"] > 1, timeout=3, what="a heartbeat")


@pytest.mark.parametrize("fault", ["cable", "switch"])
def test_a_cut_off_holder_is_replaced_and_one_holder_is_left_after_the_heal(stage, electors, fault):
    lan = stage.lan(nodes=3)
    electors.start(lan)
    holder = wait_for_holder(electors)
    rest = others(electors, holder)
    break_it, mend = (lan.pull_cable, lan.plug_cable) if fault == "cable" else (lan.silence, lan.restore)
    break_it(lan[holder])
    successor = wait_for_holder(rest, timeout=3)
    gained = electors[successor].wait_for(lambda elector: elector.events("vipGained"))
    assert gained[-1]["cause"] == f"{holder} fell silent"
    if fault == "cable":
        electors[holder].wait_for(lambda elector: not elector.holds() and VIP not in elector.host.addresses(), 3)
        assert electors[holder].vip()["ineligible"] == "no carrier on the interface"
    mend(lan[holder])
    electors[holder].wait_for(lambda elector: elector.member(successor)["state"] == "alive")
    for elector in rest.values():
        elector.wait_for(lambda elector: elector.member(holder)["state"] == "alive")
    last = wait_for_holder(electors)
    pump_all(electors, 0.3)
    assert [host.name for host in lan.nodes if VIP in host.addresses()] == [last]
    wait_until(lambda: lan.client.run("ping", "-c1", "-W1", VIP, check=False).returncode == 0, what="an answer")
    assert lan.client.neighbour(VIP) == lan[last].mac()


def test_when_the_agent_dies_the_elector_hands_over_and_ends_cleanly(stage, electors):
    lan = stage.lan(nodes=3)
    electors.start(lan)
    holder = wait_for_holder(electors)
    pump_all(electors, 0.3)
    electors[holder].close()
    assert electors[holder].process.wait(3) == 0
    assert VIP not in lan[holder].addresses()
    successor = wait_for_holder(others(electors, holder), timeout=3)
    gained = electors[successor].wait_for(lambda elector: elector.events("vipGained"))
    assert gained[-1]["cause"] in (f"{holder} shuts down", f"{holder} left"), "handed over, not timed out"


def test_shutdown_waits_for_the_balancer_then_hands_over(stage, electors):
    lan = stage.lan(nodes=2)
    electors.start(lan)
    holder = wait_for_holder(electors)
    pump_all(electors, 0.3)
    electors[holder].tell("shutdown")
    starting = electors[holder].wait_for(lambda elector: elector.said("handoverStarting"))
    assert starting[0]["to"] != holder and starting[0]["deadline"]["nanoseconds"] > 0
    assert VIP in lan[holder].addresses()
    electors[holder].tell("handoverReady", vip="web")
    assert electors[holder].process.wait(3) == 0
    assert VIP not in lan[holder].addresses()
    assert wait_for_holder(others(electors, holder), timeout=3)


def test_sigterm_is_left_to_the_agent(stage, electors):
    lan = stage.lan(nodes=1)
    electors.start(lan)
    wait_for_holder(electors)
    electors["n1"].process.terminate()
    pump_all(electors, 0.3)
    assert electors["n1"].process.poll() is None and VIP in lan["n1"].addresses()


def test_a_planned_move_goes_where_it_should_and_a_foolish_one_is_refused(stage, electors):
    lan = stage.lan(nodes=3)
    electors.start(lan)
    holder = wait_for_holder(electors)
    pump_all(electors, 0.3)
    for vip, target, why in [
        ("nothing", "n1", "no such VIP"), ("web", "n9", "no such member"), ("web", holder, "that node holds it already")]:
        electors[holder].tell("move", vip=vip, to=target)
        refused = electors[holder].wait_for(lambda elector: elector.said("moveRefused"))
        assert refused[-1] == {"vip": vip, "why": why}
        electors[holder].reports.clear()
    target = sorted(others(electors, holder))[-1]
    electors[holder].tell("move", vip="web", to=target)
    electors[holder].wait_for(lambda elector: elector.said("handoverStarting"))
    electors[holder].tell("handoverReady", vip="web")
    assert wait_for_holder({target: electors[target]}, timeout=3) == target
    done = electors[holder].wait_for(lambda elector: elector.events("handoverDone"))
    assert done[0]["subject"] == "web" and done[0]["steps"]["swap"] > 0
    assert VIP not in lan[holder].addresses()


def test_draining_gives_everything_away_and_takes_nothing(stage, electors):
    lan = stage.lan(nodes=2)
    vips = {"web": [f"{VIP}/24"], "db": ["192.0.2.101/24", "198.51.100.1/24"]}
    electors.start(lan, "n1", vips=vips)
    for vip in vips:
        wait_for_holder(electors, vip)
    electors.start(lan, "n2", vips=vips)
    electors["n1"].wait_for(lambda elector: elector.member("n2")["state"] == "alive")
    pump_all(electors, 0.3)
    electors["n1"].tell("draining", _0=True)
    electors["n1"].wait_for(lambda elector: len(elector.said("handoverStarting")) == 2)
    for vip in ("web", "db"):
        electors["n1"].tell("handoverReady", vip=vip)
        wait_for_holder(others(electors, "n1"), vip, timeout=3)
    wait_until(lambda: lan["n1"].addresses() == [lan["n1"].address], timeout=3, what="nothing left on n1")
    assert {VIP, "192.0.2.101", "198.51.100.1"} <= set(lan["n2"].addresses())
    electors["n2"].wait_for(lambda elector: elector.member("n1")["draining"])
    electors["n2"].kill()
    pump_all(others(electors, "n2"), 0.5)
    assert holders(others(electors, "n2")) == [] and electors["n1"].vip()["ineligible"] == "draining"


def test_what_an_earlier_elector_left_is_removed_before_the_first_heartbeat(stage, electors):
    lan = stage.lan(nodes=1)
    lan["n1"].run("ip", "addr", "add", f"{VIP}/24", "dev", "eth0")
    electors.start(lan)
    electors["n1"].wait_for(lambda elector: elector.said("ready"))
    warning = electors["n1"].wait_for(lambda elector: elector.events("warning"))
    assert warning[0]["cause"] == f"removed what an earlier elector left: {VIP}/24"
    # Killed while it holds the VIP: the next one finds its own address, even if the VIP is no longer configured.
    wait_for_holder(electors)
    electors["n1"].kill()
    assert VIP in lan["n1"].addresses()
    electors.start(lan, vips={"other": ["192.0.2.150/24"]})
    electors["n1"].wait_for(lambda elector: elector.said("ready"))
    assert VIP not in lan["n1"].addresses()


def test_an_address_that_another_program_removes_is_put_back(stage, electors):
    lan = stage.lan(nodes=1)
    electors.start(lan)
    wait_for_holder(electors)
    lan["n1"].run("ip", "addr", "del", f"{VIP}/24", "dev", "eth0")
    wait_until(lambda: VIP in lan["n1"].addresses(), timeout=3, what="the address")
    said = electors["n1"].wait_for(lambda elector: elector.events("warning"))
    assert said[-1]["cause"] == f"{VIP}/24 was removed by another program: added again"


def test_an_address_that_expired_while_the_elector_could_not_run_is_put_back_and_told_as_that(stage, electors):
    lan = stage.lan(nodes=1)
    electors.start(lan)
    wait_for_holder(electors)
    elector = electors["n1"]
    os.kill(elector.process.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: VIP not in lan["n1"].addresses(), timeout=20, what="its end")
    finally:
        os.kill(elector.process.pid, signal.SIGCONT)
    wait_until(lambda: VIP in lan["n1"].addresses(), timeout=5, what="the address")
    said = elector.wait_for(lambda elector: elector.events("warning"))
    assert re.fullmatch(
        f"{VIP}/24 expired: this host kept Afloat from running for [0-9]+ s: added again", said[-1]["cause"])
    # At once after that, and before it is prolonged for the first time: this one did not expire.
    elector.reports.clear()
    lan["n1"].run("ip", "addr", "del", f"{VIP}/24", "dev", "eth0")
    wait_until(lambda: VIP in lan["n1"].addresses(), timeout=3, what="the address once more")
    said = elector.wait_for(lambda elector: elector.events("warning"))
    assert said[-1]["cause"] == f"{VIP}/24 was removed by another program: added again"


def test_a_fight_over_an_address_is_damped_and_told_in_few_words(stage, electors):
    lan = stage.lan(nodes=1)
    electors.start(lan)
    wait_for_holder(electors)
    host = lan["n1"]
    script = f"for i in $(seq 100); do ip addr del {VIP}/24 dev eth0 2>/dev/null; sleep 0.05; done"
    fighter = host.start("bash", "-c", script)
    electors["n1"].wait_for(lambda elector: len(elector.events("warning")) >= 6, 20)
    fighter.wait(60)
    wait_until(lambda: VIP in host.addresses(), timeout=5, what="the address")
    pump_all(electors, 0.5)
    causes = [event["cause"] for event in electors["n1"].events("warning")]
    removed = [cause for cause in causes if "was removed by another program" in cause]
    assert removed[:5] == [f"{VIP}/24 was removed by another program: added again"] * 5
    assert removed[5] == f"{VIP}/24 was removed by another program 6 times within 10 s: added again once a second"
    assert len(removed) <= 14, "at most six in a window"
    assert electors["n1"].holds("web")


CLAIM = """
import socket, sys, time
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("eth0", 0))
mac, address = bytes.fromhex("02005e005399"), socket.inet_aton(sys.argv[1])
for operation in (1, 2) * int(sys.argv[2]):
    frame = b"\\xff" * 6 + mac + b"\\x08\\x06\\0\\1\\x08\\0\\6\\4" + bytes((0, operation)) + mac + address + bytes(6) + address
    link.send(frame + bytes(18))
    time.sleep(0.01)
"""


def test_a_stranger_with_our_address_is_told_of_and_answered_within_bounds(stage, electors):
    """RFC 5227: the claim is defended by an announcement, and then not again for ten seconds."""
    lan = stage.lan(nodes=2)
    electors.start(lan, "n1")
    wait_for_holder(electors)
    pump_all(electors, 1.5)
    capture = lan.nodes[1].start(
        "timeout", "30", "tcpdump", "-lnei", "eth0", "arp", log="arp.log")
    wait_until(lambda: "listening" in open(os.path.join(lan.nodes[1].directory, "arp.log")).read(), 10, "tcpdump")
    # Others' addresses and questions are nobody's business.
    lan.client.run("python3", "-c", CLAIM, "192.0.2.77", "3")
    lan.client.run("ping", "-c1", "-W1", VIP)
    pump_all(electors, 0.3)
    assert not [event for event in electors["n1"].events("warning") if "claimed" in event["cause"]]
    lan.client.run("python3", "-c", CLAIM, VIP, "50")
    electors["n1"].wait_for(lambda elector: [one for one in elector.events("warning") if "claimed" in one["cause"]])
    electors["n1"].wait_for(lambda elector: elector.vip().get("claimedBy") == "02:00:5e:00:53:99")
    pump_all(electors, 1)
    capture.terminate()
    capture.wait(5)
    said = [event for event in electors["n1"].events("warning") if "claimed" in event["cause"]]
    assert [(event["subject"], event["cause"]) for event in said] == [
        ("web", f"{VIP} is claimed by 02:00:5e:00:53:99 too: announced again")]
    with open(os.path.join(lan.nodes[1].directory, "arp.log"), encoding="utf-8") as log:
        ours = [line for line in log if lan.nodes[0].mac() in line.split(">")[0] and f"who-has {VIP}" in line]
    assert len(ours) == 1, "one announcement (its request) for a hundred claims\n" + "".join(ours)
    assert electors["n1"].holds("web")


CLAIM6 = """
import socket, struct, sys, time
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("eth0", 0))
mac, address = bytes.fromhex("02005e005399"), socket.inet_pton(socket.AF_INET6, sys.argv[1])
kind, source, hops = int(sys.argv[3]), socket.inet_pton(socket.AF_INET6, sys.argv[4]), int(sys.argv[5])
every = socket.inet_pton(socket.AF_INET6, "ff02::1")
for _ in range(int(sys.argv[2])):
    option = bytes((1 if kind == 135 else 2, 1)) + mac
    body = struct.pack(">BBHI", kind, 0, 0, 0x20000000 if kind == 136 else 0) + address + (b"" if source == bytes(16) else option)
    words = source + every + struct.pack(">II", len(body), 58) + body
    total = sum(struct.unpack(f">{len(words) // 2}H", words))
    while total > 0xffff:
        total = (total >> 16) + (total & 0xffff)
    body = body[:2] + struct.pack(">H", ~total & 0xffff) + body[4:]
    head = struct.pack(">IHBB", 6 << 28, len(body), 58, hops) + source + every
    link.send(bytes.fromhex("333300000001") + mac + b"\\x86\\xdd" + head + body)
    time.sleep(0.01)
"""
VIP6 = "2001:db8::100"


def test_a_stranger_with_our_ipv6_address_is_told_of_and_answered_within_bounds(stage, electors):
    """The same as for IPv4, by neighbour advertisements (RFC 4861): told of, announced once, and then not for ten seconds."""
    lan = stage.lan(nodes=2, ipv6=True)
    electors.start(lan, "n1", vips={"web": [f"{VIP6}/64"]})
    elector = electors["n1"]
    elector.wait_for(lambda one: one.holds() and VIP6 in lan.nodes[0].addresses6())
    pump_all(electors, 1.5)
    capture = lan.nodes[1].start("timeout", "30", "tcpdump", "-lnei", "eth0", "icmp6", log="nd.log")
    path = os.path.join(lan.nodes[1].directory, "nd.log")
    wait_until(lambda: "listening" in open(path).read(), 10, "tcpdump")

    def claims():
        return [event for event in elector.events("warning") if "claimed" in event["cause"]]

    def send(address, count, kind=136, source=lan.client.address6, hops=255):
        lan.client.run("python3", "-c", CLAIM6, address, str(count), str(kind), source, str(hops))

    # Others' addresses, questions, what a router passed on, and who only asks whether the address is free.
    send("2001:db8::77", 3)
    send(VIP6, 3, kind=135)
    send(VIP6, 3, hops=64)
    send(VIP6, 3, kind=135, source="::")
    lan.client.run("ping", "-6", "-c1", "-W1", VIP6)
    pump_all(electors, 0.5)
    assert not claims()
    send(VIP6, 50)
    elector.wait_for(lambda one: claims())
    elector.wait_for(lambda one: one.vip().get("claimedBy") == "02:00:5e:00:53:99")
    pump_all(electors, 1)
    capture.terminate()
    capture.wait(5)
    assert [(event["subject"], event["cause"]) for event in claims()] == [
        ("web", f"{VIP6} is claimed by 02:00:5e:00:53:99 too: announced again")]
    with open(path, encoding="utf-8") as log:
        ours = [line for line in log if lan.nodes[0].mac() in line.split(">")[0] and "> ff02::1:" in line
                and f"tgt is {VIP6}" in line]
    # The kernel answers whoever only asks whether the address is free, to all nodes as well: three times, above. And an elector
    # that a busy machine kept from running announces in a burst of five.
    assert 1 <= len(ours) <= 9, "one announcement for fifty claims\n" + "".join(ours) + str(elector.reports)
    assert elector.holds()


def test_an_ipv6_address_is_watched_after_a_reload_and_a_source_of_its_own_is_a_claim(stage, electors):
    lan = stage.lan(nodes=1, ipv6=True)
    electors.start(lan)
    wait_for_holder(electors)
    elector = electors["n1"]
    settings = configuration(lan, "n1", vips={"web": [f"{VIP}/24", f"{VIP6}/64"]})
    assert elector.reload(settings) is None
    elector.wait_for(lambda one: VIP6 in lan.nodes[0].addresses6())
    pump_all(electors, 1.5)
    # A solicitation comes from an address that its sender uses.
    lan.client.run("python3", "-c", CLAIM6, "2001:db8::11", "2", "135", VIP6, "255")
    elector.wait_for(lambda one: [event for event in one.events("warning") if f"{VIP6} is claimed by" in event["cause"]])


def test_an_interface_that_goes_and_comes_is_joined_again(stage, electors):
    lan = stage.lan(nodes=2)
    electors.start(lan)
    wait_for_holder(electors)
    pump_all(electors, 0.3)
    for _ in range(2):
        lan["n2"].run("ip", "link", "set", "eth0", "down")
        electors["n1"].wait_for(lambda elector: elector.member("n2")["state"] == "dead", 3)
        lan["n2"].run("ip", "link", "set", "eth0", "up")
        electors["n1"].wait_for(lambda elector: elector.member("n2")["state"] == "alive", 5)
        electors["n2"].wait_for(lambda elector: elector.member("n1")["state"] == "alive", 5)
    wait_for_holder(electors)


def test_a_reload_changes_vips_in_place(stage, electors):
    lan = stage.lan(nodes=1)
    electors.start(lan)
    wait_for_holder(electors)
    page = electors["n1"].page_words()
    elector = electors["n1"]
    more = {"web": [f"{VIP}/24", "192.0.2.101/24"], "db": ["192.0.2.102/24"]}
    # Whoever looks first changes nothing.
    assert elector.reload(configuration(lan, "n1", vips=more), only_check=True) is None
    assert elector.reload(configuration(lan, "n1", vips=more)) is None
    # The address of a new VIP is there with the first step after the reload, not after a refusal that is tried again in 5 s.
    wait_until(lambda: {VIP, "192.0.2.101", "192.0.2.102"} <= set(lan["n1"].addresses()), 2, "the new addresses")
    assert not elector.events("vipAddressFailed")
    assert elector.reload(configuration(lan, "n1", vips={"db": ["192.0.2.102/24"]})) is None
    wait_until(lambda: set(lan["n1"].addresses()) == {lan["n1"].address, "192.0.2.102"}, what="the old ones to go")
    keys = configuration(lan, "n1", vips={"db": ["192.0.2.102/24"]}, keys=[[1, 2, 3]])
    for only_check in (True, False):
        assert elector.reload(keys, only_check=only_check) == "one or two keys of 32 bytes are needed"
    assert elector.holds("db")
    assert elector.page_words()["bootLow"] == page["bootLow"]


def test_a_vip_whose_interface_is_missing_takes_no_other_down(stage, electors):
    lan = stage.lan(nodes=1)
    vips = {"web": [f"{VIP}/24"], "db": {"addresses": ["198.51.100.9/24"], "interface": "eth7"}}
    electors.start(lan, vips=vips)
    elector = electors["n1"]
    elector.wait_for(lambda elector: elector.holds("web"), what="the VIP whose interface is there")
    elector.wait_for(lambda one: one.vip("db").get("ineligible") == "there is no interface eth7", what="the reason")
    assert not elector.holds("db")
    lan["n1"].run("ip", "link", "add", "eth7", "type", "veth", "peer", "name", "peer7")
    for name in ("eth7", "peer7"):
        lan["n1"].run("ip", "link", "set", name, "up")
    elector.wait_for(lambda elector: elector.holds("db"), what="the VIP whose interface has come")
    wait_until(lambda: "198.51.100.9" in lan["n1"].run("ip", "addr", "show", "dev", "eth7").stdout, 3, "its address")


@pytest.mark.parametrize("change, why", [
    ({"interfaces": ["eth9"]}, "interface eth9 does not exist; this machine has lo, eth0"),
    ({"node": "n7"}, "this node, n7, is not among the members"),
    ({"keys": [[1, 2, 3]]}, "one or two keys of 32 bytes are needed"),
])
def test_an_impossible_configuration_is_a_clear_failure(stage, electors, change, why):
    lan = stage.lan(nodes=1)
    electors["n1"] = BareElector(lan["n1"], {**configuration(lan, "n1"), **change})
    assert electors["n1"].process.wait(5) == 1
    electors["n1"].pump(1)
    assert electors["n1"].said("failed") == [why]


def test_strangers_and_garbage_are_counted_and_believed_nothing(stage, electors):
    lan = stage.lan(nodes=3)
    electors.start(lan, "n1", "n2")
    electors.start(lan, "n3", key=b"x" * 32)
    holder = wait_for_holder({name: electors[name] for name in ("n1", "n2")})
    sender = (
        "import socket, os\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton('192.0.2.201'))\n"
        "for n in (0, 1, 50, 103, 104, 500, 1200, 1400):\n"
        "    for _ in range(20): s.sendto(os.urandom(n), ('239.255.70.76', 7076))\n"
        "    for _ in range(20): s.sendto((b'AFLT\\1' + os.urandom(1500))[:n], ('239.255.70.76', 7076))\n")
    lan.client.run("python3", "-c", sender)
    pump_all(electors, 0.6)
    for name in ("n1", "n2"):
        assert electors[name].member("n3")["state"] == "dead"
        assert electors[name].status["dropped"]["unknown key"] > 10
        assert sum(electors[name].status["dropped"].values()) > 300
    assert holders({name: electors[name] for name in ("n1", "n2")}) == [holder]


def test_the_heartbeat_thread_allocates_nothing_once_it_runs(stage, electors):
    lan = stage.lan(nodes=3)
    library = os.path.join(lan.directory, "allocations.so")
    subprocess.run(["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", library, os.path.join(HERE, "allocations.c")], check=True)
    counts = os.path.join(lan.directory, "allocations")
    with open(counts, "wb") as file:
        file.write(bytes(4096))
    electors.start(lan, "n2", "n3")
    electors.start(lan, "n1", environment={"LD_PRELOAD": library, "ALLOCATIONS": counts})
    wait_for_holder(electors)
    pump_all(electors, 1.5)

    def allocated():
        with open(counts, "rb") as file:
            return struct.unpack("=QQ", file.read(16))

    sequence = electors["n1"].page_words()["nextSequence"]
    before = allocated()
    pump_all(electors, 2)
    after = allocated()
    assert electors["n1"].page_words()["nextSequence"] > sequence + 50, "it was beating"
    assert before[0] > 0 and after[1] > before[1], "the count works"
    assert after[0] == before[0], f"{after[0] - before[0]} allocations on the heartbeat thread"
