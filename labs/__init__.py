"""The labs. A notebook begins with `from labs import open_lab`."""

from harness import open_lab

__all__ = ["open_lab"]
