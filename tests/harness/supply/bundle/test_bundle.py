"""The file of a bundle: what is written is read again; what is not whole is refused, with nothing
left behind; an interrupted save and load go on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import zstandard

from harness.base.errors import UsageError
from harness.base.paths import CHECKOUT
from harness.supply.base import Provided
from harness.supply.bundle import format as form
from harness.supply.bundle import front, load, pack, save, wheels
from harness.supply.offline.cache import MANIFEST, Cache
from harness.supply.offline.supply import OfflineSupply
from tests.fakes.progress import Silent

# Two parts as they lie in the cache: a program with a second name, and an image made of it.
ENTRIES = {"vault": "0123456789abcdef", "vault_image": "fedcba9876543210"}
PROVIDED = {
    name: Provided(name, "1.21.4", "built", True, "sha256:" + "0" * 64, path=Path(name))
    for name in ("vault", "vault-cli")
}
WHEEL = b"a wheel " * 4000


def fill(cache: Cache) -> None:
    for recipe, key in ENTRIES.items():
        with cache.making(recipe, key) as (out, _):
            (out / "bin").mkdir()
            (out / "bin" / "vault").write_bytes(os.urandom(70_000))
            (out / "bin" / "vault").chmod(0o755)
            (out / "bin" / "again").symlink_to("vault")


def content_of(root: Path) -> dict[str, object]:
    """Every file below `root` but locks and the list of wheels: content and mode, or target."""
    return {
        str(path.relative_to(root)): (
            str(path.readlink()) if path.is_symlink() else (path.read_bytes(), path.stat().st_mode)
        )
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or (path.is_file() and path.name != ".lock" and path.suffix != ".json")
    }


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Switches to the cache of that name; returns its folder."""

    def switch(name: str) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return tmp_path / name / "kube-vault-labs"

    monkeypatch.setattr(OfflineSupply, "entries", lambda self, parts: dict(ENTRIES))
    source = switch("source")
    fill(Cache())
    (source / "wheels").mkdir()
    (source / "wheels" / "some-1.0-py3-none-any.whl").write_bytes(WHEEL)
    wheels.remember({"some-1.0-py3-none-any.whl"}, form.lock_sum(), form.python_here())
    return switch


@pytest.fixture
def file(tmp_path: Path, caches: Callable[[str], Path]) -> Path:
    """A bundle of the two parts and one wheel; the cache is then another, empty one."""
    target = tmp_path / "labs.bundle"
    save.save(target, "offline", PROVIDED, ["01"], Silent())
    caches("target")
    return target


def changed(file: Path, **fields: Any) -> None:
    """Give the bundle another manifest, in a file that is sound otherwise."""
    bundle = form.read(file)
    frames = file.read_bytes()[bundle.start :]
    file.write_bytes(dataclasses.replace(bundle.manifest, **fields).encoded() + frames)


def with_files(file: Path, files: Mapping[str, Any]) -> None:
    """Put a frame that holds `files` as they are listed in the place of the last record."""
    bundle = form.read(file)
    *_, (record, position) = bundle.frames()
    record = dataclasses.replace(record, files=files)
    changed(file, records=(*bundle.manifest.records[:-1], record))
    assert position


def test_a_loaded_bundle_is_what_was_saved(file: Path, caches: Callable[[str], Path]) -> None:
    loaded = load.load(file, Silent())
    assert content_of(caches("target")) == content_of(caches("source"))
    caches("target")
    assert [Cache().damage(*entry, deep=True) for entry in ENTRIES.items()] == ["", ""]
    assert wheels.known() == [front.wheels_folder() / "some-1.0-py3-none-any.whl"]
    assert loaded.own_use() == ["vault", "vault-cli"]
    assert "do not publish" in loaded.manifest.notice


def test_a_part_and_the_image_made_of_it_share_a_frame(file: Path) -> None:
    records = form.read(file).manifest.records
    assert [(record.kind, record.name) for record in records] == [
        (form.WHEEL, "some-1.0-py3-none-any.whl"),
        (form.PARTS, "vault+vault_image"),
    ]


def test_it_is_a_zstd_archive(file: Path) -> None:
    with file.open("rb") as stream:
        reader = zstandard.ZstdDecompressor(max_window_size=1 << pack.WINDOW_LOG)
        unpacked = reader.stream_reader(stream, read_across_frames=True).read()
    assert b"vault/0123456789abcdef/bin/vault" in unpacked
    assert WHEEL not in unpacked


def test_a_truncated_file_is_refused_wherever_it_ends(
    file: Path, caches: Callable[[str], Path]
) -> None:
    whole = file.read_bytes()
    for size in (0, 1, 7, 8, 60, 500, *range(2000, len(whole), len(whole) // 40), len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(UsageError, match=r"is truncated|is not a bundle"):
            load.load(file, Silent())
    file.write_bytes(whole + b"\0")
    with pytest.raises(UsageError, match="more in it"):
        load.load(file, Silent())
    assert not caches("target").exists()


def test_a_flipped_bit_is_refused_wherever_it_is(file: Path, caches: Callable[[str], Path]) -> None:
    whole = file.read_bytes()
    for position in (0, 5, 8, 60, 100, *range(1000, len(whole), len(whole) // 60), len(whole) - 1):
        altered = bytearray(whole)
        altered[position] ^= 4
        file.write_bytes(altered)
        with pytest.raises(UsageError, match=r"altered|truncated|not a bundle"):
            load.load(file, Silent())
    assert not caches("target").exists()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"platform": "linux/riscv"}, "is for linux/riscv, this machine is"),
        ({"lock": "0" * 64, "commit": "abc"}, "another version of the labs: its Python packages"),
        ({"supply": "mail"}, "another version of the labs: the supplies"),
        ({"parts": ({"name": "vault", "version": "1.0"},)}, "the versions of vault differ"),
        ({"parts": ({"name": "hal", "version": "9000"},)}, "its parts differ"),
        ({"format": 2}, "its format is 2, here it is 1"),
        ({"records": ()}, "more in it than it says"),
    ],
)
def test_what_does_not_fit_is_refused(
    file: Path, caches: Callable[[str], Path], fields: Mapping[str, Any], sentence: str
) -> None:
    changed(file, **fields)
    with pytest.raises(UsageError, match=sentence) as refused:
        load.load(file, Silent())
    assert refused.value.exit_code == 2
    assert refused.value.where == str(file)
    assert not caches("target").exists()


def test_other_recipes_are_another_version(
    file: Path, caches: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {**ENTRIES, "vault": "ffffffffffffffff"}
    monkeypatch.setattr(OfflineSupply, "entries", lambda self, parts: other)
    with pytest.raises(UsageError, match="the recipes of vault differ"):
        load.load(file, Silent())
    assert not caches("target").exists()


@pytest.mark.parametrize(
    "files",
    [
        {"../../outside/key/file": {"size": 1}},
        {"/etc/passwd": {"size": 1}},
        {"vault/0123456789abcdef/../../x": {"size": 1}},
        {"vault/0123456789abcdef/bin/x": {"link": "/etc"}},
        {"vault/0123456789abcdef/bin/x": {"link": "../../.."}},
        {"vault/0123456789abcdef/bin/x": {"link": ".."}},
    ],
)
def test_a_path_or_link_that_leads_out_is_refused(
    file: Path, caches: Callable[[str], Path], files: Mapping[str, Any]
) -> None:
    with_files(file, files)
    with pytest.raises(UsageError, match=r"would lie elsewhere|leads elsewhere"):
        load.load(file, Silent())
    assert not caches("target").exists()


@pytest.mark.parametrize("trick", ["one more", "one less", "a link for a file", "another size"])
def test_a_frame_that_holds_something_else_leaves_no_part_behind(
    file: Path, caches: Callable[[str], Path], trick: str
) -> None:
    """The sums are right: who made the file wrote one thing and listed another."""
    files = dict(form.read(file).manifest.records[-1].files)
    name = "vault/0123456789abcdef/bin/vault"
    if trick == "one more":
        files["vault/0123456789abcdef/bin/more"] = {"size": 1}
    elif trick == "one less":
        del files[name]
    else:
        files[name] = {"link": "again"} if trick == "a link for a file" else {"size": 1}
    with_files(file, files)
    with pytest.raises(UsageError, match="does not hold what it says"):
        load.load(file, Silent())
    parts = caches("target") / "parts"
    assert [path for path in parts.glob("*/*") if path.is_dir()] == []


class Interrupts(Silent):
    """Ctrl-C at the update with this number."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def update(self, name: str, doing: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_an_interrupted_load_goes_on(file: Path, caches: Callable[[str], Path]) -> None:
    interrupts = 0
    for at in range(1, 40):
        try:
            load.load(file, Interrupts(at))
            break
        except KeyboardInterrupt:
            interrupts += 1
            partial = list((caches("target") / "parts").glob("*/*.partial"))
            assert partial == []
    assert interrupts >= 3
    assert content_of(caches("target")) == content_of(caches("source"))
    caches("target")
    assert [Cache().damage(*entry) for entry in ENTRIES.items()] == ["", ""]


def test_a_load_repairs_what_is_damaged_and_leaves_the_rest(file: Path) -> None:
    load.load(file, Silent())
    program = Cache().entry("vault", ENTRIES["vault"]) / "bin" / "vault"
    other = Cache().entry("vault_image", ENTRIES["vault_image"]) / MANIFEST
    written = other.stat().st_mtime_ns
    program.write_bytes(b"")
    load.load(file, Silent())
    assert Cache().damage("vault", ENTRIES["vault"], deep=True) == ""
    assert other.stat().st_mtime_ns == written


def test_an_interrupted_save_goes_on_with_the_frames_it_has(
    tmp_path: Path, caches: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "labs.bundle"
    written: list[Path] = []
    write = pack.write_files

    def noted(place: Path, *rest: Any) -> None:
        write(place, *rest)
        written.append(place)

    monkeypatch.setattr(pack, "write_files", noted)
    monkeypatch.setattr(form, "CHUNK", 1 << 14)
    for at in range(1, 60):
        try:
            save.save(target, "offline", PROVIDED, ["01"], Interrupts(at))
            break
        except KeyboardInterrupt:
            assert not target.exists()
    assert len(written) == 1
    form.check(form.read(target), lambda doing: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labs.bundle", "source"]


def test_packages_come_out_with_the_standard_library_alone(file: Path, tmp_path: Path) -> None:
    def run(cache: str) -> subprocess.CompletedProcess[str]:
        # -S: without site-packages, as on a machine that has nothing but Python.
        return subprocess.run(
            [sys.executable, "-S", "-m", "harness.supply.bundle.front", str(file)],
            cwd=CHECKOUT,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / cache)},
            capture_output=True,
            text=True,
            check=False,
        )

    assert run("bare").returncode == 0
    there = tmp_path / "bare" / "kube-vault-labs" / "wheels"
    assert [path.read_bytes() for path in there.iterdir()] == [WHEEL]
    changed(file, python="3.0")
    refused = run("other")
    assert refused.returncode == 2
    assert "are for Python 3.0, this is" in refused.stderr
    file.write_bytes(file.read_bytes()[:-1])
    assert "is truncated" in run("other").stderr
    assert not (tmp_path / "other").exists()


def test_the_sum_of_the_manifest_is_the_first_thing_in_it(file: Path) -> None:
    """What docs/bundle.md says about the file."""
    head = file.read_bytes()
    sum_, _, rest = head[8:].partition(b"\n")
    bundle = form.read(file)
    text = rest[: bundle.start - 8 - len(sum_) - 1]
    assert hashlib.sha256(text).hexdigest().encode() == sum_
    assert json.loads(text)["platform"] == form.here()


def test_the_wheels_are_the_same_for_all_micro_releases_of_a_python() -> None:
    # A bundle names the minor release alone (3.11); Debian 12 has 3.11.2, others a later one.
    for lock in form.LOCKS:
        marks = re.findall(
            r"python_full_version [<>=]+ '(\d+\.\d+\.\d+)'", (CHECKOUT / lock).read_text()
        )
        assert marks == []
