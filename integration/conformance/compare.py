#!/usr/bin/python3
"""The table of requests through Afloat and through Debian's HAProxy, side by side, with what each forwards held against the
panel. Prints a table in Markdown; the figures of docs/CONFORMANCE.md come from it.

    /usr/bin/python3 integration/conformance/compare.py [--cases]     # --cases: every case that the two take differently
"""

import collections
import os
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path[:0] = [os.path.join(ROOT, "integration", folder) for folder in ("balancer", "conformance")]

from request_cases import CASES  # noqa: E402  (the path comes first)
from stand import Stand, start_afloat  # noqa: E402
from test_requests import disagreements  # noqa: E402

CONFIGURATION = """
defaults
  mode http
  timeout client 3s
  timeout server 3s
  timeout connect 3s
  timeout http-request 3s
  http-reuse always
frontend web
  bind 127.0.0.1:{port}
  default_backend app
backend app
  server s {server}
"""


def start_haproxy(recorder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = tempfile.NamedTemporaryFile("w", suffix=".cfg")
    file.write(CONFIGURATION.format(port=port, server=recorder.at))
    file.flush()
    process = subprocess.Popen(["haproxy", "-f", file.name], stderr=subprocess.DEVNULL)
    time.sleep(0.5)

    def stop():
        process.terminate()
        process.wait()
        file.close()

    return port, stop


def verdict(stand, case):
    """(what the proxy did in a word, what parsers of the panel read in other ways than the server)."""
    outcome = stand.exchange(case.raw, None, half_close=True)
    messages = list(stand.recorder.messages)
    refusals = [status for status in outcome.statuses if status != 200]
    word = str(refusals[0]) if refusals else f"{len(messages)} served" if messages else "closed"
    return word, disagreements(case.label, outcome.forwarded, messages, may_break_off=bool(refusals) or not messages)


def main():
    stands = {"Afloat": Stand(start_afloat), "HAProxy": Stand(start_haproxy)}
    served, refused, split = ({name: collections.Counter() for name in stands} for _ in range(3))
    different, counts = [], collections.Counter()
    for case in CASES:
        counts[case.family] += 1
        words = {}
        for name, stand in stands.items():
            words[name], found = verdict(stand, case)
            (served if "served" in words[name] else refused)[name][case.family] += 1
            split[name][case.family] += bool(found)
        if words["Afloat"] != words["HAProxy"]:
            different.append((case.label, words["Afloat"], words["HAProxy"]))
    for stand in stands.values():
        stand.close()
    print("| family | cases | Afloat serves | refuses | read otherwise | HAProxy serves | refuses | read otherwise |")
    print("|---|---|---|---|---|---|---|---|")
    for family in [*counts, "all"]:
        cells = [sum(counts.values()) if family == "all" else counts[family]]
        for name in stands:
            for table in (served, refused, split):
                cells.append(sum(table[name].values()) if family == "all" else table[name][family])
        print(f"| {family} | " + " | ".join(map(str, cells)) + " |")
    if "--cases" in sys.argv:
        print()
        for label, ours, theirs in different:
            print(f"| {label} | {ours} | {theirs} |".replace("\n", " "))


if __name__ == "__main__":
    main()
