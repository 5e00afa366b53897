"""The one error of the template language. Its text must never hold a secret."""

from __future__ import annotations


class TemplateError(Exception):
    """A template cannot be parsed or executed; `line` counts from 1."""

    def __init__(self, message: str, *, name: str = "", line: int = 0) -> None:
        self.message = message
        where = f"template: {name}:{line}: " if name else ""
        super().__init__(where + message)
