"""Log lines with fields: one JSON object, or one line of `key=value`.

Fields come through logging's `extra`. Texts that arrived over the network are always
quoted, so that a name with a line break in it cannot forge a line.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "notice": logging.INFO,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "err": logging.ERROR,
    "error": logging.ERROR,
}


class _Lines(logging.Formatter):
    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """One line for one record; a traceback goes into a field of it."""
        fields: dict[str, Any] = {
            key: value for key, value in vars(record).items() if key not in _OWN
        }
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        when = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if self._as_json:
            head = {"@timestamp": when, "@level": record.levelname.lower()}
            head |= {"@module": record.name, "@message": record.getMessage()}
            return json.dumps(head | fields, default=str)
        words = [when, f"[{record.levelname}]", f"{record.name}:", record.getMessage()]
        words += [f"{key}={json.dumps(value, default=str)}" for key, value in fields.items()]
        return " ".join(words)


def configure(level: str, style: str) -> None:
    """Log to stderr at this level ("info", "warn", …) as "standard" lines or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(style == "json"))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(_LEVELS[level])
    # One line for each probe and call says nothing that the metrics do not.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
