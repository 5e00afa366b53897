"""The pytest plugin: `--lab-…` options, live environments, one test a step, notebooks.

A live test gets an environment of the tests' own (never the learner's), brought up when
the first test needs it and removed at the end if this run made it. Notebooks run by nbval
are no functions and get no fixtures: they are served in `pytest_runtest_setup`, before
their kernel starts. A lab or a notebook stops at its first failure. What a report says is
redacted; what would have leaked is remembered for the canary test.

    pytest                                   unit tests: no engine needed
    pytest -m live                           labs and environments (minutes)
    pytest --nbval-lax notebooks             the notebooks, in an environment

That is the checkout. A project that has the package installed gets the plugin by its entry point
(harness.proving.options).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.base.errors import LabError
from harness.base.paths import CHECKOUT, state_root
from harness.base.redact import redact
from harness.proving import options
from harness.proving.environment import SessionEnvironment
from harness.supply import surroundings

if TYPE_CHECKING:
    from harness.lab.access import Access
    from harness.lab.context import LabContext
    from harness.proving.proof import Proofs

# The longest cells wait for what Kubernetes does once a minute, and restart its API server.
CELL_SECONDS = 300.0
NBVAL_DEFAULT_SECONDS = 2000.0

MARKERS = (
    "fuzz: random input, 300 rounds a kind; five minutes each with `./lab test --fuzz`",
    "live: needs an environment with a cluster and a Vault; select with -m live",
    "last: runs after all others, because it looks at what they left; select with -m last",
    "notebook: a cell of a lab's notebook; select with --nbval-lax notebooks",
)

_session_environment = pytest.StashKey[SessionEnvironment]()
_in_use = pytest.StashKey[bool]()
_leaks = pytest.StashKey[list[str]]()
_notebook_served = pytest.StashKey[Path]()
_failed_notebooks = pytest.StashKey[dict[Path, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Every option begins with --lab-."""
    options.add(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Refuse what contradicts itself; describe the markers; give nbval good values."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    config.stash[_leaks] = []
    config.stash[_failed_notebooks] = {}
    config.stash[_session_environment] = SessionEnvironment(config)
    config.stash[_in_use] = options.in_use(config)
    options.settle(config.option)
    if not config.stash[_in_use]:
        return
    surroundings.settle()
    if complaint := options.refusal(config.option):
        raise pytest.UsageError(complaint)
    if _runs_notebooks(config):
        # The kernel of the notebook's own name might be another Python's.
        config.option.nbval_current_env = True
        if config.option.nbval_cell_timeout == NBVAL_DEFAULT_SECONDS:
            config.option.nbval_cell_timeout = CELL_SECONDS
    options.collect_by_default(config)


def _runs_notebooks(config: pytest.Config) -> bool:
    return config.stash[_in_use] and bool(getattr(config.option, "nbval_lax", False))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The last thing of a run."""
    session.config.stash[_session_environment].close()


# -- fixtures ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def environment(request: pytest.FixtureRequest) -> Access:
    """How to reach the run's environment (harness.lab.access.Access)."""
    return _reach(request.config, ())


@pytest.fixture(scope="session")
def lab_context(request: pytest.FixtureRequest) -> Callable[[str], LabContext]:
    """Makes the context of the lab with a given number; what the lab needs is installed."""
    from harness.lab.catalog import find_lab
    from harness.lab.context import LabContext

    def make(number: str) -> LabContext:
        lab = find_lab(number)
        return LabContext(_reach(request.config, lab.needs), lab)

    return make


def _reach(config: pytest.Config, needs: tuple[str, ...]) -> Access:
    with told_shortly():
        return config.stash[_session_environment].access(needs)


@contextmanager
def told_shortly() -> Iterator[None]:
    """Make a LabError a test failure of three lines: its traceback says nothing more."""
    try:
        yield
    except LabError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.fixture(scope="session")
def proofs(lab_context: Callable[[str], LabContext]) -> Proofs:
    """The proofs of this run, one a lab (harness.proving.proof)."""
    from harness.proving.proof import Proofs

    return Proofs(lab_context)


@pytest.fixture
def leaks(request: pytest.FixtureRequest) -> list[str]:
    """Which tests have printed or logged a secret so far (redacted in their reports)."""
    return request.config.stash[_leaks]


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Any:
    """The proofs of the labs lie in the package: elsewhere their names begin with `labs`."""
    if module_path == options.PROOFS and parent.config.rootpath not in module_path.parents:
        return pytest.Module.from_parent(parent, path=module_path, nodeid="labs")
    return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `lab_turn` runs for each step of the labs: done, and undone."""
    if "lab_turn" in metafunc.fixturenames:
        from harness.lab.catalog import all_labs
        from harness.proving.proof import turns

        chosen = options.chosen(metafunc.config.option)
        metafunc.parametrize("lab_turn", turns(chosen or all_labs()), ids=str)


# -- notebooks --------------------------------------------------------------------------


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Exercises are unsolved: they are looked at, never run to pass."""
    from harness.lab.catalog import OWN, outside
    from harness.notebook.render import EXERCISES, notebooks_of_labs

    if _runs_notebooks(config):
        unsolved = {notebooks_of_labs(home) / EXERCISES for home in (OWN, *outside())}
        if unsolved & {collection_path, *collection_path.parents}:
            return True
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Cells of notebooks bear the marker `notebook`; what is marked `last` comes last."""
    if not config.stash[_in_use]:
        return
    for item in items:
        if _notebook(item):
            item.add_marker("notebook")
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before a notebook's kernel starts: its environment, and nothing left of its lab."""
    file = _notebook(item)
    if file is None:
        return
    failed = item.config.stash[_failed_notebooks]
    if file in failed:
        pytest.skip(f"{failed[file]} of this notebook failed")
    before = item.config.stash.get(_notebook_served, None)
    if before == file:
        return
    # The pods of a lab that is over would go on asking, beside all labs that follow.
    over = before if before not in failed else None
    try:
        with told_shortly():
            access = _start_clean(item.config.stash[_session_environment], file, over)
    except BaseException:
        failed[file] = "the set-up"
        raise
    item.config.stash[_notebook_served] = file
    os.environ |= {
        "LAB_ENV": access.name,
        "LAB_STATE": str(state_root()),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys((str(CHECKOUT), *_python_path()))),
        # A person's start-up scripts must not run in the notebooks, nor their history grow.
        "IPYTHONDIR": str(access.state / "ipython"),
    }


def _python_path() -> list[str]:
    return [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]


def _start_clean(session_environment: SessionEnvironment, file: Path, over: Path | None) -> Access:
    """The environment with what the notebook's lab needs, and nothing of that lab in it.

    What the notebook `over` has left is removed, too.
    """
    from harness.lab.catalog import all_labs
    from harness.lab.context import LabContext
    from harness.session.runner import Runner

    labs = [lab for lab in all_labs() if lab.notebook == file.name]
    access = session_environment.access(tuple(need for lab in labs for need in lab.needs))
    names = {file.name, over.name if over else ""}
    for lab in all_labs():
        if lab.notebook in names:
            Runner(LabContext(access, lab)).reset()
    return access


def _notebook(item: pytest.Item) -> Path | None:
    """The notebook that `item` is a cell of, where this run has to do with labs."""
    return item.path if item.config.stash[_in_use] and item.path.suffix == ".ipynb" else None


# -- reports ----------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """Redact what the report says; note leaks and the first failed cell of a notebook."""
    report = yield
    file = _notebook(item)
    if file and report.failed:
        item.config.stash[_failed_notebooks].setdefault(file, item.name)
    leaked = redact_report(report)
    item.config.stash[_leaks] += [f"{item.nodeid}: {where}" for where in leaked]
    return report


def redact_report(report: Any) -> list[str]:
    """Mask secrets in a test report; return which of its parts held some."""
    leaked = []
    sections = []
    for title, text in report.sections:
        clean = redact(text)
        leaked += [title] if clean != text else []
        sections.append((title, clean))
    report.sections = sections
    if report.longrepr is not None and not isinstance(report.longrepr, tuple):
        text = str(report.longrepr)
        clean = redact(text)
        if clean != text:
            leaked.append("failure message")
            report.longrepr = clean
    return leaked
