"""Vault's audit file: read from a mark on, block by block, and never held as a whole."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from harness.clients import vault_audit
from harness.clients.vault_audit import AuditLog

APP, OTHER = "lab01-kv/data/app", "lab01-kv/data/other"


def entry(path: str, kind: str = "response", **more: Any) -> dict[str, Any]:
    return {"type": kind, "request": {"path": path}, **more}


def written(*entries: dict[str, Any]) -> str:
    """As Vault writes it: compact, a line each."""
    return "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in entries)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
def test_entries_come_whole_whatever_a_block_holds(
    file: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_audit, "BLOCK", block)
    entries = [entry(APP, number=number) for number in range(5)] + [entry(OTHER)]
    file.write_text(written(*entries) + '{"type":"resp')
    log = AuditLog(file)
    assert list(log.entries()) == entries
    assert [found["number"] for found in log.responses(APP)] == [0, 1, 2, 3, 4]


def test_only_what_is_new_since_the_mark_is_read(file: Path) -> None:
    file.write_text(written(entry(APP, number=1)) * 3)
    log = AuditLog(file, AuditLog(file).mark())
    assert (list(log.entries()), log.responses(APP)) == ([], [])
    with file.open("a") as stream:
        stream.write(written(entry(APP, number=2)))
    assert [found["number"] for found in log.responses(APP)] == [2]


def test_entries_can_be_gone_through_twice(file: Path) -> None:
    file.write_text(written(entry(APP)))
    entries = AuditLog(file).entries()
    assert list(entries) == list(entries) == [entry(APP)]


def test_refusals_are_told_without_a_response(file: Path) -> None:
    refused = entry(APP, "request", error="permission denied")
    file.write_text(written(entry(APP, "request"), refused, entry(OTHER, error="no")))
    assert AuditLog(file).refusals(APP) == ["permission denied"]
    assert AuditLog(file).responses(APP) == []


@pytest.mark.parametrize("path", ["kv/data/a&b", "kv/data/<a>", 'kv/data/"q"', "kv/data/größe"])
def test_paths_that_go_writes_with_escapes_are_found(file: Path, path: str) -> None:
    escaped = written(entry(path)).replace("&", r"\u0026").replace("<", r"\u003c")
    file.write_text(escaped + written(entry(APP), entry(path)))
    assert len(AuditLog(file).responses(path)) == 2


def test_a_path_in_another_place_is_no_request_for_it(file: Path) -> None:
    file.write_text(written(entry(OTHER, response={"data": {"path": APP}})))
    assert AuditLog(file).responses(APP) == []


def test_a_long_log_is_never_held_in_memory(file: Path) -> None:
    line = written(entry(OTHER, filling="x" * 1000))
    with file.open("w") as stream:
        for _ in range(32):
            stream.write(line * 1000)
        stream.write(written(entry(APP)))
    tracemalloc.start()
    try:
        assert len(AuditLog(file).responses(APP)) == 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < file.stat().st_size / 4


def test_without_a_file_nothing_has_happened(file: Path) -> None:
    log = AuditLog(file)
    assert (log.mark(), list(log.entries()), log.responses(APP)) == (0, [], [])
