"""What `lab doctor` reports: one line for each thing that it looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    `level` is "good", "note" (it works, but one should know) or "bad" (the labs will not run);
    `help` is the command that mends it, "" where there is nothing to mend.
    """

    level: str
    what: str
    seen: str
    help: str = ""
