"""The recipe of the stand-ins' image: its libraries are complete, its key follows the source."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

from harness.base.paths import CHECKOUT
from harness.supply import libraries, standin_files
from harness.supply.base import find_part
from harness.supply.offline import debian
from harness.supply.offline.cache import key_of
from harness.supply.offline.recipe import Job
from harness.supply.offline.recipes import standins

# Import name: distribution, where they differ.
DISTRIBUTIONS = {"grpc": "grpcio", "google": "protobuf", "yaml": "pyyaml"}


def listed() -> set[str]:
    lines = standin_files.library_list().read_text("utf-8").splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def imported() -> set[str]:
    """The distributions that the stand-ins import."""
    names: set[str] = set()
    for file in (CHECKOUT / "standins").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    outside = names - set(sys.stdlib_module_names) - {"standins"}
    return {DISTRIBUTIONS.get(name, name) for name in outside}


def closure(names: set[str]) -> set[str]:
    """`names` and all that they require on a Linux, by what is installed here."""
    found: set[str] = set()
    ahead = set(names)
    while ahead:
        name = ahead.pop().lower().replace("_", "-")
        if name in found:
            continue
        found.add(name)
        wanted = [Requirement(text) for text in importlib.metadata.requires(name) or []]
        ahead |= {w.name for w in wanted if not w.marker or w.marker.evaluate({"extra": ""})}
    return found


def test_the_image_has_the_libraries_that_they_need_and_no_others() -> None:
    assert closure(imported()) == listed()


def test_the_lock_has_each_with_a_hash() -> None:
    text = libraries.wanted(standin_files.library_list())
    assert text.count("==") == len(listed())
    assert text.count("--hash=sha256:") >= len(listed())


def test_it_is_labelled_a_stand_in() -> None:
    assert find_part("standins").offline["upstream"] is False


def test_the_key_follows_every_source_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "standins" / "one"
    package.mkdir(parents=True)
    for name in ("server.py", "service.proto", "notes.md"):
        (package / name).write_text("a", "utf-8")
    text = libraries.wanted(standin_files.library_list())
    monkeypatch.setattr(libraries, "wanted", lambda listed=None: text)
    monkeypatch.setattr(standin_files, "CHECKOUT", tmp_path)
    needed = {"base": "b", standin_files.GO_PROGRAM: "g"}
    keys = [key_of(standins.recipe, needed)]
    for name in ("server.py", "service.proto", "notes.md"):
        (package / name).write_text("b", "utf-8")
        keys.append(key_of(standins.recipe, needed))
    assert len(set(keys)) == 3
    assert keys[2] == keys[3]  # what is only read by people does not go in


def test_the_image_holds_source_and_libraries_and_runs_as_nobody_special(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("out", "work", "shared"):
        (tmp_path / name).mkdir()
    job = Job(
        out=tmp_path / "out",
        work=tmp_path / "work",
        shared=tmp_path / "shared",
        needs={"base": tmp_path, standin_files.GO_PROGRAM: tmp_path / "built"},
        log=tmp_path / "log",
        say=lambda doing: None,
    )
    program = tmp_path / "built/bin" / standin_files.GO_PROGRAM
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    ran: list[list[str]] = []
    steps = SimpleNamespace(
        NAMESPACE=("in", "a", "namespace"),
        unpack=lambda job, archive, root: root.mkdir(),
        install=lambda job, root, packages: None,
        add_user=lambda root, name, number: (root / "home" / name).mkdir(parents=True),
        clean=lambda root: None,
        remove=lambda root: None,
        pack=debian.pack,
    )
    monkeypatch.setattr(standins, "debian", steps)

    def fetch(site: Path, architecture: str, listed: Path) -> None:
        assert listed == standin_files.library_list()
        (site / "aiohttp").mkdir(parents=True)
        (site / "aiohttp" / "client.py").touch()

    monkeypatch.setattr(libraries, "fetch", fetch)
    run = Job.run

    def remember(self: Job, argv: list[object], **options: object) -> str:
        words = [str(word) for word in argv]
        if words[0] == "in":
            ran.append(words)
            return ""
        return run(self, words)

    monkeypatch.setattr(Job, "run", remember)
    standins.recipe.build(job)

    with tarfile.open(job.out / "rootfs.tar") as tar:
        names = {name.removeprefix("./") for name in tar.getnames()}
        modes = {entry.name.removeprefix("./"): entry.mode for entry in tar}
    assert modes["usr/local/bin/gotemplate"] == 0o755
    assert {
        "opt/standins/registrar/__main__.py",
        "opt/standins/csi_provider/provider.proto",
        "usr/local/lib/python3.11/dist-packages/aiohttp/client.py",
    } <= names
    assert not [name for name in names if name.endswith((".md", ".yaml"))]
    assert {"/opt", "/usr/lib/python3.11"} <= set(ran[-1])
    config = json.loads((job.out / "image.json").read_text("utf-8"))
    assert config["User"] == "1000:1000"
    assert "PYTHONPATH=/opt" in config["Env"]
