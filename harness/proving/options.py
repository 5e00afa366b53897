"""The `--lab-…` options of pytest: what they are, which contradict each other, what they choose.

The plugin is loaded in every project of an environment in which the package is installed. There it
changes nothing until a `--lab-…` option or LAB_PATH says that the project has to do with labs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.base.errors import LabError
from harness.base.paths import CHECKOUT, INSTALLED

if TYPE_CHECKING:
    import pytest

    from harness.lab.steps import Lab

DEFAULT_NAME = "test"
LEARNERS_NAME = "lab"
# The module with the proof of the labs, which any project can run.
PROOFS = Path(__file__).with_name("test_labs.py")
_PREFIX = "lab_"


def add(parser: pytest.Parser) -> None:
    """Every option begins with --lab-; without it, its value is None, False or empty."""
    group = parser.getgroup("lab", "labs: the environment that live tests run in")
    option = group.addoption
    option("--lab-env", default=None, metavar="NAME", help="its name (default: test)")
    option(
        "--lab-supply",
        default=None,
        choices=("auto", "online", "offline"),
        help="where its parts come from (default: auto)",
    )
    option(
        "--lab-vault",
        default=None,
        choices=("vault", "openbao"),
        help="which Vault (default: vault, or what the environment has)",
    )
    option(
        "--lab-kubernetes",
        default=None,
        metavar="RELEASE",
        help="which Kubernetes (default: the first, or what the environment has)",
    )
    option(
        "--lab-kubeconfig",
        default=None,
        type=Path,
        metavar="FILE",
        help="of a kind cluster that is brought along, for labs 01 to 05",
    )
    option(
        "--lab-only",
        action="append",
        default=[],
        metavar="LAB",
        help="prove only this lab; without a path, outside of the checkout, this is all that runs",
    )
    option("--lab-faults", action="store_true", help="try all faults of the matrix, not a dozen")
    option("--lab-keep", action="store_true", help="leave it running at the end")
    option("--lab-fresh", action="store_true", help="remove it first, if it is there")


def in_use(config: pytest.Config) -> bool:
    """Whether this run has to do with labs: the checkout's own, or one that says so."""
    given = any(value for name, value in vars(config.option).items() if name.startswith(_PREFIX))
    own = not INSTALLED and config.rootpath == CHECKOUT
    return given or own or bool(os.environ.get("LAB_PATH"))


def settle(option: Any) -> None:
    """Put in the defaults of what was not given."""
    option.lab_env = option.lab_env or DEFAULT_NAME
    option.lab_supply = option.lab_supply or "auto"


def refusal(option: Any) -> str:
    """Why these options cannot go together, "" when they can."""
    notebooks = getattr(option, "nbval", False) or getattr(option, "nbval_lax", False)
    if option.lab_env == LEARNERS_NAME:
        return f"--lab-env {LEARNERS_NAME} is a learner's environment: tests use another name"
    if getattr(option, "nbval", False):
        return "--nbval compares outputs, the notebooks are committed without: use --nbval-lax"
    if notebooks and getattr(option, "numprocesses", None):
        return "notebooks share one environment: leave -n out"
    if notebooks and getattr(option, "nbval_kernel_name", None):
        return "--nbval-kernel-name: the notebooks run in this Python, leave it out"
    return ""


def chosen(option: Any) -> list[Lab]:
    """The labs that --lab-only names. Raises pytest.UsageError."""
    import pytest

    from harness.lab.catalog import find_lab

    try:
        return [find_lab(number) for number in option.lab_only]
    except LabError as error:
        raise pytest.UsageError(f"--lab-only: {error}") from None


def collect_by_default(config: pytest.Config) -> None:
    """With --lab-only and no path, collect the proofs of these labs, or their notebooks.

    In the checkout itself everything stays as it is: its tests and notebooks are named by path.
    """
    labs = chosen(config.option)
    if not labs or config.rootpath == CHECKOUT:
        return
    if config.args_source == config.ArgsSource.ARGS:
        return
    if getattr(config.option, "nbval_lax", False):
        from harness.notebook.render import notebooks_of

        config.args = [str(notebooks_of(lab) / lab.notebook) for lab in labs]
    else:
        config.args = [str(PROOFS)]
