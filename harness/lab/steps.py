"""Lab, step and check: what a lab is made of, with no input or output of its own.

A lab is an ordered list of steps. A step has a why (its docstring, Markdown), a `do`
(the real calls), a `check` (what must be true of the cluster and of Vault afterwards, no
matter how it came about) and, where the engine cannot derive it, an `undo`. The same
objects feed the tour, the notebook, the exercise and pytest; see harness.cli.tour,
harness.notebook.lab and harness.proving.plugin.

Inside a check, `expect` states one fact at a time. Facts that hold are reported to
a listener (the tour prints them), the first that does not raises CheckFailed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.base.errors import CheckFailed, UsageError
from harness.base.redact import redact
from harness.lab.picture import Picture
from harness.lab.questions import Question

if TYPE_CHECKING:
    from harness.lab.context import LabContext
    from harness.lab.login_path import LoginPath

Action = Callable[["LabContext"], None]
Drawing = Callable[["LabContext"], object]
D = TypeVar("D", bound=Drawing)

FOUND_LIMIT = 600

_listener: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)


def expect(condition: object, what: str, *, found: object = None, hint: str = "") -> None:
    """State that `what` is true; raise CheckFailed with what was found when it is not.

    `what` is a full sentence in the positive ("the role names the audience vault").
    `found` is shown redacted and shortened; never pass a secret value on purpose.
    """
    if condition:
        listener = _listener.get()
        if listener:
            listener(what)
        return
    shown = ""
    if found is not None:
        text = redact(found if isinstance(found, str) else repr(found))
        shown = f"\n  found: {text if len(text) <= FOUND_LIMIT else text[:FOUND_LIMIT] + ' …'}"
    raise CheckFailed(f"not yet true: {what}{shown}", hint=hint)


@contextmanager
def listening(listener: Callable[[str], None]) -> Iterator[None]:
    """Send every fact that `expect` finds true to `listener` while the block runs."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def listen(listener: Callable[[str], None]) -> None:
    """Like `listening`, to the end of the present context (a notebook cell is one)."""
    _listener.set(listener)


@dataclass(eq=False)
class Step:
    """One step of a lab. Make it with `@lab.step(...)`, not by hand.

    `minutes` is the time a learner needs, 0 when the author has not said. `goals` are the
    sentences that an exercise states; the check says each of them. `answer` is that to the question
    which the text asks before a cell is run: folded in a notebook. A `further` step may be
    left out: no later step needs it. A step that only looks (`observe`) changes nothing, so
    its check needs not fail before it; without a check it asserts inside `do`.
    """

    lab: Lab
    number: int
    name: str
    title: str
    why: str
    do: Action
    hints: tuple[str, ...]
    observe: bool
    minutes: int = 0
    goals: tuple[str, ...] = ()
    answer: str = ""
    further: bool = False
    checks: Action | None = None
    undoes: Action | None = None
    diagnoses: Callable[[LabContext], LoginPath] | None = None

    @property
    def id(self) -> str:
        """`01.3`: how the command line names this step."""
        return f"{self.lab.number}.{self.number}"

    def check(self, action: Action) -> Action:
        """Register what must be true after this step (decorator)."""
        self.checks = action
        return action

    def undo(self, action: Action) -> Action:
        """Register what the engine cannot derive about undoing this step (decorator)."""
        self.undoes = action
        return action

    def diagnosis(self, action: Callable[[LabContext], LoginPath]) -> None:
        """Register the way to a secret that is looked at when the check fails (decorator)."""
        self.diagnoses = action

    def verify(self, lab: LabContext) -> None:
        """Run the check; without one, look again."""
        (self.do if self.checks is None else self.checks)(lab)


@dataclass(eq=False)
class Lab:
    """A topic: an ordered list of steps in a namespace and under Vault paths of its own.

    `number` is two digits ("01") and orders the labs; `minutes` is the time a learner
    needs; `goal` is one sentence. `needs` names the integrations the environment must
    have before the first step (harness.integrations); `snapshots` what a snapshot holds
    beside Vault and the cluster ("control_plane"). `picture` shows who talks to whom: it
    stands in the README and in the notebook, as do the `questions`. A `draft` works but has
    not been proved everywhere yet: it is shown, tested and listed only with LAB_DRAFTS=1.
    """

    number: str
    title: str
    minutes: int
    goal: str
    needs: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()
    draft: bool = False
    picture: Picture | None = None
    remember: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    steps: list[Step] = field(default_factory=list)
    drawings: dict[str, Drawing] = field(default_factory=dict)
    sequenced: bool = False

    @property
    def prefix(self) -> str:
        """What every name in Vault and every namespace of this lab begins with: `lab01`."""
        return f"lab{self.number}"

    @property
    def source(self) -> Path:
        """The folder of its own files (steps, README, manifests), such as labs/lab01_http_api."""
        return Path(inspect.getfile(self.steps[0].do)).absolute().parent

    @property
    def notebook(self) -> str:
        """The file name of its notebook: `01_http_api.ipynb` for labs/lab01_http_api/."""
        return f"{self.source.name.removeprefix('lab')}.ipynb"

    def step(
        self,
        title: str,
        *,
        minutes: int = 0,
        goals: Sequence[str] = (),
        answer: str = "",
        hints: Sequence[str] = (),
        observe: bool = False,
        further: bool = False,
    ) -> Callable[[Action], Step]:
        """Make the decorated function a step of this lab (its `do`).

        Its number is its place in `sequence`; without one, that of its definition. For the
        arguments see `Step`.
        """

        def register(do: Action) -> Step:
            step = Step(
                lab=self,
                number=len(self.steps) + 1,
                name=_name(do),
                title=title,
                why=inspect.cleandoc(do.__doc__ or ""),
                do=do,
                hints=tuple(hints),
                observe=observe,
                minutes=minutes,
                goals=tuple(goals),
                answer=answer,
                further=further,
            )
            if any(other.name == step.name for other in self.steps):
                raise TypeError(f"lab {self.number} has two steps named {step.name}")
            if self.sequenced:
                raise TypeError(f"lab {self.number}: {step.name} is not in the lab's sequence")
            self.steps.append(step)
            return step

        return register

    def drawing(self, name: str) -> Callable[[D], D]:
        """Register what `lab.draw(name)` shows: a picture's file, a table (decorator)."""

        def register(drawing: D) -> D:
            self.drawings[name] = drawing
            return drawing

        return register

    def sequence(self, *steps: Step) -> None:
        """State the order of all steps: a lab's table of contents, in its steps.py.

        Raises TypeError for a step of another lab, one that is named twice and one that is
        left out.
        """
        for step in steps:
            if step.lab is not self:
                raise TypeError(f"lab {self.number}: {step.name} is a step of another lab")
        names = [step.name for step in steps]
        twice = [name for name in names if names.count(name) > 1]
        missing = [step.name for step in self.steps if step not in steps]
        if twice or missing:
            wrong = f"names {twice[0]} twice" if twice else f"leaves out {', '.join(missing)}"
            raise TypeError(f"lab {self.number}: the sequence {wrong}")
        self.steps[:] = steps
        self.sequenced = True
        for number, step in enumerate(self.steps, start=1):
            step.number = number

    def find(self, name: str | int) -> Step:
        """The step with this name or number. Raises UsageError when there is none."""
        for step in self.steps:
            if str(name) in (step.name, str(step.number)):
                return step
        raise UsageError(
            f"lab {self.number} has no step {name!r}",
            where=f"lab {self.number}, {self.title}",
            hint=f"steps 1 to {len(self.steps)}: " + ", ".join(s.name for s in self.steps),
        )


def _name(do: Any) -> str:
    return str(do.__name__)
