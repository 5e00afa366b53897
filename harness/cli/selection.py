"""The range of steps that `lab run` goes through; refused before anything is started."""

from __future__ import annotations

from harness.base.errors import UsageError
from harness.lab import catalog
from harness.lab.steps import Lab

# What a newcomer sees first: all ways side by side.
FIRST_SHOWN, ALL = "05", "all"


def find_range(
    selector: str, first: int | None, last: int | None
) -> list[tuple[Lab, int, int | None]]:
    """The labs that `lab run` goes through, each with its first and its last step.

    Without a selector the lab that is shown first; `all` are all labs, and then a range makes
    no sense. Raises UsageError.
    """
    selector = selector or FIRST_SHOWN
    if selector == ALL:
        if first is not None or last is not None:
            raise UsageError(
                "--from and --to choose steps of one lab, not of all",
                hint=f"./lab run 01 --from {first or 1}",
            )
        return [(lab, 1, None) for lab in catalog.all_labs()]
    lab, steps = catalog.find_steps(selector)
    if "." in selector:
        if first is not None or last is not None:
            raise UsageError(
                f"{selector} names one step, --from and --to name others",
                hint=f"./lab run {lab.number} --from {steps[0].number}",
            )
        return [(lab, steps[0].number, steps[0].number)]
    begin = 1 if first is None else lab.find(first).number
    if last is not None and lab.find(last).number < begin:
        raise UsageError(
            f"step {begin} comes after step {last}: there is nothing between them",
            hint=f"./lab run {lab.number} --from {last} --to {begin}",
        )
    return [(lab, begin, last)]
