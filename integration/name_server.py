"""A name server for the tests: says what a table says, or nothing at all."""

import os
import shutil
import socket
import struct
import threading

A = 1


class Resolver:
    """On UDP port 53 of a host. `names`: name → list of IPv4 addresses; others do not exist. `silent`: it answers nobody."""

    def __init__(self, host, **names):
        self.names = {}
        self.silent = False
        self.asked = []
        self.host = host
        self.socket = host.socket(socket.SOCK_DGRAM)
        self.socket.bind((host.address, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                query, peer = self.socket.recvfrom(1500)
            except OSError:
                return
            labels, place = [], 12
            while query[place]:
                labels.append(query[place + 1 : place + 1 + query[place]].decode())
                place += 1 + query[place]
            kind = struct.unpack(">H", query[place + 1 : place + 3])[0]
            question, name = query[12 : place + 5], ".".join(labels).lower()
            self.asked.append(name)
            if self.silent:
                continue
            found = self.names.get(name)
            records = [address for address in found or [] if kind == A]
            header = query[:2] + struct.pack(">HHHHH", 0x8180 | (3 if found is None else 0), 1, len(records), 0, 0)
            answers = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", A, 1, 1, 4) + socket.inet_aton(one) for one in records)
            self.socket.sendto(header + question + answers, peer)

    def close(self):
        self.socket.close()


class Names:
    """What a host of the lab asks: files of its own for `ip netns exec`, which every agent is started by."""

    def __init__(self, host, resolver=None):
        self.directory = f"/etc/netns/{host.namespace}"
        os.makedirs(self.directory, exist_ok=True)
        self.write("hosts", "127.0.0.1 localhost\n")
        self.write("nsswitch.conf", "hosts: files dns\n")
        self.write("resolv.conf", f"nameserver {resolver.host.address}\n" if resolver else "")

    def write(self, file, text):
        with open(os.path.join(self.directory, file), "w", encoding="utf-8") as opened:
            opened.write(text)

    def close(self):
        shutil.rmtree(self.directory, ignore_errors=True)
