"""How JupyterLab looks when a lab is opened: the notebook on the left, a terminal on the right.

A workspace is a file of JupyterLab's own, which its page restores; it is written again at each
start, so that the right notebook is in front. The terminal runs `./lab shell`, in the checkout,
because that is where the labs' texts say `./lab`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from jupyterlab_server.workspaces_handler import WorkspacesManager

from harness.base.paths import work_folder

# The workspace that an address without a name of one opens.
NAME = "default"
# JupyterLab starts a terminal of this name when there is none.
TERMINAL = "terminal:1"
NOTEBOOK_SHARE = 0.6

_SHELL = 'cd "$1" && exec "$2" -m harness.cli shell "$3" --env "$4"'


def layout(notebook: str) -> dict[str, Any]:
    """A workspace with this notebook (its path below the server's root) and a terminal."""
    widget = f"notebook:{notebook}"
    areas = [
        {"type": "tab-area", "currentIndex": 0, "widgets": [name]} for name in (widget, TERMINAL)
    ]
    dock = {
        "type": "split-area",
        "orientation": "horizontal",
        "sizes": [NOTEBOOK_SHARE, 1 - NOTEBOOK_SHARE],
        "children": areas,
    }
    return {
        "data": {
            "layout-restorer:data": {
                "main": {"dock": dock, "current": widget},
                "down": {"size": 0, "widgets": []},
                # Both need the width: the file browser and the contents are one click away.
                "left": {"collapsed": True, "visible": True, "widgets": []},
                "right": {"collapsed": True, "visible": True, "widgets": []},
                "relativeSizes": [0, 1, 0],
            },
            widget: {"data": {"path": notebook, "factory": "Notebook"}},
            TERMINAL: {"data": {"name": TERMINAL.partition(":")[2]}},
        },
        "metadata": {"id": NAME},
    }


def write(folder: Path, notebook: str) -> None:
    """Write the workspace to JupyterLab's folder of workspaces."""
    WorkspacesManager(str(folder)).save(NAME, json.dumps(layout(notebook)))


def shell_command(number: str, environment: str) -> list[str]:
    """What a terminal runs: the shell of the lab with this number, as `./lab shell` opens it."""
    return ["sh", "-c", _SHELL, "sh", str(work_folder()), sys.executable, number, environment]
