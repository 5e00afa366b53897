"""Step 9: which way, when: ten needs, each answered by what this run has measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness import expect
from harness.lab.api import LabContext
from labs.lab05_five_ways.lab import five_ways
from labs.lab05_five_ways.results import load, print_table
from labs.lab05_five_ways.ways import WAYS

Cells = dict[str, Any]


@dataclass(frozen=True)
class Need:
    """Something that a person may want. `met` reads the figures and the places of one way."""

    words: str
    step: int
    met: Callable[[Cells, Cells], bool]


NEEDS = (
    Need("no copy in etcd", 8, lambda _, places: not places["etcd"]),
    Need("no value in kubectl get", 8, lambda _, places: not places["objects"]),
    Need("a variable, without a wrapper", 8, lambda _, places: places["environment"]),
    Need("no line of code for Vault", 7, lambda figures, _: figures["lines_for_vault"] == 0),
    Need("any chart that knows a Secret", 7, lambda figures, _: bool(figures["secrets_left"])),
    Need(
        "a change restarts the process",
        7,
        lambda figures, _: figures["change_to_restarted_process_seconds"] is not None,
    ),
    Need("a new pod does not ask Vault", 7, lambda figures, _: figures["requests_at_start"] == 0),
    Need("Vault names the workload", 7, lambda figures, _: "/" in figures["seen_by_vault"]),
    Need("no token stays in Vault", 7, lambda figures, _: figures["tokens_left_by_a_pod"] == 0),
    Need(
        "nothing to install",
        7,
        lambda figures, _: not any(names for names in figures["installed"].values()),
    ),
)


def verdicts(results: Cells) -> dict[str, dict[str, bool]]:
    """For each need and each way: whether the way meets it, by what was measured."""
    return {
        need.words: {
            way.name: bool(need.met(results["ways"][way.name], results["leaks"][way.name]))
            for way in WAYS
        }
        for need in NEEDS
    }


def show_needs(found: dict[str, dict[str, bool]]) -> None:
    """Print which way meets which need; the number is the step that has shown it."""
    print_table(
        [
            (
                f"{need.words} (05.{need.step})",
                ["yes" if found[need.words][way.name] else "-" for way in WAYS],
            )
            for need in NEEDS
        ]
    )


@five_ways.step(
    "Which one, when",
    minutes=3,
    observe=True,
    goals=[
        "the figures of step 7 and the map of step 8 are there",
        "each of the ten needs is met by some way, and not by all",
        "no way meets all needs",
    ],
    hints=[
        "The answers come from results.json: `./lab check 05.7` and `./lab check 05.8` say whether "
        "it is whole.",
        "`verdicts(load(lab))` computes the table, `show_needs` prints it.",
        "./lab solve 05.9",
    ],
)
def which_one(lab: LabContext) -> None:
    """
    Ten things that people want of a secret's way into a pod. Each cell is computed from what
    steps 7 and 8 have just measured; the number in brackets is the step.

    No column is all *yes*. As a rule of thumb: a **plain Secret** or the **operator** for charts
    that know nothing but Secrets, with encryption at rest and few readers; **CSI** or the
    **injector** where no copy may lie in etcd; the **HTTP API** where the application needs
    more than reading: transit, wrapping, tokens of its own.

    Not run here: the **External Secrets Operator** also copies into Kubernetes Secrets, from many
    stores besides Vault, so the operator's column is its column, too. The Vault Secrets
    Operator has a **CSI mode** of its own, which keeps the secret out of etcd; it needs Vault
    Enterprise.
    """
    results = load(lab)
    expect(
        {"ways", "leaks"} <= set(results), "the figures of step 7 and the map of step 8 are there"
    )
    found = verdicts(results)
    print("which way meets which need, and the step that has shown it")
    show_needs(found)
    alike = [words for words, by_way in found.items() if len(set(by_way.values())) != 2]
    expect(
        not alike,
        "each of the ten needs is met by some way, and not by all",
        found=alike,
    )
    perfect = [way.name for way in WAYS if all(by_way[way.name] for by_way in found.values())]
    expect(not perfect, "no way meets all needs", found=perfect)
