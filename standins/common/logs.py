"""Log lines for people, time, level, message, then key=value pairs; or for machines, as JSON.

Values that are not plain words are quoted, so that a line break in an object's name
cannot fake a line. What is logged is names, counts and durations; nobody passes a
token, a parameter map or a file's content to a logger.
"""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from math import isfinite

from standins.common import gojson

_PLAIN = re.compile(r"[A-Za-z0-9_.:/@%+-]+")
LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "err": logging.ERROR,
    "off": logging.CRITICAL + 1,
}


class Pairs(logging.Formatter):
    """`2026-11-24T07:00:00Z INFO  mounted pod=web files=2`."""

    default_msec_format = None
    default_time_format = "%Y-%m-%dT%H:%M:%S%z"

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        pairs = getattr(record, "pairs", {})
        words = [self.formatTime(record), f"{record.levelname:<5}", record.getMessage()]
        words += [f"{key}={quote(str(value))}" for key, value in pairs.items()]
        if record.exc_info and record.exc_info[0]:
            words.append(f"defect={record.exc_info[0].__name__}")
            words.append(quote(self.formatException(record.exc_info)))
        return " ".join(words)


class JsonLines(logging.Formatter):
    """One JSON object a line, with the names that hclog, upstream's logger, gives them."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        when = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        head = {"@timestamp": when, "@level": record.levelname.lower()}
        head |= {"@module": record.name, "@message": record.getMessage()}
        if record.exc_info:
            head["trace"] = self.formatException(record.exc_info)
        pairs = {key: _plain(value) for key, value in getattr(record, "pairs", {}).items()}
        return gojson.dumps(head | pairs, escape=False)


class Log:
    """A logger whose calls take the pairs as keyword arguments."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, message: str, **pairs: object) -> None:
        """For following one mount step by step."""
        self._logger.debug(message, extra={"pairs": pairs})

    def info(self, message: str, **pairs: object) -> None:
        """One line for each thing that happened."""
        self._logger.info(message, extra={"pairs": pairs})

    def warn(self, message: str, **pairs: object) -> None:
        """It went on, but somebody should look."""
        self._logger.warning(message, extra={"pairs": pairs})

    def error(self, message: str, **pairs: object) -> None:
        """It does not work, and somebody must look."""
        self._logger.error(message, extra={"pairs": pairs})

    def defect(self, message: str, **pairs: object) -> None:
        """An exception that nobody foresaw, with its traceback on the same line."""
        self._logger.error(message, extra={"pairs": pairs}, exc_info=True)


def _plain(value: object) -> object:
    """A value that JSON has; NaN and Infinity become texts."""
    if value is None or isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
        return value
    return str(value)


def quote(text: str) -> str:
    """`text` as it is when it is one plain word, else as a JSON string."""
    return text if _PLAIN.fullmatch(text) else gojson.text_of(text)


def configure(level: str, style: str = "standard") -> None:
    """Send the logs to stderr, as lines or (style "json") as JSON.

    An unknown level means info, as in the real provider. Of the libraries only warnings
    are logged: one line for each request they serve says nothing new.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if style == "json" else Pairs())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("standins").setLevel(LEVELS.get(level.lower(), logging.INFO))
