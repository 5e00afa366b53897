"""How far a person has got in one lab: a JSON file in the environment's state.

A step is solved (by the harness) or checked (done by the person): both count as done. A
skipped step is passed over: the tour and `watch` go on behind it, but it is not done.

For `lab report` the file also says when each step could be begun, when it was done, how long
its own commands took where the harness ran them, and the sentences of its last check.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.base.redact import redact
from harness.base.statefile import read_json, write_json
from harness.lab.steps import Lab, Step

SOLVED, CHECKED, SKIPPED = "solved", "checked", "skipped"
DONE = frozenset({SOLVED, CHECKED})


@dataclass(frozen=True)
class Progress:
    """The progress that is stored in `file`."""

    file: Path

    @classmethod
    def of(cls, state: Path, lab: Lab) -> Progress:
        """The progress in a lab, in the environment with this state folder."""
        return cls(state / "labs" / lab.number / "progress.json")

    def state(self, step: Step) -> str:
        """ "solved", "checked", "skipped" or ""; for "is it done?" ask `done`."""
        return str(self.entry(step).get("state", ""))

    def done(self, step: Step) -> bool:
        """Whether the step was solved or checked; a skipped one was not."""
        return self.state(step) in DONE

    def first_open(self, lab: Lab) -> Step | None:
        """The first step of the lab that is neither done nor skipped."""
        return next((step for step in lab.steps if not self.state(step)), None)

    def mark(self, step: Step, state: str, seconds: float | None = None) -> None:
        """Store the state of a step and the present time; `seconds` is what its commands took."""
        took = {} if seconds is None else {"seconds": round(seconds, 1)}
        self._write(step, state=state, at=_now(), **took)

    def begin(self, step: Step) -> None:
        """Store that a person can work on this step from now on."""
        self._write(step, began=_now())

    def keep_facts(self, step: Step, facts: Sequence[str]) -> None:
        """Store the sentences that the last check of a step has found true."""
        self._write(step, facts=[redact(fact) for fact in facts])

    def entry(self, step: Step) -> dict[str, Any]:
        """All that is stored about a step."""
        return dict(read_json(self.file).get(step.name) or {})

    def hints(self, step: Step) -> int:
        """How many hints of this step have been shown."""
        return int(self.entry(step).get("hints", 0))

    def count_hint(self, step: Step, shown: int) -> None:
        """Store that `shown` hints of this step have been shown."""
        self._write(step, hints=shown)

    def forget(self, steps: list[Step]) -> None:
        """Remove everything about these steps."""
        gone = {step.name for step in steps}
        table = {name: entry for name, entry in read_json(self.file).items() if name not in gone}
        write_json(self.file, table)

    def _write(self, step: Step, **values: object) -> None:
        table = read_json(self.file)
        table[step.name] = {**(table.get(step.name) or {}), **values}
        write_json(self.file, table)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
