"""Messages that nobody thought of: those of the tables, cut up and put together by chance. Whatever Afloat makes of them, the
panel must read the same out of what it passes on, and the client must get an answer for each request, and no more.

The same ones in each run, so that a change is to blame for what it finds; CONFORM_SEED chooses others, CONFORM_COUNT makes it longer
(`make conformance CONFORM_SEED=$RANDOM CONFORM_COUNT=20000`).
"""

import os
import random

import pytest
from client_panel import read_responses
from panel import read_requests
from request_cases import CASES
from response_cases import ANSWERS, POISON
from stand import Stand, start_afloat

SEED = int(os.environ.get("CONFORM_SEED") or 1)
COUNT = int(os.environ.get("CONFORM_COUNT") or 500)
PIECES = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"\r\r\n", b" ", b"\t", b"\0", b"\x0b", b"\x0c", b"\x7f", b"\xff", b"\x85", b":", b";",
    b",", b"=", b"\"", b"0",
    b"1", b"3", b"a", b"0\r\n\r\n", b"5\r\nhello\r\n", b"Content-Length: ", b"Transfer-Encoding: ", b"chunked", b"identity", b", ",
    b"Host: a\r\n", b"Connection: ",
    b"close", b"keep-alive", b"upgrade", b"Upgrade: x\r\n", b"Expect: 100-continue\r\n", b"TE: trailers\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1", b"HTTP/1.0",
    b" HTTP/1.1\r\n", b"X: y\r\n", b"\r\n X: y", b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"http://a", b"/", b"?", b"#", b"%00",
    b"_", b"-", b"+", b"0x", b"Trailer: X\r\n", b"Max-Forwards: 0\r\n",
]  # fmt: skip
LONGEST = 1500


def mutated(choice, seeds):
    raw = bytearray(b"".join(choice.choice(seeds) for _ in range(choice.choice([1, 1, 1, 2, 3]))))
    for _ in range(choice.choice([1, 1, 1, 1, 2, 3])):
        at = choice.randrange(len(raw) + 1)
        kind = choice.randrange(6)
        if kind < 2:
            raw[at:at] = choice.choice(PIECES)
        elif kind == 2:
            del raw[at : at + choice.randrange(1, 6)]
        elif kind == 3 and raw:
            raw[min(at, len(raw) - 1)] = choice.choice([0, 9, 10, 13, 32, 44, 48, 58, 59, 127, 255, choice.randrange(256)])
        elif kind == 4:
            start = choice.randrange(len(raw) + 1)
            raw[at:at] = raw[start : start + choice.randrange(1, 40)]
        else:
            lines = bytes(raw).split(b"\r\n")
            choice.shuffle(lines) if choice.random() < 0.2 else lines.insert(choice.randrange(len(lines) + 1), choice.choice(lines))
            raw = bytearray(b"\r\n".join(lines))
    return bytes(raw).replace(b"HEAD", b"POST")  # the client's end must know how answers are framed


@pytest.fixture(scope="module")
def stand():
    made = Stand(start_afloat)
    yield made
    made.close()


def is_harmless(name, reading, messages):
    """A parser may refuse what it does not know (a method, a trailer, an upgrade) where the messages before are the same."""
    if name == "gunicorn":
        messages = [(method.upper(), *rest) for method, *rest in messages]
    read = [tuple(message) for message in reading.messages]
    expected = [tuple(message) for message in messages]
    return read == expected or bool(reading.fault) and read == expected[: len(read)]


def test_mutated_requests_mean_the_same_to_everybody(stand):
    print(f"CONFORM_SEED={SEED}")
    choice = random.Random(SEED)
    # Mostly good ones: of a bad one something bad remains.
    seeds = [case.raw for case in CASES if len(case.raw) < LONGEST for _ in range(1 if case.is_refused else 8)]
    served = refused = 0
    for index in range(COUNT):
        raw = mutated(choice, seeds)
        if not raw:
            continue
        outcome = stand.exchange(raw, None, half_close=True)
        messages = list(stand.recorder.messages)
        note = (SEED, index, raw, outcome, messages)
        assert outcome.fault == "", note
        answered = sum(status == 200 for status in outcome.statuses)
        # OPTIONS and TRACE with Max-Forwards: 0 are answered here; a client that leaves within a body gets no answer.
        assert answered >= len(messages) or outcome.reset, note
        assert all(status in (200, 400, 408, 413, 414, 431, 501, 505) for status in outcome.statuses), note
        most = []
        for part in outcome.forwarded:
            readings = read_requests(part)
            longest = max((reading.messages for reading in readings.values()), key=len)
            most += longest
            for name, reading in readings.items():
                assert is_harmless(name, reading, longest), (name, reading, longest, note)
        assert len(most) == len(messages), (most, note)
        served, refused = served + len(messages), refused + (outcome.statuses[-1:] not in ([], [200]))
    print(f"{COUNT} mutated, {served} requests served, {refused} refused")
    assert COUNT < 200 or served > COUNT // 5


ANSWER_PIECES = [
    *PIECES, b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 204 X\r\n", b"HTTP/1.1 304 X\r\n", b"HTTP/1.1 103 X\r\n\r\n", b"HTTP/1.0 200 OK\r\n",
    POISON, b"Connection: close\r\n",
]


GOOD_ANSWERS = [case for case in ANSWERS if case.status not in (0, 502) and sum(map(len, case.pieces)) < LONGEST]


def mutated_answer(choice):
    raw = bytearray(b"".join(choice.choice(GOOD_ANSWERS if choice.random() < 0.8 else ANSWERS).pieces))
    for _ in range(choice.choice([0, 1, 1, 1, 1, 2])):
        at = choice.randrange(min(len(raw), 300) + 1)
        kind = choice.randrange(4)
        if kind < 2:
            raw[at:at] = choice.choice(ANSWER_PIECES)
        elif kind == 2:
            del raw[at : at + choice.randrange(1, 6)]
        elif raw:
            raw[min(at, len(raw) - 1)] = choice.choice([0, 9, 10, 13, 32, 44, 48, 58, 59, 127, 255, choice.randrange(256)])
    return bytes(raw)


def test_mutated_answers_mean_the_same_to_every_client(stand):
    print(f"CONFORM_SEED={SEED}")
    choice, passed, broken, bad = random.Random(SEED + 1), 0, 0, 0
    request = b"POST /answer HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    for index in range(COUNT):
        raw = mutated_answer(choice)
        stand.recorder.answers["/answer"] = (raw,)
        stand.recorder.closing = {"/answer"}
        outcome = stand.exchange(request, ["POST"])
        note = (SEED, index, raw[:300], outcome)
        assert outcome.fault == "", note
        if outcome.answers:
            assert outcome.sentinel == 200, note
            status, content = outcome.answers[0]
            passed, bad = passed + (status != 502), bad + (status == 502)
            for name, reading in read_responses(outcome.own, ["POST"], False).items():
                assert reading.messages == [(status, content)] and not reading.fault, (name, reading, note)
        else:
            assert outcome.closed, note
            broken += 1
            for name, reading in read_responses(outcome.own, ["POST"], True).items():
                assert not reading.messages, (name, reading, note)
    print(f"{COUNT} mutated, {passed} passed on, {bad} answered with 502, {broken} broken off")
    assert COUNT < 200 or passed > COUNT // 5 and bad > COUNT // 20
