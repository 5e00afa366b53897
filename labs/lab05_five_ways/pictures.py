"""The pictures of the lab, in one style: readable from the last row of a hall."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.lab.kit.drawing import ACCENT, ALARM, INK, QUIET
from labs.lab05_five_ways.ways import WAYS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALE = "#f0f4f8"
BIG, NORMAL = 17, 13


def draw_times(ways: Mapping[str, Any], file: Path) -> Path:
    """Two bars a way: to a readable secret, and from a change to the file. Also as SVG."""
    figure = _figure(12, 5.6)
    left, right = figure.subplots(1, 2)
    starts = [ways[way.name]["start_seconds"] for way in WAYS]
    middles = [statistics.median(values) for values in starts]
    spread = [
        [middle - min(values) for middle, values in zip(middles, starts, strict=True)],
        [max(values) - middle for middle, values in zip(middles, starts, strict=True)],
    ]
    _bars(left, middles, "From creating a pod to its secret", spread)
    changes = [ways[way.name]["change_to_file_seconds"] for way in WAYS]
    _bars(right, changes, "From a change to the file")
    if any(ways[way.name]["change_nudged"] for way in WAYS):
        right.set_xlabel("seconds; plain and CSI: kubelet asked to look at once", color=INK)
    return _save(figure, file)


def draw_leaks(
    places: Mapping[str, str], found: Mapping[str, Mapping[str, bool]], file: Path
) -> Path:
    """A square for each place and way: red where the secret was found. Also as SVG."""
    figure = _figure(11, 0.62 * len(places) + 2.2)
    axes = figure.add_subplot()
    for row, place in enumerate(places):
        for column, way in enumerate(WAYS):
            leaked = found[way.name][place]
            square = {"boxstyle": "round,pad=0.35", "fc": ALARM if leaked else PALE, "ec": "none"}
            axes.text(
                column,
                row,
                "found" if leaked else "not found",
                ha="center",
                va="center",
                color="white" if leaked else QUIET,
                fontsize=NORMAL,
                bbox=square,
            )
    axes.set_xlim(-0.6, len(WAYS) - 0.4)
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.set_xticks(range(len(WAYS)), [way.title for way in WAYS])
    axes.set_yticks(range(len(places)), list(places.values()))
    axes.xaxis.tick_top()
    axes.set_title("Where the password lies", loc="left", color=INK, fontsize=BIG, pad=18)
    _plain(axes)
    return _save(figure, file)


def draw_growth(grown: Mapping[str, Sequence[Mapping[str, float]]], file: Path) -> Path:
    """A line for each way: seconds until all are there, by how many there are. Also as SVG."""
    figure = _figure(10, 5.6)
    axes = figure.add_subplot()
    what = {"operator": "secrets, operator", "injector": "pods, injector", "csi": "pods, CSI"}
    for (way, rows), color in zip(grown.items(), (ACCENT, ALARM, INK), strict=False):
        counts, seconds = [row["count"] for row in rows], [row["seconds"] for row in rows]
        axes.plot(counts, seconds, marker="o", markersize=9, linewidth=3, color=color)
        axes.annotate(
            what[way],
            (counts[-1], seconds[-1]),
            textcoords="offset points",
            xytext=(8, 4),
            color=color,
            fontsize=NORMAL,
        )
    axes.margins(x=0.35, y=0.15)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("how many at once", color=INK, fontsize=NORMAL)
    axes.set_ylabel("seconds until all are there", color=INK, fontsize=NORMAL)
    axes.set_title("Many at once", loc="left", color=INK, fontsize=BIG)
    _plain(axes)
    return _save(figure, file)


def _figure(width: float, height: float) -> Figure:
    # Matplotlib takes a second to import: only a step that draws waits for it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _bars(axes: Axes, values: Sequence[float], title: str, spread: Any = None) -> None:
    axes.barh(
        range(len(WAYS)),
        values,
        height=0.6,
        color=ACCENT,
        xerr=spread,
        error_kw={"ecolor": INK, "capsize": 4},
    )
    for row, value in enumerate(values):
        axes.text(0.0, row - 0.43, f" {value:.1f} s", va="center", color=INK, fontsize=NORMAL)
    axes.set_yticks(range(len(WAYS)), [way.title for way in WAYS])
    axes.set_ylim(len(WAYS) - 0.5, -0.7)
    axes.set_xlabel("seconds", color=INK)
    axes.set_title(title, loc="left", color=INK, fontsize=BIG)
    _plain(axes)


def _plain(axes: Axes) -> None:
    """No frame, no ticks, large letters."""
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, labelsize=NORMAL, colors=INK)


def _save(figure: Figure, file: Path) -> Path:
    figure.savefig(file, format="png")
    figure.savefig(file.with_suffix(".svg"), format="svg")
    return file
