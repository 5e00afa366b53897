"""One end for waits and programs: the first failure, and Ctrl-C, reach every task."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import pytest

from harness.base import process, tasks
from harness.base.errors import LabError
from harness.base.wait import pause, wait_for

FOREVER = "import signal; signal.pause()"
# Nothing that notices its end by an event may take as long as a grace period.
SOON = 3.0


def waits() -> str:
    wait_for("what never comes", lambda: False, timeout=60, every=30)
    return "came"


def noted(pids: list[int]) -> Callable[[str], None]:
    return lambda line: pids.append(int(line))


def runs_a_program(pids: list[int]) -> Callable[[], str]:
    def task() -> str:
        code = f"import os; print(os.getpid(), flush=True); {FOREVER}"
        return process.run(
            [sys.executable, "-c", code], on_line=lambda line: pids.append(int(line))
        )

    return task


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def interrupt_when(ready: Callable[[], bool]) -> None:
    def interrupt() -> None:
        wait_for("the moment to interrupt", ready, timeout=20, every=0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt).start()


def test_values_come_in_the_order_given_and_no_more_run_at_once_than_asked() -> None:
    lock, running, most = threading.Lock(), 0, 0

    def task(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        pause(0.01 * (5 - number))
        with lock:
            running -= 1
        return number

    work = {str(number): (lambda number=number: task(number)) for number in range(5)}
    assert list(tasks.side_by_side(work, at_once=2).items()) == [(str(n), n) for n in range(5)]
    assert most == 2
    assert tasks.side_by_side({}) == {}


def test_the_first_failure_ends_waits_and_programs_and_is_raised() -> None:
    pids: list[int] = []

    def fails() -> str:
        wait_for("the program", lambda: pids, timeout=20, every=0.01)
        raise LabError("the cause")

    work = {"wait": waits, "program": runs_a_program(pids), "bad": fails}
    started = time.monotonic()
    with pytest.raises(LabError, match="the cause"):
        tasks.side_by_side(work)
    assert time.monotonic() - started < SOON + 5
    assert is_gone(pids[0])


def test_ctrl_c_ends_waits_and_programs_in_three_seconds() -> None:
    pids: list[int] = []
    interrupt_when(lambda: len(pids) == 2)
    work = {"wait": waits, "one": runs_a_program(pids), "two": runs_a_program(pids)}
    with pytest.raises(KeyboardInterrupt):
        tasks.side_by_side(work)
    stopped = time.monotonic()
    assert all(is_gone(pid) for pid in pids)
    assert time.monotonic() - stopped < SOON


def test_a_program_that_ignores_the_first_signal_is_ended_all_the_same() -> None:
    pids: list[int] = []
    code = (
        "import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"print(os.getpid(), flush=True); {FOREVER}"
    )

    def stubborn() -> str:
        return process.run(
            [sys.executable, "-c", code], on_line=lambda line: pids.append(int(line))
        )

    interrupt_when(lambda: bool(pids))
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        tasks.side_by_side({"stubborn": stubborn})
    assert is_gone(pids[0])
    assert time.monotonic() - started < SOON + process.GRACE_SECONDS + 5


def test_a_group_inside_a_task_ends_with_it() -> None:
    pids: list[int] = []

    def outer() -> str:
        inner = tasks.side_by_side({"program": runs_a_program(pids), "wait": waits})
        return str(inner)

    interrupt_when(lambda: bool(pids))
    with pytest.raises(KeyboardInterrupt):
        tasks.side_by_side({"outer": outer})
    assert is_gone(pids[0])


def test_leaving_a_group_ends_what_still_runs() -> None:
    pids: list[int] = []
    with tasks.Group[str]() as group:
        group.start("program", runs_a_program(pids))
        wait_for("the program", lambda: pids, timeout=20, every=0.01)
    assert is_gone(pids[0])


def test_long_work_in_python_asks_whether_it_is_to_end() -> None:
    asked = threading.Event()

    def works() -> str:
        while True:
            asked.set()
            tasks.check()

    with tasks.Group[str]() as group:
        group.start("work", works)
        assert asked.wait(10)
        group.end.now()
        outcome = group.next()
    assert isinstance(outcome.error, tasks.Ended)


def test_outside_a_group_nothing_ends() -> None:
    tasks.check()
    assert tasks.current() is None
    assert not tasks.ended()


def test_what_is_added_after_the_end_is_stopped_at_once() -> None:
    end, stopped = tasks.End(), []
    end.now()
    with end.adding(lambda: stopped.append("late")):
        pass
    assert stopped == ["late"]


def test_ctrl_c_while_a_thread_is_being_started_is_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def interrupted(self: threading.Thread) -> None:
        if self.name == "late":
            raise KeyboardInterrupt
        start(self)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tasks.side_by_side({"late": lambda: None})
