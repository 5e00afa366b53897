"""The parts of a lab's README that come from the lab itself: its picture, its questions.

Each part stands between two comments, which a reader of the page does not see. `./lab render`
writes what is between them, and a test compares; the rest of the page is its author's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from harness.lab.catalog import OWN, labs_in
from harness.lab.questions import folded
from harness.lab.steps import Lab
from harness.notebook.render import NOTEBOOKS, picture_path, write_changed

README = "README.md"


def filled(lab: Lab, text: str, folder: Path) -> str:
    """`text`, the README in `folder`, with the parts that come from the lab."""
    parts = {"picture": _picture(lab, folder), "questions": folded(lab.questions)}
    for name, part in parts.items():
        begin, end = f"<!-- {name}, by ./lab render -->", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if found and closed:
            text = f"{before}{begin}\n\n{part}\n\n{end}{after}"
    return text


def readmes() -> Iterator[tuple[Path, str, str]]:
    """Each lab's README: its file, its text, and what the text should be."""
    for lab in labs_in(OWN):
        file = lab.source / README
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            yield file, text, filled(lab, text, file.parent)


def write_readmes() -> list[Path]:
    """Write every README of which a part changed; return the files written."""
    return write_changed((file, wanted) for file, _, wanted in readmes())


def _picture(lab: Lab, folder: Path) -> str:
    if not lab.picture:
        return ""
    path = os.path.relpath(NOTEBOOKS / picture_path(lab), folder)
    return f"![{lab.picture.title}]({path})"
