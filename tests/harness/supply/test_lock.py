"""The record of seen digests: first use is remembered, change is refused, damage is said."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.statefile import exclusively
from harness.supply.lock import LOCK_FILE, Lock

ONE = "sha256:" + "1" * 64
TWO = "sha256:" + "2" * 64


@pytest.fixture
def lock(tmp_path: Path) -> Lock:
    return Lock(tmp_path / "state" / LOCK_FILE)


def test_first_use_is_remembered_for_the_next_process(lock: Lock) -> None:
    lock.record("docker.io/a/b:1", ONE, "docker.io")
    seen = Lock(lock.file).seen("docker.io/a/b:1")
    assert seen is not None
    assert (seen.digest, seen.source) == (ONE, "docker.io")
    assert lock.seen("docker.io/a/b:2") is None


def test_a_changed_digest_is_refused_and_told_with_both_values(lock: Lock) -> None:
    lock.record("docker.io/a/b:1", ONE, "docker.io/a/b:1")
    with pytest.raises(UsageError) as caught:
        lock.record("docker.io/a/b:1", TWO, "127.0.0.1:5000/a/b:1")
    text = str(caught.value)
    for part in (ONE, TWO, "127.0.0.1:5000/a/b:1", str(lock.file), 'delete the entry "docker.io/'):
        assert part in text
    seen = lock.seen("docker.io/a/b:1")
    assert seen is not None
    assert seen.digest == ONE


def test_deleting_the_entry_accepts_the_change(lock: Lock) -> None:
    lock.record("a", ONE, "x")
    lock.record("b", ONE, "x")
    table = json.loads(lock.file.read_text())
    del table["seen"]["a"]
    lock.file.write_text(json.dumps(table))
    lock.record("a", TWO, "x")
    assert {name: lock.seen(name).digest for name in "ab"} == {"a": TWO, "b": ONE}  # type: ignore[union-attr] # both were just recorded


def test_check_alone_records_nothing(lock: Lock) -> None:
    lock.check("a", ONE, "x")
    assert not lock.file.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"seen": {"a": {"digest": 1}}}', "\x00"])
def test_a_damaged_record_is_one_sentence(lock: Lock, content: str) -> None:
    lock.file.parent.mkdir()
    lock.file.write_text(content)
    with pytest.raises(UsageError, match="cannot be read"):
        lock.check("a", ONE, "x")


def test_an_entry_that_is_no_digest_is_refused(lock: Lock) -> None:
    lock.record("a", ONE, "x")
    lock.file.write_text(lock.file.read_text().replace(ONE, "sha256:short"))
    with pytest.raises(UsageError, match="no SHA-256 digest for a"):
        lock.check("a", ONE, "x")


def test_a_state_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentLacks, match="cannot be recorded"):
        Lock(tmp_path / "file" / "state" / LOCK_FILE).record("a", ONE, "x")


def test_threads_do_not_lose_each_others_entries(lock: Lock) -> None:
    names = [f"part{number}" for number in range(20)]
    threads = [threading.Thread(target=lock.record, args=(name, ONE, "x")) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(lock.seen(name) for name in names)
    assert [file.name for file in lock.file.parent.iterdir()] == [LOCK_FILE]


def test_the_second_one_waits_and_says_so(tmp_path: Path) -> None:
    waiting, entered = threading.Event(), threading.Event()

    def second() -> None:
        with exclusively(tmp_path, waiting.set):
            entered.set()

    with exclusively(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(5)
        assert not entered.is_set()
    thread.join(5)
    assert entered.is_set()
