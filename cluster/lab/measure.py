"""What a client sees: a probe every half millisecond, steady HTTP traffic, and who answers ARP for an address."""

import json
import os
import signal
import subprocess
import threading
import time

TOOLS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools")
BUILT = os.path.join(os.path.dirname(TOOLS), "..", "..", ".build", "lab")


def tool(name):
    """Path of a tool of the lab; compiled from tools/NAME.c with gcc when it is missing or older."""
    source = os.path.join(TOOLS, f"{name}.c")
    target = os.path.abspath(os.path.join(BUILT, name))
    if not os.path.exists(target) or os.path.getmtime(target) < os.path.getmtime(source):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        fresh = f"{target}.{os.getpid()}"
        subprocess.run(["gcc", "-O2", "-Wall", "-o", fresh, source], check=True)
        os.replace(fresh, target)
    return target


class _Lines:
    """A process that writes JSON lines; a thread collects them."""

    def __init__(self, host, command):
        self.lines = []
        self._arrived = threading.Condition()
        self.process = host.start(*command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()
        self._next(0)  # its first line says that it takes signals
        self.lines.clear()

    def _collect(self):
        for line in self.process.stdout:
            with self._arrived:
                self.lines.append(json.loads(line))
                self._arrived.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()

    def _next(self, count, timeout=10):
        """The line after the first `count`."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.lines) > count, timeout):
                raise RuntimeError("the tool did not report in time")
            return self.lines[count]

    def stop(self):
        """Ends the process and returns its last line."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        self._thread.join(10)
        return self.lines[-1] if self.lines else {}


class Probe(_Lines):
    """An ICMP echo to `address` every `period` microseconds (the kernel of whoever holds the address answers)."""

    def __init__(self, host, address, period=500):
        super().__init__(host, [tool("probe"), address, str(period)])

    def outages(self, since=0.0):
        """Outages that began after `since` (wall-clock seconds) and have ended more than 0.1 s ago."""
        return [line for line in list(self.lines) if "outage_ms" in line and line["until"] >= since]

    def outage_after(self, since, settle=0.6):
        """Length in ms of the longest outage after `since`, once `settle` seconds have passed without another one."""
        end = time.time() + settle
        while time.time() < end:
            time.sleep(0.05)
        return max((line["outage_ms"] for line in self.outages(since)), default=0.0)


    def assert_unharmed(self):
        """Ends. Every probe was answered; what was seen is shown otherwise."""
        summary = self.stop()
        assert summary["lost"] == 0, summary


class Traffic(_Lines):
    """HTTP/1.1 requests at a steady rate from sticky keep-alive clients."""

    def __init__(self, host, address, port=80, clients=16, rate=2000, path="/", cookies=True, timeout=3000):
        command = [tool("traffic"), address, str(port), "--clients", str(clients), "--rate", str(rate), "--path", path,
                   "--timeout", str(timeout)]
        super().__init__(host, command + ([] if cookies else ["--no-cookies"]))

    def lap(self):
        """What was seen since the last lap (or the start)."""
        count = len(self.lines)
        self.process.send_signal(signal.SIGUSR1)
        return self._next(count)


class ArpWatch(_Lines):
    """Asks who has an address every `period` seconds and notes every ARP packet that claims it."""

    def __init__(self, host, address, period=0.02):
        script = os.path.join(TOOLS, "arp_watch.py")
        super().__init__(host, ["/usr/bin/python3", script, address, str(period)])

    def claims(self, since=0.0, announcements=None):
        """Claims seen after `since`: {"at", "mac", "announcement"}; only announcements, or only answers, if asked for."""
        return [
            line for line in list(self.lines)
            if line["at"] >= since and (announcements is None or line["announcement"] == announcements)
        ]

    def answerers(self, seconds=0.5):
        """Hardware addresses that answered during the next `seconds`."""
        began = time.time()
        time.sleep(seconds)
        return {line["mac"] for line in self.claims(began, announcements=False)}


class AnswerWatch(_Lines):
    """Asks each of `hosts` for `address` every `period` seconds, by ARP and by ICMP, and notes who answers."""

    def __init__(self, host, address, hosts, period=0.001):
        self._began = time.monotonic()
        macs = [one.mac() for one in hosts]
        script = os.path.join(TOOLS, "answer_watch.py")
        super().__init__(host, ["/usr/bin/python3", script, address, str(period), *macs])

    def answers(self, since=0.0, mac=None):
        """[wall-clock seconds, MAC, "arp" or "icmp"] of what came after `since`, in the order in which the kernel got it."""
        found = [one for line in list(self.lines) for one in line.get("answers", [])]
        return sorted(one for one in found if one[0] > since and mac in (None, one[1]))

    def rate(self):
        """Questions a second to each host, so far."""
        return self.lines[-1]["asked"] / (time.monotonic() - self._began) if self.lines else 0.0
