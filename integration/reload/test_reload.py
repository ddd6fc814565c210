"""`afloat reload`, SIGHUP and `afloat config`: another configuration for running agents."""

import json
import os
import signal
import time

import pytest

from lab import ArpWatch, Backend, Probe, Traffic, wait_until
from lab.agent import Agent


def get(connection):
    """A GET on a kept connection; the status."""
    connection.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            raise EOFError(f"ended after {data!r}")
        data += part
    head, body = data.split(b"\r\n\r\n", 1)
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split()[1])


def events(agent, kind):
    return [event for event in agent.query("events") if event["kind"] == kind]


class Pool:
    """A lone balancer whose file is written anew again and again."""

    def __init__(self, stage, count=2):
        self.lan = stage.lan(nodes=1, backends=count)
        self.backends = [Backend(host).start() for host in self.lan.backends]
        self.agent = Agent(self.lan.nodes[0], self.text()).start()
        wait_until(lambda: os.path.exists(self.agent.socket) and self.agent.query("pools"), 15, "an agent")
        wait_until(lambda: all(state == "up" for state in self.states().values()), 15, "servers up")

    def text(self, names=None, listeners="", check="{http: /, every: 300ms}"):
        backends = {backend.name: backend.address for backend in self.backends}
        servers = ", ".join(f"{name}: {backends[name]}" for name in names or backends)
        return (
            f'listeners:\n  web: {{bind: ["*:80"], pool: app}}\n{listeners}'
            f"pools:\n  app:\n    servers: {{{servers}}}\n    check: {check}\n"
        )

    def write(self, **options):
        self.agent.write(self.text(**options))

    def states(self):
        pools = self.agent.query("pools")
        return {server["name"]: server["state"] for server in pools[0]["servers"]} if pools else {}


@pytest.fixture
def pool(stage):
    made = Pool(stage)
    yield made
    if made.agent.running():
        made.agent.stop()


def test_a_reload_changes_the_level_and_the_form_of_the_log(pool):
    def lines():
        with open(pool.agent.log, encoding="utf-8") as file:
            return [line for line in file if "reloaded" in line]

    def reload(log):
        pool.agent.write(f"{pool.text()}log: {{{log}}}\n")
        done = pool.agent.afloat("reload")
        assert done.returncode == 0 and "log: level" in done.stdout, done.stdout + done.stderr

    reload("level: warning")
    assert not lines(), "already the reload itself is not worth a warning"
    reload("level: debug, format: json")
    wait_until(lambda: len(lines()) == 1, 5, "a line of the second reload")
    assert json.loads(lines()[0])["level"] == "info"


def test_a_reload_shows_and_applies_what_changed(pool):
    name = list(pool.states())[1]
    keep = [other for other in pool.states() if other != name]
    pool.write(names=keep)
    done = pool.agent.afloat("reload", "--check")
    assert done.returncode == 0 and f"pool app: server {name} is removed" in done.stdout
    assert len(pool.states()) == 2, "a check changes nothing"
    with Traffic(pool.lan.client, pool.lan.nodes[0].address, rate=1000) as traffic:
        time.sleep(0.2)
        done = pool.agent.afloat("reload")
        assert done.returncode == 0 and f"pool app: server {name} is removed" in done.stdout, done.stderr
        time.sleep(0.2)
        pool.write()
        assert f"pool app: server {name} is new" in pool.agent.afloat("reload").stdout
        wait_until(lambda: pool.states().get(name) == "up", 10, "the server to be back")
        time.sleep(0.2)
        seen = traffic.lap()
    assert seen["failed"] == 0 and seen["requests"] > 100, seen
    assert len(events(pool.agent, "reloaded")) == 2
    assert "nothing changes" in pool.agent.afloat("reload").stdout


def test_a_port_comes_and_goes(pool):
    node = pool.lan.nodes[0]
    pool.write(listeners='  more: {bind: ["*:8081"], pool: app}\n')
    assert pool.agent.afloat("reload").returncode == 0
    with pool.lan.client.connect(node.address, 8081, timeout=5) as kept:
        assert get(kept) == 200
        pool.write()
        assert pool.agent.afloat("reload").returncode == 0
        wait_until(lambda: ":8081" not in node.run("ss", "-Hltn").stdout, 5, "the socket to be closed")
        assert get(kept) == 200, "what is connected may finish"
    # A narrower address of the same port, while the wider one is still there.
    text = pool.text().replace('"*:80"', f'"{node.address}:80"')
    pool.agent.write(text)
    done = pool.agent.afloat("reload")
    assert done.returncode == 0, done.stderr
    with pool.lan.client.connect(node.address, 80, timeout=5) as fresh:
        assert get(fresh) == 200
    assert [item["bind"] for item in pool.agent.query("listeners")] == [[f"{node.address}:80"]]


def test_a_port_that_another_program_has_is_refused(pool):
    node = pool.lan.nodes[0]
    other = node.start("/usr/bin/python3", "-m", "http.server", "8090", log="other.log")
    try:
        wait_until(lambda: ":8090" in node.run("ss", "-Hltn").stdout, 10, "the other program to listen")
        pool.write(listeners='  more: {bind: ["*:8090"], pool: app}\n')
        done = pool.agent.afloat("reload")
        assert done.returncode == 2 and "8090" in done.stderr and "in use" in done.stderr
        assert [item["name"] for item in pool.agent.query("listeners")] == ["web"]
    finally:
        other.kill()
        other.wait()


def test_a_file_with_errors_is_refused_with_all_of_them(pool):
    pool.agent.write(pool.text().replace("http: /", "htp: /").replace("pool: app", "pool: ap"))
    done = pool.agent.afloat("reload")
    assert done.returncode == 2
    assert done.stderr.count("afloat.yaml:") >= 2 and "stays as it was" in done.stderr
    warnings = pool.agent.query("status")["warnings"]
    assert any("refused" in warning and "the one before is in force" in warning for warning in warnings), warnings
    assert set(pool.states().values()) == {"up"}
    assert events(pool.agent, "reload_refused")
    pool.write()
    assert pool.agent.afloat("reload").returncode == 0
    assert not any("refused" in warning for warning in pool.agent.query("status")["warnings"])


def test_sighup_reloads(pool):
    names = list(pool.states())
    pool.write(names=names[:1])
    os.kill(pool.agent.pid, signal.SIGHUP)
    wait_until(lambda: list(pool.states()) == names[:1], 5, "the new configuration")
    pool.agent.write("listeners: {")
    os.kill(pool.agent.pid, signal.SIGHUP)
    wait_until(lambda: any("refused" in warning for warning in pool.agent.query("status")["warnings"]), 5, "a warning")
    assert list(pool.states()) == names[:1]


def test_a_new_balancer_starts_with_the_new_configuration(pool):
    names = list(pool.states())
    pool.write(names=names[:1], listeners='  more: {bind: ["*:8081"], pool: app}\n')
    assert pool.agent.afloat("reload").returncode == 0
    os.kill(pool.agent.balancer, signal.SIGKILL)
    address = pool.lan.nodes[0].address

    def serves():
        try:
            with pool.lan.client.connect(address, 8081, timeout=2) as fresh:
                return get(fresh) == 200
        except (OSError, EOFError):
            return False

    wait_until(serves, 15, "the port of the new configuration")
    assert list(pool.states()) == names[:1]


def test_accepted_configurations_are_kept_compared_and_brought_back(pool):
    names = list(pool.states())
    assert [entry["number"] for entry in pool.agent.query("config", "list")] == [1]
    before = pool.text()
    pool.write(names=names[:1])
    assert pool.agent.afloat("reload").returncode == 0
    assert pool.agent.afloat("config", "show", "1").stdout == before
    difference = pool.agent.afloat("config", "diff").stdout
    assert any(line.startswith("- ") and names[1] in line for line in difference.splitlines()), difference
    same = pool.agent.query("config", "diff")
    assert (same["from"], same["to"]) == (1, 2) and same["lines"] == difference.splitlines()
    assert pool.agent.afloat("reload").returncode == 0
    assert len(pool.agent.query("config", "list")) == 2, "the same file again is not another one"
    done = pool.agent.afloat("config", "rollback")
    assert done.returncode == 0 and f"server {names[1]} is new" in done.stdout, done.stderr
    with open(pool.agent.configuration, encoding="utf-8") as file:
        assert file.read() == before
    wait_until(lambda: list(pool.states()) == names, 5, "both servers")
    assert [entry["current"] for entry in pool.agent.query("config", "list")] == [False, False, True]
    assert pool.agent.afloat("config", "rollback", "99").returncode == 2
    pool.agent.stop()
    pool.agent.start()
    wait_until(lambda: os.path.exists(pool.agent.socket) and pool.agent.query("config", "list"), 15, "an agent")
    assert len(pool.agent.query("config", "list")) == 3, "kept over a restart"


def test_what_needs_a_restart_is_refused_and_says_so(stage):
    cluster = stage.cluster(nodes=2)
    agent = cluster.agents[0]
    with open(agent.configuration, encoding="utf-8") as file:
        text = file.read()
    for old, new, words in [("name: ", "name: x", "cluster.name"), ("interface: ", "interface: lo #", "cluster.interface")]:
        agent.write(text.replace(old, new, 1))
        done = agent.afloat("reload")
        assert done.returncode == 2 and words in done.stderr and "restart" in done.stderr, done.stderr
    agent.write(text)
    assert agent.afloat("reload").returncode == 0


def test_nodes_are_reloaded_one_after_another_and_no_vip_moves(stage):
    cluster = stage.cluster(nodes=3)
    holder = cluster.wait_for_holder()
    with open(holder.configuration, encoding="utf-8") as file:
        text = file.read()
    second = "192.0.2.101"
    changed = text.replace("vips:\n", f"vips:\n  more: {{addresses: [{second}/24]}}\n", 1)
    with ArpWatch(cluster.lan.client, cluster.vip) as watch:
        for agent in cluster.agents:
            agent.write(changed)
            done = agent.afloat("reload")
            assert done.returncode == 0 and "VIP more is new" in done.stdout, done.stderr
            time.sleep(0.3)
        wait_until(lambda: all(agent.holder("more") for agent in cluster.agents), 10, "a holder of the new VIP")
        wait_until(lambda: len({member["configuration"] for member in cluster.agents[0].query("members")}) == 1, 5,
                   "one configuration on all")
        # And away again, while heartbeats become slower on one node after another.
        slower = text.replace("heartbeat: 10ms", "heartbeat: 20ms", 1)
        assert slower != text
        for agent in cluster.agents:
            agent.write(slower)
            assert agent.afloat("reload").returncode == 0
            time.sleep(0.3)
        assert watch.answerers(0.5) == {holder.host.mac()}
    assert cluster.holder() is holder
    assert not [event for event in events(holder, "vip_lost") if event["subject"] == "web"]
    wait_until(lambda: not any(second in node.addresses() for node in cluster.lan.nodes), 5, "the removed VIP to be gone")


def test_a_vips_address_changes_where_it_is_held(stage):
    cluster = stage.cluster(nodes=2)
    holder = cluster.wait_for_holder()
    with open(holder.configuration, encoding="utf-8") as file:
        text = file.read().replace(f"[{cluster.vip}/24]", f"[{cluster.vip}/24, 192.0.2.102/24]")
    for agent in cluster.agents:
        agent.write(text)
        assert "VIP web: addresses" in agent.afloat("reload").stdout
    wait_until(lambda: "192.0.2.102" in holder.host.addresses(), 5, "the second address")
    assert cluster.holder() is holder
    # The guardian knows of it: it goes when the elector dies.
    os.kill(holder.elector, signal.SIGKILL)
    wait_until(lambda: cluster.holder() not in (None, holder), 10, "another holder")
    assert "192.0.2.102" in cluster.holder().host.addresses()
    assert "192.0.2.102" not in holder.host.addresses()


def test_weights_and_switches_are_on_every_node_and_kept_over_a_restart(stage):
    cluster = stage.cluster(nodes=2, backends=2)
    lan, backends = cluster.lan, cluster.backends
    green = f"  green: {{servers: {{only: {backends[1].address}}}, check: none}}"
    for agent in cluster.agents:
        agent.write(cluster.configuration(pools=[green]))
        assert agent.afloat("reload").returncode == 0
    first, second = cluster.agents
    name = backends[0].name
    assert first.afloat("server", f"app/{backends[1].name}", "maint").returncode == 0
    assert first.afloat("server", f"app/{name}", "weight", "7").returncode == 0
    done = first.afloat("switch", "web/default", "green")
    assert done.returncode == 0 and "goes to green" in done.stdout, done.stderr
    assert second.afloat("server", f"app/{name}", "weight", "2000").returncode == 2
    assert "web/default" in second.afloat("switch", "web/other", "green").stderr

    def both(agent):
        pools, listeners = agent.query("pools"), agent.query("listeners")
        return (pools and listeners and pools[0]["servers"][0]["weight"] == 7
                and listeners[0]["switched"] == {"web/default": "green"})

    for agent in cluster.agents:
        wait_until(lambda agent=agent: both(agent), 10, f"weight and switch on {agent}")
    command = ["curl", "-s", "-D", "-", "-o", "/dev/null", "-m", "2", f"http://{cluster.vip}/"]
    assert f"X-Backend: {backends[1].name}" in lan.client.run(*command).stdout
    second.stop()
    second.start()
    wait_until(lambda: both(second), 15, "both after a restart")
    assert first.afloat("switch", "web/default", "app").returncode == 0
    wait_until(lambda: all(agent.query("listeners")[0]["switched"] == {} for agent in cluster.agents), 10, "back")
    wait_until(lambda: f"X-Backend: {name}" in lan.client.run(*command).stdout, 5, "the first pool again")


def test_a_new_vip_is_there_at_once_and_has_one_holder_all_along(stage):
    cluster = stage.cluster(nodes=3)
    second = "192.0.2.101"
    for agent in cluster.agents:
        agent.write(cluster.configuration(vips=[f"  second: {{addresses: [{second}/24]}}"]))
        assert agent.afloat("reload").returncode == 0
        # Half a second is for a busy machine: an address that is refused is tried again after five.
        wait_until(lambda: any(second in node.addresses() for node in cluster.lan.nodes), 2, "the new VIP")
    wait_until(lambda: all(agent.holder("second") for agent in cluster.agents), 5, "a holder that all know")
    for agent in cluster.agents:
        changes = [event["kind"] for event in agent.query("events") if event["subject"] == "second"]
        assert changes == (["vip_gained"] if agent.holder("second") == agent.name else []), changes


def test_requirements_that_a_reload_brings_count_from_their_first_answer_on(stage):
    cluster = stage.cluster(nodes=2, backends=1, vip_options={"requires": "[]"})
    holder = cluster.wait_for_holder()
    others = [agent for agent in cluster.agents if agent is not holder]
    script = "{script: /bin/true, every: %s, strict: yes}"
    # Without requirements so far; then the balancer, a pool and a script; then the script under other terms.
    for requires in ("[balancer, {pool: app}, %s]" % script % "2s", "[balancer, %s]" % script % "3s"):
        for agent in [holder] + others:
            agent.write(cluster.configuration(vip_options={"requires": requires}))
            done = agent.afloat("reload")
            assert done.returncode == 0, done.stderr
            time.sleep(0.5)
        for agent in cluster.agents:
            wait_until(lambda agent=agent: agent.query("vips")[0]["eligible"] == sorted(one.name for one in cluster.agents), 5,
                       "both nodes to be eligible")
            assert all(one["met"] for one in agent.query("vips")[0]["requires"])
    assert cluster.holder() is holder and not [event for event in events(holder, "vip_lost") if event["subject"] == "web"]
    # And they do count.
    os.kill(holder.balancer, signal.SIGKILL)
    wait_until(lambda: cluster.holder() in others, 10, "the node whose balancer serves")


def test_a_vip_on_an_interface_that_is_missing_is_refused_or_waits(stage):
    cluster = stage.cluster(nodes=2, start=False)
    text = cluster.configuration(vips=["  db: {addresses: [198.51.100.9/24], interface: eth9}"])
    agent, other = cluster.agents
    agent.write(text)
    cluster.start()
    # At the start it may still come, and takes no other VIP down.
    wait_until(lambda: agent.running() and (agent.query("vips") or []), 10, "an agent")
    wait_until(lambda: {vip["name"]: vip["ineligible"] for vip in agent.query("vips")}.get("db") == "there is no interface eth9", 10,
               "the reason")
    cluster.wait_for_holder()
    # Where a reload names it for the first time it is refused, and nothing has changed.
    other.write(text)
    for command in (["reload", "--check"], ["reload"]):
        done = other.afloat(*command)
        assert done.returncode == 2 and "interface eth9 of VIP db does not exist; this machine has lo, eth0" in done.stderr
    assert [vip["name"] for vip in other.query("vips")] == ["web"]
    assert agent.afloat("reload").returncode == 0, "it was missing before"
    agent.host.run("ip", "link", "add", "eth9", "type", "veth", "peer", "name", "peer9")
    for name in ("eth9", "peer9"):
        agent.host.run("ip", "link", "set", name, "up")
    wait_until(lambda: "198.51.100.9" in agent.host.run("ip", "addr", "show", "dev", "eth9").stdout, 15, "the VIP")


def test_a_removed_vip_is_told_to_its_hook(stage):
    cluster = stage.cluster(nodes=1)
    agent = cluster.agents[0]
    seen = os.path.join(agent.directory, "seen")
    hook = os.path.join(agent.directory, "hook")
    with open(hook, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\necho "$AFLOAT_VIP $AFLOAT_EVENT $AFLOAT_ADDRESSES" >> {seen}\n')
    os.chmod(hook, 0o755)

    def lines():
        with open(seen, encoding="utf-8") as file:
            return file.read().splitlines()

    agent.write(cluster.configuration(vips=[f"  second: {{addresses: [192.0.2.101/24], on_change: {hook}}}"]))
    assert agent.afloat("reload").returncode == 0
    wait_until(lambda: os.path.exists(seen) and lines() == ["second gained 192.0.2.101/24"], 10, "the gain")
    agent.write(cluster.configuration())
    assert agent.afloat("reload").returncode == 0
    wait_until(lambda: lines()[1:] == ["second lost 192.0.2.101/24"], 10, "the loss")


@pytest.mark.parametrize("before, after", [("1s", "10ms"), ("10ms", "1s")])
def test_another_heartbeat_interrupts_nothing(stage, before, after):
    cluster = stage.cluster(nodes=3, heartbeat=before, start=False)
    cluster.start()
    holder = cluster.wait_for_holder(60)
    wait_until(lambda: all([one["state"] for one in agent.query("members")] == ["alive"] * 3 for agent in cluster.agents), 60, "all")
    time.sleep(4)
    others = [agent for agent in cluster.agents if agent is not holder]
    with Probe(cluster.lan.client, cluster.vip) as probe:
        time.sleep(0.3)
        began = time.time()
        for agent in [others[0], holder, others[1]]:
            agent.write(cluster.configuration(heartbeat=after))
            assert agent.afloat("reload").returncode == 0
            time.sleep(1.2)
        time.sleep(2)
        # A gate that had shut would stay so for most of a second.
        assert probe.outage_after(began) < 500
    assert cluster.holder() is holder
    for agent in cluster.agents:
        assert not events(agent, "vip_lost") and not events(agent, "member_dead"), agent.query("events")


def test_what_cannot_be_opened_is_refused_by_the_check_already(pool, tmp_path):
    def checked(text):
        pool.agent.write(pool.text() + text)
        done = pool.agent.afloat("reload", "--check")
        return done.returncode, done.stderr

    for place, why in ((f"{tmp_path}/nowhere/access.log", "no such file"), ("/etc/passwd/access.log", "not a directory")):
        status, words = checked(f"log: {{access: {{to: {place}}}}}\n")
        assert status == 2 and why in words, words
    assert checked(f"log: {{access: {{to: {tmp_path}/access.log}}}}\n")[0] == 0
    assert not os.path.exists(tmp_path / "access.log"), "a check makes no file"
    with pool.lan.nodes[0].socket() as taken:
        taken.bind((pool.lan.nodes[0].address, 8181))
        taken.listen(1)
        pool.write(listeners='  other: {bind: ["*:8181"], pool: app}\n')
        done = pool.agent.afloat("reload", "--check")
        assert done.returncode == 2 and "in use" in done.stderr, done
    assert pool.agent.afloat("reload", "--check").returncode == 0
    with pytest.raises(ConnectionRefusedError):
        pool.lan.client.connect(pool.lan.nodes[0].address, 8181, timeout=2)


def test_a_refusal_is_json_where_that_was_asked_for(pool):
    pool.agent.write(pool.text() + "nonsense: 1\n")
    done = pool.agent.afloat("reload", "--json")
    assert done.returncode == 2
    answer = json.loads(done.stdout)
    assert "errors" in answer["error"] and any("nonsense" in line for line in answer["lines"])
    done = pool.agent.afloat("switch", "web/default", "nowhere", "--json")
    assert done.returncode == 1 and "nowhere" in json.loads(done.stdout)["error"]


def test_a_rollback_keeps_an_edit_that_was_never_accepted(pool):
    pool.write(listeners='  other: {bind: ["*:81"], pool: app}\n')
    assert pool.agent.afloat("reload").returncode == 0
    edit = pool.text() + "nonsense: 1\n"
    pool.agent.write(edit)
    assert pool.agent.afloat("reload").returncode == 2
    done = pool.agent.afloat("config", "rollback")
    assert done.returncode == 0, done.stderr
    kept = next(word for word in done.stdout.split() if ".before-rollback-" in word)
    assert kept.startswith(pool.agent.configuration)
    with open(kept, encoding="utf-8") as file:
        assert file.read() == edit
    os.unlink(kept)
    done = pool.agent.afloat("config", "rollback")
    assert done.returncode == 0 and "before-rollback" not in done.stdout, "what is in the list is not kept once more"


def test_what_this_machine_lacks_is_said(pool, tmp_path):
    site = tmp_path / "site"
    site.mkdir(mode=0o700)
    pool.agent.write(
        pool.text(listeners='  far: {bind: ["203.0.113.9:80"], pool: app}\n'
                            f'  files: {{bind: ["*:82"], routes: [{{name: docs, static: {{root: {site}}}}}]}}\n')
        + '    when_all_down: {static: {root: /nonexistent}}\n')
    for command in (["reload", "--check"], ["reload"], ["check", pool.agent.configuration]):
        done = pool.agent.afloat(*command)
        assert done.returncode == 0, done.stderr
        for words in ("listens on 203.0.113.9:80, which is no address of this machine", "may not enter",
                      "when_all_down of pool app, /nonexistent: "):
            assert words in done.stdout, (command, done.stdout)
