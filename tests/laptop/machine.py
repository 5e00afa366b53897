"""The laptop itself: a program that runs in namespaces of its own, started by test_laptop.py.

Not a test module. It is sealed off (tests.live.sealed): /run is empty,
so no engine answers at the default socket; the network is what the caller gave it. It starts
the current engine, a registry and a web server on the loopback, and runs `./lab` as a person
would: a user without root's rights, in the engine's group, with a docker context, behind a
proxy that goes nowhere. After the parts are fetched the network and all publishers are taken
away.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from harness.base import process
from harness.base.paths import cache_root
from harness.base.wait import wait_for
from harness.supply.engine import contexts, limits, options, sockets
from tests.laptop.person import GROUP, IDENTITY, Person, add_context, add_user, let_in
from tests.live import registry as registries

INTERFACE = "tap0"
START_SECONDS = 60
RUN = Path("/run/laptop")
# What labs 02 to 04 do first, of which the images cannot all be had here.
FETCH_A_CHART = """
import sys
from harness.base.progress import reporting
from harness.supply import surroundings
from harness.supply.online.supply import OnlineSupply
surroundings.settle()
with reporting() as progress:
    for provided in OnlineSupply().provide(sys.argv[1:], progress).values():
        print(provided.path, provided.origin, provided.digest)
"""
# An image from an index of several platforms goes into the node, as those of labs 02 to 04 do.
LOAD_AN_IMAGE = """
import sys
from harness.environment.environment import Environment
from harness.supply import surroundings
surroundings.settle()
cluster = Environment("lab").cluster
(node,) = cluster.images()
node.load(sys.argv[1:])
assert node.lacks(sys.argv[1:]) == []
print(cluster.node_name)
"""


@dataclass(frozen=True)
class Laptop:
    """What the caller prepared: folders on a disk that the user may enter."""

    folder: str
    registry: str
    website: str
    wheels: str
    engine: str
    containerd: str
    chart: str
    indexed: str
    labs: list[str]

    def path(self, name: str) -> Path:
        return Path(self.folder) / name


@contextmanager
def engine(laptop: Laptop) -> Iterator[Path]:
    """The current engine, with containerd's image store; yields its socket."""
    RUN.mkdir(exist_ok=True)
    socket = RUN / "engine.sock"
    settings: dict[str, object] = {
        "hosts": [f"unix://{socket}"],
        "group": GROUP,
        "data-root": str(laptop.path("data")),
        "exec-root": str(RUN / "exec"),
        "pidfile": str(RUN / "engine.pid"),
        "features": {"containerd-snapshotter": True},
        "userland-proxy-path": f"{laptop.engine}/docker-proxy",
    }
    if limits.lacks_sys_resource():
        name = options.WRAPPER_NAME
        settings["runtimes"] = {name: {"path": str(options.install_wrapper())}}
        settings["default-runtime"] = name
    (RUN / "daemon.json").write_text(json.dumps(settings), encoding="utf-8")
    path = os.pathsep.join((laptop.engine, laptop.containerd, os.environ["PATH"]))
    log = laptop.path("dockerd.log")
    with log.open("wb") as sink, ExitStack() as stack:
        daemon = stack.enter_context(
            subprocess.Popen(
                [f"{laptop.engine}/dockerd", "--config-file", str(RUN / "daemon.json")],
                env={**os.environ, "PATH": path},
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        )
        stack.callback(process.end_group, daemon)

        def answers() -> bool:
            assert daemon.poll() is None, log.read_text(encoding="utf-8", errors="replace")[-3000:]
            return sockets.answers(socket, 2)

        wait_for(
            "the engine to answer",
            answers,
            timeout=START_SECONDS,
            explain=lambda: log.read_text(encoding="utf-8", errors="replace")[-3000:],
        )
        yield socket


@contextmanager
def website(folder: str) -> Iterator[str]:
    """The publishers' sites as one, on the loopback; yields its address."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def cut_the_network() -> None:
    """No way out any more, for this machine and its containers."""
    process.run(["ip", "link", "delete", INTERFACE])
    assert "default" not in process.run(["ip", "route"])


def load_an_image(person: Person, image: str) -> None:
    """The node has all of this image and has unpacked it: its kubelet needs no registry."""
    node = person.run([sys.executable, "-c", LOAD_AN_IMAGE, image]).strip()
    ctr = ["ctr", "--namespace", "k8s.io", "images", "check", f"name=={image}"]
    (line,) = person.run(["docker", "exec", node, *ctr]).splitlines()[1:]
    assert "complete (" in line, line
    assert line.split()[-1] == "true", line


def look_at(told: dict[str, Any]) -> None:
    """What `lab status` must say: upstream's parts, on the engine of the context."""
    assert told["supply"].startswith("online: "), told["supply"]
    services = {service["name"]: service for service in told["services"]}
    assert "containerd image store" in services["container engine"]["at"], services
    origins = {part["part"]: part["origin"] for part in told["parts"]}
    assert "built on this machine" not in " ".join(origins.values()), origins


def main(laptop: Laptop) -> None:
    """Live through the first day of a laptop."""
    wait_for("the network", lambda: "default" in process.run(["ip", "route"]), timeout=30)
    assert not sockets.listens(contexts.DEFAULT_SOCKET), "the namespaces hide no engine"
    let_in([Path(sys.base_prefix), cache_root()], RUN / "open")
    add_user(laptop.path("home"))
    with engine(laptop) as socket:
        with (
            registries.running(Path(laptop.registry)) as registry,
            website(laptop.website) as downloads,
        ):
            publishers = {"LAB_MIRROR": registry.address, "LAB_DOWNLOADS": downloads}
            person = Person(laptop.path("home"), laptop.wheels, publishers)
            add_context(person, socket)
            for file in (person.home, *person.home.rglob("*")):
                os.chown(file, IDENTITY, IDENTITY)
            person.run(["id"])
            person.run(["docker", "info"])
            person.lab("doctor")
            person.lab("fetch", *laptop.labs)
            fetched = person.run([sys.executable, "-c", FETCH_A_CHART, laptop.chart])
            assert f"{downloads}/" in fetched, fetched
        cut_the_network()
        for lab in laptop.labs:
            person.lab("run", lab)
        load_an_image(person, laptop.indexed)
        look_at(json.loads(person.lab("status", "-o", "json")))
        started = time.monotonic()
        person.lab("up")
        print(f"up of a running environment: {time.monotonic() - started:.1f}s", flush=True)
        person.lab("down")
        left = person.run(["docker", "ps", "--all", "--quiet"]).split()
        assert left == [], left


if __name__ == "__main__":
    main(Laptop(**json.loads(sys.argv[1])))
