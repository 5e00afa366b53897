"""A reporter that shows nothing: for tests of what reports."""

from __future__ import annotations

from harness.base.progress import Reporter, Timings


class Silent(Reporter):
    """Keeps the tasks and shows none; `timings` are a person's unless a test names others."""

    def __init__(self, timings: Timings | None = None) -> None:
        super().__init__(timings or Timings())
