"""Returning a lab to an earlier state, or removing it: derived from state, then verified.

`restore` takes the present inventory, plans the actions that lead back to the stored one,
does them and takes the inventory again, because controllers act in the meantime. It ends
when nothing differs, or raises one LabError that names all that is left. Nothing outside
the lab is touched, and nothing at all when Vault or the cluster cannot answer.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from harness.base.errors import GaveUp, LabError, UsageError
from harness.base.wait import wait_for
from harness.snapshot.model import differences
from harness.snapshot.plan import WORKLOADS, Action, plan
from harness.snapshot.take import THREADS, Inventory, LabState

if TYPE_CHECKING:
    from harness.lab.context import LabContext

# A limit, not a duration: namespaces can take that long to finish.
SETTLE_SECONDS = 30
EVERY = 0.2
# The same actions in so many rounds show that doing them does not help.
MAX_IDENTICAL_ROUNDS = 3
# From this round on, what a program of the earlier state gets by logging in is left to it:
# the program would log in again for ever.
STRICT_ROUNDS = 2
_BY_LOGIN = ("token", "lease", "entity")


def restore(context: LabContext, baseline: Inventory) -> list[str]:
    """Return the lab to `baseline`; sentences that say what was done.

    Raises LabError naming what could not be put back, UsageError when the baseline is of
    another lab or environment, EnvironmentLacks before anything is changed when Vault or
    the cluster does not answer.
    """
    state = LabState(context)
    if (baseline.lab, baseline.environment) != (context.lab.number, state.environment):
        raise UsageError(
            "the stored state is of another lab or environment, so it cannot be returned to",
            where=f"lab {context.lab.number}, environment {context.access.name}",
            hint=f"./lab reset {context.lab.number}",
        )
    return _RestoreLoop(state, baseline, patient=True).run()


def wipe(context: LabContext) -> list[str]:
    """Remove everything of the lab; sentences that say what was done.

    Namespaces are left to finish by themselves; `LabContext.prepare` waits for that
    where it matters. Raises like `restore`.
    """
    state = LabState(context)
    nothing = Inventory(context.lab.number, state.environment)
    done = _RestoreLoop(state, nothing, patient=False).run()
    for provider in state.providers:
        provider.forget()
    return done


@dataclass
class _RestoreLoop:
    """Take, act, take again, until nothing differs or acting does not help.

    `patient`: namespaces that are being deleted are waited for. `churn`: what a program of
    the earlier state has got by logging in since the loop began; it may keep that.
    """

    state: LabState
    baseline: Inventory
    patient: bool
    done: list[str] = field(default_factory=list)
    failed: dict[str, LabError] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    seen: list[frozenset[str]] = field(default_factory=list)
    churn: set[str] = field(default_factory=set)
    unreadable: dict[str, str] = field(default_factory=dict)

    def run(self) -> list[str]:
        """Restore; raise LabError with what is left."""
        self.state.require_ready()
        for provider in self.state.providers:
            self.done += provider.prepare(self.baseline)
        try:
            wait_for(
                f"lab {self.baseline.lab} to return to its earlier state",
                self._round,
                timeout=SETTLE_SECONDS,
                every=EVERY,
            )
        except GaveUp as gave_up:
            self._look()  # the last actions may have been enough
            if self.left:
                raise self._report() from gave_up
        if self.left:
            raise self._report()
        skipped = [f"left out {path}: {why}" for path, why in self.unreadable.items()]
        return list(dict.fromkeys(self.done + skipped))

    def _round(self) -> bool:
        """Look and act once; True when there is no more to do or no more can be done."""
        ready, terminating = self._look()
        if not ready:
            return not terminating
        self.seen.append(frozenset(action.item.path for action in ready))
        last = self.seen[-MAX_IDENTICAL_ROUNDS:]
        if len(last) == MAX_IDENTICAL_ROUNDS and len(set(last)) == 1 and not terminating:
            return True
        self.failed = {}
        for _, stage in groupby(ready, key=lambda action: action.stage):
            actions = list(stage)
            with ThreadPoolExecutor(THREADS) as pool:
                # All are announced before any is waited for: operators work side by side, too.
                list(pool.map(self._announce, actions))
                self.done += [done for done in pool.map(self._perform, actions) if done]
        return False

    def _look(self) -> tuple[list[Action], list[Action]]:
        """What is to do now, and what has to wait for a deletion that is under way."""
        # Secrets are copied when a baseline is stored; a restore adds no copies.
        present = self.state.take(keep=False)
        self.unreadable = present.unreadable
        actions = plan(self.baseline, present)
        if len(self.seen) >= STRICT_ROUNDS and _has_workloads(self.baseline):
            self.churn |= {a.item.path for a in actions if a.item.kind in _BY_LOGIN} - {
                path for paths in self.seen for path in paths
            }
        actions = [action for action in actions if action.item.path not in self.churn]
        waits = [action for action in actions if _is_terminating(action, present)]
        ready = [action for action in actions if action not in waits]
        terminating = waits if self.patient else []
        changes = differences(self.baseline, present) if ready else {}
        self.left = {
            **{a.item.path: f"{a.item} is still being deleted" for a in terminating},
            **{path: line for path, line in changes.items() if path not in self.churn},
        }
        return ready, terminating

    def _announce(self, action: Action) -> None:
        self.state.provider_of(action).announce(action)

    def _perform(self, action: Action) -> str:
        try:
            return self.state.provider_of(action).restore(action)
        except LabError as error:
            self.failed[action.item.path] = error
            return ""

    def _report(self) -> LabError:
        causes = {path: e.what for path, e in self.failed.items() if path in self.left}
        lines = "\n".join(f"  - {line}" for line in {**self.left, **causes}.values())
        return LabError(
            f"lab {self.baseline.lab} is not back at its earlier state:\n{lines}",
            where=f"lab {self.baseline.lab}, environment {self.state.context.access.name}",
            hint=f"./lab reset {self.baseline.lab}, which removes the whole lab",
        )


def _has_workloads(baseline: Inventory) -> bool:
    """Whether a program runs in the earlier state that may log in to Vault by itself."""
    return any(i.kind == "custom" or i.noun in WORKLOADS for i in baseline.items.values())


def _is_terminating(action: Action, present: Inventory) -> bool:
    """Whether the action has to wait, as its object or namespace is being deleted already.

    A custom resource is not waited for: its finalizers may need help.
    """
    item = action.item
    there = (present.items.get(item.path), present.items.get(item.parent))
    if action.before is None and item.kind == "custom":
        return False
    return any(one is not None and one.terminating for one in there)
