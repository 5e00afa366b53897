"""The library that all labs are written with.

A lab author needs three names: `Lab`, `expect` and the `lab` object that each step
receives (`harness.lab.context.LabContext`). Everything else here brings the environment
up, runs the steps in their four readings (tour, notebook, exercise, pytest) and
explains what went wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.lab.steps import Lab, expect

if TYPE_CHECKING:
    from harness.notebook.lab import NotebookLab

__all__ = ["Lab", "expect", "open_lab"]


def open_lab(number: str) -> NotebookLab:
    """The lab with this number, for a notebook (harness.notebook.lab)."""
    # IPython takes a quarter of a second to import: only a notebook waits for it.
    from harness.notebook.lab import open_lab as opened

    return opened(number)
