"""The laptop itself: a program that runs in namespaces of its own, started by test_laptop.py.

Not a test module. It is root in fresh mount, network and process namespaces: /run is empty,
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from docker.context.config import get_context_id

from harness.base import process
from harness.base.paths import CHECKOUT
from harness.base.wait import wait_for
from harness.supply.engine import contexts, limits, options, sockets
from tests.live import registry as registries

USER, IDENTITY = "laptop", 1000
GROUP, GROUP_IDENTITY = "docker", 990
CONTEXT = "current"
DEAD_PROXY = "http://127.0.0.1:9"
INTERFACE = "tap0"
START_SECONDS = 60
LAB_SECONDS = 900


@dataclass(frozen=True)
class Laptop:
    """What the caller prepared: folders on a disk that the user may enter."""

    folder: str
    registry: str
    website: str
    wheels: str
    engine: str
    containerd: str
    labs: list[str]

    def path(self, name: str) -> Path:
        return Path(self.folder) / name


class Person:
    """The user of the laptop, and what `./lab` says to him."""

    def __init__(self, laptop: Laptop, variables: Mapping[str, str]) -> None:
        self.home = laptop.path("home")
        self.variables = {
            "HOME": str(self.home),
            "USER": USER,
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "LAB_STATE": str(self.home / "state"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": laptop.wheels,
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), DEAD_PROXY),
            **variables,
        }

    def run(self, words: Sequence[str]) -> str:
        """Run a command as this user; it must end well. Returns its standard output."""
        print(f"$ {' '.join(words)}", flush=True)
        identity = ["--reuid", USER, "--regid", str(IDENTITY), "--init-groups"]
        ended = subprocess.run(
            ["setpriv", *identity, "--inh-caps=-all", "--bounding-set=-all", *words],
            cwd=CHECKOUT,
            env=self.variables,
            stdout=subprocess.PIPE,
            text=True,
            timeout=LAB_SECONDS,
            check=False,
        )
        print(ended.stdout, flush=True)
        assert ended.returncode == 0, f"{words} ended with {ended.returncode}"
        return ended.stdout

    def lab(self, *words: str) -> str:
        """`./lab` with these words."""
        return self.run(["./lab", *words])


def add_user(laptop: Laptop) -> None:
    """A user and a group that this machine need not have; hidden outside the namespace."""
    home = laptop.path("home")
    home.mkdir()
    os.chown(home, IDENTITY, IDENTITY)
    lines = {
        "passwd": f"{USER}:x:{IDENTITY}:{IDENTITY}::{home}:/bin/sh",
        "group": f"{USER}:x:{IDENTITY}:\n{GROUP}:x:{GROUP_IDENTITY}:{USER}",
    }
    for name, added in lines.items():
        etc = Path("/etc") / name
        others = [
            line
            for line in etc.read_text(encoding="utf-8").splitlines()
            if not line.startswith((f"{USER}:", f"{GROUP}:")) and f":x:{IDENTITY}:" not in line
        ]
        file = laptop.path(name)
        file.write_text("\n".join([*others, added]) + "\n", encoding="utf-8")
        process.run(["mount", "--bind", file, etc])


def add_context(person: Person, socket: Path) -> None:
    """What `docker context create` and `docker context use` write."""
    folder = person.home / ".docker"
    meta = folder / "contexts" / "meta" / get_context_id(CONTEXT)
    meta.mkdir(parents=True)
    endpoint = {"Host": f"unix://{socket}", "SkipTLSVerify": False}
    described = {"Name": CONTEXT, "Metadata": {}, "Endpoints": {"docker": endpoint}}
    (meta / "meta.json").write_text(json.dumps(described), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"currentContext": CONTEXT}), encoding="utf-8")


@contextmanager
def engine(laptop: Laptop) -> Iterator[Path]:
    """The current engine, with containerd's image store; yields its socket."""
    run = Path("/run/laptop")
    run.mkdir()
    socket = run / "engine.sock"
    settings: dict[str, object] = {
        "hosts": [f"unix://{socket}"],
        "group": GROUP,
        "data-root": str(laptop.path("data")),
        "exec-root": str(run / "exec"),
        "pidfile": str(run / "engine.pid"),
        "features": {"containerd-snapshotter": True},
        "userland-proxy-path": f"{laptop.engine}/docker-proxy",
    }
    if limits.lacks_sys_resource():
        name = options.WRAPPER_NAME
        settings["runtimes"] = {name: {"path": str(options.install_wrapper())}}
        settings["default-runtime"] = name
    (run / "daemon.json").write_text(json.dumps(settings), encoding="utf-8")
    path = os.pathsep.join((laptop.engine, laptop.containerd, os.environ["PATH"]))
    log = laptop.path("dockerd.log")
    with log.open("wb") as sink, ExitStack() as stack:
        daemon = stack.enter_context(
            subprocess.Popen(
                [f"{laptop.engine}/dockerd", "--config-file", str(run / "daemon.json")],
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
    add_user(laptop)
    with engine(laptop) as socket:
        with (
            registries.running(Path(laptop.registry)) as registry,
            website(laptop.website) as downloads,
        ):
            publishers = {"LAB_MIRROR": registry.address, "LAB_DOWNLOADS": downloads}
            person = Person(laptop, publishers)
            add_context(person, socket)
            for file in (person.home, *person.home.rglob("*")):
                os.chown(file, IDENTITY, IDENTITY)
            person.run(["id"])
            person.run(["docker", "info"])
            person.lab("doctor")
            person.lab("fetch", *laptop.labs)
        cut_the_network()
        for lab in laptop.labs:
            person.lab("run", lab)
        look_at(json.loads(person.lab("status", "-o", "json")))
        person.lab("up")
        person.lab("down")
        left = person.run(["docker", "ps", "--all", "--quiet"]).split()
        assert left == [], left


if __name__ == "__main__":
    main(Laptop(**json.loads(sys.argv[1])))
