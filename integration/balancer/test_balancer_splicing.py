"""Large streams, which the balancer passes on without copying them: every byte arrives once, in order, at whom it is for."""

import contextlib
import hashlib
import random
import socket
import threading
import time

import pytest
from balancer_backends import Backend, Client, Reader
from balancer_harness import Balancer, listener, no_check, pool, server

SIZE = 6 << 20
# Of a request with so large a body.
POST = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % SIZE


def content(name):
    """`SIZE` bytes that are nobody else's, and no part of which repeats."""
    return random.Random(name).randbytes(SIZE)


def spliced(balancer, share=0.25):
    """Whether that part of what passed was not copied."""
    found = balancer.figures()["listeners"][0]
    passed = found["traffic"]["bytes_in"] + found["traffic"]["bytes_out"]
    return share * passed <= found["spliced_bytes"] <= passed


def pour(client, data):
    """Sends it from another thread, as far as the other side takes it; the thread."""

    def send():
        with contextlib.suppress(OSError):
            client.send(data)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


def abort(connection):
    """Closes with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def digest(data):
    return hashlib.sha256(data).hexdigest()


def front(handler, mode):
    backend = Backend(handler)
    balancer = Balancer(
        [listener("big", ["127.0.0.1:0"], "app", mode=mode)],
        [pool("app", [server("s0", backend.at)], check=no_check())],
    )
    balancer.backend = backend
    time.sleep(0.02)
    return balancer


def giving(connection, _):
    """Answers with the content that the path names; `/short/NAME` and `/reset/NAME` break off after two thirds."""
    reader = Reader(connection)
    while True:
        try:
            path = reader.head()[0].split()[1].strip("/").split("/")
        except EOFError:
            return
        data = content(path[-1])
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data))
        if path[0] in ("short", "reset"):
            connection.sendall(data[: SIZE * 2 // 3])
            if path[0] == "reset":
                abort(connection)
            return
        connection.sendall(data)


def taking(connection, _):
    """Answers each request with the digest of its body, which it reads in bursts."""
    reader = Reader(connection)
    while True:
        try:
            _, fields = reader.head()
        except EOFError:
            return
        missing, seen = int(fields.get("content-length", 0)), hashlib.sha256()
        while missing:
            part = reader.exactly(min(missing, 700_000))
            missing -= len(part)
            seen.update(part)
            time.sleep(0.002)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + seen.hexdigest().encode())


def all_at_once(tasks):
    """Runs functions side by side; the first that fails fails here."""
    faults = []

    def run(task):
        try:
            task()
        except BaseException as fault:  # noqa: BLE001  (raised again below)
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(task,), daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a stream stands still"
    if faults:
        raise faults[0]


def test_answers_arrive_whole_whatever_the_others_do():
    """Clients that read at once, slowly, or not to the end, on connections that are used again."""
    with front(giving, "http") as balancer:

        def eager(name):
            with Client(balancer.port) as client:
                for round in range(3):
                    status, _, body = client.get(f"/{name}-{round}")
                    assert status == 200 and digest(body) == digest(content(f"{name}-{round}"))

        def slow(name):
            with Client(balancer.port) as client:
                client.send(f"GET /{name} HTTP/1.1\r\nHost: test\r\n\r\n")
                client.reader.head()
                data = b""
                while len(data) < SIZE:
                    data += client.reader.exactly(min(200_000, SIZE - len(data)))
                    time.sleep(0.01)
                assert digest(data) == digest(content(name))
                assert client.get(f"/{name}-again")[0] == 200

        def leaving(name):
            for _ in range(8):
                client = Client(balancer.port)
                client.send(f"GET /{name} HTTP/1.1\r\nHost: test\r\n\r\n")
                client.reader.exactly(1_000_000)
                client.reset()

        all_at_once(
            [lambda n=n: eager(f"e{n}") for n in range(3)]
            + [lambda n=n: slow(f"s{n}") for n in range(3)]
            + [lambda n=n: leaving(f"l{n}") for n in range(2)]
        )
        assert spliced(balancer)


@pytest.mark.parametrize("how", ["short", "reset"])
def test_an_answer_that_breaks_off_never_looks_complete(how):
    with front(giving, "http") as balancer:
        for _ in range(3):
            with Client(balancer.port) as client:
                client.send(f"GET /{how}/x HTTP/1.1\r\nHost: test\r\n\r\n")
                client.reader.head()
                with pytest.raises((EOFError, ConnectionResetError)):
                    client.reader.exactly(SIZE)
        with Client(balancer.port) as client:
            assert digest(client.get("/y")[2]) == digest(content("y"))


def test_request_bodies_arrive_whole_and_the_next_request_is_told_from_them():
    with front(taking, "http") as balancer:

        def upload(name):
            with Client(balancer.port) as client:
                first, second = content(name), content(name + "2")
                # Both at once: the end of the one lies beside the beginning of the other.
                pour(client, POST + first + POST + second)
                for data in (first, second):
                    assert client.reader.response()[2].decode() == digest(data)

        def leaving(name):
            for _ in range(8):
                client = Client(balancer.port)
                client.send(POST + content(name)[:2_000_000])
                client.reset()

        all_at_once([lambda n=n: upload(f"u{n}") for n in range(4)] + [lambda: leaving("l")])
        assert spliced(balancer)


def test_a_body_that_the_server_refuses_in_the_middle_is_not_mixed_with_the_next_request():
    """The rest of the body is dropped, as it would be if it were copied: what comes behind it is no request of its own."""

    def refusing(connection, backend):
        reader = Reader(connection)
        first, _ = reader.head()
        backend.requests.append(first)
        reader.exactly(1_000_000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.05)

    with front(refusing, "http") as balancer:
        for _ in range(5):
            with Client(balancer.port) as client:
                body = content("r")
                smuggled = b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"
                body = body[: -len(smuggled)] + smuggled
                thread = pour(client, POST + body)
                assert client.reader.response()[0::2] == (413, b"big")
                thread.join(10)
                assert not thread.is_alive(), "the rest of the body is read"
        time.sleep(0.1)
        assert {first.split()[1] for first in balancer.backend.requests} == {"/"}


@pytest.mark.parametrize("pause", [0, 0.005])
def test_tunnels_pass_large_streams_both_ways_at_once(pause):
    def echo(connection, _):
        while data := connection.recv(1 << 20):
            connection.sendall(data)

    with front(echo, "tcp") as balancer:

        def talk(name):
            with Client(balancer.port, timeout=30) as client:
                data = content(name)

                def pour_and_end():
                    client.send(data)
                    client.send(b"a little more")
                    client.socket.shutdown(socket.SHUT_WR)

                threading.Thread(target=pour_and_end, daemon=True).start()
                seen = b""
                while len(seen) < SIZE:
                    seen += client.reader.exactly(min(300_000, SIZE - len(seen)))
                    time.sleep(pause)
                assert digest(seen) == digest(data)
                assert client.reader.exactly(13) == b"a little more" and client.ended()

        def leaving(name):
            for _ in range(10):
                client = Client(balancer.port)
                pour(client, content(name))
                client.reader.exactly(1_500_000)
                client.reset()

        all_at_once([lambda n=n: talk(f"t{n}") for n in range(4)] + [lambda: leaving("l")])
        assert spliced(balancer)


def test_large_and_small_messages_take_turns_in_a_tunnel():
    def echo(connection, _):
        while data := connection.recv(1 << 20):
            connection.sendall(data)

    with front(echo, "tcp") as balancer, Client(balancer.port) as client:
        sizes = random.Random(1)
        for _ in range(200):
            data = sizes.randbytes(sizes.choice([1, 100, 5000, 70_000, 400_000]))
            pour(client, data)
            assert client.reader.exactly(len(data)) == data


@pytest.mark.parametrize("ends", [True, False])
def test_urgent_data_neither_stops_nor_shortens_a_stream(ends):
    """splice(2) does not go past it, and takes the end behind it for the end before it."""
    seen = []

    def keeping(connection, _):
        while data := connection.recv(1 << 20):
            seen.append(data)
        seen.append(b"END")

    with front(keeping, "tcp") as balancer, Client(balancer.port) as client:
        data = content("u")
        client.send(data)
        for _ in range(3):
            client.send(b"before")
            client.socket.send(b"!", socket.MSG_OOB)
            client.send(b"behind" * 100)
        if ends:
            client.socket.shutdown(socket.SHUT_WR)
        tail = (b"before" + b"behind" * 100) * 3 + (b"END" if ends else b"")
        deadline = time.monotonic() + 10
        while sum(map(len, seen)) < SIZE + len(tail) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        arrived = b"".join(seen)
        assert digest(arrived[:SIZE]) == digest(data)
        # An urgent byte counts as one of the others once another has come.
        assert arrived[SIZE:].replace(b"!", b"") == tail
        assert spliced(balancer)


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_reset_of_a_large_tunnel_is_passed_on(side):
    """It is the only sign that something is missing."""
    ends = []

    def ending(connection):
        try:
            while connection.recv(1 << 20):
                pass
            return "end"
        except ConnectionResetError:
            return "reset"

    def serving(connection, _):
        if side == "server":
            connection.sendall(content("r"))
            abort(connection)
        else:
            ends.append(ending(connection))

    with front(serving, "tcp") as balancer:
        for _ in range(5):
            with Client(balancer.port) as client:
                if side == "server":
                    ends.append(ending(client.socket))
                else:
                    client.send(content("r"))
                    client.reset()
        deadline = time.monotonic() + 10
        while len(ends) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert ends == ["reset"] * 5
        assert spliced(balancer)


def test_a_server_that_resets_in_the_middle_of_a_body_is_a_502():
    def resetting(connection, _):
        reader = Reader(connection)
        reader.head()
        reader.exactly(2_000_000)
        abort(connection)

    with front(resetting, "http") as balancer:
        for _ in range(20):
            with Client(balancer.port) as client:
                pour(client, POST + content("r"))
                assert client.reader.response()[0] == 502
        assert spliced(balancer, 0.1)


def test_an_answer_of_unknown_length_that_a_reset_cuts_off_never_looks_complete():
    """The reset may be told to who writes the request's body, and a read says the end then."""

    def cutting(connection, _):
        reader = Reader(connection)
        reader.head()
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nthe beginning of more")
        reader.exactly(1_000_000)
        abort(connection)

    with front(cutting, "http") as balancer:
        for _ in range(40):
            with Client(balancer.port) as client:
                pour(client, POST + content("c"))
                with pytest.raises((EOFError, ConnectionResetError)):
                    client.reader.response()


def settled(balancer, direction, least):
    """The listener's figures once `least` bytes are counted: the end of an answer reaches its client before it is counted."""
    for _ in range(250):
        found = balancer.figures()["listeners"][0]
        if found["traffic"][direction] >= least:
            break
        time.sleep(0.02)
    return found


def test_what_was_spliced_is_counted_as_all_else():
    with front(giving, "http") as balancer, Client(balancer.port) as client:
        assert client.get("/c")[0] == client.get("/d")[0] == 200
        found = settled(balancer, "bytes_out", 2 * SIZE)
        assert 2 * SIZE < found["traffic"]["bytes_out"] < 2 * SIZE + 2000
        assert SIZE < found["spliced_bytes"] < 2 * SIZE
    with front(taking, "http") as balancer, Client(balancer.port) as client:
        client.send(POST + content("c"))
        assert client.reader.response()[0] == 200
        found = settled(balancer, "bytes_in", SIZE)
        assert SIZE <= found["traffic"]["bytes_in"] < SIZE + 200
