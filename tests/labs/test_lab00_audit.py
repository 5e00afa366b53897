"""What lab 00 says about rows of the API server's audit log, without a cluster."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.lab.context import LabContext
from labs.lab00_why import audit
from labs.lab00_why.lab import why
from tests.fakes.lab import make_world

LOG: list[dict[str, Any]] = []


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabContext:
    """The lab with a control plane of which a test says what it has logged."""
    context = LabContext(make_world(tmp_path, monkeypatch).lab().access, why)
    context.__dict__["control_plane"] = SimpleNamespace(audit_entries=lambda: LOG)
    return context


def test_rows_of_the_audit_log(lab: LabContext) -> None:
    LOG[:] = [
        {
            "stageTimestamp": "2026-11-25T14:30:43.123456Z",
            "user": {"username": "system:serviceaccount:lab00:clerk"},
            "verb": "list",
            "objectRef": {"resource": "secrets", "namespace": "lab00"},
            "responseStatus": {"code": 200},
        }
    ]
    (row,) = audit.found(lab, who=audit.clerk(lab), verb="list")
    assert (row["name"], row["code"], row["when"]) == ("", 200, "2026-11-25T14:30:43")
    assert audit.found(lab, who=audit.clerk(lab), verb="get") == []
