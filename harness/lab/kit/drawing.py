"""Sequence drawings: lanes from left to right, one arrow a row, time from top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

INK, QUIET = "#1f2933", "#7b8794"
# Two colours for arrows that should stand out: a refusal, and what carries an identity or a secret.
ALARM, ACCENT = "#b42318", "#0b6bcb"
ROW_HEIGHT = 0.55
INCHES_A_LANE, MARGIN = 2.2, 3.0


@dataclass(frozen=True)
class Arrow:
    """One message from the lane number `start` to the lane number `end`."""

    start: int
    end: int
    text: str
    colour: str = INK


def draw_sequence(lanes: Sequence[str], arrows: Sequence[Arrow], title: str, file: Path) -> Path:
    """Write the drawing as a PNG to `file`; return `file`."""
    # Matplotlib takes a second to import: only a step that draws waits for it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = len(arrows)
    size = (INCHES_A_LANE * len(lanes) + MARGIN, 1.4 + ROW_HEIGHT * rows)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_title(title, loc="left", color=INK, fontsize=12)
    frame = {"boxstyle": "round", "fc": "#f0f4f8", "ec": QUIET}
    for column, lane in enumerate(lanes):
        axes.plot([column, column], [0.4, -rows], color=QUIET, lw=1, ls=":")
        axes.text(column, 0.75, lane, ha="center", color=INK, fontsize=11, bbox=frame)
    # Keeps a text readable where it crosses the line of a lane.
    paper = {"fc": "white", "ec": "none", "pad": 0.5, "alpha": 0.8}
    for row, arrow in enumerate(arrows):
        shape = {"arrowstyle": "->", "color": arrow.colour, "lw": 1.3}
        axes.annotate("", xy=(arrow.end, -row), xytext=(arrow.start, -row), arrowprops=shape)
        middle = (arrow.start + arrow.end) / 2
        axes.text(
            middle,
            -row + 0.12,
            arrow.text,
            ha="center",
            color=arrow.colour,
            fontsize=8.5,
            bbox=paper,
        )
    axes.set_xlim(-0.6, len(lanes) - 0.4)
    axes.set_ylim(-rows, 1.3)
    figure.savefig(file, format="png")
    return file
