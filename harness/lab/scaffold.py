"""A new lab's folder: one step that works, checked and with a gap, for an author to go on from.

The folder is written beside its place and renamed, so that an interrupt or a full disk
leaves nothing half-made. The sample in labs/README.md is what `new_lab` writes.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from harness.base.errors import UsageError

# Longer ones do not fit into an import statement of one line.
TITLE_LENGTH = 50
_WORD = re.compile("{{(number|package|title|title literal)}}")


def new_lab(labs: Path, number: str, title: str, known: Iterable[Path] = ()) -> Path:
    """Make the folder of a lab in `labs` and return it. `known` are all folders with labs.

    Raises UsageError for a number or a title that cannot name a lab, for one that is taken, and
    when the folder cannot be written.
    """
    if not labs.is_dir():
        raise UsageError("there is no such folder", where=str(labs), hint="make it first: mkdir")
    folder = labs / f"lab{_checked_number((labs, *known), number)}_{_slug(title)}"
    words = {
        "number": number,
        "package": folder.name,
        "title": title,
        "title literal": _literal(title),
    }
    try:
        beside = Path(tempfile.mkdtemp(prefix=".new-", dir=labs))
        try:
            for name, template in FILES.items():
                text = _WORD.sub(lambda match: words[match[1]], template.lstrip("\n"))
                (beside / name).write_text(text, encoding="utf-8")
            beside.chmod(0o755)
            beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise UsageError(
            f"the folder of lab {number} cannot be written: {error.strerror}", where=str(folder)
        ) from error
    return folder


def _literal(title: str) -> str:
    """The title as a string of Python, in the quotes that need fewer escapes."""
    quote = "'" if title.count('"') > title.count("'") else '"'
    escaped = title.replace("\\", "\\\\").replace(quote, f"\\{quote}")
    return f"{quote}{escaped}{quote}"


def _checked_number(folders: Iterable[Path], number: str) -> str:
    if not re.fullmatch("[0-9]{2}", number):
        raise UsageError(f"{number!r} cannot number a lab", hint="two digits, as in 07")
    taken = sorted(path for folder in folders for path in folder.glob(f"lab{number}*"))
    if taken:
        raise UsageError(
            f"there is a lab {number} already", where=str(taken[0]), hint="another number"
        )
    return number


def _slug(title: str) -> str:
    """`what_vault_sees` for "What Vault sees"."""
    slug = re.sub("[^a-z0-9]+", "_", title.lower()).strip("_")
    if not slug or not title.isprintable():
        raise UsageError(
            f"no folder can be named after the title {title!r}",
            hint="letters or digits among a to z and 0 to 9, on one line",
        )
    if len(title) > TITLE_LENGTH:
        raise UsageError(f"a title has at most {TITLE_LENGTH} characters, this one {len(title)}")
    return slug


FILES = {
    "__init__.py": "",
    "lab.py": '''
"""The Lab object of lab {{number}}. Its steps are in the modules beside it."""

from __future__ import annotations

from harness import Lab

this_lab = Lab(
    "{{number}}",
    {{title literal}},
    minutes=10,
    goal="One sentence: what a learner has seen and can do afterwards.",
    remember=("One sentence that should stay.",),
)
''',
    "steps.py": '''
"""Lab {{number}}. This is its table of contents."""

from __future__ import annotations

from labs.{{package}}.engine import mount_an_engine
from labs.{{package}}.lab import this_lab

this_lab.sequence(
    mount_an_engine,
)
''',
    "engine.py": '''
"""Step 1: a secrets engine of the lab's own."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from labs.{{package}}.lab import this_lab


@this_lab.step(
    "Mount a secrets engine",
    minutes=5,
    goals=["a key/value engine is mounted at lab{{number}}-kv/"],
    hints=[
        "`vault secrets enable -help` says which types of engine there are.",
        "An engine that keeps keys and values has the type `kv`.",
        "vault secrets enable -path=lab{{number}}-kv -version=2 kv",
    ],
)
def mount_an_engine(lab: LabContext) -> None:
    """
    Say here why this matters, in Markdown: it is the text of the notebook and of the tour.
    A **secrets engine** answers below one path of Vault; this one keeps keys and values.

    You will see the path in Vault's list of engines.
    """
    lab.sh("""
vault secrets enable -path=$NAMESPACE-kv -version=2 kv  #? the type of the engine
vault secrets list
""")


@mount_an_engine.check
def _(lab: LabContext) -> None:
    engines = lab.http.get("/v1/sys/mounts").json()["data"]
    engine = engines.get(f"{lab.path('kv')}/") or {}
    expect(
        engine.get("type") == "kv",
        f"a key/value engine is mounted at {lab.path('kv')}/",
        found=sorted(path for path in engines if path.startswith("lab")),
    )
''',
    "README.md": """
# Lab {{number}}: {{title}}

One sentence: what a learner has seen and can do afterwards.

**What you need**: `./lab run {{number}}`, and 10 minutes.

1. Mount a secrets engine (5 minutes)

`./lab learn {{number}}` opens it as a notebook, `./lab shell {{number}}` a shell to work in,
`./lab reset {{number}}` removes what it made.
""",
}
