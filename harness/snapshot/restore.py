"""Returning a lab to an earlier state, or removing it: derived from state, then verified.

`restore` takes the present inventory, plans what leads back to the stored one, does it,
and looks again, because controllers act in the meantime. It ends when nothing differs,
or raises one LabError that names all that is left. Nothing outside the lab is touched,
and nothing at all when Vault or the cluster cannot answer.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from harness.base.errors import GaveUp, LabError, UsageError
from harness.base.wait import wait_for
from harness.snapshot import restore_cluster, restore_vault
from harness.snapshot.model import differences
from harness.snapshot.plan import WORKLOADS, Action, plan
from harness.snapshot.take import THREADS, Inventory, Surroundings

if TYPE_CHECKING:
    from harness.lab.context import LabContext

# A limit, not a duration: namespaces can take that long to finish.
SETTLE_SECONDS = 30
EVERY = 0.2
# So many looks at the same remainder, acted upon each time, show that acting does not help.
LOOKS = 3
# After so many looks, what a program of the earlier state logs in for is left to it: it
# would log in again for ever.
STRICT_LOOKS = 2
_GOT_ANEW = ("token", "lease", "entity")


def restore(context: LabContext, baseline: Inventory) -> list[str]:
    """Return the lab to `baseline`; sentences that say what was done.

    Raises LabError naming what could not be put back, UsageError when the baseline is of
    another lab or environment, EnvironmentLacks before anything is changed when Vault or
    the cluster does not answer.
    """
    around = Surroundings(context)
    if (baseline.lab, baseline.environment) != (context.lab.number, around.environment):
        raise UsageError(
            "the stored state is of another lab or environment, so it cannot be returned to",
            where=f"lab {context.lab.number}, environment {context.access.name}",
            hint=f"./lab reset {context.lab.number}",
        )
    return _Return(around, baseline, patient=True).run()


def wipe(context: LabContext) -> list[str]:
    """Remove everything of the lab; sentences that say what was done.

    Namespaces are left to finish by themselves; `LabContext.prepare` waits for that
    where it matters. Raises like `restore`.
    """
    around = Surroundings(context)
    nothing = Inventory(context.lab.number, around.environment)
    done = _Return(around, nothing, patient=False).run()
    around.safe.empty()
    return done


@dataclass
class _Return:
    """One way back: look, act, look again, until nothing differs or nothing helps.

    `patient`: namespaces on their way out are waited for. `unrest`: what something that
    runs in the earlier state has got anew since the way back began; it may keep that.
    """

    around: Surroundings
    baseline: Inventory
    patient: bool
    done: list[str] = field(default_factory=list)
    failed: dict[str, LabError] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    seen: list[frozenset[str]] = field(default_factory=list)
    unrest: set[str] = field(default_factory=set)

    def run(self) -> list[str]:
        """Go all the way; raise LabError with what is left."""
        try:
            wait_for(
                f"lab {self.baseline.lab} to return to its earlier state",
                self._round,
                timeout=SETTLE_SECONDS,
                every=EVERY,
            )
        except GaveUp as gave_up:
            self._look()  # what was done last may have been enough
            if self.left:
                raise self._report() from gave_up
        if self.left:
            raise self._report()
        return list(dict.fromkeys(self.done))

    def _round(self) -> bool:
        """Look and act once; True when there is no more to do or no more can be done."""
        ready, leaving = self._look()
        if not ready:
            return not leaving
        self.seen.append(frozenset(action.item.path for action in ready))
        if len(self.seen) >= LOOKS and len(set(self.seen[-LOOKS:])) == 1 and not leaving:
            return True
        self.failed = {}
        for _, stage in groupby(ready, key=lambda action: action.stage):
            actions = list(stage)
            with ThreadPoolExecutor(THREADS) as pool:
                # All are told before any is waited for: operators work side by side, too.
                list(pool.map(self._announce, actions))
                self.done += [done for done in pool.map(self._perform, actions) if done]
        return False

    def _look(self) -> tuple[list[Action], list[Action]]:
        """What is to do now, and what has to wait for a deletion that is under way."""
        # Copies in the safe are made when a baseline is stored; a way back adds none.
        present = self.around.take(keep=False)
        actions = plan(self.baseline, present)
        if len(self.seen) >= STRICT_LOOKS and _has_workloads(self.baseline):
            self.unrest |= {a.item.path for a in actions if a.item.kind in _GOT_ANEW} - {
                path for paths in self.seen for path in paths
            }
        actions = [action for action in actions if action.item.path not in self.unrest]
        waits = [action for action in actions if _is_leaving(action, present)]
        ready = [action for action in actions if action not in waits]
        leaving = waits if self.patient else []
        changes = differences(self.baseline, present) if ready else {}
        self.left = {
            **{action.item.path: f"{action.item} is still being deleted" for action in leaving},
            **{path: line for path, line in changes.items() if path not in self.unrest},
        }
        return ready, leaving

    def _announce(self, action: Action) -> None:
        """Tell a custom resource to go; what is refused comes up again in `_perform`."""
        if action.before is None and action.item.kind == "custom":
            with suppress(LabError):
                restore_cluster.announce(action, self.around.cluster)

    def _perform(self, action: Action) -> str:
        try:
            if action.item.in_cluster:
                return restore_cluster.perform(action, self.around.cluster, self.around.safe)
            return restore_vault.perform(action, self.around.vault)
        except LabError as error:
            self.failed[action.item.path] = error
            return ""

    def _report(self) -> LabError:
        causes = {path: e.what for path, e in self.failed.items() if path in self.left}
        lines = "\n".join(f"  - {line}" for line in {**self.left, **causes}.values())
        return LabError(
            f"lab {self.baseline.lab} is not back at its earlier state:\n{lines}",
            where=f"lab {self.baseline.lab}, environment {self.around.context.access.name}",
            hint=f"./lab reset {self.baseline.lab}, which removes the whole lab",
        )


def _has_workloads(baseline: Inventory) -> bool:
    """Whether something runs in the earlier state that may log in to Vault by itself."""
    return any(i.kind == "custom" or i.noun in WORKLOADS for i in baseline.items.values())


def _is_leaving(action: Action, present: Inventory) -> bool:
    """Whether the action has to wait, as its object or namespace is being deleted already.

    A custom resource is not waited for: its finalizers may need help.
    """
    item = action.item
    there = (present.items.get(item.path), present.items.get(item.parent))
    if action.before is None and item.kind == "custom":
        return False
    return any(one is not None and one.leaving for one in there)
