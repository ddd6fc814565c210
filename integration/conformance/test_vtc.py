"""Scenes for varnishtest, with Afloat between its clients and its servers.

Each file in vtc/ is one scene. Lines `#: key = JSON` say how Afloat is set up: `servers` (how many, listening on ${s1} …),
`listener`, `pool` (arguments of balancer_harness.listener and pool), `routes` (arguments of stand.route). Afloat listens on
${web}. What HAProxy's regression tests of the same subjects look at was read, and written anew for what Afloat promises.
"""

import json
import pathlib
import re
import shutil
import socket
import subprocess

import pytest
from balancer_harness import Balancer, cookie_affinity, listener, pool, server
from stand import route

SCENES = sorted((pathlib.Path(__file__).parent / "vtc").glob("*.vtc"))


def free_addresses(count):
    """Loopback addresses that are free now: all are held until the last one is found."""
    held = [socket.socket() for _ in range(count)]
    for item in held:
        item.bind(("127.0.0.1", 0))
    found = [f"127.0.0.1:{item.getsockname()[1]}" for item in held]
    for item in held:
        item.close()
    return found


def settings_of(text):
    return {key: json.loads(value) for key, value in re.findall(r"^#: (\w+) = (.*)$", text, re.MULTILINE)}


def test_varnishtest_is_there_and_notices_a_wrong_expectation(tmp_path):
    scene = tmp_path / "wrong.vtc"
    scene.write_text(
        'varnishtest "wrong"\nserver s1 {\n rxreq\n txresp -status 404\n} -start\n'
        "client c1 -connect ${s1_sock} {\n txreq\n rxresp\n expect resp.status == 200\n} -run\n")
    assert subprocess.run([shutil.which("varnishtest"), str(scene)], capture_output=True).returncode != 0


@pytest.mark.parametrize("scene", SCENES, ids=[path.stem for path in SCENES])
def test_scene(scene, tmp_path):
    settings = settings_of(scene.read_text())
    addresses = free_addresses(settings.get("servers", 1))
    pool_settings = settings.get("pool", {})
    if "cookie" in pool_settings:
        pool_settings["affinity"] = cookie_affinity(pool_settings.pop("cookie"))
    servers = [server(f"s{index}", at) for index, at in enumerate(addresses, 1)]
    routes = [route(f"web/{index}", **item) for index, item in enumerate(settings.get("routes", []))]
    listeners = [listener("web", ["127.0.0.1:0"], "app", routes=routes, **settings.get("listener", {}))]
    with Balancer(listeners, [pool("app", servers, **pool_settings)]) as balancer:
        macros = [f"-Dweb=127.0.0.1:{balancer.port}"] + [f"-Ds{index}={at}" for index, at in enumerate(addresses, 1)]
        done = subprocess.run(
            ["varnishtest", "-t", "20", *macros, str(scene)], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-6000:]
