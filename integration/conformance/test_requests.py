"""Requests of the table through Afloat, held against what eight other parsers read out of the bytes that it forwards."""

import random

import pytest
from panel import read_requests
from request_cases import CASES
from stand import Stand, start_afloat

SENTINEL = ("GET", "/sentinel", b"")
# Parsers that know only a list of methods, in capital letters.
METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PURGE", "M-SEARCH"}
CLOSED_LISTS = ("http-parser", "llhttp")
# What a parser refuses although it is right, or changes although it may not. A refusal splits no message.
QUIRKS = {
    ("gunicorn", "request line: method get"): "it makes capital letters of methods",
    ("waitress", "request line: method get"): "it knows capital letters only",
    ("http.server", "chunk: a trailer"): "werkzeug's chunks have no trailers",
    ("tornado", "chunk: a trailer"): "it knows no trailers",
    ("http.server", "bound: 100 fields"): "its own limit is 100, and we add some",
}


@pytest.fixture(scope="module")
def stand():
    """One balancer for the whole table: it must be the same process at the end."""
    made = Stand(start_afloat)
    yield made
    made.close()


def disagreements(label, forwarded, expected, may_break_off=False):
    """What parsers of the panel read otherwise than `expected` out of the bytes of all connections."""
    found, readings = [], {}
    for part in forwarded:
        for name, reading in read_requests(part).items():
            readings.setdefault(name, []).append(reading)
    for name, parts in readings.items():
        if name in CLOSED_LISTS and any(method not in METHODS for method, _, _ in expected) or (name, label) in QUIRKS:
            continue
        messages = [message for part in parts for message in part.messages]
        faults = [part.fault for part in parts if part.fault]
        if messages != expected or (faults and not may_break_off):
            found.append(f"{name} reads {messages} {faults}")
    return found


def cuts(raw):
    """Three places to cut at, another three for each case."""
    choice = random.Random(raw)
    return sorted(choice.sample(range(1, len(raw)), min(3, len(raw) - 1)))


@pytest.mark.parametrize("places", [lambda raw: (), cuts], ids=["whole", "in pieces"])
@pytest.mark.parametrize("case", CASES, ids=[case.label for case in CASES])
def test_a_request_is_served_or_refused_as_the_table_says(stand, case, places):
    outcome = stand.exchange(
        case.raw, case.methods, half_close=case.half_close, expects_close=not case.is_open, cuts=places(case.raw))
    assert outcome.statuses == list(case.answers), outcome
    assert outcome.fault == "" and outcome.closed == (not case.is_open), outcome
    assert outcome.sentinel == (200 if case.is_open else None), outcome
    expected = list(case.messages) + ([SENTINEL] if case.is_open else [])
    found = disagreements(case.label, outcome.forwarded, expected, may_break_off=case.is_refused or case.half_close)
    assert not found, (found, outcome.forwarded)
    assert outcome.forwarded or not expected


def test_labels_are_unique():
    assert len({case.label for case in CASES}) == len(CASES)
