"""Renders each lab as two notebooks: the solved one and the exercise.

The notebooks are committed, so that they can be read without running anything, and a
test compares them with what their lab renders. Rendering is deterministic: cell ids come
from the step numbers and there are no outputs. `./lab render` writes them.

    notebooks/NN_topic.ipynb             why, the code of do, a check
    notebooks/exercises/NN_topic.ipynb   why, the goals, the code with gaps, the same check
    notebooks/pictures/NN_topic.svg      the lab's picture, which both and its README show

A step whose lines have no gaps yet gets an empty cell and a list of what is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import nbformat

from harness.base.paths import FILES
from harness.lab.catalog import OWN, home, labs_in
from harness.lab.gaps import GAP
from harness.lab.questions import folded, folded_answer
from harness.lab.steps import Lab, Step
from harness.notebook.facts import facts
from harness.notebook.source import Source, grouped_imports, source_of

NOTEBOOKS = FILES / "notebooks"
EXERCISES = "exercises"
PICTURES = "pictures"

# The first line of a cell that belongs to a step; harness.notebook.lab looks for it.
STEP_COMMENT = "# Step "

# nbformat's functions carry no annotations.
_v4: Any = nbformat.v4
_writes: Any = nbformat.writes

_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

# What each attribute of `lab` is for, in the words of an exercise's "Given".
_TOOLS = {
    "http": '`lab.http`: plain HTTP to Vault (`lab.http.get("/v1/…")`)',
    "vault": "`lab.vault`: hvac, the Python client of Vault",
    "kube": "`lab.kube`: kubectl's verbs (`apply`, `get`, `exec`, `logs`, `delete`)",
    "run": '`lab.run("kubectl …")`: a command as you would type it',
    "wait_for": "`lab.wait_for(what, probe)`: wait until `probe()` is true",
    "path": '`lab.path("kv")`: a name in Vault that belongs to this lab',
    "namespace": "`lab.namespace`: the Kubernetes namespace of this lab",
    "image": "`lab.image()`: an image with a shell, curl and jq",
    "secret": '`lab.secret("name")`: a random value to store',
    "fingerprint": "`lab.fingerprint(value)`: compare a secret without showing it",
    "access": "`lab.access`: addresses and files of the environment",
    "audit": "`lab.audit`: Vault's audit log",
}


def render(lab: Lab, *, exercise: bool = False, following: Lab | None = None) -> Any:
    """The lab as a notebook (nbformat 4). `following` is the lab to go on with.

    Raises TypeError when a step's body cannot stand as a cell.
    """
    sources = {step.name: source_of(step) for step in lab.steps}
    cells = [
        _markdown("title", _opening(lab, exercise)),
        _code("set-up", set_up(lab, list(sources.values()))),
    ]
    for step in lab.steps:
        cells += _step_cells(step, sources[step.name], exercise)
    cells.append(_markdown("end", _closing(lab, following)))
    notebook = _v4.new_notebook(cells=cells, metadata=_METADATA)
    nbformat.validate(notebook)
    return notebook


def rendered(labs: tuple[Lab, ...] | None = None) -> Iterator[tuple[Path, str]]:
    """The path below `notebooks/` and the text of every notebook and every picture."""
    known = labs_in(OWN) if labs is None else labs
    for lab, following in zip(known, [*known[1:], None], strict=True):
        for exercise in (False, True):
            notebook = render(lab, exercise=exercise, following=following)
            folder = Path(EXERCISES) if exercise else Path()
            yield folder / lab.notebook, _writes(notebook) + "\n"
        if lab.picture:
            yield picture_path(lab), lab.picture.svg()


def notebooks_of_labs(folder: Path) -> Path:
    """Where the notebooks are of the labs in `folder`: below it, or this checkout's."""
    return NOTEBOOKS if folder == OWN else folder / NOTEBOOKS.name


def notebooks_of(lab: Lab) -> Path:
    """Where the notebooks of this lab are."""
    return notebooks_of_labs(home(lab))


def picture_path(lab: Lab) -> Path:
    """Where the lab's picture is, below `notebooks/`."""
    return Path(PICTURES, lab.notebook).with_suffix(".svg")


def differing(folder: Path, labs: tuple[Lab, ...] | None = None) -> list[str]:
    """Sentences about each file in `folder` that is not what its lab renders."""
    wanted = dict(rendered(labs))
    complaints = []
    for path, text in wanted.items():
        file = folder / path
        if not file.is_file():
            complaints.append(f"{path} is missing")
        elif file.read_text(encoding="utf-8") != text:
            complaints.append(f"{path} differs from what its lab renders")
    kinds = ("*.ipynb", f"{EXERCISES}/*.ipynb", f"{PICTURES}/*.svg")
    present = sorted(file for kind in kinds for file in folder.glob(kind))
    strays = [file.relative_to(folder) for file in present]
    return complaints + [f"{path} belongs to no lab" for path in strays if path not in wanted]


def write_all(folder: Path, labs: tuple[Lab, ...] | None = None) -> list[Path]:
    """Write every notebook and picture that changed; return the paths written."""
    return write_changed((folder / path, text) for path, text in rendered(labs))


def write_changed(files: Iterable[tuple[Path, str]]) -> list[Path]:
    """Write each file that is missing or has another text; return the files written."""
    written = []
    for file, text in files:
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            written.append(file)
    return written


def _markdown(cell_id: str, text: str) -> Any:
    return _v4.new_markdown_cell(text, id=cell_id)


def _code(cell_id: str, text: str) -> Any:
    return _v4.new_code_cell(text, id=cell_id)


def _opening(lab: Lab, exercise: bool) -> str:
    needs = f" with {' and '.join(lab.needs)}" if lab.needs else ""
    lines = [
        f"# Lab {lab.number}: {lab.title}" + (" (exercise)" if exercise else ""),
        "",
        lab.goal,
        "",
        *_picture(lab, exercise),
        f"**What you need**: a running environment{needs} (`./lab learn {lab.number}` brings it "
        f"up); about {lab.minutes} minutes.",
        "",
    ]
    if exercise:
        lines.append(
            f"**How it works**: each step says what to reach. Fill the gaps (`{GAP}`) of its "
            "cell; where it holds only a comment, write it. Or work in a terminal "
            f"(`./lab shell {lab.number}`): the check looks at the cluster and at Vault, not at "
            "how you got there. To run a step again from its beginning, go back to it first: "
            '`lab.reset("STEP")`. `lab.hint(...)` first says what is not yet true, then gives one '
            "hint more on each call."
        )
    else:
        lines.append(
            "**How it works**: run the cells from top to bottom. After each step a check looks "
            "at the cluster and at Vault and says what it found."
        )
    return "\n".join(lines)


def _picture(lab: Lab, exercise: bool) -> list[str]:
    if not lab.picture:
        return []
    path = f"{'../' if exercise else ''}{picture_path(lab).as_posix()}"
    return [f"![{lab.picture.title}]({path})", ""]


def set_up(lab: Lab, sources: list[Source]) -> str:
    """The first code cell. Raises TypeError when a name would be two things in it."""
    statements = {"open_lab": "from labs import open_lab"}
    for source in sources:
        for name, statement in source.imports.items():
            if statements.setdefault(name, statement) != statement:
                raise TypeError(
                    f"lab {lab.number}: {name} would be two things in one notebook: "
                    f"{statements[name]}, {statement}"
                )
    lines = grouped_imports(statements.values())
    return "\n".join([*lines, "", f'lab = open_lab("{lab.number}")'])


def _step_cells(step: Step, source: Source, exercise: bool) -> list[Any]:
    cell_id = step.id.replace(".", "-")
    why = f"## Step {step.number}: {step.title}\n\n{about(step)}{step.why}".rstrip()
    if step.answer:
        why += f"\n\n{folded_answer(step.answer)}"
    code = source.code
    # There is nothing to solve in a step that only looks: its code is its check.
    if exercise and not step.observe:
        stuck = f'Stuck? lab.hint("{step.name}")'
        why += "\n\n" + _wanted(step)
        if source.exercise:
            code = f"# Fill the gaps, or work in a terminal. {stuck}\n{source.exercise}"
        else:
            why += "\n\n" + _given(source)
            code = f"# Your code here, or work in a terminal. {stuck}\n"
    cells = [
        _markdown(f"{cell_id}-why", why.rstrip()),
        _code(f"{cell_id}-do", f"{STEP_COMMENT}{step.id}\n{code}"),
    ]
    if step.checks:
        check = f'lab.check("{step.name}")'
        if exercise and not step.observe:
            check += f'\n# lab.solve("{step.name}")  # does this step for you'
        cells.append(_code(f"{cell_id}-check", check))
    return cells


def about(step: Step) -> str:
    """The time that a step takes, and whether it may be left out; "" when there is nothing."""
    words = [f"About {step.minutes} minutes."] if step.minutes else []
    if step.further:
        words.append(f"Further: no later step needs it. `./lab skip {step.id}` leaves it out.")
    return f"*{' '.join(words)}*\n\n" if words else ""


def _wanted(step: Step) -> str:
    sentences = step.goals or facts(step)
    if not sentences:
        return ""
    return "\n".join(["**The check looks for**", "", *(f"- {s}" for s in sentences)])


def _given(source: Source) -> str:
    given = [_TOOLS[tool] for tool in source.tools if tool in _TOOLS]
    given += [f"`{name}`, imported above" for name in source.imports]
    given += [f'`lab.notes["{key}"]`, left by an earlier step' for key in source.reads]
    lines = ["**Given**", ""] + [f"- {line}" for line in given or ["nothing but a shell"]]
    if source.leaves:
        keys = ", ".join(f'`lab.notes["{key}"]`' for key in source.leaves)
        lines += ["", f"Later steps read {keys}: leave it there."]
    return "\n".join(lines)


def _closing(lab: Lab, following: Lab | None) -> str:
    lines = []
    if lab.remember:
        lines += ["## What to remember", "", *(f"- {line}" for line in lab.remember), ""]
    if lab.questions:
        lines += ["## Three questions", "", folded(lab.questions), ""]
    lines += [
        "## Clean up",
        "",
        "`lab.reset()` removes everything that this lab made in the cluster and in Vault; "
        '`lab.reset("STEP")` returns to the state before that step.',
        "",
        "## Next",
        "",
        f"[Lab {following.number}: {following.title}]({following.notebook}). {following.goal}\n\n"
        f"In the terminal, `./lab up {following.number}` installs what it needs, and "
        f"`./lab shell {following.number}` is its shell."
        if following
        else "This was the last lab. `./lab down` removes the environment.",
    ]
    return "\n".join(lines)
