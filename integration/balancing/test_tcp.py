"""TCP mode: bytes pass unchanged, servers may speak first, and each side may end its own direction."""

import socket
import threading

LISTENER = "mode: tcp"


def test_bytes_pass_in_both_directions_and_the_server_may_speak_first(lone):
    def behave(_server, wire):
        wire.send("220 hello\r\n")
        while True:
            wire.send(wire.until(b"\n").upper())

    dial, _, _ = lone(behave, listener=LISTENER)
    wire = dial()
    assert wire.until(b"\n") == b"220 hello\r\n"
    wire.send("GET / HTTP/9.9\n\x00\xff\n")
    assert wire.until(b"\n") == b"GET / HTTP/9.9\n"
    wire.connection.sendall(b"\x00\xff\n")
    wire.until(b"\n")


def test_a_client_that_ends_its_side_still_gets_the_answer(lone):
    def behave(_server, wire):
        received = wire.rest()
        wire.send(f"{len(received)} bytes\n")

    dial, _, _ = lone(behave, listener=LISTENER)
    wire = dial()
    wire.send(b"x" * 300_000)
    wire.connection.shutdown(socket.SHUT_WR)
    assert wire.rest() == b"300000 bytes\n"


def test_a_server_that_ends_its_side_still_receives(lone):
    received = []
    done = threading.Event()

    def behave(_server, wire):
        wire.send("bye")
        wire.connection.shutdown(socket.SHUT_WR)
        data = wire.rest()
        if data:  # not the connection that only looked whether the listener is there
            received.append(data)
            done.set()

    dial, _, _ = lone(behave, listener=LISTENER)
    wire = dial()
    assert wire.rest() == b"bye"
    wire.send(b"y" * 100_000)
    wire.connection.shutdown(socket.SHUT_WR)
    assert done.wait(10)
    assert len(received[0]) == 100_000


def test_a_megabyte_each_way_at_the_same_time(lone):
    def behave(_server, wire):
        while True:
            wire.send(wire.take(65_536))

    dial, _, _ = lone(behave, listener=LISTENER)
    wire = dial()
    data = bytes(range(256)) * 256
    sender = threading.Thread(target=lambda: [wire.send(data) for _ in range(64)])
    sender.start()
    for _ in range(64):
        assert wire.take(65_536) == data
    sender.join()
