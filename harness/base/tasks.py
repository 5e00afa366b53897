"""Tasks side by side, with one end for all: the first failure, or Ctrl-C, ends the others.

Python hands Ctrl-C to the main thread alone. A task in another thread would go on waiting,
and so would the programs that it runs. Therefore each thread that a `Group` starts knows
its `End`: harness.base.wait listens to it, harness.base.process registers its programs
there, and Python code that takes long asks it with `check`. A group inside a task of
another group ends with that one. Nothing here knows what the tasks do.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Generic, TypeVar

from harness.base.errors import LabError

T = TypeVar("T")
Stop = Callable[[], None]

# How long a task may take to notice its end. Its thread does not keep the process alive.
JOIN_SECONDS = 2.0
LOOK_SECONDS = 0.5

_current: ContextVar[End | None] = ContextVar("end", default=None)


class Ended(LabError):
    """The task was given up: another one failed, or a person pressed Ctrl-C."""


class End:
    """What ends together. `over` is set when it has ended; it never goes on again."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._stops: list[Stop] = []

    def now(self) -> None:
        """End everything that was added, side by side; returns when all of it has stopped."""
        with self._lock:
            self.over.set()
            stops, self._stops = self._stops, []
        threads = [threading.Thread(target=stop, daemon=True) for stop in stops]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    @contextmanager
    def adding(self, stop: Stop) -> Iterator[None]:
        """While the block runs, the end calls `stop`; at once when it has ended already."""
        with self._lock:
            late = self.over.is_set()
            self._stops.append(stop)
        try:
            if late:
                stop()
            yield
        finally:
            with self._lock:
                if stop in self._stops:
                    self._stops.remove(stop)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """While the block runs, what this thread waits for and runs ends with this end."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


def current() -> End | None:
    """The end of the task that this thread works on; None outside a group."""
    return _current.get()


def ended() -> bool:
    """Whether the task of this thread is to end."""
    end = _current.get()
    return end is not None and end.over.is_set()


def check() -> None:
    """Raise Ended when the task of this thread is to end: for long work in Python."""
    if ended():
        raise Ended("the work was ended")


@contextmanager
def stopping(stop: Stop) -> Iterator[None]:
    """While the block runs, the end of this thread's task calls `stop`."""
    end = _current.get()
    if end is None:
        yield
        return
    with end.adding(stop):
        yield


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """How one task came out: a value, or the error that it raised."""

    name: str
    value: T | None
    error: BaseException | None


class Group(Generic[T]):
    """Tasks by name. Leaving the block ends what still runs; an error, or Ctrl-C, leaves it."""

    def __init__(self) -> None:
        self.end = End()
        self.running: dict[str, threading.Thread] = {}
        self._outcomes: queue.SimpleQueue[Outcome[T]] = queue.SimpleQueue()
        self._outer = _current.get()

    def __enter__(self) -> Group[T]:
        self._within = self._outer.adding(self.end.now) if self._outer else None
        if self._within:
            self._within.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.end.now()
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in self.running.values():
            # Ctrl-C may come while a thread is being started: it is none that can be joined yet,
            # and finds that all has ended as soon as it begins.
            with suppress(RuntimeError):
                thread.join(max(0.0, deadline - time.monotonic()))
        if self._within:
            self._within.__exit__(None, None, None)

    def start(self, name: str, task: Callable[[], T]) -> None:
        """Run `task` in a thread of its own."""

        def work() -> None:
            with self.end.entered():
                try:
                    outcome = Outcome(name, task(), None)
                except BaseException as error:  # handed to the caller's thread
                    outcome = Outcome(name, None, error)
            self._outcomes.put(outcome)

        # A thread that does not end after Ctrl-C must not keep the prompt away.
        self.running[name] = threading.Thread(target=work, name=name, daemon=True)
        self.running[name].start()

    def next(self) -> Outcome[T]:
        """The outcome of the task that finishes next; blocks until there is one."""
        while True:
            # A signal that arrives while this thread is about to block would be seen only
            # after it: Ctrl-C would come back with the next outcome, minutes later.
            with suppress(queue.Empty):
                outcome = self._outcomes.get(timeout=LOOK_SECONDS)
                del self.running[outcome.name]
                return outcome


def side_by_side(tasks: Mapping[str, Callable[[], T]], at_once: int | None = None) -> dict[str, T]:
    """The values of all tasks by name, in the order given; the first failure is raised.

    At most `at_once` run at a time, all when it is None. After a failure, and after Ctrl-C,
    the others are ended; what they raise because of that is dropped.
    """
    values: dict[str, T] = {}
    waiting = list(tasks.items())
    with Group[T]() as group:
        while waiting or group.running:
            while waiting and (at_once is None or len(group.running) < at_once):
                group.start(*waiting.pop(0))
            outcome = group.next()
            if outcome.error:
                raise outcome.error
            values[outcome.name] = outcome.value  # type: ignore[assignment]  # no error: a T
    return {name: values[name] for name in tasks}
