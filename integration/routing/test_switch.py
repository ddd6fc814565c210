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
    done = here.switch("web/default", "green")
    assert (done.returncode, done.stdout) == (0, "web/default goes to green\n")
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
    done = here.switch("web/default", "app")
    assert (done.returncode, done.stdout) == (
        0, "web/default goes to app, as configured\nwarning: pool app has no server that is up\n")


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


ROUTES = """listeners:
  web:
    bind: ["*:80"]
    pool: app
    routes:
ROUTES
pools:
  app: {servers: {s1: "{0}"}, check: none}
  green: {servers: {g1: "{1}"}, check: none}
"""


def routes(*lines):
    return ROUTES.replace("ROUTES", "\n".join(f"      - {line}" for line in lines))


def to_app(path, more=""):
    return f"{{match: {{path_prefix: {path}}}, pool: app{more}}}"


def test_the_switch_of_a_route_without_a_name_never_becomes_another_routes(site):
    text = routes(to_app("/a"), to_app("/x"))
    here = site(text, "app", "green")
    assert here.switch("web/1", "green").returncode == 0
    assert (here.get("/a"), here.get("/x")) == ("app", "green")
    # Neither by one that comes before it, nor by one that goes, nor by being given a name.
    for other in (routes(to_app("/a"), to_app("/pay"), to_app("/x")), routes(to_app("/x")),
                  routes(to_app("/a"), to_app("/x", ", name: x"))):
        for words in (["reload", "--check"], ["reload"]):
            here.agent.write(here.filled(other))
            done = here.agent.afloat(*words)
            assert done.returncode == 2 and "route web/1 is switched to pool green" in done.stderr, done
            assert "afloat switch web/1 --back" in done.stderr
        assert (here.get("/a"), here.get("/x")) == ("app", "green")
    # What keeps its place is no obstacle.
    assert here.reload(routes(to_app("/b"), to_app("/x"), to_app("/c"))).returncode == 0
    assert here.get("/x") == "green"
    # An agent that starts with such a file lets it be, and says so.
    here.lone.stop()
    here.agent.write(here.filled(routes(to_app("/a"), to_app("/pay"), to_app("/x"))))
    here.agent.start()
    wait_until(lambda: here.agent.balancer and here.get("/pay") == "app", 15, "the balancer")
    assert here.get("/x") == "app"
    assert here.agent.query("listeners")[0]["switched"] == {}
    assert here.warnings()[-1].startswith("the switch of route web/1 to pool green is not in force: at that place is")
    done = here.switch("web/1", "--back")
    assert done.returncode == 0 and done.stdout == "web/1 goes to app, as configured\n", done
    assert not [one for one in here.warnings() if "not in force" in one]


def test_the_rate_limit_of_a_route_without_a_name_stays_its_own(site):
    limit = ", rate_limit: {requests: 2, every: 1h}"
    here = site(routes(to_app("/a", limit), to_app("/b", limit)), "app", "green")
    assert [here.get("/a") for _ in range(3)] == ["app", "app", 429]
    assert here.reload(routes(to_app("/new", limit), to_app("/a", limit), to_app("/b", limit))).returncode == 0
    assert [here.get("/new") for _ in range(3)] == ["app", "app", 429]
    assert here.get("/a") == 429
    assert [here.get("/b") for _ in range(3)] == ["app", "app", 429]


MODES = """listeners:
  web: {bind: ["*:80"], mode: MODE, pool: app}
  t: {bind: ["*:90"], mode: tcp, pool: app}
pools:
  app: {servers: {s1: "{0}"}, check: none}
  green: {servers: {g1: "{1}"}, affinity: cookie, check: none}
  uri: {servers: {g1: "{1}"}, balance: {hash: uri}, check: none}
  page: {servers: {g1: "{1}"}, check: none, when_all_down: {respond: {body: sorry}}}
"""


def test_a_switch_is_refused_where_a_file_would_be(site, tmp_path):
    here = site(MODES.replace("MODE", "http"), "app", "green")
    for pool in ("green", "uri", "page"):
        path = tmp_path / f"{pool}.yaml"
        text = here.filled(MODES.replace("MODE", "http").replace("mode: tcp, pool: app", f"mode: tcp, pool: {pool}"))
        path.write_text(text, encoding="utf-8")
        in_file = here.agent.afloat("check", str(path))
        assert in_file.returncode == 2
        words = in_file.stderr.split("listeners.t.pool: ")[1].splitlines()[0]
        done = here.switch("t/default", pool)
        assert done.returncode != 0 and f"route t/default: {words}" in done.stderr, (words, done)
    assert here.agent.query("listeners")[1]["switched"] == {}
    # Nor can a reload make one of it.
    assert here.switch("web/default", "green").returncode == 0
    done = here.reload(MODES.replace("MODE", "tcp"))
    assert done.returncode == 2, done
    assert 'route web/default is switched to pool green: pool "green" keeps clients by cookie' in done.stderr
    assert here.get() == "green"
    # An agent that starts with it goes by the file.
    here.lone.stop()
    here.agent.start()
    wait_until(lambda: here.agent.balancer and here.get() == "app", 15, "the balancer")
    assert [one for one in here.warnings() if "route web/default to pool green is not in force: pool" in one]


def test_a_switch_to_a_pool_that_goes_and_comes_back_is_told_of(site):
    whole = routes(to_app("/m", ", name: main"))
    part = "".join(line for line in whole.splitlines(keepends=True) if not line.startswith("  green:"))
    here = site(whole, "app", "green")
    assert here.switch("main", "green").returncode == 0
    assert here.get("/m") == "green"
    done = here.reload(part)
    warning = ("the switch of route main to pool green is not in force: there is no such pool "
               "(afloat switch main --back forgets it)")
    assert done.returncode == 0, done
    assert "the switch of route main to pool green is no longer in force" in done.stdout
    assert f"warning: {warning}" in done.stdout
    assert here.get("/m") == "app"
    assert warning in here.warnings()
    done = here.reload(whole)
    assert "route main goes to pool green, as an operator switched it before" in done.stdout, done
    assert here.warnings() == []
    assert here.get("/m") == "green"
    # A route that is gone leaves a switch that can be forgotten.
    assert here.reload(routes(to_app("/m", ", name: other"))).returncode == 0
    done = here.switch("main", "--back")
    assert done.returncode == 0 and "no route main" in done.stdout, done
    assert here.reload(whole).returncode == 0
    assert here.get("/m") == "app"
    done = here.switch("nowhere", "--back")
    assert done.returncode != 0 and "there is no route nowhere" in done.stderr, "nothing is recorded of what never was"
    assert here.switch("main").returncode == 2 and here.switch("main", "green", "--back").returncode == 2


def test_a_server_that_comes_back_in_maintenance_is_told_of(site):
    text = """listeners:
  web: {bind: ["*:80"], pool: app}
pools:
  app: {servers: {s1: "{0}", s2: "{1}"}, check: none}
"""
    here = site(text, "s1", "s2")
    assert here.agent.afloat("server", "app/s2", "maint").returncode == 0
    assert here.agent.afloat("server", "app/s2", "weight", "7").returncode == 0
    assert here.reload(text.replace(', s2: "{1}"', "")).returncode == 0
    done = here.reload(text)
    assert ("server app/s2 is in maintenance and has weight 7, as an operator asked before "
            "(afloat server app/s2 ready, afloat server app/s2 weight default ends that)") in done.stdout, done
    assert "operator" not in here.reload(text).stdout
