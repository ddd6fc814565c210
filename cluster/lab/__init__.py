"""A LAN on one machine, for tests, benchmarks and the demo.

Every host is a network namespace, every cable a veth pair, the switch a bridge in a namespace of its own.
Only documentation addresses are used, nothing outside the namespaces is touched, and names carry the id of the
process that made them, so that several labs can stand side by side and leftovers of a killed one can be swept away.
"""

from .agent import Agent, Cluster, executables, wait_until
from .backend import Backend
from .lan import Host, Lan, sweep
from .measure import AnswerWatch, ArpWatch, Probe, Traffic, tool

__all__ = [
    "Agent", "AnswerWatch", "ArpWatch", "Backend", "Cluster", "Host", "Lan", "Probe", "Traffic",
    "executables", "sweep", "tool", "wait_until",
]
