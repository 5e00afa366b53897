"""Single keys from a terminal, for a speaker: Enter, letters, numbers, a remote's buttons.

The terminal is put into character mode without echo for as long as the block runs, and
put back whatever happens; Ctrl-C stays an interrupt. What was typed before the prompt is
thrown away: a second Enter must not start the next step on a stage.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

from harness.base.errors import UsageError

GO, BACK, SKIP, QUIT = "go", "back", "skip", "quit"

# Remotes for slides send the page keys; arrows lie at hand.
_MEANINGS = {
    "\r": GO,
    "\n": GO,
    " ": GO,
    "\x1b[C": GO,
    "\x1bOC": GO,
    "\x1b[6~": GO,
    "b": BACK,
    "\x1b[D": BACK,
    "\x1bOD": BACK,
    "\x1b[5~": BACK,
    "s": SKIP,
    "q": QUIT,
    # Ctrl-D, and the end of the input.
    "\x04": QUIT,
    "": QUIT,
}
# How long the rest of a special key may be on its way (over a slow line).
SEQUENCE_SECONDS = 0.05
_ERASE = ("\x7f", "\x08")
_ESCAPE = "\x1b"


class Keys:
    """The keys of the terminal `stream`, standard input by default."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdin
        self._file = -1
        self._before: list[Any] = []

    def __enter__(self) -> Keys:
        self._file = self._stream.fileno()
        self._before = termios.tcgetattr(self._file)
        tty.setcbreak(self._file)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)

    def forget(self) -> None:
        """Throw away what was typed before the prompt is printed."""
        termios.tcflush(self._file, termios.TCIFLUSH)

    def ask(self, highest: int, echo: Callable[[str], None]) -> str | int:
        """Wait for an answer: "go", "back", "skip", "quit" or a number up to `highest`.

        A number ends by Enter, or at once when no longer one is possible; Escape forgets
        it. Enter after a number above `highest` forgets it, too: it is neither a jump to
        its first digits nor "go". `echo` shows what was typed behind the prompt. Keys
        without a meaning are passed over.
        """
        number = ""
        while True:
            key = self._read()
            if key.isdigit() and key.isascii():
                typed = int(number + key)
                if not 1 <= typed < 1000:
                    continue
                number = str(typed)
                echo(number if typed <= highest else f"{number}?")
                if highest < typed * 10 and typed <= highest:
                    return typed
            elif key in _ERASE or key == _ESCAPE:
                number = number[:-1] if key in _ERASE else ""
                echo(number)
            elif number and _MEANINGS.get(key) == GO:
                if int(number) <= highest:
                    return int(number)
                number = ""
                echo(number)
            elif key.lower() in _MEANINGS:
                return _MEANINGS[key.lower()]
            elif key in _MEANINGS:
                return _MEANINGS[key]

    def confirm(self) -> bool:
        """Wait for a key: true for Enter (and what means the same), false for any other."""
        return _MEANINGS.get(self._read()) == GO

    def _read(self) -> str:
        """One key; a special key comes as the several characters that it sends at once."""
        key = os.read(self._file, 1)
        if key == _ESCAPE.encode():
            key += self._rest_of_sequence()
        return key.decode(errors="replace")

    def _rest_of_sequence(self) -> bytes:
        """What follows Escape without delay; nothing when it was the Escape key itself."""
        ready, _, _ = select.select([self._file], [], [], SEQUENCE_SECONDS)
        return os.read(self._file, 8) if ready else b""


def need_terminal(*streams: TextIO) -> None:
    """Raise UsageError when one of `streams` is not a terminal."""
    if not all(stream.isatty() for stream in streams):
        raise UsageError(
            "presenting needs a terminal: a person presses a key before each step",
            hint="leave out --present to go through the lab without a stop",
        )
