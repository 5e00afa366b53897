"""The recipe of the Secrets Store CSI driver: what it pins and what the image holds."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from harness.base.errors import EnvironmentLacks
from harness.supply import golang
from harness.supply.base import find_part
from harness.supply.offline import gobuild, server_image
from harness.supply.offline.recipe import Job
from harness.supply.offline.recipes.csi_driver import MODULE, PROGRAM, recipe


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


def test_the_module_pins_the_parts_version_and_replaces_one_library() -> None:
    text = (golang.module("csi_driver") / "go.mod").read_text("utf-8")
    part = find_part("csi-driver")
    assert part.offline["module"] == MODULE
    assert re.search(
        rf"^require {re.escape(MODULE)} v{re.escape(part.version)}\b", text, re.MULTILINE
    )
    assert re.findall(r"=> (\./\S+)", text) == ["./mlog"]


def test_the_key_depends_on_the_replaced_library() -> None:
    inputs = "".join(recipe.inputs())
    assert "func ValidateAndSetKlogLevelAndFormatGlobally" in inputs
    assert f"{MODULE} v" in inputs


def test_the_image_holds_the_driver_and_what_it_mounts_with(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamped: dict[str, str] = {}

    def build(
        job: Job, folder: Path, packages: Iterable[str], *, variables: Mapping[str, str]
    ) -> None:
        assert (folder / "mlog" / "mlog.go").is_file()
        assert list(packages) == [f"{MODULE}/cmd/{PROGRAM}"]
        stamped.update(variables)
        (job.out / "bin").mkdir()
        (job.out / "bin" / PROGRAM).write_bytes(b"the driver")

    busybox = job.work / "busybox"
    busybox.write_bytes(b"busybox")
    monkeypatch.setattr(gobuild, "build", build)
    monkeypatch.setattr(server_image, "BUSYBOX", busybox)
    recipe.build(job)
    with tarfile.open(job.out / "rootfs.tar") as archive:
        program = archive.extractfile(f"bin/{PROGRAM}")
        assert program is not None
        assert program.read() == b"the driver"
        assert archive.getmember("bin/mount").linkname == "busybox"
        assert archive.getmember("bin/umount").linkname == "busybox"
        assert archive.getmember("tmp").mode == 0o1777
    image = json.loads((job.out / "image.json").read_text("utf-8"))
    assert image["Entrypoint"] == [PROGRAM]
    assert list(stamped.values()) == [f"v{find_part('csi-driver').version}"]


def test_without_a_busybox_it_says_what_to_install(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_image, "BUSYBOX", job.work / "nothing")
    with pytest.raises(EnvironmentLacks, match="busybox is not there") as caught:
        recipe.build(job)
    assert "busybox-static" in caught.value.hint
