"""How far a person has got in one lab: a JSON file in the environment's state.

A step is solved (by the harness) or checked (done by the person): both count as done. A
skipped step is passed over: the tour and `watch` go on behind it, but it is not done.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.statefile import read_json, write_json
from harness.lab.steps import Step

SOLVED, CHECKED, SKIPPED = "solved", "checked", "skipped"
DONE = frozenset({SOLVED, CHECKED})


@dataclass(frozen=True)
class Progress:
    """The progress that is stored in `file`."""

    file: Path

    def state(self, step: Step) -> str:
        """ "solved", "checked", "skipped" or ""; for "is it done?" ask `done`."""
        return str(self._entry(step).get("state", ""))

    def done(self, step: Step) -> bool:
        """Whether the step was solved or checked; a skipped one was not."""
        return self.state(step) in DONE

    def mark(self, step: Step, state: str) -> None:
        """Store the state of a step; "" removes it."""
        self._write(step, state=state)

    def hints(self, step: Step) -> int:
        """How many hints of this step have been shown."""
        return int(self._entry(step).get("hints", 0))

    def count_hint(self, step: Step, shown: int) -> None:
        """Store that `shown` hints of this step have been shown."""
        self._write(step, hints=shown)

    def forget(self, steps: list[Step]) -> None:
        """Remove everything about these steps."""
        gone = {step.name for step in steps}
        table = {name: entry for name, entry in read_json(self.file).items() if name not in gone}
        write_json(self.file, table)

    def _entry(self, step: Step) -> dict[str, Any]:
        return dict(read_json(self.file).get(step.name) or {})

    def _write(self, step: Step, **values: object) -> None:
        table = read_json(self.file)
        table[step.name] = {**(table.get(step.name) or {}), **values}
        write_json(self.file, table)
