#!/usr/bin/python3
"""The demonstration: a cluster on a LAN of namespaces, real traffic, real faults, and what the client saw of them.

Three nodes run Afloat, three backends run nginx, and a client sends HTTP through the VIP without pause while a probe asks
for the VIP every half millisecond. Every line that is printed was measured in this run, and the exit status is 0 only if
all of them held. KEEP=1 leaves the cluster up.
"""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")))

from lab import Backend, Cluster, Lan, Probe, Traffic, sweep, wait_until  # noqa: E402  (the path comes first)
from lab.agent import ROOT  # noqa: E402
from lab.lan import become_root  # noqa: E402

# Real-time scheduling, which a heartbeat of 2 ms wants on a busy machine, is not to be had in a user namespace.
HEARTBEAT = "10ms" if os.environ.get("AFLOAT_LAB_INSIDE") else "2ms"
CLIENTS = 32
RATE = 2000
# What counts as held. Detection takes three heartbeats; the rest is room for a machine that is busy with other things.
OUTAGE_LIMIT_MS = 100

colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if colour else text


class Story:
    """Prints the steps, and remembers what did not hold."""

    def __init__(self):
        self.held = self.broken = self.steps = 0

    def step(self, title):
        self.steps += 1
        print(f"\n{paint('1', f' {self.steps}  {title}')}", flush=True)

    def see(self, holds, text):
        mark = paint("32", "✔") if holds else paint("31", "✘")
        print(f"    {mark} {text}", flush=True)
        if holds:
            self.held += 1
        else:
            self.broken += 1
        return holds

    def note(self, text):
        print(f"      {paint('2', text)}", flush=True)

    def within(self, condition, seconds):
        """Seconds until `condition()` held, or None."""
        began = time.monotonic()
        try:
            wait_until(condition, seconds)
            return time.monotonic() - began
        except AssertionError:
            return None


def count(number):
    return f"{number:,}"


def spread(servers):
    total = sum(servers.values()) or 1
    return ", ".join(f"{name} {100 * servers[name] / total:.0f} %" for name in sorted(servers))


def took(seconds):
    return "never" if seconds is None else f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def gap(milliseconds):
    return f"client-seen outage {milliseconds:.1f} ms" if milliseconds else "no probe of the client was lost"


class Demo:
    """The cluster and its observers."""

    def __init__(self, lan, story):
        self.lan = lan
        self.story = story
        self.backends = [Backend(host).start() for host in lan.backends]
        self.cluster = Cluster(
            lan, self.backends, heartbeat=HEARTBEAT, vip_options={"prefer": "[n1, n2, n3]"},
            listener='{bind: ["*:80"], pool: app, served_by_header: X-Served-By}',
            pool_options={"affinity": "{cookie: {}}", "sticky_grace": "2s"})
        self.probe = self.traffic = None

    def agreed(self):
        """The one agent that has the VIP, if all agents name it."""
        holder = self.cluster.holder()
        if holder and all(agent.holder() == holder.name for agent in self.cluster.agents if agent.running()):
            return holder
        return None

    def steady(self):
        """The holder, once there is one and all agree."""
        return wait_until(self.agreed, 20, "one holder that all agree on")

    def come_up(self):
        story, cluster = self.story, self.cluster
        story.step("A VIP comes up")
        began = time.monotonic()
        cluster.start()
        up = story.within(self.agreed, 30)
        holder = cluster.holder()
        if not story.see(up is not None, f"{holder.name if holder else 'nobody'} holds {cluster.vip}, and all three nodes "
                                         f"agree, {took(time.monotonic() - began)} after the agents were started"):
            return False
        served = story.within(lambda: self.get() == "200", 15)
        return story.see(served is not None, f"the client gets 200 through the VIP, {took(served)} later")

    def all_well(self):
        """Whether every node's own checks see every server up."""
        return all(set(agent.server_states().values()) == {"up"} for agent in self.cluster.agents)

    def get(self):
        command = ["curl", "-s", "-o", "/dev/null", "-m", "1", "-w", "%{http_code}", f"http://{self.cluster.vip}/"]
        return self.lan.client.run(*command, check=False).stdout

    def spread_and_stick(self):
        story = self.story
        story.step("Requests are spread, and a cookie keeps its server")
        wait_until(self.all_well, 10, "every server up in every node's eyes")
        with Traffic(self.lan.client, self.cluster.vip, clients=CLIENTS, rate=RATE, cookies=False) as traffic:
            time.sleep(1.5)
            seen = traffic.stop()
        even = len(seen["servers"]) == 3 and max(seen["servers"].values()) < 1.2 * min(seen["servers"].values())
        story.see(even and seen["failed"] == 0, f"{count(seen['requests'])} requests without a cookie, {seen['failed']} failed: "
                                                f"{spread(seen['servers'])}")
        self.traffic = Traffic(self.lan.client, self.cluster.vip, clients=CLIENTS, rate=RATE)
        self.probe = Probe(self.lan.client, self.cluster.vip)
        time.sleep(2)
        seen = self.traffic.lap()
        story.see(seen["failed"] == 0 and seen["moved"] == 0 and len(seen["servers"]) == 3,
                  f"{count(seen['requests'])} requests of {CLIENTS} clients with cookies, {seen['failed']} failed: "
                  f"{seen['moved']} went to another server than the client's own")
        story.note(f"{seen['requests'] / seen['seconds']:,.0f} requests/s from now on without pause; "
                   f"half of them within {seen['p50_ms']:.2f} ms, 99 % within {seen['p99_ms']:.2f} ms")

    def a_backend_falls_ill(self):
        story, sick = self.story, self.backends[1]
        story.step(f"Backend {sick.name} starts answering 500")
        holder = self.steady()
        sick.fall_ill()
        out = story.within(lambda: holder.server_states().get(sick.name) == "down", 15)
        why = next((one["last_check"] for one in holder.query("pools")[0]["servers"] if one["name"] == sick.name), "")
        everywhere = story.within(lambda: all(one.server_states().get(sick.name) == "down" for one in self.cluster.agents), 15)
        meanwhile = self.traffic.lap()
        story.see(out is not None and everywhere is not None, f"taken out after {took(out)} («{why}»); until then clients saw "
                                   f"{meanwhile['statuses'].get('500', 0)} answers with 500")
        time.sleep(1.5)
        seen = self.traffic.lap()
        story.see(seen["failed"] == 0 and sick.name not in seen["servers"],
                  f"then {count(seen['requests'])} requests, {seen['failed']} failed: {spread(seen['servers'])}")
        sick.recover()
        back = story.within(self.all_well, 15)
        story.see(back is not None, f"well again: taken back by every node after {took(back)}")

    def the_cable_is_pulled(self):
        story, cluster, holder = self.story, self.cluster, self.steady()
        story.step(f"The cable of {holder.name}, which holds the VIP, is pulled")
        self.traffic.lap()
        struck = time.time()
        self.lan.pull_cable(holder.host)
        taken = story.within(lambda: [one for one in cluster.holders() if one is not holder], 10)
        outage = self.probe.outage_after(struck)
        successor = next((one for one in cluster.holders() if one is not holder), None)
        story.see(taken is not None and 0 < outage < OUTAGE_LIMIT_MS,
                  f"{gap(outage)}; {successor.name if successor else 'nobody'} holds the VIP now")
        time.sleep(2.5)
        seen = self.traffic.lap()
        story.see(seen["moved"] == 0 and sum(seen["servers"].values()) > RATE,
                  f"affinity kept by the new holder: {seen['moved']} of {count(sum(seen['servers'].values()))} answers came "
                  f"from another server than the client's own")
        story.note(f"of the {CLIENTS} connections to the cut-off node's VIP, {seen['retried']} broke with a request on its way, "
                   f"which the client sent again; {seen['failed']} requests failed")
        self.lan.plug_cable(holder.host)
        healed = story.within(lambda: self.agreed() and self.all_well(), 15)
        lap = self.traffic.lap()
        story.see(healed is not None and lap["failed"] == 0,
                  f"cable back: one holder, {cluster.holder().name if cluster.holder() else '?'}; all agree, and see all "
                  f"servers well, after {took(healed)}; {lap['failed']} requests failed")

    def the_elector_is_killed(self):
        story, cluster, holder = self.story, self.cluster, self.steady()
        story.step(f"SIGKILL to the elector of {holder.name}, which holds the VIP")
        victim = holder.elector
        self.traffic.lap()
        struck = time.time()
        os.kill(victim, signal.SIGKILL)
        taken = story.within(lambda: cluster.holder() not in (None, holder), 10)
        outage = self.probe.outage_after(struck)
        seen = self.traffic.lap()
        story.see(taken is not None and outage < OUTAGE_LIMIT_MS,
                  f"{gap(outage)}; {cluster.holder().name if cluster.holder() else 'nobody'} holds the VIP now, and no one else")
        again = story.within(lambda: holder.elector not in (None, victim) and self.agreed(), 15)
        story.see(again is not None and holder.running(), f"{holder.name} has a new elector, and all agree after {took(again)}")
        time.sleep(1.5)
        later = self.traffic.lap()
        story.see(seen["moved"] + later["moved"] == 0, f"affinity kept: {seen['moved'] + later['moved']} answers from another "
                                                       f"server than the client's own")

    def a_node_is_drained(self):
        story, cluster, holder = self.story, self.cluster, self.steady()
        other = next(agent for agent in cluster.agents if agent is not holder)
        story.step(f"afloat drain {holder.name}, typed on {other.name}, while it serves")
        self.traffic.lap()
        drained = time.time()
        done = other.afloat("drain", holder.name, "--reason", "demo", timeout=120)
        needed = time.time() - drained
        outage = self.probe.outage_after(drained)
        seen = self.traffic.lap()
        for line in (done.stdout + done.stderr).strip().splitlines()[-3:]:
            story.note(f"│ {line}")
        story.see(done.returncode == 0, f"exit status {done.returncode} after {took(needed)}")
        again = f", {seen['retried']} were sent again on a new connection" if seen["retried"] else ", none was sent twice"
        story.see(seen["failed"] == 0, f"{count(seen['requests'])} requests meanwhile, {seen['failed']} failed{again}"
                                       + (f": {seen['failures']}" if seen["failed"] else ""))
        # The drained node keeps the address until its last connection has ended for good.
        story.within(lambda: self.agreed() not in (None, holder), 5)
        taken = self.agreed() or cluster.holder()
        story.see(taken not in (None, holder), f"{taken.name if taken else 'nobody'} holds the VIP; {gap(outage)}")
        done = other.afloat("undrain", holder.name)
        back = story.within(lambda: (other.query("status") or {}).get("verdict") == "OK", 15)
        story.see(done.returncode == 0 and back is not None, f"afloat undrain {holder.name}: verdict OK after {took(back)}")

    def status(self):
        story, agent = self.story, self.cluster.agents[0]
        story.step("afloat status")
        self.steady()
        done = agent.afloat("status")
        for line in done.stdout.rstrip().splitlines():
            print(f"    {line}")
        story.see(done.returncode == 0, f"exit status {done.returncode}")


def how_to_play(lan, cluster):
    tool = os.path.relpath(os.path.join(ROOT, "cluster", "lab", "afloat-lab"))
    print(f"""
The cluster stays up as {lan.id}. Play with it:

  {tool} exec {lan.id} n1 afloat status              any command of afloat, on any node
  {tool} exec {lan.id} client curl -i http://{cluster.vip}/
  {tool} exec {lan.id} client wrk -c 32 -d 5 http://{cluster.vip}/
  {tool} cable {lan.id} n1 down                      … and up; or: silent {lan.id} n1 on
  {tool} exec {lan.id} n2 afloat drain n1
  less {lan.directory}/n1/afloat.yaml {lan.directory}/n1/agent.log

  {tool} down {lan.id}                               when you are done""")


def main():
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    become_root()
    sweep()
    story = Story()
    print(paint("1", "Afloat on a LAN of network namespaces: three nodes, three backends (nginx), one client"))
    print(f"heartbeat {HEARTBEAT}, dead after 3 · the client sends {count(RATE)} requests/s over {CLIENTS} keep-alive connections, "
          "and probes the VIP every 0.5 ms")
    with Lan(nodes=3, backends=3) as lan:
        demo = Demo(lan, story)
        try:
            if demo.come_up():
                demo.spread_and_stick()
                demo.a_backend_falls_ill()
                demo.the_cable_is_pulled()
                demo.the_elector_is_killed()
                demo.a_node_is_drained()
                demo.status()
        except Exception as error:  # whatever it was: it did not hold, and the logs say more
            story.see(False, f"{type(error).__name__}: {error}")
        for observer in (demo.traffic, demo.probe):
            if observer:
                observer.stop()
        if story.broken:
            print("\n" + demo.cluster.logs(25))
        verdict = f"{story.held} of {story.held + story.broken} observations held"
        print("\n" + paint("1;32" if not story.broken else "1;31", verdict))
        inside = bool(os.environ.get("AFLOAT_LAB_INSIDE"))
        if inside:
            print("without root: in a user namespace, which ends with this process; KEEP=1 needs root")
        if not inside and os.environ.get("KEEP") not in (None, "", "0"):
            lan.keep()
            how_to_play(lan, demo.cluster)
        else:
            demo.cluster.stop()
    return 0 if story.broken == 0 and story.steps == 7 else 1


if __name__ == "__main__":
    sys.exit(main())
