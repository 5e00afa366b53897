"""The tour: what it shows can be pasted, what a command printed stands beside it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from harness.cli.tour import Tour
from harness.clients.kube import here_document


@pytest.mark.parametrize("terminal_size", [40, 200])
@pytest.mark.parametrize("colours", [False, True])
def test_what_the_tour_shows_can_be_pasted(
    tmp_path: Path, terminal_size: int, colours: bool
) -> None:
    lines = "\n".join(f"line{number}: {'x' * 60}" for number in range(30))
    command = here_document("cat", lines)
    file = tmp_path / "screen"
    with file.open("w") as screen:
        tour = Tour(Console(file=screen, force_terminal=colours, width=terminal_size))
        tour._show_call(command)
        tour._show_output("what it\nprinted")
    shown = Text.from_ansi(file.read_text()).plain
    pasted, printed = shown[: shown.index("  what it")], shown[shown.index("  what it") :]
    ran = subprocess.run(["bash", "-c", pasted], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{lines}\n"
    assert printed.splitlines() == ["  what it", "  printed"]
