"""Running the steps of one lab in one environment: begin, solve, check, undo, reset.

The tour, the notebook, the command line and pytest all go through here, so that a step
means the same in all four. Before a step is first begun, an inventory of the lab's part
of Vault and of the cluster is stored; `reset` returns to it, whoever made the changes
(harness.snapshot.take, harness.snapshot.restore). How far a person has got is remembered in a file.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.errors import LabError
from harness.base.statefile import read_json, write_json
from harness.controlplane import encryption
from harness.controlplane.settings import Settings
from harness.diagnosis import explain
from harness.lab.context import LabContext
from harness.lab.steps import Step, listening
from harness.snapshot import restore as reset
from harness.snapshot import take as inventory

OnFact = Callable[[str], None]

SOLVED, CHECKED, SKIPPED = "solved", "checked", "skipped"
# A skipped step is passed by, but not done.
DONE = frozenset({SOLVED, CHECKED})


def silent(_fact: str) -> None:
    """The listener of a run that shows nothing."""


@dataclass(frozen=True)
class Progress:
    """How far a person has got in one lab: a JSON file in the environment's state."""

    file: Path

    def state(self, step: Step) -> str:
        """ "solved" (by the engine), "checked" (by the person), "skipped" or ""."""
        return str(self._entry(step).get("state", ""))

    def mark(self, step: Step, state: str) -> None:
        """Remember the state of a step; "" forgets it."""
        self._write(step, state=state)

    def hints(self, step: Step) -> int:
        """How many hints of this step have been shown."""
        return int(self._entry(step).get("hints", 0))

    def count_hint(self, step: Step, shown: int) -> None:
        """Remember that `shown` hints of this step have been shown."""
        self._write(step, hints=shown)

    def forget(self, steps: list[Step]) -> None:
        """Forget everything about these steps."""
        gone = {step.name for step in steps}
        table = {name: entry for name, entry in read_json(self.file).items() if name not in gone}
        write_json(self.file, table)

    def _entry(self, step: Step) -> dict[str, Any]:
        return dict(read_json(self.file).get(step.name) or {})

    def _write(self, step: Step, **values: object) -> None:
        table = read_json(self.file)
        table[step.name] = {**(table.get(step.name) or {}), **values}
        write_json(self.file, table)


class Runner:
    """Runs the steps of `context.lab` in `context`'s environment."""

    def __init__(self, context: LabContext) -> None:
        self.context = context
        self.lab = context.lab
        self.progress = Progress(context.folder / "progress.json")

    def begin(self, step: Step) -> None:
        """Make ready for a step: the namespace is there, the state before it is stored."""
        self.context.step = None
        self.context.prepare()
        if not self.begun(step):
            self._store(step, inventory.take(self.context).to_json())
        self.context.step = step

    def begun(self, step: Step) -> bool:
        """Whether the state before this step is stored: somebody got as far as here."""
        return self.context.baseline(step).exists()

    def do(self, step: Step) -> float:
        """Run the step's own calls; return the seconds they took."""
        self.begin(step)
        started = time.monotonic()
        try:
            step.do(self.context)
        except LabError as error:
            # Without a path of the step's own there is nothing to add to a refused call.
            if step.diagnoses:
                explain.add_cause(error, self.context, step)
            raise
        return time.monotonic() - started

    def solve(self, step: Step, on_fact: OnFact = silent) -> float:
        """Do the step, check it, remember it as solved; return the seconds of do."""
        with listening(on_fact):
            seconds = self.do(step)
            if step.checks:
                with self.context.quiet():
                    self._verify(step)
        self._passed(step, SOLVED)
        return seconds

    def check(self, step: Step, on_fact: OnFact = silent, diagnose: bool = True) -> None:
        """Check the step as it stands. Raises CheckFailed with what is not yet true.

        With `diagnose` the failure names the broken link, too (harness.diagnosis.explain).
        """
        self.context.step = step
        if step.observe:
            self.begin(step)
        with listening(on_fact):
            self._verify(step, diagnose)
        self._passed(step, CHECKED)

    def skip(self, step: Step) -> bool:
        """Mark a step that is not done as skipped; False when it was done already."""
        if self.progress.state(step) in DONE:
            return False
        self.begin(step)
        self._passed(step, SKIPPED)
        return True

    def next_step(self) -> Step | None:
        """The first step that is neither done nor skipped."""
        for step in self.lab.steps:
            if not self.progress.state(step):
                return step
        return None

    def reach(self, step: Step, on_done: Callable[[Step, float], None] | None = None) -> None:
        """Bring the lab to the state right before `step`, forwards or backwards.

        Earlier steps that are not done (skipped ones, too) are done, quietly; `on_done`
        hears of each with its seconds. What was made since the step began is undone.
        """
        with self.context.quiet():
            clean = False
            for earlier in self.lab.steps[: step.number - 1]:
                if self.progress.state(earlier) in DONE:
                    continue
                if self.begun(earlier):
                    self.undo(earlier)
                seconds = self.solve(earlier)
                clean = True
                if on_done:
                    on_done(earlier, seconds)
            if not clean and self.begun(step):
                self.undo(step)

    def undo(self, step: Step) -> list[str]:
        """Return to the state before `step`: what it and all later steps did is undone.

        Returns sentences that say what was done. Raises LabError naming what could not
        be undone.
        """
        later = self.lab.steps[step.number - 1 :]
        baselines = [s for s in self.lab.steps[: step.number] if self.begun(s)]
        if not baselines:
            return self.reset()
        self._run_undo_hooks(later)
        nearest = baselines[-1]
        self.context.step = None
        stored = read_json(self.context.baseline(nearest))
        before = inventory.Inventory.from_json(stored["inventory"])
        # First, because without it neither Secrets nor their values can be read.
        done = self._set_control_plane(stored.get("control_plane", ""))
        done += reset.restore(self.context, before)
        self.context.notes.replace(stored["notes"])
        self.progress.forget(later)
        self._forget_beyond(nearest)
        # What the audit log says of the undone attempt must not count for the next one.
        self._store(nearest, stored["inventory"])
        # Without a stored state right before this step the earlier steps are done again.
        for earlier in self.lab.steps[nearest.number - 1 : step.number - 1]:
            self.solve(earlier)
            done.append(f"did step {earlier.id} again")
        return done

    def reset(self) -> list[str]:
        """Remove everything of this lab from the cluster and from Vault."""
        self._run_undo_hooks(self.lab.steps)
        self.context.step = None
        done = self._set_control_plane("")
        done += reset.wipe(self.context)
        self.context.notes.replace({})
        self.progress.forget(self.lab.steps)
        for step in self.lab.steps:
            self.context.baseline(step).unlink(missing_ok=True)
        return done

    def _run_undo_hooks(self, steps: list[Step]) -> None:
        for step in reversed(steps):
            if step.undoes:
                self.context.step = step
                try:
                    step.undoes(self.context)
                except LabError as error:
                    # The inventory catches what it can; what it cannot is reported there.
                    self.context.say(f"# undo of step {step.id}: {error.what}")

    def _verify(self, step: Step, diagnose: bool = True) -> None:
        try:
            step.verify(self.context)
        except LabError as error:
            if diagnose:
                explain.add_cause(error, self.context, step)
            raise

    def _passed(self, step: Step, state: str) -> None:
        """Remember that a step is done, and the state that the next one starts from."""
        if self.progress.state(step) not in DONE:
            self.progress.mark(step, state)
        following = self.lab.steps[step.number : step.number + 1]
        for later in following:
            if not self.begun(later):
                self._store(later, inventory.take(self.context).to_json())

    def _store(self, step: Step, state: Any) -> None:
        """Write down the state before a step: inventory, notes, end of the audit log."""
        kept = {
            "inventory": state,
            "notes": dict(self.context.notes),
            "audit": self.context.audit.mark(),
            "control_plane": self.control_plane(),
        }
        write_json(self.context.baseline(step), kept)

    def control_plane(self) -> str:
        """The name by which the present settings of the API server are remembered.

        "" for a lab that leaves them alone.
        """
        if encryption.NEED not in self.lab.needs:
            return ""
        return self.context.control_plane.remember()

    def _set_control_plane(self, remembered: str) -> list[str]:
        """Return the control plane to remembered settings, "" for the plain ones."""
        if encryption.NEED not in self.lab.needs:
            return []
        plane = self.context.control_plane
        goal = plane.memory.recall(remembered) if remembered else Settings()
        done = encryption.bring(plane, goal, lost=[self.context.namespace])
        if not remembered:
            plane.memory.forget()
        return done

    def _forget_beyond(self, step: Step) -> None:
        for later in self.lab.steps[step.number :]:
            self.context.baseline(later).unlink(missing_ok=True)
