"""What all that fills the cache says when it cannot: one sentence, and a task that has stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.base.errors import EnvironmentLacks
from harness.base.paths import cache_root
from harness.base.progress import Progress


@contextmanager
def writing(progress: Progress, task: str, what: str = "the cache") -> Iterator[None]:
    """Work of the begun `task` that writes to the cache.

    Whatever ends it early stops the task. Raises EnvironmentLacks where it cannot write.
    """
    try:
        yield
    except OSError as error:
        progress.fail(task, "stopped")
        raise EnvironmentLacks(
            f"{what} cannot be written: {error.strerror or error}",
            where=str(cache_root()),
            hint="make room, or name another place with XDG_CACHE_HOME; the same command goes on",
        ) from error
    except BaseException:
        progress.fail(task, "stopped")
        raise
