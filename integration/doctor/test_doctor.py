"""`afloat doctor`: each fault is made for real, and the words that tell of it are looked for. What this machine lacks anyway
(real-time scheduling, a user afloat, calm) is looked at by area, so that it does not hide what a test is about."""

import json
import os
import subprocess

import pytest
from lab import Agent, executables, wait_until
from lab.agent import keygen

PORT = 7076


def command(agent, *arguments, seconds=1):
    return [os.path.join(executables(), "afloat"), "doctor", "--config", agent.configuration, "--node", agent.name,
            "--socket", agent.socket, "--for", f"{seconds}s", *arguments]


class Report:
    """What a doctor printed as JSON."""

    def __init__(self, status, output, errors=""):
        assert output, f"the doctor printed nothing: {errors}"
        self.status = status
        self.told = json.loads(output)

    def of(self, area, *levels):
        """Messages and remedies of an area, of these levels (all where none is named)."""
        return [f"{one['level']}: {one['message']} / {one.get('remedy') or ''}" for one in self.told["findings"]
                if one["area"] == area and (not levels or one["level"] in levels)]

    def about(self, area, name):
        """Findings of an area whose message begins with a name."""
        return [one for one in self.of(area) if one.split(": ", 1)[1].startswith(f"{name}:")]

    def member(self, name):
        return next(one for one in self.told["members"] if one["name"] == name)


def examine(agent, *prefix, seconds=1, **options):
    """The report of a doctor on the agent's host, started by `prefix`."""
    done = agent.host.run(*prefix, *command(agent, "--json", seconds=seconds), check=False, **options)
    return Report(done.returncode, done.stdout, done.stderr)


def begin(agent, seconds):
    return agent.host.start(*command(agent, "--json", seconds=seconds), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(doctor):
    output, errors = doctor.communicate(timeout=60)
    return Report(doctor.returncode, output, errors)


def nft(host, rules, chain="type filter hook input priority 0; policy accept;"):
    text = "table inet filter {\n chain guard {\n " + chain + "\n " + "\n ".join(rules) + "\n }\n}\n"
    host.run("nft", "-f", "-", input=text)


def only(lines):
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture
def pair(stage):
    """Two nodes that are configured, with no agent running."""
    return stage.cluster(nodes=2, start=False, heartbeat="50ms")


def test_a_cluster_that_is_well_has_no_finding_about_its_network(stage):
    cluster = stage.cluster(nodes=3, heartbeat="50ms")
    agent = cluster.agents[0]
    wait_until(lambda: (agent.query("status") or {}).get("verdict") == "OK", 20, "the verdict OK")
    wait_until(lambda: all(link["hears"] and link["heard"] for one in agent.query("members") for link in one["links"]),
               20, "everybody to hear everybody")
    before = {one["name"]: one["state"] for one in agent.query("members")}
    report = examine(agent, seconds=2)
    for name in ("n2", "n3"):
        assert only(report.about("members", name)).startswith(f"ok: {name}: heard, and hears this node, by multicast")
        assert report.member(name)["multicast_heartbeats"] > 0 and report.member(name)["hears_multicasts"] is True
        assert report.member(name)["channel"] == "connects"
    for area in ("configuration", "interfaces", "firewall", "permissions"):
        assert not report.of(area, "warning", "failure"), report.of(area)
    assert any("the agent of n1 says" in line for line in report.of("agent"))
    assert "behind the kernel gate" in " ".join(report.of("kernel"))
    assert len(report.told["stalls"]) == len(os.sched_getaffinity(0))
    assert all(one["wake_ups"] > 0 and one["worst_ms"] >= one["p99_ms"] >= 0 for one in report.told["stalls"])
    # The verdict and the exit status are those of the worst finding.
    levels = {one["level"] for one in report.told["findings"]}
    assert report.told["verdict"] == ("FAILURE" if "failure" in levels else "WARNING" if "warning" in levels else "OK")
    assert report.status == {"OK": 0, "WARNING": 1, "FAILURE": 2}[report.told["verdict"]]
    # It changed nothing.
    assert {one["name"]: one["state"] for one in agent.query("members")} == before


def test_people_read_the_verdict_first_and_a_remedy_below_each_fault(pair):
    agent = pair.agents[0]
    agent.host.run("ip", "link", "set", "eth0", "down")
    done = agent.host.run(*command(agent), check=False)
    assert done.returncode == 2
    lines = done.stdout.splitlines()
    assert lines[0].startswith("FAILURE: ") and lines[0].endswith(" on n1")
    place = next(index for index, line in enumerate(lines) if "eth0 is down" in line)
    assert lines[place].split()[:2] == ["interfaces", "FAILURE"]
    assert lines[place + 1].split() == ["do:", "ip", "link", "set", "eth0", "up"]


def test_wrong_usage_is_said_and_gives_2(afloat):
    done = afloat("doctor", "--for", "0s")
    assert done.returncode == 2 and "from 1s to 10m" in done.stderr
    done = afloat("doctor", "--help")
    assert done.returncode == 0 and "Exit status: 0" in done.stdout


def test_a_firewall_that_drops_the_group_is_named_with_its_rule(pair):
    agent = pair.agents[0]
    nft(agent.host, ["ip daddr 239.255.70.76 counter drop"])
    report = examine(agent)
    line = only(report.of("firewall"))
    assert line.startswith('failure: "ip daddr 239.255.70.76')
    assert "in chain guard of table inet filter drops heartbeats of n2 to 239.255.70.76:7076" in line
    assert report.status == 2


@pytest.mark.parametrize("chain, rules, words", [
    ("type filter hook input priority 0; policy drop;", ["ct state established,related accept", "tcp dport 22 accept"],
     "failure: the policy of chain guard of table inet filter drops heartbeats of n2"),
    ("type filter hook output priority 0; policy accept;", ["udp dport 7076 drop"], "drops heartbeats to 239.255.70.76:7076"),
    ("type filter hook output priority 0; policy accept;", ["ip protocol igmp drop"], "warning: \"ip protocol igmp drop\""),
    ("type filter hook input priority 0; policy accept;", ["meta pkttype multicast drop"], "failure: \"meta pkttype multicast drop\""),
    ("type filter hook input priority 0; policy accept;", ["tcp dport 7000-8000 reject"], "the agents' channel from n2"),
])
def test_rules_of_other_kinds(pair, chain, rules, words):
    agent = pair.agents[0]
    nft(agent.host, rules, chain)
    assert words in "\n".join(examine(agent).of("firewall", "warning", "failure"))


def test_a_firewall_that_lets_the_cluster_pass_is_fine(pair):
    agent = pair.agents[0]
    nft(agent.host, ["iif lo accept", "ct state established,related accept", "ip saddr 192.0.2.0/24 udp dport 7076 accept",
                     "ip saddr 192.0.2.0/24 tcp dport 7076 accept"], "type filter hook input priority 0; policy drop;")
    assert only(examine(agent).of("firewall")).startswith("ok: no rule of nftables stops heartbeats")


def test_missing_capabilities_are_named_with_what_they_cost(pair):
    agent = pair.agents[0]
    drop = "-cap_net_admin,-sys_nice,-setpcap".replace("cap_", "")
    report = examine(agent, "setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}")
    failures = report.of("permissions", "failure")
    assert any("no CAP_NET_ADMIN: VIPs cannot be added" in line for line in failures), report.of("permissions")
    assert any("no CAP_SETPCAP" in line for line in failures)
    assert any("no CAP_SYS_NICE" in line for line in report.of("permissions", "warning"))
    assert "CapabilityBoundingSet" in failures[0]
    assert report.status == 2


def test_without_the_power_to_load_ebpf_the_missing_gate_is_told(pair):
    agent = pair.agents[0]
    drop = "-bpf,-sys_admin"
    report = examine(agent, "setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}")
    assert any(line.startswith("warning: no kernel gate: cannot load") for line in report.of("kernel")), report.of("kernel")
    assert any("can be loaded and attached" in line for line in examine(agent).of("kernel", "ok"))


def test_a_user_hears_that_root_sees_more(pair):
    agent = pair.agents[0]
    for path in (agent.configuration, os.path.join(agent.directory, "cluster.key")):
        os.chown(path, 65534, 65534)
    report = examine(agent, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    assert any("this is not root" in line for line in report.of("permissions", "note"))
    assert report.of("firewall", "note"), report.of("firewall")


def test_an_interface_that_is_missing_is_said_with_those_that_are_there(pair):
    agent = pair.agents[0]
    agent.write(pair.configuration(interface="eth7"))
    line = only(examine(agent).of("interfaces", "failure"))
    assert "interface eth7 does not exist; this machine has lo, eth0" in line and "cluster.interface" in line


def test_an_address_that_is_not_this_nodes(pair):
    agent = pair.agents[0]
    agent.host.run("ip", "addr", "del", f"{agent.host.address}/24", "dev", "eth0")
    agent.host.run("ip", "addr", "add", "192.0.2.99/24", "dev", "eth0")
    failures = examine(agent).of("interfaces", "failure")
    assert any("eth0 does not have the address 192.0.2.11 of n1" in line and "192.0.2.99/24" in line for line in failures)


def test_the_kernels_own_settings(pair):
    agent = pair.agents[0]
    agent.host.run("sysctl", "-w", "net.ipv4.conf.eth0.arp_ignore=8")
    assert any("arp_ignore is 8" in line for line in examine(agent).of("interfaces", "failure"))
    agent.host.run("sysctl", "-w", "net.ipv4.conf.eth0.arp_ignore=0", "net.ipv6.conf.eth0.disable_ipv6=1")
    agent.write(pair.configuration(vip_options={"addresses": "[192.0.2.100/24, 2001:db8::100/64]"}))
    assert any("IPv6 is disabled on eth0: 2001:db8::100/64 cannot be added" in line
               for line in examine(agent).of("interfaces", "failure"))


def test_a_vip_that_is_there_already(pair):
    agent = pair.agents[0]
    agent.host.run("ip", "addr", "add", f"{pair.vip}/24", "dev", "eth0")
    line = only(examine(agent).of("interfaces", "warning"))
    assert f"the address {pair.vip} of VIP web is on this machine already" in line


def test_a_key_that_others_can_read_and_one_that_is_missing(pair):
    agent = pair.agents[0]
    path = os.path.join(agent.directory, "cluster.key")
    os.chmod(path, 0o644)
    line = only(examine(agent).of("configuration"))
    assert line.startswith("failure: ") and "can be read by others (mode 644)" in line and f"chmod 600 {path}" in line
    os.unlink(path)
    assert "afloat keygen" in only(examine(agent).of("configuration"))


def test_a_bad_configuration_is_told_and_the_host_is_examined_all_the_same(pair):
    agent = pair.agents[0]
    agent.write(pair.configuration().replace("heartbeat:", "hartbeat:"))
    report = examine(agent)
    assert "hartbeat" in only(report.of("configuration")) and report.status == 2
    assert report.of("kernel") and report.of("clocks") and report.of("scheduling")
    done = agent.host.run(*command(agent)[:-2], "--config", "/nonexistent/afloat.yaml", check=False)
    assert done.returncode == 2 and "--config" in done.stdout


def test_a_port_that_another_program_has(stage):
    lan = stage.lan(nodes=1)
    text = 'listeners:\n  web: {bind: ["192.0.2.11:8088"], pool: app}\npools:\n  app: {servers: {s: "192.0.2.51:80"}}\n'
    agent = Agent(lan.nodes[0], text)
    assert "192.0.2.11:8088 can be listened on" in only(examine(agent).of("listeners"))
    other = agent.host.socket()
    other.bind(("192.0.2.11", 8088))
    other.listen(1)
    try:
        line = only(examine(agent).of("listeners"))
    finally:
        other.close()
    assert line.startswith("failure: listener web: ") and "address already in use" in line and "ss -ltnp" in line


def test_a_bridge_that_snoops_without_a_querier(pair):
    agent = pair.agents[0]
    host = agent.host
    host.run("ip", "link", "set", "eth0", "name", "port0", check=False)
    host.run("ip", "link", "set", "eth0", "down", check=False)
    host.run("ip", "link", "set", "eth0", "name", "port0", check=False)
    host.run("ip", "link", "add", "eth0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "1",
             "mcast_querier", "0")
    host.run("ip", "link", "set", "port0", "master", "eth0", "up")
    host.run("ip", "link", "set", "eth0", "up")
    host.run("ip", "addr", "flush", "dev", "port0")
    host.run("ip", "addr", "add", f"{host.address}/24", "dev", "eth0")
    assert any("bridge eth0 snoops multicasts" in line and "mcast_querier 1" in line
               for line in examine(agent).of("interfaces", "warning"))


# Members, without an agent here


def test_a_member_without_an_agent_and_one_that_is_not_there(stage):
    cluster = stage.cluster(nodes=3, start=False)
    cluster.lan.silence(cluster.lan.nodes[2])
    report = examine(cluster.agents[0])
    assert only(report.about("members", "n2")).startswith("note: n2: the host answers at 192.0.2.12, and no agent runs there")
    line = only(report.about("members", "n3"))
    assert line.startswith("failure: n3: nothing is heard of it, and 192.0.2.13") or "cannot be reached" in line or \
        "no route to host" in line, line


def test_an_agent_elsewhere_is_heard_and_no_more_is_claimed(pair):
    pair.agents[1].start()
    wait_until(lambda: pair.agents[1].query("status"), 15, "the agent of n2")
    report = examine(pair.agents[0], seconds=2)
    line = only(report.about("members", "n2"))
    assert line.startswith("note: n2: its heartbeats arrive here by multicast; whether it hears this node cannot be told")
    assert report.member("n2")["hears_multicasts"] is None


def test_an_agent_elsewhere_whose_heartbeats_do_not_arrive(pair):
    one, two = pair.agents
    two.start()
    wait_until(lambda: two.query("status"), 15, "the agent of n2")
    nft(one.host, ["udp dport 7076 drop"])
    report = examine(one)
    assert "n2: its agent runs" in only(report.about("members", "n2"))
    assert only(report.about("members", "n2")).startswith("failure: ")
    assert report.of("firewall", "failure")


def test_a_member_with_another_key(pair):
    one, two = pair.agents
    two.write(pair.configuration(), key=keygen())
    two.start()
    wait_until(lambda: two.query("status"), 15, "the agent of n2")
    line = only(examine(one, seconds=2).about("members", "n2"))
    assert line.startswith("failure: n2: its heartbeats arrive and are refused (unknown key)") and "key file" in line


def test_two_doctors_try_the_way_between_them(pair):
    one, two = pair.agents
    doctors = [begin(agent, 5) for agent in (one, two)]
    reports = [finish(doctor) for doctor in doctors]
    for report, other in zip(reports, ("n2", "n1")):
        assert only(report.about("members", other)).startswith(f"ok: {other}: the doctors of both nodes hear each other by multicast")
        member = report.member(other)
        assert member["hears_multicasts"] is True and member["hears_unicasts"] is True
        assert member["multicast_probes"] > 0 and member["unicast_probes"] > 0


def test_two_doctors_find_a_way_that_only_goes_in_one_direction(pair):
    one, two = pair.agents
    # n2 gets nothing of UDP: n1 hears it, and is not heard.
    nft(two.host, ["udp dport 7076 drop"])
    doctors = [begin(agent, 5) for agent in (one, two)]
    mine, theirs = [finish(doctor) for doctor in doctors]
    assert only(mine.about("members", "n2")).startswith("failure: n2: the doctor there does not hear this node's multicasts")
    assert only(theirs.about("members", "n1")).split(":")[0] in ("note", "failure")
    assert theirs.member("n1")["multicast_probes"] == 0


def test_two_doctors_of_a_cluster_that_uses_unicast(stage):
    cluster = stage.cluster(nodes=2, start=False, cluster={"transport": "unicast"})
    cluster.lan.drop_multicasts()
    doctors = [begin(agent, 5) for agent in cluster.agents]
    for report, other in zip([finish(doctor) for doctor in doctors], ("n2", "n1")):
        assert only(report.about("members", other)).startswith(f"ok: {other}: the doctors of both nodes hear each other by unicast")


def test_another_machine_with_this_nodes_name(stage):
    lan = stage.lan(nodes=2)
    from lab import Cluster
    cluster = Cluster(lan)
    stage.item.clusters.append(cluster)
    twin = Agent(lan.nodes[1], cluster.configuration(member=lambda node: {"n1": "192.0.2.12", "n2": "192.0.2.11"}[node.name]),
                 name="n1", key=cluster.key)
    twin.start()
    wait_until(lambda: twin.query("status"), 15, "the twin")
    try:
        assert any("another machine sends heartbeats under this node's name, n1" in line
                   for line in examine(cluster.agents[0], seconds=2).of("members", "failure"))
    finally:
        twin.stop()


# Members, beside an agent


def test_multicasts_that_only_go_one_way_are_told_from_both_sides(pair):
    pair.start()
    pair.wait_for_holder()
    one, two = pair.agents
    pair.lan.drop_multicasts([two.host], [one.host])
    wait_until(lambda: all(any(link["hears"] for link in one_member["links"]) for one_member in one.query("members")),
               20, "links by unicast")

    def told():
        here, there = examine(one), examine(two)
        return "its multicasts to 239.255.70.76:7076 do not arrive here; its heartbeats come by unicast instead" in \
            "".join(here.about("members", "n2")) and "does not get this node's multicasts" in "".join(there.about("members", "n1"))

    wait_until(told, 30, "both to tell of it")


def test_one_of_two_interfaces_that_carries_nothing_is_named(stage):
    """Heartbeats go by the other one, so that nothing else shows it."""
    cluster = stage.cluster(
        nodes=2, heartbeat="50ms", second=True, interface="[eth0, eth1]",
        member=lambda node: f"[{node.address}, {node.second_address}]")
    one = cluster.agents[0]
    wait_until(lambda: all(member["links"] for member in one.query("members")), 20, "the members to hear each other")
    report = examine(one, seconds=2)
    assert only(report.about("members", "n2")).startswith("ok: n2: heard, and hears this node")
    assert set(report.member("n2")["hears_multicasts_on"]) == {"eth0", "eth1"}
    cluster.lan.silence(cluster.lan.nodes[1], second=True)

    def told():
        return "".join(examine(one).about("members", "n2"))

    wait_until(lambda: "do not arrive on eth1, only on others" in told(), 20, "the interface that is deaf")
    wait_until(lambda: "does not get this node's multicasts to 239.255.70.76:7076 by eth1" in told(), 20, "the other way")


def test_members_that_speak_over_ipv6(stage):
    lan = stage.lan(nodes=2, ipv6=True)
    from lab import Cluster
    cluster = Cluster(lan, heartbeat="50ms", member=lambda node: f'"{node.address6}"')
    stage.item.clusters.append(cluster)
    cluster.start()
    cluster.wait_for_holder()

    def said():
        """What is said of n2 once it claims VIPs: not before the longest detection time after its start."""
        words = only(examine(cluster.agents[0], seconds=2).about("members", "n2"))
        return None if "has just started" in words else words

    assert wait_until(said, 20, "a verdict on n2").startswith("ok: n2: heard, and hears this node, by multicast")
    nft(cluster.agents[0].host, ["ip6 daddr ff02::7076 drop"])
    assert "drops heartbeats of n2 to [ff02::7076]:7076" in "".join(examine(cluster.agents[0]).of("firewall", "failure"))


def test_a_peer_that_hears_nothing_of_this_node(pair):
    """A one-way cut, below what a firewall could show."""
    pair.start()
    pair.wait_for_holder()
    one, two = pair.agents
    wait_until(lambda: one.query("members") and len(one.query("members")[0]["links"]) == 1, 15, "both to be known")
    pair.lan.cut([one.host], [two.host])

    def told():
        return "".join(examine(one).about("members", "n2"))

    wait_until(lambda: "failure: n2: heard here, and does not hear this node: a one-way link" in told(), 30,
               "the one-way link")


def test_a_configuration_that_the_agent_does_not_run(pair):
    pair.start()
    pair.wait_for_holder()
    agent = pair.agents[0]
    assert not [line for line in examine(agent).of("agent") if "another configuration" in line]
    with open(agent.configuration, "a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert any("the agent runs another configuration" in line and "afloat reload" in line
               for line in examine(agent).of("agent", "warning"))


def test_a_running_cluster_does_not_notice_the_doctor(stage):
    cluster = stage.cluster(nodes=2, heartbeat="100ms")
    one = cluster.agents[0]
    wait_until(lambda: (one.query("status") or {}).get("verdict") == "OK", 20, "the verdict OK")
    holder, since = cluster.holder(), [vip["since"] for vip in one.query("vips")]
    for agent in cluster.agents * 2:
        examine(agent)
    assert cluster.holder() is holder and [vip["since"] for vip in one.query("vips")] == since
