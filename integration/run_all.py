#!/usr/bin/python3
"""Builds, runs every test and ends with one plain line: `N passed, N failed`.

    run_all.py [unit|simulation|fuzz|integration …] [--seeds N] [--seconds N] [-k EXPRESSION]

Without a name all stages run, one after another. Each stage's counts are read from what it reports itself; a stage
that does not report (because it did not build, crashed or took too long) counts as one failure, so that nothing can
fail unseen. The exit status is 0 only if something passed and nothing failed.
"""

import argparse
import glob
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
RESULTS = os.path.join(ROOT, ".build", "results")
SWIFT = os.environ.get("SWIFT", "swift")
PYTHON = "/usr/bin/python3"
# Histories of the simulation, of a minute or more of the cluster's time each.
SEEDS = 300
SECOND_CHANCES = 3
TIMED = "^(Agent|Elector|Balancer|Kernel)Tests\\."


class Tally:
    """What has passed and failed so far."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def add(self, stage, passed, failed, began, note=""):
        self.passed += passed
        self.failed += failed
        took = time.monotonic() - began
        print(f"{'ok  ' if failed == 0 else 'FAIL'} {stage}: {passed} passed, {failed} failed ({took:.0f} s){note}", flush=True)


def run(name, command, limit, quiet=False, environment=None):
    """Runs a command with its output in RESULTS/NAME.log, shown too unless `quiet`. Returns (exit status, output)."""
    path = os.path.join(RESULTS, f"{name}.log")
    print(f"---- {name}: {' '.join(command)}", flush=True)
    deadline = time.monotonic() + limit
    with open(path, "wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, env=environment, stdout=log, stderr=subprocess.STDOUT)
        shown = 0
        while True:
            status = process.poll()
            if not quiet:
                with open(path, "rb") as reader:
                    reader.seek(shown)
                    fresh = reader.read()
                shown += len(fresh)
                sys.stdout.write(fresh.decode(errors="replace"))
                sys.stdout.flush()
            if status is not None:
                break
            if time.monotonic() > deadline:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                status = 124
                print(f"---- {name}: took longer than {limit} s, ended", flush=True)
                break
            time.sleep(0.2)
    with open(path, encoding="utf-8", errors="replace") as reader:
        output = reader.read()
    if quiet and status != 0:
        print("\n".join(output.splitlines()[-120:]), flush=True)
    return status, output


def counts_of(reports):
    """(passed, failed, skipped) over the test cases of JUnit files; a file that breaks off counts as a failure."""
    passed = failed = skipped = 0
    for path in reports:
        try:
            root = ElementTree.parse(path).getroot()
        except ElementTree.ParseError as error:
            print(f"{path}: {error}", flush=True)
            failed += 1
            continue
        for case in root.iter("testcase"):
            kinds = {child.tag for child in case}
            if kinds & {"failure", "error"}:
                failed += 1
            elif "skipped" in kinds:
                skipped += 1
            else:
                passed += 1
    return passed, failed, skipped


def settle(tally, stage, status, reports, began):
    """Adds a stage that writes JUnit files; a bad exit without a counted failure is a failure of its own."""
    reports = [path for path in reports if os.path.exists(path)]
    passed, failed, skipped = counts_of(reports) if reports else (0, 0, 0)
    if not reports or (status != 0 and failed == 0) or passed + failed == 0:
        failed += 1
    tally.add(stage, passed, failed, began, f", {skipped} skipped" if skipped else "")


def unit(tally, _options):
    began = time.monotonic()
    status, _ = run("debug-build", [SWIFT, "build", "--build-tests"], 2400, quiet=True)
    if status != 0:
        tally.add("unit", 0, 1, began, ": the debug build failed")
        return
    for path in glob.glob(os.path.join(RESULTS, "unit*.xml")):
        os.unlink(path)
    # What lives in real time goes after what takes all the processor that it can get, and one test at a time: many
    # at once would hold up each other's threads for seconds.
    for name, choice in (("unit-pure", ["--skip", TIMED]), ("unit-timed", ["--no-parallel", "--filter", TIMED])):
        began = time.monotonic()
        report = os.path.join(RESULTS, f"{name}.xml")
        command = [SWIFT, "test", "--skip-build", "--disable-xctest", *choice, "--xunit-output", report]
        status, output = run(name, command, 600, quiet=True)
        if status != 0:
            print("\n".join(line for line in output.splitlines() if "✘" in line))
        settle(tally, name, status, glob.glob(os.path.join(RESULTS, f"{name}*.xml")), began)


def release_build(tally):
    """The release build, once. Returns whether it is there."""
    began = time.monotonic()
    command = [SWIFT, "build", "-c", "release", "--static-swift-stdlib"]
    status, _ = run("release-build", command, 2400, quiet=True)
    if status != 0:
        tally.add("release build", 0, 1, began)
    else:
        print(f"ok   release build ({time.monotonic() - began:.0f} s)", flush=True)
    return status == 0


def simulation(tally, options):
    began = time.monotonic()
    command = [os.path.join(ROOT, ".build", "release", "afloat-sim"), "--seeds", str(options.seeds or SEEDS)]
    status, output = run("simulation", command, 3600 if options.seeds else 300)
    # It runs seed after seed and stops at the first that breaks an invariant, naming it.
    found = re.search(r"^seeds +(\d+)", output, re.MULTILINE)
    passed = int(found.group(1)) if found and status == 0 else 0
    tally.add("simulation", passed, 0 if passed else 1, began)


def fuzz(tally, options):
    began = time.monotonic()
    script = os.path.join(ROOT, "fuzz", "run")
    with open(script, encoding="utf-8") as file:
        targets = re.findall(r"^  (\w+)\) source=", file.read(), re.MULTILINE)
    passed = failed = executed = 0
    for target in targets:
        status, output = run(f"fuzz-{target}", [script, target, str(options.seconds or 10)], 1800, quiet=True)
        found = re.search(r"number_of_executed_units: (\d+)", output)
        inputs = int(found.group(1)) if found else 0
        executed += inputs
        passed, failed = (passed + 1, failed) if status == 0 and inputs > 0 else (passed, failed + 1)
    tally.add("fuzz", passed, failed if targets else 1, began, f", {executed:,} inputs")


def failures_in(report):
    """The failed tests of a JUnit file, as pytest names them; none if it cannot be read."""
    try:
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return []
    failed = [case for case in cases if {child.tag for child in case} & {"failure", "error"}]
    return [f"{case.get('classname').replace('.', '/')}.py::{case.get('name')}" for case in failed]


def integration(tally, options):
    began = time.monotonic()
    report, second = (os.path.join(RESULTS, f"{name}.xml") for name in ("integration", "integration-again"))
    for path in (report, second):
        if os.path.exists(path):
            os.unlink(path)
    command = [PYTHON, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]
    choice = ["-k", options.k] if options.k else []
    status, _ = run("integration", [*command, "integration", f"--junitxml={report}", *choice], 2400)
    # A machine that stands still for a moment (it is shared) looks like a failure: a few tests get a second chance, by
    # themselves. It is said which, and one that fails again has failed.
    doubtful = failures_in(report)
    if status != 1 or not 1 <= len(doubtful) <= SECOND_CHANCES:
        settle(tally, "integration", status, [report], began)
        return
    status, _ = run("integration-again", [*command, *doubtful, f"--junitxml={second}"], 600)
    again = counts_of([second]) if os.path.exists(second) else (0, 0, 0)
    if status != 0 or again[0] != len(doubtful):
        settle(tally, "integration", 1, [report], began)
        return
    passed, _, skipped = counts_of([report])
    for name in doubtful:
        print(f"note {name} failed at first, and passed when it ran alone", flush=True)
    tally.add("integration", passed + len(doubtful), 0, began, f", {skipped} skipped, {len(doubtful)} at the second try")


def main():
    stages = {"unit": unit, "simulation": simulation, "fuzz": fuzz, "integration": integration}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="*", choices=[[], *stages], default=[])
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("-k")
    options = parser.parse_args()
    wanted = options.stage or list(stages)
    os.makedirs(RESULTS, exist_ok=True)
    tally = Tally()
    built = False
    for name in stages:
        if name not in wanted:
            continue
        if name in ("simulation", "integration") and not built:
            built = release_build(tally)
            if not built:
                break
        stages[name](tally, options)
    print(f"{tally.passed} passed, {tally.failed} failed", flush=True)
    return 0 if tally.failed == 0 and tally.passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
