"""The cache of the offline supply: keys, damage, interrupted builds, pruning, the lock."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from harness.base import tasks
from harness.supply.offline.cache import KEPT, MANIFEST, Cache, key_of, recorded_sum
from harness.supply.offline.recipe import Job, Recipe


class Toy(Recipe):
    """A recipe whose inputs the test chooses."""

    def __init__(self, name: str, *inputs: str) -> None:
        self.name = name
        self._inputs = inputs

    def inputs(self) -> Iterable[str]:
        return self._inputs

    def build(self, job: Job) -> None:
        raise AssertionError("not built here")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def make(cache: Cache, key: str, name: str = "toy") -> Path:
    with cache.making(name, key) as (out, work):
        (out / "bin").mkdir()
        (out / "bin" / "program").write_text("a program", encoding="utf-8")
        (out / "bin" / "other-name").symlink_to("program")
        (work / "left").write_text("over", encoding="utf-8")
    return cache.entry(name, key)


def test_a_key_depends_on_every_input_and_on_needed_keys() -> None:
    keys = {
        key_of(Toy("a", "x"), {}),
        key_of(Toy("a", "y"), {}),
        key_of(Toy("b", "x"), {}),
        key_of(Toy("a", "x"), {"base": "1"}),
        key_of(Toy("a", "x"), {"base": "2"}),
    }
    assert len(keys) == 5
    assert key_of(Toy("a", "x"), {"base": "1"}) in keys


def test_inputs_do_not_run_into_each_other() -> None:
    assert key_of(Toy("a", "xy", "z"), {}) != key_of(Toy("a", "x", "yz"), {})


def test_a_finished_entry_is_sound_and_its_work_folder_gone(cache: Cache) -> None:
    entry = make(cache, "k1")
    assert cache.damage("toy", "k1", deep=True) == ""
    assert not (cache.root / "work" / "toy" / "k1").exists()
    assert (entry / "bin" / "other-name").read_text("utf-8") == "a program"
    assert recorded_sum(entry, entry / "bin" / "other-name") == recorded_sum(
        entry, entry / "bin" / "program"
    )


def test_no_entry_is_not_a_damaged_entry(cache: Cache) -> None:
    assert cache.damage("toy", "never") is None


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda entry: (entry / "bin/program").write_text("short"), "5 bytes instead of 9"),
        (lambda entry: (entry / "bin/program").unlink(), "program is missing"),
        (lambda entry: (entry / MANIFEST).write_text("{"), "cannot be read"),
        (lambda entry: (entry / MANIFEST).unlink(), "cannot be read"),
        (lambda entry: (entry / "bin/other-name").unlink(), "not the link it was"),
    ],
    ids=["cut short", "missing", "manifest cut short", "no manifest", "link gone"],
)
def test_damage_is_said(cache: Cache, harm: object, sentence: str) -> None:
    entry = make(cache, "k1")
    assert callable(harm)
    harm(entry)
    damage = cache.damage("toy", "k1")
    assert damage is not None
    assert sentence in damage


def test_a_changed_file_of_the_same_size_is_found_by_the_deep_check_alone(cache: Cache) -> None:
    entry = make(cache, "k1")
    (entry / "bin" / "program").write_text("A program", encoding="utf-8")
    assert cache.damage("toy", "k1") == ""
    assert "SHA-256" in (cache.damage("toy", "k1", deep=True) or "")
    assert cache.verify() == {entry: cache.damage("toy", "k1", deep=True)}


def test_an_interrupted_build_leaves_work_but_no_entry(cache: Cache) -> None:
    def interrupted() -> None:
        with cache.making("toy", "k1") as (out, work):
            (out / "half").write_text("…", encoding="utf-8")
            (work / "downloaded").write_text("kept", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert cache.damage("toy", "k1") is None
    assert cache.verify() == {}
    with cache.making("toy", "k1") as (out, work):
        assert not (out / "half").exists()
        assert (work / "downloaded").read_text("utf-8") == "kept"


def test_a_damaged_entry_is_replaced(cache: Cache) -> None:
    (make(cache, "k1") / "bin" / "program").unlink()
    make(cache, "k1")
    assert cache.damage("toy", "k1", deep=True) == ""


def test_old_keys_are_pruned_and_the_new_one_never(cache: Cache) -> None:
    for key in ("k1", "k2", "k3"):
        make(cache, key)
    left = {path.name for path in (cache.root / "parts" / "toy").iterdir() if path.is_dir()}
    assert len(left) == KEPT
    assert "k3" in left


def test_work_of_another_key_is_removed(cache: Cache) -> None:
    with pytest.raises(ValueError, match="stop"), cache.making("toy", "old"):
        raise ValueError("stop")
    make(cache, "new")
    assert not (cache.root / "work" / "toy" / "old").exists()


def test_the_second_holder_of_a_lock_waits_and_says_so(cache: Cache) -> None:
    waiting, got = threading.Event(), threading.Event()

    def second() -> None:
        with cache.lock("toy", waiting=waiting.set):
            got.set()

    with cache.lock("toy"):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(5)
        assert not got.is_set()
    thread.join(5)
    assert got.is_set()


def test_waiting_for_a_lock_can_be_stopped(cache: Cache) -> None:
    end = tasks.End()
    with (
        cache.lock("toy"),
        end.entered(),
        pytest.raises(tasks.Ended),
        cache.lock("toy", waiting=end.now),
    ):
        raise AssertionError("two hold it")


def test_the_manifest_lists_every_file(cache: Cache) -> None:
    entry = make(cache, "k1")
    files = json.loads((entry / MANIFEST).read_text("utf-8"))["files"]
    assert set(files) == {"bin/program", "bin/other-name"}
