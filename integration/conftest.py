"""Fixtures: a LAN of namespaces, backends on it, and Afloat on its nodes. Every test gets its own, fresh."""

import os
import subprocess
import sys

import pytest

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
sys.path.insert(0, os.path.join(ROOT, "cluster"))
sys.path.insert(0, os.path.join(ROOT, "integration"))

import lone_balancer  # noqa: E402  (the path comes first)
from lab import Backend, Cluster, Lan, sweep  # noqa: E402
from lab.agent import available  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than a minute")


def pytest_sessionstart(session):
    if os.geteuid() != 0:
        raise pytest.UsageError("the tests make network namespaces: run them as root")
    if not available():
        raise pytest.UsageError("the release build is missing: make build")
    sweep()


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for cluster in getattr(item, "clusters", []):
            report.sections.append(("agents", cluster.logs()))


class Stage:
    """Makes labs and clusters for one test, and clears them away after it."""

    def __init__(self, item):
        self.item = item
        self.item.clusters = []
        self.lans = []

    def lan(self, **options):
        lan = Lan(**options)
        self.lans.append(lan)
        return lan.up()

    def backends(self, lan):
        return [Backend(host).start() for host in lan.backends]

    def cluster(self, nodes=3, backends=0, clients=1, start=True, ipv6=False, second=False, **options):
        """Agents on `nodes` hosts, in front of nginx on `backends` hosts; waits until the VIP is held and served, and
        others may take it."""
        lan = self.lan(nodes=nodes, backends=backends, clients=clients, ipv6=ipv6, second=second)
        cluster = Cluster(lan, backends=self.backends(lan), **options)
        self.item.clusters.append(cluster)
        if start:
            cluster.start()
            cluster.wait_for_holder()
            if backends:
                cluster.wait_for_service()
            cluster.give_time_to_settle()
        return cluster

    def clear(self):
        for cluster in self.item.clusters:
            cluster.stop()
        for lan in self.lans:
            lan.down()


@pytest.fixture
def stage(request):
    made = Stage(request.node)
    try:
        yield made
    finally:
        made.clear()


@pytest.fixture(scope="session")
def afloat():
    """Runs `afloat …` outside any lab; returns the finished process."""
    from lab import executables

    def run(*arguments, **options):
        options.setdefault("capture_output", True)
        options.setdefault("text", True)
        return subprocess.run([os.path.join(executables(), "afloat"), *arguments], timeout=60, **options)

    return run


@pytest.fixture
def lone(stage):
    """A lone balancer (no cluster) in front of servers that a test writes itself; see `lone_balancer.start`."""
    made = []

    def start(*behaviours, **options):
        one = lone_balancer.start(stage.lan(nodes=1, backends=len(behaviours)), *behaviours, **options)
        made.append(one)
        stage.item.clusters.append(one)
        return one

    yield start
    for one in made:
        one.close()
