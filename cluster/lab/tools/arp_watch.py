"""Asks who has an address, again and again, and writes a JSON line for every ARP packet that claims it.

    arp_watch.py ADDRESS [PERIOD_SECONDS = 0.02]

"announcement" tells a gratuitous ARP (sender and target address alike) from an answer to somebody.
"""

import fcntl
import json
import select
import signal
import socket
import struct
import sys
import time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
wanted = socket.inet_aton(sys.argv[1])
period = float(sys.argv[2]) if len(sys.argv) > 2 else 0.02
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
link.bind(("eth0", 0x0806))
own_mac = link.getsockname()[4]
query = struct.pack("16sH14s", b"eth0", socket.AF_INET, bytes(14))
own_address = fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8915, query)[20:24]  # SIOCGIFADDR
frame = b"\xff" * 6 + own_mac + b"\x08\x06" + b"\x00\x01\x08\x00\x06\x04\x00\x01"
frame += own_mac + own_address + bytes(6) + wanted
print(json.dumps({"ready": True}), flush=True)
due = time.monotonic()
while True:
    if time.monotonic() >= due:
        link.send(frame)
        due = max(due + period, time.monotonic())
    if not select.select([link], [], [], max(0, due - time.monotonic()))[0]:
        continue
    packet = link.recv(128)
    if len(packet) < 42:
        continue
    sender_mac, sender, target = packet[22:28], packet[28:32], packet[38:42]
    if sender == wanted and sender_mac != own_mac:
        line = {"at": time.time(), "mac": sender_mac.hex(":"), "announcement": target == wanted}
        print(json.dumps(line), flush=True)
