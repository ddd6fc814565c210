#!/usr/bin/python3
"""What an elector costs: CPU of seven electors at 10 ms with 1 VIP and with 200, in turns, on one machine.

    bench_elector.py [--seconds 10] [--rounds 3] [--nodes 7] [--vips 200]

Prints each round's share of a core (the holder of most VIPs, and the mean of all), and the ratio of the two.
"""

import argparse
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "cluster"))

from lab import Cluster, Lan, wait_until  # noqa: E402  (the path comes first)
from lab.lan import become_root  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")


def threads(pid):
    """Thread name → seconds of CPU so far."""
    used = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat", encoding="utf-8") as file:
            name, fields = file.read().rsplit(") ", 1)
        fields = fields.split()
        used[name.split("(", 1)[1]] = used.get(name.split("(", 1)[1], 0) + (int(fields[11]) + int(fields[12])) / TICKS
    return used


def measure(nodes, vips, seconds):
    """Shares of a core by thread, per elector."""
    lines = [f"  v{number}: {{addresses: [198.51.100.{number}/24]}}" for number in range(1, vips)]
    with Lan(nodes=nodes, clients=0) as lan:
        cluster = Cluster(lan, vips=lines).start()
        try:
            def calm():
                seen = [agent.query("vips") for agent in cluster.agents]
                return all(one and len(one) == vips and all(vip["holder"] for vip in one) for one in seen)

            wait_until(calm, 60, "a calm cluster")
            time.sleep(3)
            electors = [agent.elector for agent in cluster.agents]
            before, began = [threads(pid) for pid in electors], time.monotonic()
            time.sleep(seconds)
            after, took = [threads(pid) for pid in electors], time.monotonic() - began
        finally:
            cluster.stop()
    return [{name: (now[name] - then.get(name, 0)) / took for name in now} for then, now in zip(before, after)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=7)
    parser.add_argument("--vips", type=int, default=200)
    options = parser.parse_args()
    become_root()
    ratios = []
    for _ in range(options.rounds):
        means = []
        for vips in (1, options.vips):
            shares = measure(options.nodes, vips, options.seconds)
            totals = [sum(one.values()) for one in shares]
            parts = {name: statistics.mean(one.get(name, 0) for one in shares) for name in shares[0]}
            means.append(statistics.mean(totals))
            detail = ", ".join(f"{name} {part * 100:.2f} %" for name, part in sorted(parts.items()))
            print(f"{vips:4} VIPs: mean {means[-1] * 100:.2f} % of a core, most {max(totals) * 100:.2f} % ({detail})", flush=True)
        ratios.append(means[1] / means[0])
    print(f"ratio of each round: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")


if __name__ == "__main__":
    main()
