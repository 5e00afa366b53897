"""The fault matrix: each fault is made, the labs are asked, and what they say mends it.

A plain run tries a dozen, one for each link of the way; with `--lab-faults` (`./lab test --faults`)
all of them, and docs/faults.md is written with what was said and its score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.base.paths import CHECKOUT
from harness.lab.context import LabContext
from harness.session.runner import Runner
from tests.live.faults import lab01, lab02, lab03, lab04, report
from tests.live.faults.fault import RIGHT, Fault, Outcome, tried

pytestmark = pytest.mark.live

ALL: tuple[Fault, ...] = (*lab01.FAULTS, *lab02.FAULTS, *lab03.FAULTS, *lab04.FAULTS)
# One for each link of the way, and what a log, an event or a condition says.
DOZEN = frozenset(
    {
        "01 Vault is sealed",
        "01 pods have the cluster's CA for Vault",
        "01 the shell's token was revoked",
        "01 the auth method is disabled",
        "01 wrong issuer",
        "01 another audience",
        "01 tokens for other addresses",
        "01 a denial beside a permission",
        "01 the present version is destroyed, an older one is whole",
        "02 the provider's pods are gone",
        "03 the role annotation is misspelt",
        "04 the path has a slip",
    }
)


def name_of(fault: Fault) -> str:
    return f"{fault.lab} {fault.name}"


@pytest.fixture(scope="module")
def runner_of(lab_context: Callable[[str], LabContext]) -> Iterator[Callable[[str], Runner]]:
    """The runner of a lab; the lab begins from nothing, and is removed at the end."""
    made: dict[str, Runner] = {}

    def runner(number: str) -> Runner:
        if number not in made:
            made[number] = Runner(lab_context(number))
            made[number].reset()
        return made[number]

    yield runner
    for one in made.values():
        one.reset()


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[list[Outcome]]:
    """What came of each fault; written down when all were tried."""
    found: list[Outcome] = []
    yield found
    if {outcome.fault for outcome in found} == set(ALL):
        report.write(found, CHECKOUT / "docs" / "faults.md")


@pytest.mark.parametrize("fault", ALL, ids=name_of)
def test_the_cause_is_named_and_mended(
    fault: Fault,
    runner_of: Callable[[str], Runner],
    outcomes: list[Outcome],
    request: pytest.FixtureRequest,
) -> None:
    if name_of(fault) not in DOZEN and not request.config.getoption("--lab-faults"):
        pytest.skip("tried with --lab-faults")
    runner = runner_of(fault.lab)
    if runner.context.access.flavour not in fault.flavours:
        pytest.skip(f"not on {runner.context.access.flavour}")
    outcome = tried(runner, fault)
    outcomes.append(outcome)
    assert outcome.score == RIGHT, outcome.said


def test_the_dozen_are_there() -> None:
    assert {name_of(fault) for fault in ALL} >= DOZEN
    assert len({name_of(fault) for fault in ALL}) == len(ALL)
