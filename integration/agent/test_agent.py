"""The agent by itself: how it starts, what it refuses, what its API answers, what it keeps."""

import http.client
import json
import os
import signal
import socket
import time

import pytest

from lab import wait_until
from lab.agent import Agent, executables

LONE = """listeners:
  web: {bind: ["*:80"], pool: app}
pools:
  app:
    servers: {s1: "192.0.2.101:80", s2: "192.0.2.102:80"}
    check: {http: /, every: 1s}
"""


@pytest.fixture
def lone(stage):
    """A lone balancer on n1, ready."""
    lan = stage.lan(nodes=1, backends=0)
    agent = Agent(lan.nodes[0], LONE).start()
    wait_until(lambda: os.path.exists(agent.socket) and agent.balancer, 15, "an agent that answers")
    yield agent
    if agent.running():
        agent.stop()


class Local(http.client.HTTPConnection):
    """HTTP over the agent's Unix socket."""

    def __init__(self, path):
        super().__init__("agent", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(agent, method, path, body=None):
    """Status and decoded JSON."""
    connection = Local(agent.socket)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def run(agent, *more, timeout=30):
    """A second `afloat agent` beside it, to its end."""
    return agent.host.run(
        os.path.join(executables(), "afloat"), "agent", "--config", agent.configuration, "--node", agent.name,
        *more, check=False, timeout=timeout)


def folders(directory, name):
    return ["--run-dir", os.path.join(directory, name), "--state-dir", os.path.join(directory, name)]


def test_the_socket_is_for_root_and_its_group(lone):
    assert os.stat(lone.socket).st_mode & 0o777 == 0o660
    assert os.stat(os.path.join(lone.directory, "state", "cookie.key")).st_mode & 0o777 == 0o600


def test_the_api_says_what_is_wrong_with_a_request(lone):
    status, answer = ask(lone, "GET", "/v1/nothing")
    assert status == 404 and "GET /v1/status" in answer["error"] and "POST /v1/move" in answer["error"]
    status, answer = ask(lone, "POST", "/v1/status")
    assert status == 405 and "GET" in answer["error"]
    status, answer = ask(lone, "POST", "/v1/server", "{")
    assert status == 400 and "JSON" in answer["error"]
    status, answer = ask(lone, "POST", "/v1/server", '{"pool": "app", "server": "s1"}')
    assert status == 400 and 'state (drain, maint or ready) or weight is missing' in answer["error"]
    status, answer = ask(lone, "POST", "/v1/server", '{"pool": "app", "server": "s9", "state": "drain"}')
    assert status == 404 and "s1, s2" in answer["error"]
    status, answer = ask(lone, "POST", "/v1/server", "x" * 70_000)
    assert status == 413
    status, answer = ask(lone, "POST", "/v1/move", '{"vip": "web", "to": "n2"}')
    assert status == 404 and "there is no VIP web" in answer["error"]
    status, answer = ask(lone, "GET", "/v1/events?limit=x")
    assert status == 400
    assert ask(lone, "GET", "/healthz")[0] == 200


def test_a_second_agent_with_the_same_folders_is_refused(lone):
    done = run(lone, "--run-dir", os.path.dirname(lone.socket), "--state-dir", os.path.join(lone.directory, "state"))
    assert done.returncode == 1
    assert "another agent runs in" in done.stderr
    assert ask(lone, "GET", "/healthz")[0] == 200


def test_a_port_that_is_taken_is_named(lone):
    done = run(lone, *folders(lone.directory, "other"))
    assert done.returncode == 1
    assert "cannot listen on 0.0.0.0:80: address already in use" in done.stderr


@pytest.mark.parametrize("binds", [('["*:85"]', '["127.0.0.2:85"]'), ('["127.0.0.2:85"]', '["*:85"]')])
def test_binds_of_one_port_may_overlap(lone, binds):
    lone.stop()
    lone.write(LONE.replace("listeners:", f"listeners:\n  one: {{bind: {binds[0]}, pool: app}}\n  two: {{bind: {binds[1]}, pool: app}}"))
    lone.start()
    wait_until(lambda: os.path.exists(lone.socket) and lone.balancer, 15, "an agent that answers")
    assert [item["name"] for item in ask(lone, "GET", "/v1/listeners")[1]] == ["one", "two", "web"]


def test_an_agent_that_was_killed_leaves_nothing_in_the_way_of_the_next(lone):
    lone.process.kill()
    lone.process.wait()
    assert os.path.exists(lone.socket)
    lone.start()
    wait_until(lambda: lone.running() and lone.balancer, 15, "a new balancer")

    def answers():
        try:
            return ask(lone, "GET", "/healthz")[0] == 200
        except OSError:  # the dead one's socket is still there
            return False

    wait_until(answers, 10, "an answer")
    kinds = [event["kind"] for event in ask(lone, "GET", "/v1/events")[1]]
    assert kinds.count("agent_started") == 2


def test_a_server_that_was_drained_stays_drained_over_a_restart(lone):
    assert lone.afloat("server", "app/s1", "drain").returncode == 0
    wait_until(lambda: lone.server_states()["s1"] == "drain", 5, "the drain")
    lone.stop()
    lone.start()
    wait_until(lambda: os.path.exists(lone.socket) and lone.balancer, 15, "a new balancer")
    wait_until(lambda: lone.server_states()["s1"] == "drain", 10, "the drain, again")
    assert lone.afloat("server", "app/s1", "ready").returncode == 0
    wait_until(lambda: lone.server_states()["s1"] != "drain", 5, "its end")


def test_a_stop_is_graceful_quick_and_leaves_no_process_and_no_socket(lone):
    child = lone.balancer
    begun = time.monotonic()
    lone.process.send_signal(signal.SIGTERM)
    assert lone.process.wait(20) == 0
    assert time.monotonic() - begun < 10
    assert not os.path.exists(lone.socket)
    assert not os.path.exists(f"/proc/{child}")


def test_the_service_manager_hears_ready_keep_alive_and_stopping(stage):
    lan = stage.lan(nodes=1)
    agent = Agent(lan.nodes[0], LONE)
    path = os.path.join(agent.directory, "notify")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(path)
    manager.settimeout(15)
    heard = []

    def hear(what):
        while not any(what in message for message in heard):
            heard.append(manager.recv(4096).decode())

    process = lan.nodes[0].start(
        "env", f"NOTIFY_SOCKET={path}", "WATCHDOG_USEC=400000", os.path.join(executables(), "afloat"), "agent",
        "--config", agent.configuration, "--node", "n1", *folders(agent.directory, "run"), log="agent.log")
    try:
        hear("READY=1")
        hear("WATCHDOG=1")
    finally:
        process.send_signal(signal.SIGTERM)
    hear("STOPPING=1")
    assert process.wait(20) == 0
    manager.close()


def test_a_child_that_cannot_work_is_started_ever_more_rarely_and_says_why(stage):
    cluster = stage.cluster(nodes=1, start=False)
    agent = cluster.agents[0]
    with open(agent.configuration, encoding="utf-8") as file:
        text = file.read()
    assert "interface: eth0" in text
    with open(agent.configuration, "w", encoding="utf-8") as file:
        file.write(text.replace("interface: eth0", "interface: eth7"))
    agent.start()

    def elector():
        if not os.path.exists(agent.socket):
            return {}
        processes = ask(agent, "GET", "/v1/status")[1]["processes"]
        return next((process for process in processes if process["name"] == "elector"), {})

    wait_until(lambda: elector().get("restarts", 0) >= 3, 15, "four starts of the elector")
    wait_until(lambda: "eth7" in elector().get("state", ""), 10, "its reason")
    before = elector()["restarts"]
    time.sleep(2)
    assert elector()["restarts"] - before <= 4
    assert ask(agent, "GET", "/v1/status")[1]["verdict"] == "CRITICAL"


def test_two_agents_do_not_share_their_state(lone):
    other = os.path.join(lone.directory, "other")
    done = run(lone, "--run-dir", other, "--state-dir", os.path.join(lone.directory, "state"))
    assert done.returncode == 1 and "another agent keeps its state in" in done.stderr + done.stdout, done


def test_pools_as_json_has_what_the_table_has(lone):
    pools = lone.query("pools")
    assert {"name", "servers", "waiting", "queued", "queue_full", "queue_late", "retries"} <= set(pools[0])
    server = pools[0]["servers"][0]
    assert (server["name"], server["requests"], server["responses"], server["p50_ms"]) == ("s1", 0, [0] * 5, None)
