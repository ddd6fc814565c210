"""What each process may do, read from /proc, and what the two children are made of, read from their symbols."""

import os
import pwd
import subprocess

from lab import executables, wait_until

NET_ADMIN, NET_RAW = 1 << 12, 1 << 13


def status(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return {key: value.split() for key, _, value in (line.partition(":") for line in file)}


def unprivileged_user():
    for name in ("afloat", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            pass
    raise AssertionError("this machine has neither afloat nor nobody")


def test_elector_and_balancer_hold_only_what_they_need(stage):
    cluster = stage.cluster(backends=1)
    agent = cluster.agents[0]
    user = str(unprivileged_user())
    elector, balancer = status(agent.elector), status(agent.balancer)
    for process in (elector, balancer):
        assert set(process["Uid"]) == {user}
        assert "0" not in process["Gid"]
        assert process["Groups"] == [] or "0" not in process["Groups"]
        assert process["NoNewPrivs"] == ["1"]
        assert int(process["CapInh"][0], 16) == 0
    needed = NET_ADMIN | NET_RAW
    for kind in ("CapEff", "CapPrm"):
        assert int(elector[kind][0], 16) == needed
    assert int(elector["CapBnd"][0], 16) & ~needed == 0
    for kind in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        assert int(balancer[kind][0], 16) == 0, kind


def test_children_hold_no_descriptor_that_they_do_not_need(stage):
    cluster = stage.cluster(backends=1)
    agent = cluster.agents[0]
    for pid in (agent.elector, agent.balancer):
        targets = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        assert not [target for target in targets if target.endswith(("cluster.key", "afloat.yaml", "afloat.sock"))], targets


def test_the_key_is_not_in_the_balancer(stage):
    cluster = stage.cluster(backends=1)
    agent = cluster.agents[0]
    lines = [line.strip() for line in cluster.key.splitlines() if line.strip() and not line.startswith("#")]
    text = lines[-1].encode()
    import base64
    forms = [text]
    try:
        forms.append(bytes.fromhex(text.decode()))
    except ValueError:
        pass
    try:
        forms.append(base64.b64decode(text, validate=True))
    except ValueError:
        pass
    forms = [form for form in forms if len(form) >= 16]

    def holds(pid):
        with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in maps:
                span, rights = line.split()[:2]
                if not rights.startswith("rw") or "[v" in line:
                    continue
                start, end = (int(part, 16) for part in span.split("-"))
                try:
                    memory.seek(start)
                    content = memory.read(end - start)
                except OSError:
                    continue
                if any(form in content for form in forms):
                    return True
        return False

    assert holds(os.getpid()), "the search finds the key where it must be"
    assert not holds(agent.balancer)


def test_the_children_are_built_without_foundation_and_concurrency():
    for name in ("afloat-elector", "afloat-balancer"):
        path = os.path.join(executables(), name)
        symbols = subprocess.run(["nm", "-a", path], capture_output=True, text=True).stdout
        needed = subprocess.run(["readelf", "-d", path], capture_output=True, text=True).stdout
        assert "swift" in symbols, f"{name}: no symbols to look at"
        for word in ("$s10Foundation", "$s20FoundationEssentials", "FoundationEssentials"):
            assert word not in symbols, f"{name} holds {word}"
        assert "libFoundation" not in needed and "libswift" not in needed
        # Of what is loaded: the file's names of functions, a half of it, are no code.
        text, data = subprocess.run(["size", path], capture_output=True, text=True).stdout.splitlines()[1].split()[:2]
        assert int(text) + int(data) < 10_000_000, f"{name} loads {int(text) + int(data)} bytes"


def test_the_agent_says_what_was_refused(stage):
    cluster = stage.cluster(nodes=1)
    agent = cluster.agents[0]
    wait_until(lambda: agent.query("status"), 5, "a status")
    if "afloat" not in {entry.pw_name for entry in pwd.getpwall()}:
        warnings = agent.query("status")["warnings"]
        assert [text for text in warnings if "nobody" in text], warnings
