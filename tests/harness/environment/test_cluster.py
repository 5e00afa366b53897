"""What a cluster says of itself, without one: whether its DNS is there."""

from __future__ import annotations

from typing import Any

import pytest

from harness.environment.cluster import dns_is_ready


def pod(name: str, ready: str) -> dict[str, Any]:
    conditions = [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": ready}]
    return {"metadata": {"name": name}, "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("pods", "ready"),
    [
        ([], False),
        ([pod("answers", "False")], False),
        ([pod("is-from-before", "True")], False),
        ([pod("is-from-before", "True"), pod("answers", "True")], True),
    ],
)
def test_dns_is_ready_when_a_pod_is_and_says_so(pods: list[dict[str, Any]], ready: bool) -> None:
    def health(path: str) -> tuple[int, str]:
        assert path.endswith(":8181/proxy/ready")
        return (200, "OK") if "/pods/answers:" in path else (503, "no route to host")

    assert dns_is_ready(pods, health) is ready
