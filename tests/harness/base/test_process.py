"""Programs run with a log, a readable failure and no orphans."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.base import tasks
from harness.base.errors import LabError
from harness.base.process import CommandFailed, in_container, run
from harness.base.redact import MASK, register
from harness.base.wait import wait_for


def test_output_is_returned_logged_and_redacted_in_the_log(tmp_path: Path) -> None:
    register("a-very-secret-word")
    log = tmp_path / "log"
    output = run([sys.executable, "-c", "print('a-very-secret-word')"], log=log)
    assert output == "a-very-secret-word\n"
    assert "very-secret" not in log.read_text()


def test_a_private_key_of_several_lines_is_neither_logged_nor_told(tmp_path: Path) -> None:
    key = ["-----BEGIN PRIVATE KEY-----", "MIGHAgEAMBMGByqGSM49" * 3, "-----END PRIVATE KEY-----"]
    told: list[str] = []
    output = run(
        ["printf", "%s\n", "before", *key, "after"], log=tmp_path / "log", on_line=told.append
    )
    assert output.splitlines() == ["before", *key, "after"]
    assert told == ["before", MASK, MASK, MASK, "after"]
    assert (tmp_path / "log").read_text().splitlines() == told


def test_what_is_told_line_by_line_is_redacted() -> None:
    register("another-very-secret-word")
    told: list[str] = []
    run(["echo", "it is another-very-secret-word"], on_line=told.append)
    assert told == [f"it is {MASK}"]


def test_failure_tells_command_status_and_last_lines() -> None:
    code = "import sys; print('the cause'); sys.exit(3)"
    with pytest.raises(CommandFailed) as caught:
        run([sys.executable, "-c", code])
    assert caught.value.status == 3
    assert "ended with status 3" in str(caught.value)
    assert "| the cause" in str(caught.value)


def test_a_missing_program_is_named() -> None:
    with pytest.raises(LabError, match="'no-such-program' is not there"):
        run(["no-such-program"])


def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(CommandFailed, match="gave up after"):
        run([sys.executable, "-c", "import signal; signal.pause()"], timeout=0.3)


def test_a_program_gives_way_and_so_does_its_session() -> None:
    mine = os.nice(0)
    assert int(run(["nice"], niceness=5)) == min(mine + 5, 19)
    if Path("/proc/self/autogroup").exists():
        # The program may be faster than whoever sets this: it looks until it is so.
        wanted = f"nice {min(mine + 5, 19)}"
        look = f"until grep -q '{wanted}$' /proc/self/autogroup; do :; done; echo seen"
        assert run(["sh", "-c", look], niceness=5, timeout=10) == "seen\n"


def test_an_interrupt_ends_the_whole_group(tmp_path: Path) -> None:
    """The grandchild must not survive the Ctrl-C that Python receives."""
    marker = tmp_path / "pid"
    code = (
        "import subprocess, sys, pathlib\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
        f"pathlib.Path({str(marker)!r}).write_text(str(child.pid))\n"
        "child.wait()\n"
    )

    def interrupt() -> None:
        wait_for("the grandchild", lambda: marker.exists() and marker.read_text(), timeout=20)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run([sys.executable, "-c", code])
    thread.join()
    grandchild = int(marker.read_text())
    wait_for("the grandchild to be gone", lambda: not _alive(grandchild), timeout=15)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_program_reads_what_it_is_fed() -> None:
    chunks = (b"x" * 70_000 for _ in range(3))
    assert run(["wc", "-c"], stdin=chunks).strip() == "210000"
    assert run(["cat"], stdin="a line\n") == "a line\n"


def test_a_program_that_ends_before_it_has_read_all_tells_why() -> None:
    endless = (b"x" * 70_000 for _ in itertools.count())
    with pytest.raises(CommandFailed) as caught:
        run(["sh", "-c", "echo no room; exit 3"], stdin=endless)
    assert caught.value.status == 3
    assert "no room" in caught.value.output


def test_a_program_is_ended_when_what_it_is_fed_breaks_off() -> None:
    def broken() -> Iterator[bytes]:
        yield b"begun"
        raise ConnectionError("the engine went away")

    with pytest.raises(ConnectionError, match="went away"):
        run(["cat"], stdin=broken())


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `docker` that runs what it is given here, and writes its process id into a file."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho $$ >{tmp_path}/pid\nshift 4\nexec "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "pid"


def test_a_command_in_a_container_tells_both_outputs_and_its_status(docker: Path) -> None:
    script = 'echo "$WORD"; echo wrong >&2; exit 3'
    ended = in_container("node", ["sh", "-c", script], {"WORD": "a value"})
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, b"a value\n", b"wrong\n")


def test_a_command_in_a_container_has_a_limit(docker: Path) -> None:
    with pytest.raises(CommandFailed, match=r"`docker exec node sleep …` gave up after 0s"):
        in_container("node", ["sleep", "60"], {"WORD": "x"}, timeout=0.3)
    assert not _alive(int(docker.read_text()))


def test_a_command_in_a_container_ends_with_its_task(docker: Path) -> None:
    def fails() -> None:
        wait_for("the command", lambda: docker.exists() and docker.read_text(), timeout=20)
        raise LabError("the other task failed")

    def runs() -> None:
        in_container("node", ["sleep", "60"], {"WORD": "x"})

    with pytest.raises(LabError, match="the other task failed"):
        tasks.side_by_side({"runs": runs, "fails": fails})
    wait_for("it to be gone", lambda: not _alive(int(docker.read_text())), timeout=15)
