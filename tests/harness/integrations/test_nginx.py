"""nginx: what its image holds and says about itself, and who brings it into the node."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest

from harness.base.errors import LabError
from harness.integrations import find, parts_of
from harness.supply.base import find_part
from harness.supply.offline import debian
from harness.supply.offline.recipe import Job
from harness.supply.offline.recipes import nginx

LDD = """\tlinux-vdso.so.1 (0x00007fff1c5f2000)
\tlibssl.so.3 => /lib/x86_64-linux-gnu/libssl.so.3 (0x00007f3d7b1c4000)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f3d7ac00000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f3d7b3e1000)
"""


class FakeJob(Job):
    """Answers `ldd` and `nginx -V`; the root file system is made by the test."""

    version = find_part("nginx").version

    def run(self, argv: object, **_: object) -> str:
        return LDD if "ldd" in list(argv) else f"nginx version: nginx/{self.version}\n"  # type: ignore[call-overload] # as above


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeJob:
    """A root file system in which nginx is installed, and a job that packs it."""

    def install(_: Job, root: Path, packages: list[str]) -> None:
        assert packages == ["nginx"]
        for name in (nginx.PROGRAM, nginx.MIME_TYPES, *nginx.libraries_of(LDD)):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(name.encode())
        info = root / "var/lib/dpkg/info"
        info.mkdir(parents=True)
        owned = {"nginx": f"/{nginx.PROGRAM}", "libssl3:amd64": "/usr/lib/x/libssl.so.3"}
        for package, file in {**owned, "perl-base": "/usr/bin/perl"}.items():
            (info / f"{package}.list").write_text(f"/.\n{file}\n")
            text = root / "usr/share/doc" / package.partition(":")[0] / "copyright"
            text.parent.mkdir(parents=True)
            text.write_text("free")

    monkeypatch.setattr(debian, "unpack", lambda job, archive, root: root.mkdir())
    monkeypatch.setattr(debian, "install", install)
    monkeypatch.setattr(debian, "remove", lambda root: None)
    for name in ("out", "work", "shared"):
        (tmp_path / name).mkdir()
    return FakeJob(
        out=tmp_path / "out",
        work=tmp_path / "work",
        shared=tmp_path / "shared",
        needs={"base": tmp_path},
        log=tmp_path / "log",
        say=lambda doing: None,
    )


def test_the_image_is_nginx_with_what_it_is_linked_against(job: FakeJob) -> None:
    nginx.recipe.build(job)
    with tarfile.open(job.out / "rootfs.tar") as archive:
        names = {entry.name for entry in archive if entry.isfile()}
    assert names == {
        "usr/sbin/nginx",
        "etc/nginx/mime.types",
        "etc/passwd",
        "lib/x86_64-linux-gnu/libssl.so.3",
        "lib/x86_64-linux-gnu/libc.so.6",
        "lib64/ld-linux-x86-64.so.2",
        "usr/share/doc/nginx/copyright",
        "usr/share/doc/libssl3/copyright",
    }


def test_it_runs_as_nobody_special_and_ends_well(job: FakeJob) -> None:
    nginx.recipe.build(job)
    config = json.loads((job.out / "image.json").read_text())
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", config["User"])
    assert config["StopSignal"] == "SIGQUIT"


def test_another_version_than_the_pinned_one_is_refused(
    job: FakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeJob, "version", "1.0.0")
    with pytest.raises(LabError, match=r"nginx/1\.0\.0"):
        nginx.recipe.build(job)


def test_both_supplies_bring_it_into_the_node() -> None:
    assert parts_of(["nginx"]) == parts_of(["nginx"], upstream=True) == ["nginx"]
    assert find("nginx").pod_images == ("nginx",)
    part = find_part("nginx").at("online")
    assert part.online["image"].endswith(f":{part.version}")
