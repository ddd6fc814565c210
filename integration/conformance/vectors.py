"""Readers of test vectors that others keep in their repositories, from a path: none of them is part of this one.

- llhttp (Node.js): `test/request/*.md` and `test/response/*.md`, input and the parser's log side by side.
- h1spec (uNetworking): `http_test.ts`, requests with the ranges of status that answer them.
- http-desync-guardian (AWS): `tests/*.yaml`, requests with the tier of danger that they belong to.
"""

import json
import pathlib
import re
from dataclasses import dataclass

import yaml


@dataclass
class LlhttpVector:
    """`error` is llhttp's reason to refuse; `messages` are the bodies of those that it found complete, `kind` the leniency
    that it was given."""

    name: str
    kind: str
    raw: bytes
    bodies: list
    error: str


def _unescaped(text):
    """As llhttp's own runner reads its inputs: lines end in CR LF, escapes are expanded, `${…}` repeats a text."""
    text = text.removesuffix("\n")
    text = re.sub(r"\\\n", "", text)
    text = text.replace("\n", "\r\n")
    for escape, byte in (("\\r", "\r"), ("\\n", "\n"), ("\\t", "\t"), ("\\f", "\f")):
        text = text.replace(escape, byte)
    text = re.sub(r"\\x([0-9a-fA-F]+)", lambda found: chr(int(found[1], 16)), text)
    text = re.sub(r"\\([0-7]{1,3})", lambda found: chr(int(found[1], 8)), text)
    return re.sub(r"\$\{'(.*?)'\.repeat\((\d+)\)\}", lambda found: found[1] * int(found[2]), text)


def llhttp_vectors(root, direction):
    """`direction` is `request` or `response`; `root` is llhttp's repository."""
    vectors = []
    for path in sorted((pathlib.Path(root) / "test" / direction).glob("*.md")):
        text, heading = path.read_text(encoding="utf-8"), ""
        fenced = "```%s\\n((?:(?!```).)*)```"
        pattern = r"^#+ +([^\n]*)$|<!-- *meta=(\{[^}]*\}) *-->\s*" + fenced % "http" + "[^`]*" + fenced % "log"
        for found in re.finditer(pattern, text, re.MULTILINE | re.DOTALL):
            if found[1]:
                heading = found[1]
                continue
            meta = json.loads(found[2])
            if "pause" in meta or "skipBody" in meta or meta.get("skip"):
                continue  # of the parser's interface, not of the bytes
            raw = _unescaped(found[3]).encode("latin-1", "replace")
            bodies, body = [], b""
            for line in found[4].splitlines():
                part = re.match(r'off=(\d+) len=(\d+) span\[body\]=', line)
                if part:
                    body += raw[int(part[1]) : int(part[1]) + int(part[2])]
                elif "message complete" in line:
                    bodies.append(body)
                    body = b""
            error = re.search(r'error code=\d+ reason="(.*?)"', found[4])
            reason = error[1] if error and "Pause on" not in error[1] else ""
            vectors.append(LlhttpVector(f"{path.stem}: {heading}", meta["type"], raw, bodies, reason))
    return vectors


@dataclass
class SpecCase:
    """h1spec: `ranges` of the status; `waits`: no answer may come, because the request is not whole."""

    name: str
    raw: bytes
    ranges: list
    body: str | None
    waits: bool


def h1spec_cases(root):
    text = (pathlib.Path(root) / "http_test.ts").read_text(encoding="utf-8")
    cases = []
    for block in re.findall(r"\{\s*request: \".*?\n    \}", text, re.DOTALL):
        literal = re.search(r'request: ("(?:[^"\\]|\\.)*")', block)[1]
        raw = json.loads(re.sub(r"\\x([0-9a-fA-F]{2})", r"\\u00\1", literal)).encode("latin-1")
        ranges = json.loads(re.search(r"expectedStatus: (\[\[.*?\]\])", block)[1])
        body = re.search(r'expectedBody: "(.*?)"', block)
        name = re.search(r'description: "(.*?)"', block)[1]
        cases.append(SpecCase(name, raw, ranges, body and body[1], "expectedTimeout: true" in block))
    return cases


@dataclass
class DesyncCase:
    """http-desync-guardian: a head and its tier: Compliant, Acceptable, Ambiguous or Severe."""

    name: str
    raw: bytes
    method: str
    tier: str
    reason: str


def desync_cases(root):
    cases = []
    for path in sorted((pathlib.Path(root) / "tests").glob("*.yaml")):
        # Their files hold control characters in quotes, which YAML allows as escapes only.
        for item in yaml.safe_load(path.read_text(encoding="utf-8")) or []:
            def wire(value):
                return b"" if value is None else str(value).encode("latin-1", "replace")

            first = b" ".join(part for part in (wire(item["method"]), wire(item["uri"]), wire(item["version"])) if part)
            lines = [wire(field["name"]) + b": " + wire(field["value"]) for field in item.get("headers") or []]
            expected = item["expected"]
            cases.append(DesyncCase(
                f"{path.stem}: {item['name']}", b"".join(line + b"\r\n" for line in [first, *lines]) + b"\r\n",
                str(item["method"]), expected["tier"], expected["reason"]))
    return cases
