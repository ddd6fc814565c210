#!/usr/bin/python3
"""Does a calm cluster stay calm? Counts changes of the holder and probes lost while nothing is done to it.

    bench_calm.py [--minutes 5] [--heartbeat 2ms] [--busy 0] [--nodes 3] [--churn]

`--busy 8` runs that many endless loops at normal priority meanwhile (the bar: none in 2 minutes at the default 10 ms).
`--churn` creates and removes namespaces, links and addresses in a loop, also on the nodes: the kernel's lock of all network
settings (RTNL) is hardly ever free then.
Exit status 0 only if the holder never changed.
"""

import argparse
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "cluster")))

from lab import Cluster, Lan, Probe, sweep, wait_until  # noqa: E402  (the path comes first)


class Churn:
    """Namespaces, links and addresses that come and go until it is stopped."""

    def __init__(self, lan):
        self.lan = lan
        self.rounds = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.over.is_set():
            name = f"afloat-churn-{os.getpid()}"
            ip = ["ip", "netns"]
            subprocess.run([*ip, "add", name], check=True)
            try:
                subprocess.run(["ip", "-n", name, "link", "add", "a0", "type", "veth", "peer", "name", "b0"], check=True)
                subprocess.run(["ip", "-n", name, "addr", "add", "203.0.113.9/24", "dev", "a0"], check=True)
                for host in self.lan.nodes:
                    host.run("ip", "addr", "add", "203.0.113.8/32", "dev", "eth0")
                    host.run("ip", "addr", "del", "203.0.113.8/32", "dev", "eth0")
            finally:
                subprocess.run([*ip, "del", name], check=True)
            self.rounds += 1

    def stop(self):
        self.over.set()
        self.thread.join(30)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--heartbeat", default="2ms")
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--churn", action="store_true")
    options = parser.parse_args()
    sweep()
    with Lan(nodes=options.nodes) as lan:
        cluster = Cluster(lan, heartbeat=options.heartbeat).start()
        holder = cluster.wait_for_holder()
        wait_until(lambda: all(agent.holder() == holder.name for agent in cluster.agents), 20, "agreement")
        loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.busy)]
        churn = Churn(lan) if options.churn else None
        try:
            # What is counted is what the elector itself says and what the client sees; asking costs next to nothing.
            before = [agent.query("vips")[0]["since"] for agent in cluster.agents]
            with Probe(lan.client, cluster.vip) as probe:
                time.sleep(60 * options.minutes)
                seen = probe.stop()
            after = [agent.query("vips")[0]["since"] for agent in cluster.agents]
            stalls = [max((one.get("worst_stall_ms") or 0) for one in agent.query("members")) for agent in cluster.agents]
        finally:
            if churn:
                churn.stop()
            for loop in loops:
                loop.kill()
                loop.wait()
        changes = sum(first != last for first, last in zip(before, after))
        cluster.stop()
    print(f"{options.nodes} nodes, heartbeat {options.heartbeat}, {options.busy} busy loops, "
          f"{f'{churn.rounds} namespaces made and removed, ' if churn else ''}{options.minutes:g} minutes: "
          f"{changes} of {options.nodes} nodes saw the holder change; {seen['lost']} of {seen['sent']:,} probes lost, "
          f"worst outage {seen['worst_outage_ms']:.1f} ms; worst own stalls {', '.join(f'{stall:.1f}' for stall in stalls)} ms")
    return 0 if changes == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
