"""The script that pytest-kind runs: it is ended before it begins, in the middle, with children."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.base import tasks
from harness.base.wait import wait_for
from harness.environment.kind import KindProgram


@pytest.fixture
def program(tmp_path: Path) -> KindProgram:
    """A `kind` that starts a child, says so, and ignores what asks it to end."""
    kind = tmp_path / "real kind"
    kind.write_text(
        "#!/bin/sh\n"
        'case "$1" in get) echo "the answer"; exit ;; esac\n'
        "trap '' TERM\n"
        'sleep 600 &\necho "in $(pwd) with $LAB_TEST_WORD, $# words"\nwait\n',
        encoding="ascii",
    )
    kind.chmod(0o700)
    made = KindProgram(tmp_path)
    made.write(kind, tmp_path / "log", tmp_path, {"LAB_TEST_WORD": "a'b"})
    return made


@pytest.fixture
def started(program: KindProgram, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([program.path, "create", "two words"]) as process:
        wait_for("its message", (tmp_path / "log").exists)
        wait_for("its message", lambda: "in " in (tmp_path / "log").read_text("utf-8"))
        yield process
        process.kill()


def test_a_question_is_answered_to_the_one_who_asks(program: KindProgram) -> None:
    answer = subprocess.run([program.path, "get"], capture_output=True, text=True, check=True)
    assert answer.stdout == "the answer\n"


def test_it_ends_with_its_children(
    program: KindProgram, started: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert (tmp_path / "log").read_text("utf-8") == f"in {tmp_path} with a'b, 2 words\n"
    group = int((tmp_path / "kind.pid").read_text("ascii"))
    assert group == started.pid
    program.end()
    assert started.wait(10) == -9
    assert subprocess.run(["pgrep", "-r", "R,S,D", "-g", str(group)], check=False).returncode == 1


def test_it_ends_in_a_task_that_has_ended_itself(
    program: KindProgram, started: subprocess.Popen[bytes]
) -> None:
    end = tasks.End()
    end.now()
    with end.entered():
        program.end()
    assert started.wait(10) == -9


def test_what_was_ended_before_it_began_does_not_begin(
    program: KindProgram, tmp_path: Path
) -> None:
    program.end()
    assert subprocess.run([program.path, "create"], check=False).returncode == 1
    assert (tmp_path / "log").read_text("utf-8") == "ended before it had begun\n"
    program.forget()
    assert {file.name for file in tmp_path.iterdir()} == {"kind", "real kind", "log"}


def test_a_child_that_outlives_it_is_ended_too(program: KindProgram, tmp_path: Path) -> None:
    # kind itself ends when it is asked to, and its bring-up is over then; its child stays.
    (tmp_path / "real kind").write_text(
        "#!/bin/sh\n(trap '' TERM; echo in; while :; do sleep 0.1; done) &\nwait\n", "ascii"
    )
    with subprocess.Popen([program.path, "create"]) as process:
        wait_for("its child", (tmp_path / "log").exists)
        wait_for("its child", lambda: "in" in (tmp_path / "log").read_text("utf-8"))
        ending = threading.Thread(target=program.end)
        ending.start()
        assert process.wait(10) == -15
        program.forget()
        ending.join(10)
    left = subprocess.run(["pgrep", "-r", "R,S,D", "-g", str(process.pid)], check=False)
    assert left.returncode == 1
