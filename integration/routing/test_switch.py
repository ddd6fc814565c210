"""`afloat switch`: what it moves, what it may not move to, and what becomes of it when the configuration changes."""

import json
import subprocess

import pytest

from lab import Lan, wait_until
from lone_balancer import ask, start_with
from peers import Server, plain

CHECK = "{tcp: {}, every: 200ms, fast: 100ms, timeout: 100ms}"


class Site:
    """A lone balancer in front of a server for each of `names`; `{0}`, `{1}`, … in configurations are their addresses."""

    def __init__(self, lan, text, names):
        self.servers = [Server(host, plain(name.encode())) for host, name in zip(lan.backends, names)]
        self.lone = start_with(lan, self.servers, self.filled(text))
        self.agent = self.lone.agent

    def filled(self, text):
        for index, server in enumerate(self.servers):
            text = text.replace(f"{{{index}}}", server.address)
        return text

    def get(self, target="/", fields=""):
        head, body = ask(self.lone, target, fields)
        return head.status if head.status != 200 else body.decode().strip()

    def reload(self, text):
        self.agent.write(self.filled(text))
        return self.agent.afloat("reload")

    def switch(self, *words):
        return self.agent.afloat("switch", *words)

    def status(self):
        done = self.agent.afloat("status", "--json")
        return done.returncode, json.loads(done.stdout)

    def warnings(self):
        """What `status` says of pools and switches."""
        return [one for one in self.status()[1]["warnings"] if "switch" in one or "not used" in one]


@pytest.fixture
def site():
    sites = []
    with Lan(nodes=1, backends=3) as lan:
        def make(text, *names):
            sites.append(Site(lan, text, names))
            return sites[-1]

        try:
            yield make
        finally:
            for one in sites:
                one.lone.stop()
                one.lone.close()


def test_the_verdict_goes_by_the_pools_that_routes_are_switched_to(site):
    here = site(f"""listeners:
  web: {{bind: ["*:80"], pool: app}}
pools:
  app: {{servers: {{s1: "{{0}}"}}, check: {CHECK}}}
  green: {{servers: {{g1: "{{1}}"}}, check: {CHECK}}}
""", "app", "green")
    wait_until(lambda: here.status()[0] == 0, 10, "servers that are up")
    assert here.warnings() == ['pool "green" is not used by any listener']
    assert here.switch("web/default", "green").returncode == 0
    assert here.get() == "green"
    assert here.warnings() == []
    # What nobody is sent to may be down.
    here.servers[0].close()
    wait_until(lambda: here.agent.query("pools")[0]["servers"][0]["state"] == "down", 10, "app to be down")
    code, status = here.status()
    assert (code, status["verdict"], status["reasons"]) == (0, "OK", [])
    here.servers[1].close()
    wait_until(lambda: here.get() == 503, 10, "green to be down")
    code, status = wait_until(lambda: here.status() if here.status()[0] else None, 5, "a verdict")
    assert (code, status["verdict"], status["reasons"][0]) == (2, "CRITICAL", "pool green has no server that is up")


def test_a_server_without_weight_takes_no_new_clients(site):
    here = site("""listeners:
  web: {bind: ["*:80"], pool: app}
pools:
  app: {servers: {s1: "{0}", s2: "{1}"}, check: none}
""", "s1", "s2")

    def up():
        command = ["curl", "-s", "--unix-socket", here.agent.socket, "http://localhost/metrics"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        return [line.rsplit(" ", 1)[1] for line in lines if line.startswith("afloat_server_up{")]

    assert up() == ["1", "1"]
    assert here.agent.afloat("server", "app/s1", "weight", "0").returncode == 0
    wait_until(lambda: up() == ["0", "1"], 5, "s1 without weight")
    assert here.status()[0] == 0
    assert here.agent.afloat("server", "app/s2", "weight", "0").returncode == 0
    wait_until(lambda: here.get() == 503, 5, "no server to give")
    code, status = wait_until(lambda: here.status() if here.status()[0] else None, 5, "a verdict")
    assert (code, status["reasons"]) == (2, ["pool app takes no new clients: its servers that are up have weight 0"])
    assert up() == ["0", "0"]
