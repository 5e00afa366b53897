"""`lab compare`: ratios of two results, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UsageError
from harness.cli.compare import compare, name_of, nudged_apart, read


def results(start: list[float], **more: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "environment": {"vault": "vault", "vault_version": "1.0", "kubernetes_version": "v1.36.3"},
        "load_average": [1.0, 2.5],
        "ways": {"csi": {"start_seconds": start, "change_nudged": True, **more}},
    }


def test_medians_are_compared_and_the_ratio_is_b_by_a() -> None:
    rows = compare(results([1.0, 2.0, 9.0]), results([4.0]))
    assert rows == [
        {"way": "csi", "figure": "pod created to secret read, s", "a": 2.0, "b": 4.0, "ratio": 2.0}
    ]


def test_what_only_one_has_is_left_out_and_zero_has_no_ratio() -> None:
    first = results([1.0], requests_at_start=0, lines_for_vault=3)
    second = results([1.0], requests_at_start=2, lines_for_vault=None)
    by_figure = {row["figure"]: row["ratio"] for row in compare(first, second)}
    assert by_figure == {"pod created to secret read, s": 1.0, "requests to Vault at start": None}


def test_a_hurried_change_is_not_compared_with_an_unhurried_one() -> None:
    first, second = results([1.0]), results([1.0])
    assert nudged_apart(first, second) == []
    second["ways"]["csi"]["change_nudged"] = False
    assert nudged_apart(first, second) == ["csi"]


def test_the_name_tells_version_and_load() -> None:
    assert name_of(results([1.0])) == "vault 1.0, v1.36.3, load 2.5"


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"schema": 2, "ways": {}})])
def test_a_file_that_holds_no_results_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "results.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"results\.json"):
        read(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "none.json")
