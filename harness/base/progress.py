"""Showing a person how far long work is, on standard error.

In a terminal one table line per running task, with the time it takes and the time it took
last time; finished tasks move up and stay. Elsewhere (a log, CI) plain lines: the start,
a sign of life every 15 seconds, the end. How long things took is kept in the cache.
Nothing here knows what the tasks are, or ends when they do.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from harness.base.paths import cache_root
from harness.base.redact import redact

HEARTBEAT_SECONDS = 15.0
# Shorter than this is not worth remembering, and is mostly "it was there already".
SHORTEST_REMEMBERED = 2.0
TIMINGS_FILE = "timings.json"


class Progress(Protocol):
    """Where long work reports to. Calls may come from any thread."""

    def start(self, name: str, doing: str) -> None:
        """Work on `name` began; how long it took last time is the listener's to know."""

    def update(self, name: str, doing: str) -> None:
        """`name` is now busy with something else; may be called often."""

    def done(self, name: str, note: str) -> None:
        """`name` is finished; `note` says how ("built", "from the cache")."""

    def fail(self, name: str, note: str) -> None:
        """`name` failed or was interrupted."""


def duration(seconds: float) -> str:
    """Seconds as people write them: 8s, 4m36s, 1h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class Timings:
    """How long each task took when it last ran to its end, in seconds.

    Kept in a file of the cache. Losing it costs an estimate, so that errors of the file
    are not errors here.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or cache_root() / TIMINGS_FILE
        self._new: dict[str, float] = {}
        self._old = self._read()

    def last(self, name: str) -> float | None:
        """The duration of the last time, None for a task that never ended here."""
        return self._old.get(name)

    def remember(self, name: str, seconds: float) -> None:
        """Take note of a task that ended well."""
        if seconds >= SHORTEST_REMEMBERED:
            self._new[name] = round(seconds, 1)

    def write(self) -> None:
        """Add what was remembered to the file."""
        if not self._new:
            return
        table = {**self._read(), **self._new}
        beside = self._file.with_suffix(".tmp")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", "utf-8")
            beside.replace(self._file)
        except OSError:
            return

    def _read(self) -> dict[str, float]:
        try:
            table = json.loads(self._file.read_text(encoding="utf-8"))
            return {str(name): float(seconds) for name, seconds in table.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


@dataclass
class Task:
    """One running task."""

    doing: str
    since: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """For how long it has been running."""
        return time.monotonic() - self.since


class Reporter(Progress):
    """The part that is the same in a terminal and in a log: which tasks run since when."""

    def __init__(self, timings: Timings) -> None:
        self._timings = timings
        self._tasks: dict[str, Task] = {}
        self._lock = threading.RLock()

    def start(self, name: str, doing: str) -> None:
        """See Progress.start."""
        with self._lock:
            self._tasks[name] = Task(redact(doing))
            self._started(name)

    def update(self, name: str, doing: str) -> None:
        """See Progress.update; an unknown task is started."""
        with self._lock:
            if name in self._tasks:
                self._tasks[name].doing = redact(doing)
            else:
                self.start(name, doing)

    def done(self, name: str, note: str) -> None:
        """See Progress.done."""
        with self._lock:
            task = self._tasks.pop(name, None) or Task("")
            self._timings.remember(name, task.seconds)
            self._ended(name, redact(note), task.seconds, True)

    def fail(self, name: str, note: str) -> None:
        """See Progress.fail."""
        with self._lock:
            task = self._tasks.pop(name, None) or Task("")
            self._ended(name, redact(note), task.seconds, False)

    def close(self) -> None:
        """Stop showing and remember the durations."""
        self._timings.write()

    def _last_time(self, name: str) -> str:
        last = self._timings.last(name)
        return f"last time {duration(last)}" if last else ""

    def _started(self, name: str) -> None:
        """Show that a task began; the lock is held."""

    def _ended(self, name: str, note: str, seconds: float, well: bool) -> None:
        """Show that a task ended; the lock is held."""


class Plain(Reporter):
    """Lines for a log: start, a sign of life every `every` seconds, end."""

    def __init__(
        self, timings: Timings, write: Callable[[str], None], every: float = HEARTBEAT_SECONDS
    ) -> None:
        super().__init__(timings)
        self._write = write
        self._every = every
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the signs of life."""
        self._closed.set()
        self._thread.join()
        super().close()

    def _started(self, name: str) -> None:
        last = self._last_time(name)
        self._write(f"{name}: {self._tasks[name].doing}" + (f" ({last})" if last else ""))

    def _ended(self, name: str, note: str, seconds: float, well: bool) -> None:
        self._write(f"{name}: {note} ({duration(seconds)})")

    def _beat(self) -> None:
        while not self._closed.wait(self._every):
            with self._lock:
                for name, task in self._tasks.items():
                    # A task that has only just begun has just been shown.
                    if task.seconds >= self._every / 2:
                        self._write(f"{name}: {task.doing}, {duration(task.seconds)} so far")


class Terminal(Reporter):
    """A table that is redrawn four times a second, under the lines of what has ended."""

    def __init__(self, timings: Timings, console: Console) -> None:
        super().__init__(timings)
        self._console = console
        self._live = Live(
            console=console,
            get_renderable=self.table,
            refresh_per_second=4,
            transient=True,
            # What else is printed meanwhile is not ours to move about.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def close(self) -> None:
        """Take the table away; the lines of what has ended stay."""
        self._live.stop()
        super().close()

    def table(self) -> Table:
        """The running tasks: name, what it does, since when, last time."""
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True, style="bold")
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True, style="dim")
        with self._lock:
            for name, task in self._tasks.items():
                row = (escape(name), escape(task.doing), duration(task.seconds))
                table.add_row("· " + row[0], *row[1:], self._last_time(name))
        return table

    def _ended(self, name: str, note: str, seconds: float, well: bool) -> None:
        mark = "[green]✓[/]" if well else "[red]✗[/]"
        took = f"  [dim]{duration(seconds)}[/]" if seconds >= 1 else ""
        self._console.print(f"{mark} [bold]{escape(name)}[/]  {escape(note)}{took}")


@contextmanager
def reporting(stream: TextIO | None = None) -> Iterator[Progress]:
    """Progress on `stream` (standard error) for as long as the block runs."""
    target = stream or sys.stderr
    # Console honours NO_COLOR and FORCE_COLOR; a terminal that cannot move the cursor
    # (TERM=dumb) gets plain lines.
    console = Console(file=target, highlight=False)
    reporter: Reporter
    if console.is_terminal and target.isatty() and not console.is_dumb_terminal:
        reporter = Terminal(Timings(), console)
    else:

        def write(line: str) -> None:
            print(line, file=target, flush=True)

        reporter = Plain(Timings(), write)
    try:
        yield reporter
    finally:
        reporter.close()
