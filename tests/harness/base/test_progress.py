"""What a person sees of long work: plain lines, the table in a terminal, remembered times."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from harness.base.progress import Plain, Terminal, Timings, duration, reporting
from harness.base.redact import register
from harness.base.wait import wait_for


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (59.4, "59s"), (60, "1m00s"), (276, "4m36s"), (3900, "1h05m")],
)
def test_durations_read_like_people_write_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_plain_lines_say_start_life_and_end(tmp_path: Path) -> None:
    lines: list[str] = []
    plain = Plain(Timings(tmp_path / "t.json"), lines.append, every=0.02)
    plain.start("vault", "downloading")
    plain.update("vault", "compiling")
    wait_for("a sign of life", lambda: len(lines) > 1, timeout=5, every=0.01)
    plain.done("vault", "built")
    plain.close()
    assert lines[0] == "vault: downloading"
    assert lines[1] == "vault: compiling, 0s so far"
    assert lines[-1] == "vault: built (0s)"


def test_updates_alone_write_nothing(tmp_path: Path) -> None:
    lines: list[str] = []
    plain = Plain(Timings(tmp_path / "t.json"), lines.append)
    plain.start("vault", "downloading")
    for n in range(100):
        plain.update("vault", f"{n}")
    plain.close()
    assert lines == ["vault: downloading"]


def test_the_time_of_the_last_run_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text(json.dumps({"vault": 276.0}), encoding="utf-8")
    lines: list[str] = []
    plain = Plain(Timings(file), lines.append)
    plain.start("vault", "downloading")
    plain.close()
    assert lines == ["vault: downloading (last time 4m36s)"]


def test_long_work_is_remembered_and_short_or_failed_work_is_not(tmp_path: Path) -> None:
    file = tmp_path / "sub" / "t.json"
    timings = Timings(file)
    timings.remember("vault", 276.04)
    timings.remember("cached", 0.1)
    timings.write()
    assert json.loads(file.read_text("utf-8")) == {"vault": 276.0}


def test_what_other_processes_remembered_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    mine, theirs = Timings(file), Timings(file)
    theirs.remember("node", 60)
    theirs.write()
    mine.remember("vault", 90)
    mine.write()
    assert set(json.loads(file.read_text("utf-8"))) == {"node", "vault"}


def test_a_damaged_file_of_timings_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("[", encoding="utf-8")
    assert Timings(tmp_path / "t.json").last("vault") is None


def terminal(tmp_path: Path) -> tuple[Terminal, io.StringIO]:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=60, no_color=True)
    return Terminal(Timings(tmp_path / "t.json"), console), screen


def test_the_table_has_a_line_per_running_task_cut_to_the_width(tmp_path: Path) -> None:
    shown, _ = terminal(tmp_path)
    shown.start("vault", "compiling " + "x" * 200)
    shown.start("node", "[bold]packing")
    page = Console(file=io.StringIO(), width=60, record=True)
    page.print(shown.table())
    lines = page.export_text().splitlines()
    shown.close()
    assert len(lines) == 2
    assert lines[0].startswith("· vault")
    assert "…" in lines[0]
    assert "[bold]packing" in lines[1]


def test_ended_tasks_leave_one_line_in_the_scrollback(tmp_path: Path) -> None:
    shown, screen = terminal(tmp_path)
    shown.start("vault", "compiling")
    shown.done("vault", "built")
    shown.start("node", "packing")
    shown.fail("node", "failed")
    shown.close()
    text = screen.getvalue()
    assert "✓ " in text
    assert "✗ " in text
    assert text.count("built") == 1


def test_without_a_terminal_reporting_writes_plain_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    stream = io.StringIO()
    with reporting(stream) as progress:
        progress.start("vault", "compiling")
        progress.done("vault", "built")
    assert stream.getvalue() == "vault: compiling\nvault: built (0s)\n"


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    register("the-root-token-value")
    lines: list[str] = []
    plain = Plain(Timings(tmp_path / "t.json"), lines.append)
    plain.start("vault", "logging in with the-root-token-value")
    plain.fail("vault", "the-root-token-value was refused")
    plain.close()
    assert "the-root-token-value" not in "".join(lines)
