"""A sequence picture of a pod, Vault and the cluster, drawn from Vault's audit log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from harness.lab.api import Entry

LANES = ("pod", "Vault", "Kubernetes API")
INK, ALARM, QUIET = "#1f2933", "#b42318", "#7b8794"
ROW_HEIGHT = 0.55


def draw_sequence(entries: Sequence[Entry], title: str, file: Path) -> Path:
    """Write a PNG: one arrow a request and one an answer, in the order of the log.

    `entries` are response entries, or request entries that were refused. A login by the
    kubernetes method shows the TokenReview too: Vault makes it before it answers.
    """
    # Matplotlib takes a second to import; only who draws should wait for it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [arrow for entry in entries for arrow in _arrows(entry)]
    figure = Figure(figsize=(9, 1.4 + ROW_HEIGHT * len(rows)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_title(title, loc="left", color=INK, fontsize=12)
    for column, lane in enumerate(LANES):
        axes.plot([column, column], [0.4, -len(rows)], color=QUIET, lw=1, ls=":")
        box = {"boxstyle": "round", "fc": "#f0f4f8", "ec": QUIET}
        axes.text(column, 0.7, lane, ha="center", color=INK, fontsize=11, bbox=box)
    for row, (start, end, text, refused) in enumerate(rows):
        colour = ALARM if refused else INK
        arrow = {"arrowstyle": "->", "color": colour, "lw": 1.3}
        axes.annotate("", xy=(end, -row), xytext=(start, -row), arrowprops=arrow)
        middle = (start + end) / 2
        axes.text(middle, -row + 0.12, text, ha="center", color=colour, fontsize=8.5)
    axes.set_xlim(-0.35, 2.35)
    axes.set_ylim(-len(rows), 1.2)
    figure.savefig(file, format="png")
    return file


def _arrows(entry: Entry) -> list[tuple[int, int, str, bool]]:
    request = entry["request"]
    path, operation = request["path"], request["operation"]
    at = datetime.fromisoformat(entry["time"]).strftime("%H:%M:%S.%f")[:-3]
    arrows = [(0, 1, f"{at}  {operation} {path}", False)]
    error = entry.get("error")
    if path.endswith("/login") and "kubernetes" in path:
        arrows.append((1, 2, "TokenReview: whose token is this?", False))
        if not error:
            account = (entry["auth"].get("metadata") or {}).get("service_account_name", "")
            arrows.append((2, 1, f"service account {account}", False))
    if error:
        arrows.append((1, 0, f"refused: {str(error).strip().splitlines()[-1][:60]}", True))
    else:
        policies = ", ".join((entry.get("auth") or {}).get("policies") or [])
        arrows.append((1, 0, f"answer (policies: {policies})", False))
    return arrows
