"""What `lab gc` frees: what no checkout that exists needs, and nothing that is being built."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.base.paths import CHECKOUT, cache_root
from harness.cli.main import main
from harness.supply import leftovers, pins
from harness.supply.leftovers import Held
from harness.supply.offline.cache import Cache
from harness.supply.pins import Pins

MINE = Pins(CHECKOUT, frozenset({"vault/new"}), frozenset({"kind-1"}), "a" * 64)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(pins, "here", lambda: MINE)
    files = (
        "parts/vault/new/rootfs.tar",
        "parts/vault/old/rootfs.tar",
        "parts/vault/old.partial/rootfs.tar",
        "work/vault/new/half",
        "downloads/kind-1/kind",
        "downloads/kind-0/kind",
        "wheels/a-1.whl",
        "wheels/a-2.whl",
        "shared/go/mod/x.go",
    )
    for name in files:
        file = cache_root() / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 5000)
    listed = {"wheels": ["a-2.whl"]}
    (cache_root() / "wheels" / f"{'a' * 16}-3.11.json").write_text(json.dumps(listed))
    return cache_root()


def found() -> dict[str, Held]:
    return {held.name: held for held in leftovers.survey(list(pins.known()))}


def unneeded() -> set[str]:
    return {name for name, held in found().items() if not held.why}


def another_checkout(folder: Path, *entries: str) -> None:
    """A clone at `folder` that has noted what it needs."""
    (folder / "clusters").mkdir(parents=True)
    (folder / "clusters" / "versions.toml").touch()
    stored = {"checkout": str(folder), "entries": entries, "downloads": [], "lock": "b" * 64}
    (cache_root() / "pins" / "other.json").write_text(json.dumps(stored))


def test_only_what_no_pin_needs_can_go(cache: Path) -> None:
    pins.note()
    assert unneeded() == {
        "parts/vault/old",
        "parts/vault/old.partial",
        "downloads/kind-0",
        "wheels/a-1.whl",
    }
    assert found()["parts/vault/new"].why == "this checkout needs it"
    assert found()["parts/vault/new"].size >= 5000


def test_what_another_checkout_needs_stays_while_it_exists(cache: Path, tmp_path: Path) -> None:
    pins.note()
    other = tmp_path / "other"
    another_checkout(other, "vault/old")
    assert found()["parts/vault/old"].why == f"{other} needs it"
    (other / "clusters" / "versions.toml").unlink()
    assert "parts/vault/old" in unneeded()


def test_gc_shows_first_when_asked_and_then_frees(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gc", "--dry-run"]) == 0
    assert (cache / "parts" / "vault" / "old").is_dir()
    assert "would be freed" in capsys.readouterr().err
    assert main(["gc", "-o", "json"]) == 0
    rows = {row["name"]: row["outcome"] for row in json.loads(capsys.readouterr().out)}
    assert rows["parts/vault/old"] == "freed"
    assert rows["shared/go"] == leftovers.FOR_BUILDS
    assert unneeded() == set()
    assert (cache / "parts" / "vault" / "new" / "rootfs.tar").is_file()
    assert (cache / "wheels" / "a-2.whl").is_file()


def test_build_caches_go_when_asked_even_if_they_are_read_only(cache: Path) -> None:
    module = cache / "shared" / "go" / "mod"
    module.chmod(0o555)
    assert main(["gc", "--builds"]) == 0
    assert not (cache / "shared" / "go").exists()


def test_what_is_being_built_is_left_alone(cache: Path) -> None:
    pins.note()
    partial = found()["parts/vault/old.partial"]
    with Cache().lock("vault"):
        assert not leftovers.free(partial)
    assert partial.path.is_dir()
    assert leftovers.free(partial)
    assert not partial.path.exists()
