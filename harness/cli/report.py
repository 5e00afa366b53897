"""`lab report`: what was done in an environment, as a table, as data, or as one HTML file.

The page is what a learner keeps and a trainer collects: each step with its time and the
sentences of its check, the versions, the pictures that the labs drew, the figures of lab 05. It
needs no network and no script. Every text in it goes through `redact`. All is read from the
state folder, so the environment need not run.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup
from rich.table import Table

from harness.base.errors import LabError, UsageError
from harness.base.paths import existing
from harness.base.progress import duration
from harness.base.redact import redact
from harness.base.statefile import read_json, write_atomically
from harness.cli.compare import FIGURES, SCHEMA, shown
from harness.cli.status import parts_of, project_version
from harness.environment.environment import Environment
from harness.lab import catalog
from harness.lab.steps import Lab, Step
from harness.session.progress import CHECKED, DONE, SKIPPED, SOLVED, Progress

Data = dict[str, Any]

STATES = {CHECKED: "done", SOLVED: "done by the labs", SKIPPED: "skipped", "": "open"}
# Where a place of the leak map is a control: without it, "not found" means nothing.
CONTROL = "control"
TEMPLATE = "report.html.j2"


def gather(environment: Environment) -> Data:
    """What the report says, as plain data. Raises UsageError for an environment never made."""
    record = environment.record
    if record is None:
        known = ", ".join(existing())
        raise UsageError(
            f"there is nothing to report of environment {environment.name!r}",
            where=str(environment.folder),
            hint=f"there are: {known}" if known else "./lab run begins with a lab",
        )
    # Its tokens become known here, so that they are masked wherever they might stand.
    with contextlib.suppress(LabError):
        environment.access()
    parts = parts_of(record)
    versions = {part["part"]: part["version"] for part in parts}
    return {
        "environment": environment.name,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "project": project_version(),
        "vault": f"{record.flavour} {versions.get(record.flavour, '')}".strip(),
        "kubernetes": versions.get("node", record.kubernetes),
        "supply": record.why,
        "parts": parts,
        "labs": [_lab(environment, lab) for lab in catalog.all_labs()],
    }


def page(data: Data) -> str:
    """The report as one HTML file."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Pictures and rendered Markdown are redacted where they are made.
        finalize=lambda value: redact(value) if type(value) is str else value,
    )
    templates.filters |= {
        "local": local,
        "duration": duration,
        "markdown": _inline,
        "embedded": embedded,
    }
    begun = [lab for lab in data["labs"] if any(step["state"] for step in lab["steps"])]
    return templates.get_template(TEMPLATE).render(data, begun=begun, states=STATES)


def write(data: Data, file: Path) -> None:
    """Write the page, readable by its owner only. Raises UsageError where that cannot be."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, page(data), mode=0o600)
    except OSError as error:
        raise UsageError(
            f"the report cannot be written: {error.strerror}", where=str(file), hint="name another"
        ) from error


def tables(data: Data) -> list[Table]:
    """The same for a terminal: a table for each lab that was begun."""
    found = []
    for lab in data["labs"]:
        steps = [step for step in lab["steps"] if step["state"]]
        if not steps:
            continue
        title = f"Lab {lab['lab']}: {lab['title']}, {lab['done']} of {len(lab['steps'])} steps"
        table = Table("step", "title", "state", "when", "time", title=title, title_justify="left")
        for step in steps:
            took = "" if step["took"] is None else duration(step["took"])
            state = STATES[step["state"]]
            table.add_row(step["id"], step["title"], state, local(step["at"]), took)
        found.append(table)
    return found or [Table(title="No step has been done yet: ./lab run begins")]


def local(moment: str) -> str:
    """A stored time as a person reads it, in the time zone of this machine."""
    if not moment:
        return ""
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def embedded(picture: str) -> Markup:
    """A picture as the address of an <img>: the file itself, so that the page stands alone.

    SVG stays text: what is in it is redacted, and a search for secrets can read it. As the
    source of an <img> it cannot run scripts.
    """
    file = Path(picture)
    if file.suffix == ".svg":
        text = redact(file.read_text(encoding="utf-8"))
        return Markup("data:image/svg+xml,") + Markup(quote(text))  # noqa: S704 # quoted
    encoded = base64.b64encode(file.read_bytes()).decode()
    return Markup("data:image/png;base64,") + Markup(encoded)  # noqa: S704 # base64 alone


def _inline(text: str) -> Markup:
    """One line of Markdown as HTML; HTML in it is shown as text."""
    # With html off the library escapes everything that is not its own.
    rendered = MarkdownIt("commonmark", {"html": False}).renderInline(redact(text))
    return Markup(rendered)  # noqa: S704 # see above


def _lab(environment: Environment, lab: Lab) -> Data:
    folder = environment.folder / "labs" / lab.number
    progress = Progress.of(environment.folder, lab)
    steps = [_step(step, progress.entry(step)) for step in lab.steps]
    return {
        "lab": lab.number,
        "title": lab.title,
        "goal": lab.goal,
        "remember": list(lab.remember),
        "done": sum(step["state"] in DONE for step in steps),
        "skipped": sum(step["state"] == SKIPPED for step in steps),
        "steps": steps,
        "pictures": [str(file) for file in _pictures(folder)],
        "results": _results(folder / "results.json"),
    }


def _step(step: Step, entry: Data) -> Data:
    """One step; `took` is the time of its commands, or of the person from its beginning on."""
    state, at, began = (str(entry.get(key, "")) for key in ("state", "at", "began"))
    took = entry.get("seconds")
    if took is None and state in DONE and at and began:
        took = (datetime.fromisoformat(at) - datetime.fromisoformat(began)).total_seconds()
    return {
        "id": step.id,
        "title": step.title,
        "further": step.further,
        "state": state,
        "at": at,
        "took": took,
        "hints": int(entry.get("hints", 0)),
        "facts": list(entry.get("facts", ())),
    }


def _pictures(folder: Path) -> Iterator[Path]:
    """What a lab has drawn; where there is an SVG, that and not the PNG beside it."""
    for file in sorted([*folder.glob("*.svg"), *folder.glob("*.png")]):
        if file.suffix == ".svg" or not file.with_suffix(".svg").exists():
            yield file


def _results(file: Path) -> Data | None:
    """The figures of lab 05 as rows of text, None without any (docs/results.md)."""
    results = read_json(file)
    if results.get("schema") != SCHEMA:
        return None
    ways, leaks = results.get("ways", {}), results.get("leaks", {})
    control = leaks.get(CONTROL, {})
    found = {way: places for way, places in leaks.items() if way != CONTROL}
    return {
        "taken": results.get("taken", ""),
        "load": results.get("load_average", []),
        "ways": list(ways),
        "figures": [
            (title, [shown(ways[way].get(key)) for way in ways]) for title, key in FIGURES.items()
        ],
        "leaking": list(found),
        "leaks": [
            (place, ok, [bool(found[way].get(place)) for way in found])
            for place, ok in control.items()
        ],
    }
