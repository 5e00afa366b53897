"""How far a person is in a lab, as a row of numbered steps for a notebook.

The colours are those of JupyterLab's theme, light or dark; elsewhere those of the text around.
"""

from __future__ import annotations

from html import escape

from harness.lab.steps import Lab, Step
from harness.session.progress import SKIPPED, Progress

_ROW = (
    "display:flex;flex-wrap:wrap;gap:4px;align-items:center;margin:4px 0;"
    "color:var(--jp-content-font-color1,inherit);"
    "font-family:var(--jp-ui-font-family,sans-serif);font-size:13px"
)
_STEP = (
    "border:1px solid currentColor;border-radius:4px;min-width:24px;padding:1px 4px;"
    "text-align:center;text-decoration:none;"
)
_LOOKS = {
    "done": "color:var(--jp-success-color0,#2e7d32);font-weight:600",
    "next": "color:var(--jp-brand-color1,#1976d2);border-width:2px;font-weight:600",
    "skipped": "opacity:.7;border-style:dashed",
    "open": "opacity:.7",
}
_SIGNS = {"done": "✓ ", "next": "→ ", "skipped": "", "open": ""}


class Panel:
    """The steps of a lab as they stand when it is made, as text and as HTML."""

    def __init__(self, lab: Lab, progress: Progress) -> None:
        self.following = progress.first_open(lab)
        self.states = [(step, self._state(step, progress)) for step in lab.steps]
        self.done = sum(state == "done" for _, state in self.states)

    def __repr__(self) -> str:
        after = f"; next: step {self.following.number}" if self.following else ""
        return f"{self._count()}{after}"

    def _repr_html_(self) -> str:
        """IPython's protocol for an object that shows itself."""
        steps = "".join(
            f'<span style="{_STEP}{_LOOKS[state]}" title="{escape(step.title)}: {state}">'
            f"{_SIGNS[state]}{step.number}</span>"
            for step, state in self.states
        )
        after = (
            f"Next: step {self.following.number}, {escape(self.following.title)}"
            if self.following
            else "Go on with the next lab: the link is at the end"
        )
        return (
            f'<div class="lab-progress" style="{_ROW}">{steps}'
            f"<span>&nbsp;{self._count()}. {after}.</span></div>"
        )

    def _count(self) -> str:
        return f"{self.done} of {len(self.states)} steps done"

    def _state(self, step: Step, progress: Progress) -> str:
        if progress.done(step):
            return "done"
        if progress.state(step) == SKIPPED:
            return "skipped"
        return "next" if step is self.following else "open"
