"""What the team checks beside the labs: some of it in the labs' environment."""

from __future__ import annotations

import pytest
import requests

from harness.lab.access import Access


def test_the_environment_is_named_for_the_team(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.getoption("--lab-env") == "team"


@pytest.mark.live
def test_vault_is_unsealed(environment: Access) -> None:
    url = f"{environment.vault_addr}/v1/sys/seal-status"
    answer = requests.get(url, verify=str(environment.vault_ca), timeout=10)
    assert answer.json()["sealed"] is False
