"""The picture of step 1: who asks whom, from a pod's creation to its first container."""

from __future__ import annotations

from pathlib import Path

LANES = ("API server", "kubelet", "CSI driver", "Vault provider", "Vault")
INK, QUIET, ACCENT = "#1f2933", "#7b8794", "#0b6bcb"
ROW_HEIGHT = 0.5

# From lane, to lane, what. The order is the order in time.
ARROWS = (
    (0, 1, "a pod with a csi volume is to run here"),
    (1, 0, "TokenRequest: the pod's account, audience vault"),
    (1, 2, "NodePublishVolume: folder, class, pod, token"),
    (2, 0, "read the SecretProviderClass"),
    (2, 3, "Mount, over vault.sock: parameters, token"),
    (3, 4, "login: role and the pod's token"),
    (4, 0, "TokenReview: whose token is this?"),
    (3, 4, "read each path once"),
    (3, 2, "files: name, mode, content, version"),
    (2, 1, "tmpfs mounted, files written"),
    (1, 0, "the container starts"),
    (1, 2, "NodePublishVolume again, at each look at the pod"),
)


def draw_parts(title: str, file: Path) -> Path:
    """Write the picture as a PNG to `file` and return it."""
    # Matplotlib takes a second to import; only who draws should wait for it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = len(ARROWS)
    figure = Figure(figsize=(12.5, 1.4 + ROW_HEIGHT * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_title(title, loc="left", color=INK, fontsize=12)
    for column, lane in enumerate(LANES):
        axes.plot([column, column], [0.4, -rows], color=QUIET, lw=1, ls=":")
        box = {"boxstyle": "round", "fc": "#f0f4f8", "ec": QUIET}
        axes.text(column, 0.75, lane, ha="center", color=INK, fontsize=11, bbox=box)
    for row, (start, end, text) in enumerate(ARROWS):
        # What carries the pod's identity or the secret itself stands out.
        colour = ACCENT if "token" in text.lower() or "files" in text else INK
        arrow = {"arrowstyle": "->", "color": colour, "lw": 1.3}
        axes.annotate("", xy=(end, -row), xytext=(start, -row), arrowprops=arrow)
        axes.text(
            (start + end) / 2,
            -row + 0.12,
            f"{row + 1}. {text}",
            ha="center",
            color=colour,
            fontsize=8.5,
            bbox={"fc": "white", "ec": "none", "pad": 0.5, "alpha": 0.8},
        )
    axes.set_xlim(-0.6, len(LANES) - 0.4)
    axes.set_ylim(-rows, 1.3)
    figure.savefig(file, format="png")
    return file
