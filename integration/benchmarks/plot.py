#!/usr/bin/python3
"""Draws what bench_failover.py or bench_http.py wrote with --json as an SVG of bars: medians, with the spread as a line.

    plot.py failover FIGURES.json docs/failover.svg
    plot.py http FIGURES.json docs/http.svg
"""

import argparse
import html
import json
import re
import statistics
import sys

COLOURS = {"afloat": "#0b6e99", "keepalived": "#b0b7bd", "haproxy": "#b0b7bd", "newer": "#c4cace", "nginx": "#d8dcdf", "shuttle": "#7fb8a4"}
LABEL, PLOT, ROW, GAP = 380, 480, 20, 14


def failover_groups(data):
    """(title, [(name, values in ms)]) of each kind of fault."""
    from bench_failover import KINDS
    kinds = [kind for kind in KINDS if any(runs.get(kind) for runs in data.values())]
    groups = []
    for kind in kinds:
        series = []
        for name, runs in data.items():
            wrong = sum(figure[1] != 1 for figure in runs.get(kind, []))
            note = f", then not one holder in {wrong} of {len(runs[kind])}:" if wrong else ""
            if runs.get(kind):
                series.append((name + note, [figure[0] for figure in runs[kind]]))
        groups.append((KINDS[kind], series))
    return "client-seen outage in ms, logarithmic", groups


def http_groups(data):
    """(title, [(name, CPU as a share of HAProxy's, round by round)]) of each scenario."""
    from bench_http import SCENARIOS, cost
    groups = []
    for key, runs in data["runs"].items():
        scenario, connections = key.split("/")
        per_gib = SCENARIOS[scenario][3]
        base = next((name for name in runs if name.startswith("haproxy")), None)
        if base is None:
            continue
        series = [
            (name, [cost(run, per_gib) / cost(other, per_gib) for run, other in zip(runs[name], runs[base])])
            for name in runs]
        groups.append((f"{SCENARIOS[scenario][0]}, {connections} conn.", series))
    return "CPU per request, HAProxy = 1", groups


def draw(title, groups, logarithmic):
    """The SVG's text."""
    import math
    values = [value for _, series in groups for _, found in series for value in found]
    top = max(values)
    low = 0.1 if logarithmic else 0

    def x(value):
        if not logarithmic:
            return LABEL + PLOT * value / top
        return LABEL + PLOT * max(0, math.log10(max(value, low) / low)) / math.log10(top / low)

    parts, y = [], 40
    for name, series in groups:
        parts.append(f'<text x="{LABEL - 8}" y="{y + ROW * len(series) / 2 + 4}" text-anchor="end">{html.escape(name)}</text>')
        for label, found in series:
            middle = statistics.median(found)
            colour = COLOURS.get(re.split("[-,]", label)[0], "#e8c37b")
            width = max(1, x(middle) - LABEL)
            parts.append(f'<rect x="{LABEL}" y="{y + 2}" width="{width:.1f}" height="{ROW - 4}" fill="{colour}"/>')
            level = f'y1="{y + ROW / 2}" y2="{y + ROW / 2}"'
            parts.append(f'<line x1="{x(min(found)):.1f}" x2="{x(max(found)):.1f}" {level} stroke="#333"/>')
            words = f"{html.escape(label)} {middle:.2f}"
            parts.append(f'<text x="{x(max(found)) + 6:.1f}" y="{y + ROW / 2 + 4}" class="small">{words}</text>')
            y += ROW
        y += GAP
    width = LABEL + PLOT + 240
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y + 10}" font-family="sans-serif" font-size="13">'
        f'<style>.small{{font-size:11px;fill:#444}}</style><rect width="100%" height="100%" fill="white"/>'
        f'<text x="{LABEL}" y="22" font-weight="bold">{html.escape(title)}</text>{"".join(parts)}</svg>\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["failover", "http"])
    parser.add_argument("figures")
    parser.add_argument("picture")
    options = parser.parse_args()
    with open(options.figures, encoding="utf-8") as file:
        data = json.load(file)
    title, groups = failover_groups(data) if options.what == "failover" else http_groups(data)
    if not groups:
        sys.exit(f"{options.figures} holds no figures")
    with open(options.picture, "w", encoding="utf-8") as file:
        file.write(draw(title, groups, options.what == "failover"))


if __name__ == "__main__":
    main()
