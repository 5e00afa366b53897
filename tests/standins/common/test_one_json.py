"""JSON is read and written in one place, which knows no NaN and no Infinity."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import pytest

from standins.common import gojson
from standins.common.logs import JsonLines

STANDINS = Path(gojson.__file__).parents[1]
# `gojson` is the place. `literals` takes texts apart that `gojson` has read before.
ALLOWED = {"common/gojson.py", "injector/literals.py"}


def test_no_other_module_uses_pythons_json() -> None:
    found = set()
    for file in STANDINS.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.partition(".")[0] == "json" for name in names):
                found.add(file.relative_to(STANDINS).as_posix())
    assert found == ALLOWED


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "1e999", "[-1e400]"])
def test_no_number_that_json_lacks_comes_in(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not JSON|out of range"):
        gojson.parse(text)


def test_a_log_line_is_json_whatever_is_logged() -> None:
    record = logging.LogRecord("n", logging.INFO, "", 0, "mounted", (), None)
    pairs = {
        "nan": float("nan"),
        "seconds": 0.5,
        "ok": True,
        "error": ValueError("x"),
        "none": None,
    }
    record.pairs = pairs
    line = gojson.parse(JsonLines().format(record))
    assert {name: line[name] for name in pairs} == {
        "nan": "nan",
        "seconds": 0.5,
        "ok": True,
        "error": "x",
        "none": None,
    }
