#!/usr/bin/python3
"""What a client misses at each kind of failover: Afloat, and Debian's keepalived at its fastest, round by round.

    bench_failover.py [--rounds 10] [--heartbeat 2ms] [--only afloat|keepalived] [--kind cable …] [--json FILE]

Three nodes on a LAN of namespaces; a client sends an ICMP echo to the VIP every 0.5 ms. The outage is the time between
the sending of the last answered probe before the gap and of the first answered one after it, less one period. The two
systems take turns, and only one of them is up at a time. keepalived: VRRP version 3, 10 ms (the fastest it allows),
real-time priority, no preemption. It has no planned handover to a named node.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "cluster")))

from lab import ArpWatch, Cluster, Lan, Probe, executables, sweep, wait_until  # noqa: E402  (the path comes first)
from lab.agent import VIP  # noqa: E402

KINDS = {
    "cable": "cable pull",
    "silent": "silent switch",
    "kill": "SIGKILL of the elector",
    "dead": "SIGKILL of everything",
    "frozen": "SIGSTOP of everything",
    "move": "planned move",
    "stop": "SIGTERM of the agent",
    "partition": "holder partitioned off",
    "heal": "the partition heals",
}
KEEPALIVED = """
global_defs {{
  router_id {name}
  vrrp_version 3
  vrrp_rt_priority 50
  vrrp_no_swap
}}
vrrp_instance web {{
  version 3
  state BACKUP
  nopreempt
  interface eth0
  virtual_router_id 51
  priority {priority}
  advert_int 0.01
  virtual_ipaddress {{
    {vip}/24
  }}
}}
"""


class Afloat:
    """Three agents."""

    lacks = ()

    def __init__(self, lan, heartbeat):
        self.lan = lan
        self.cluster = Cluster(lan, heartbeat=heartbeat)

    def start(self):
        self.cluster.start()
        wait_until(self._calm, 30, "an agreed holder")

    def _calm(self):
        """Whether one node has the VIP and every agent names it."""
        holders = self.holders()
        return len(holders) == 1 and all(agent.holder() == holders[0] for agent in self.cluster.agents)

    def holders(self):
        return [agent.name for agent in self.cluster.holders()]

    def strike(self, kind, holder):
        agent = self.cluster[holder]
        if kind == "kill":
            os.kill(agent.elector, signal.SIGKILL)
        elif kind in ("dead", "frozen"):
            pids = [agent.pid, agent.elector]
            for number in (signal.SIGSTOP, *([signal.SIGKILL] if kind == "dead" else [])):
                for pid in pids:
                    os.kill(pid, number)
            self.frozen = pids
        elif kind == "stop":
            agent.process.send_signal(signal.SIGTERM)
        elif kind == "move":
            other = next(one.name for one in self.cluster.agents if one.name != holder)
            done = agent.afloat("move", "web", other)
            if done.returncode != 0:
                raise RuntimeError(f"afloat move failed: {done.stdout}{done.stderr}")

    def mend(self, kind, holder):
        agent = self.cluster[holder]
        if kind == "frozen":
            for pid in reversed(self.frozen):
                os.kill(pid, signal.SIGCONT)
        if kind in ("stop", "dead"):
            agent.process.wait(30)
            agent.start()
        wait_until(lambda: agent.elector and self._calm_members(), 30, f"{holder} back in the cluster")

    def _calm_members(self):
        for agent in self.cluster.agents:
            members = agent.query("members") or []
            if len(members) != len(self.cluster.agents) or any(one["state"] == "dead" for one in members):
                return False
        return self._calm()

    def stop(self):
        self.cluster.stop()

    @staticmethod
    def version():
        done = subprocess.run([os.path.join(executables(), "afloat"), "version"], capture_output=True, text=True)
        return done.stdout.strip().splitlines()[0] if done.stdout else "afloat"


class Keepalived:
    """Three keepalived, as fast as it lets itself be set."""

    lacks = ("move", "dead")  # its SIGKILL is of everything

    def __init__(self, lan, _heartbeat):
        self.lan = lan
        self.processes = {}

    def _start_one(self, host, priority):
        path = os.path.join(host.directory, "keepalived.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(KEEPALIVED.format(name=host.name, priority=priority, vip=VIP))
        pid = os.path.join(host.directory, "keepalived.pid")
        self.processes[host.name] = host.start(
            "keepalived", "-P", "-n", "-l", "-D", "-f", path, "-p", pid, "-r", pid + ".vrrp", log="keepalived.log")

    def start(self):
        for index, host in enumerate(self.lan.nodes):
            self._start_one(host, 150 - 20 * index)
        wait_until(lambda: len(self.holders()) == 1, 30, "a holder")
        time.sleep(0.5)

    def holders(self):
        return [host.name for host in self.lan.nodes if VIP in host.addresses()]

    def strike(self, kind, holder):
        process = self.processes[holder]
        if kind == "kill":
            os.killpg(process.pid, signal.SIGKILL)
        elif kind == "frozen":
            os.killpg(process.pid, signal.SIGSTOP)
        elif kind == "stop":
            process.send_signal(signal.SIGTERM)

    def mend(self, kind, holder):
        if kind == "frozen":
            os.killpg(self.processes[holder].pid, signal.SIGCONT)
        if kind in ("kill", "stop"):
            self.processes[holder].wait(10)
            host = self.lan[holder]
            host.run("ip", "addr", "del", f"{VIP}/24", "dev", "eth0", check=False)
            self._start_one(host, 150 - 20 * self.lan.nodes.index(host))
        wait_until(lambda: len(self.holders()) == 1, 30, "one holder")
        time.sleep(0.5)

    def stop(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            process.wait(10)

    @staticmethod
    def version():
        done = subprocess.run(["keepalived", "--version"], capture_output=True, text=True)
        found = re.search(r"Keepalived v\S+", done.stdout + done.stderr)
        return found.group(0) if found else "keepalived"


def count_holders(lan, system, kind, struck):
    """How many nodes hold the VIP; where the struck node may have the address left, those that answer for it."""
    if kind in ("kill", "dead", "frozen", "move", "heal"):
        with ArpWatch(lan.client, VIP) as watch:
            return len(watch.answerers(0.5))
    return len([name for name in system.holders() if kind not in ("cable", "silent", "partition") or name != struck])


def round_of(system_class, kinds, heartbeat):
    """One round: every kind of fault once. Returns kind → (outage in ms, nodes that hold the VIP, or answer for it, then)."""
    results = {}
    with Lan(nodes=3) as lan:
        system = system_class(lan, heartbeat)
        system.start()
        with Probe(lan.client, VIP) as probe:
            for kind in kinds:
                if kind in system_class.lacks or kind == "heal":  # comes with the partition
                    continue
                time.sleep(0.5)
                holder = system.holders()[0]
                struck = time.time()
                if kind == "cable":
                    lan.pull_cable(lan[holder])
                elif kind == "silent":
                    lan.silence(lan[holder])
                elif kind == "partition":
                    lan.partition([lan[holder]], [host for host in (*lan.nodes, lan.client) if host.name != holder])
                else:
                    system.strike(kind, holder)
                outage = probe.outage_after(struck, settle=0.8)
                results[kind] = (outage, count_holders(lan, system, kind, holder))
                if kind == "cable":
                    lan.plug_cable(lan[holder])
                elif kind == "silent":
                    lan.restore(lan[holder])
                elif kind == "partition":
                    healed = time.time()
                    lan.heal()
                    outage = probe.outage_after(healed, settle=0.8)
                    results["heal"] = (outage, count_holders(lan, system, "heal", holder))
                system.mend(kind, holder)
        system.stop()
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--heartbeat", default="2ms")
    parser.add_argument("--only", choices=["afloat", "keepalived"])
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    parser.add_argument("--json")
    options = parser.parse_args()
    sweep()
    systems = {"afloat": Afloat, "keepalived": Keepalived}
    if options.only:
        systems = {options.only: systems[options.only]}
    kinds = options.kind or list(KINDS)
    seen = {name: {kind: [] for kind in kinds} for name in systems}
    for number in range(options.rounds):
        for name, system in systems.items():
            for kind, figure in round_of(system, kinds, options.heartbeat).items():
                seen[name][kind].append(figure)
        latest = ", ".join(
            f"{name} " + "/".join(f"{seen[name][kind][-1][0]:.1f}" if seen[name][kind] else "–" for kind in kinds)
            for name in systems)
        print(f"round {number + 1:2} of {options.rounds}: {latest} ms", flush=True)

    print(f"\nclient-seen outage in ms over {options.rounds} interleaved rounds, a probe every 0.5 ms: median (least–most)")
    for name, system in systems.items():
        pace = f"heartbeat {options.heartbeat}, dead_after 3" if name == "afloat" else "advert_int 10 ms, real-time priority"
        print(f"  {name}: {system.version()}, {pace}")
    print(f"\n  {'':24}" + "".join(f"{name:>26}" for name in systems))
    for kind in kinds:
        cells = []
        for name in systems:
            if not seen[name][kind]:
                cells.append(f"{'–':>26}")
                continue
            outages = [figure[0] for figure in seen[name][kind]]
            two = sum(figure[1] != 1 for figure in seen[name][kind])
            cell = f"{statistics.median(outages):.1f} ({min(outages):.1f}–{max(outages):.1f})"
            cells.append(f"{cell + ('*' if two else ''):>26}")
        print(f"  {KINDS[kind]:24}" + "".join(cells))
    for name in systems:
        bad = {KINDS[kind]: sum(figure[1] != 1 for figure in seen[name][kind]) for kind in kinds}
        for kind, count in bad.items():
            if count:
                print(f"  * {name}, {kind}: in {count} of {options.rounds} rounds no live node or more than one held the VIP afterwards")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(seen, file, indent=1)


if __name__ == "__main__":
    main()
