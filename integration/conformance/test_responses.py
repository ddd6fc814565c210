"""Responses of the table through Afloat, held against what parsers of clients read out of the bytes that it passes on."""

import pytest
from client_panel import read_responses
from response_cases import ANSWERS, POISON
from stand import Stand, start_afloat

# What a parser refuses although it is right.
QUIRKS = {}


@pytest.fixture(scope="module")
def stand():
    """One balancer for the whole table: it must be the same process at the end."""
    made = Stand(start_afloat)
    for place, case in enumerate(ANSWERS):
        made.recorder.answers[f"/{place}"] = case.pieces
        if case.server_closes:
            made.recorder.closing.add(f"/{place}")
    yield made
    made.close()


def request(place, case):
    lines = [f"{case.method} /{place} HTTP/{case.version}".encode(), b"Host: a", *case.lines]
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def disagreements(case, outcome):
    found = []
    for name, reading in read_responses(outcome.own, [case.method], outcome.closed).items():
        if (name, case.label) in QUIRKS:
            continue
        if case.status == 0:
            if reading.messages:
                found.append(f"{name} takes {reading.messages} for whole")
        elif reading.fault or len(reading.messages) != 1 or reading.messages[0][0] != case.status:
            found.append(f"{name} reads {reading.messages} {reading.fault}")
        elif case.content is not None and reading.messages[0][1] != case.content:
            found.append(f"{name} reads {reading.messages}")
    return found


@pytest.mark.parametrize("place", range(len(ANSWERS)), ids=[case.label for case in ANSWERS])
def test_an_answer_is_passed_on_as_the_table_says(stand, place):
    case = ANSWERS[place]
    outcome = stand.exchange(request(place, case), [case.method], expects_close=not case.is_open, pause=0.05 if case.comes_late else 0)
    if case.status == 0:
        assert outcome.closed and outcome.answers == [], outcome
    else:
        assert outcome.fault == "" and outcome.statuses == [case.status], outcome
        assert case.content is None or outcome.answers[0][1] == case.content, outcome
        assert outcome.closed == (not case.is_open), outcome
        assert outcome.sentinel == (200 if case.is_open else None), outcome
    assert b"poison" not in outcome.received or case.content == POISON, outcome
    assert not disagreements(case, outcome), outcome
    for _ in range(2):
        after = stand.exchange(b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n", ["GET"])
        assert after.answers == [(200, b"GET /after 0\n")] and after.sentinel == 200, after


def test_labels_are_unique():
    assert len({case.label for case in ANSWERS}) == len(ANSWERS)
