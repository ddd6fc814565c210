"""Asks every host for an address, by ARP (neighbour solicitations for an IPv6 address) and by ICMP echo, and writes down who
answers when.

    answer_watch.py ADDRESS PERIOD_SECONDS MAC…

Each period one ARP request goes to everybody and one echo request to each hardware address, whatever the neighbours' caches
say. Writes a JSON line every tenth of a second: "answers" as [wall-clock seconds (the kernel's stamp), MAC, "arp" or "icmp"],
announcements included, and "asked", how many periods there have been so far. For an IPv6 address whatever names it as its own
in neighbour discovery counts as "arp": advertisements of it, and solicitations that come from it.
"""

import fcntl
import json
import os
import signal
import socket
import struct
import sys
import time

is_v6 = ":" in sys.argv[1]
wanted = socket.inet_pton(socket.AF_INET6 if is_v6 else socket.AF_INET, sys.argv[1])
period = float(sys.argv[2])
targets = [bytes.fromhex(mac.replace(":", "")) for mac in sys.argv[3:]]
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(15))
except PermissionError:
    pass  # the questions are merely less even
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
link.bind(("eth0", 3))
link.setblocking(False)
link.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
own_mac = link.getsockname()[4]
if is_v6:
    with open("/proc/net/if_inet6", encoding="ascii") as table:
        rows = [line.split() for line in table]
    own = next(bytes.fromhex(row[0]) for row in rows if row[5] == "eth0" and row[3] == "00")  # of global scope
else:
    query = struct.pack("16sH14s", b"eth0", socket.AF_INET, bytes(14))
    own = fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8915, query)[20:24]  # SIOCGIFADDR


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def echo(mac):
    icmp = struct.pack("!BBHHH", 8, 0, 0, 0xAF10, 1) + bytes(8)
    icmp = icmp[:2] + struct.pack("!H", checksum(icmp)) + icmp[4:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(icmp), 1, 0, 64, 1, 0) + own + wanted
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return mac + own_mac + b"\x08\x00" + head + icmp


def by_ipv6(mac, target, hops, message):
    """A frame with an ICMPv6 message, whose checksum is filled in."""
    total = checksum(own + target + struct.pack("!II", len(message), 58) + message)
    message = message[:2] + struct.pack("!H", total) + message[4:]
    return mac + own_mac + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(message), 58, hops) + own + target + message


def questions():
    """The frames of a period."""
    if not is_v6:
        return [arp] + [echo(mac) for mac in targets]
    group = bytes.fromhex("ff0200000000000000000001ff") + wanted[13:]
    solicitation = struct.pack("!BBHI", 135, 0, 0, 0) + wanted + b"\x01\x01" + own_mac
    request = struct.pack("!BBHHH", 128, 0, 0, 0xAF10, 1) + bytes(8)
    return [by_ipv6(b"\x33\x33" + group[12:], group, 255, solicitation)] + [by_ipv6(mac, wanted, 64, request) for mac in targets]


def kind_of(frame):
    """What claims the address, or nothing."""
    if frame[12:14] == b"\x08\x06" and frame[28:32] == wanted:
        return "arp"
    if frame[12:14] == b"\x08\x00" and frame[26:30] == wanted and frame[23] == 1 and frame[34] == 0:
        return "icmp"
    if frame[12:14] == b"\x86\xdd" and frame[20] == 58 and is_v6:
        if frame[54] == 136 and frame[62:78] == wanted or frame[54] == 135 and frame[22:38] == wanted:
            return "arp"
        if frame[54] == 129 and frame[22:38] == wanted:
            return "icmp"
    return None


arp = b"\xff" * 6 + own_mac + b"\x08\x06" + b"\x00\x01\x08\x00\x06\x04\x00\x01" + own_mac + own + bytes(6) + wanted
frames = questions()
answers, asked, running = [], 0, True


def stop(*_):
    global running
    running = False


def tell():
    global answers
    print(json.dumps({"answers": answers, "asked": asked}), flush=True)
    answers = []


def take():
    while True:
        try:
            frame, extra, _, source = link.recvmsg(128, 64)
        except BlockingIOError:
            return
        if source[2] == socket.PACKET_OUTGOING:
            continue
        kind = kind_of(frame)
        if not kind:
            continue
        seconds, nanoseconds = struct.unpack("qq", extra[0][2][:16])
        answers.append([seconds + nanoseconds / 1e9, frame[6:12].hex(":"), kind])


signal.signal(signal.SIGTERM, stop)
print(json.dumps({"ready": True}), flush=True)
due, tell_at = time.monotonic(), time.monotonic() + 0.1
while running:
    for frame in frames:
        try:
            link.send(frame)
        except BlockingIOError:
            pass
    asked += 1
    due = max(due + period, time.monotonic())
    while True:
        take()
        left = due - time.monotonic()
        if left <= 0:
            break
        time.sleep(min(left, 0.0003))
    if time.monotonic() > tell_at:
        tell()
        tell_at = time.monotonic() + 0.1
take()
tell()
