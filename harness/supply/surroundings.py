"""What a process takes from its surroundings before anything else: which engine, which proxies.

Called once where a process of the labs begins: the command line, pytest, a notebook.
"""

from __future__ import annotations

from harness.base import proxies
from harness.supply.engine import contexts


def settle() -> None:
    """Settle both in the environment of this process, which its children inherit."""
    proxies.complete()
    contexts.settle()
