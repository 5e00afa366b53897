"""The user of the laptop: not root, in the engine's group, with a docker context of his own."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from docker.context.config import get_context_id

from harness.base import process
from harness.base.paths import CHECKOUT

USER, IDENTITY = "laptop", 1000
GROUP, GROUP_IDENTITY = "docker", 990
CONTEXT = "current"
DEAD_PROXY = "http://127.0.0.1:9"
LAB_SECONDS = 900


class Person:
    """A home folder, an environment, and what `./lab` says to its owner.

    `wheels` is the folder that pip finds its packages in.
    """

    def __init__(self, home: Path, wheels: str, variables: Mapping[str, str]) -> None:
        self.home = home
        self.variables = {
            "HOME": str(self.home),
            "USER": USER,
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "LAB_STATE": str(self.home / "state"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": wheels,
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


def add_user(home: Path) -> None:
    """A user and a group that this machine need not have; hidden outside the namespace."""
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
        file = home.with_name(name)
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


def let_in(paths: Iterable[Path], place: Path) -> None:
    """Let every user reach `paths`, in this mount namespace: the way there may be closed.

    An interpreter can lie in root's home folder, which is for root alone. A folder in its place
    (kept at `place`) has the entries on the way and nothing else; their own modes still count.
    """
    ways: dict[Path, set[str]] = {}
    for path in paths:
        closed = next((at for at in reversed(path.parents) if not _is_open(at)), None)
        if closed:
            ways.setdefault(closed, set()).add(path.relative_to(closed).parts[0])
    for number, (closed, entries) in enumerate(ways.items()):
        opened = place / str(number)
        for name in entries:
            (opened / name).mkdir(parents=True)
            process.run(["mount", "--rbind", closed / name, opened / name])
        process.run(["mount", "--rbind", opened, closed])


def _is_open(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)
