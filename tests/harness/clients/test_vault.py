"""Plain HTTP to Vault: a new KV engine is waited for, every other refusal is raised."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from harness.clients.vault import VaultHTTP, VaultRefused

UPGRADING = (
    '{"errors": ["Upgrading from non-versioned to versioned data. This backend will be '
    'unavailable for a brief period and will resume service shortly."]}'
)


def answer(status: int, text: str = "{}") -> requests.Response:
    made = requests.Response()
    made.status_code, made._content = status, text.encode()
    return made


@pytest.fixture
def said() -> list[str]:
    """What the client reports to its listener."""
    return []


@pytest.fixture
def vault(
    monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> Callable[[list[requests.Response]], VaultHTTP]:
    """Makes a client that gets these answers, one a request, and tells `said` of each."""

    def make(answers: list[requests.Response]) -> VaultHTTP:
        http = VaultHTTP("https://127.0.0.1:1", Path("none"), None, said.append)

        def request(*_: Any, **__: Any) -> requests.Response:
            return answers.pop(0)

        monkeypatch.setattr(http.session, "request", request)
        return http

    return make


def test_a_new_kv_engine_is_waited_for(
    vault: Callable[[list[requests.Response]], VaultHTTP],
) -> None:
    answers = [answer(400, UPGRADING), answer(400, UPGRADING), answer(200)]
    assert vault(answers).post("/v1/kv/data/app", json={}).status_code == 200
    assert not answers


def test_another_refusal_is_raised_at_once(
    vault: Callable[[list[requests.Response]], VaultHTTP],
) -> None:
    answers = [answer(400, '{"errors": ["no"]}'), answer(200)]
    with pytest.raises(VaultRefused):
        vault(answers).post("/v1/kv/data/app", json={})
    assert len(answers) == 1


def test_an_allowed_refusal_is_an_answer(
    vault: Callable[[list[requests.Response]], VaultHTTP],
) -> None:
    assert vault([answer(404)]).get("/v1/kv/data/none", allow={404}).status_code == 404


def test_what_vault_warns_of_is_reported_after_the_call(
    vault: Callable[[list[requests.Response]], VaultHTTP], said: list[str]
) -> None:
    warning = "Endpoint ignored these unrecognized parameters: [policies_]"
    vault([answer(200, f'{{"warnings": ["{warning}"]}}')]).post("/v1/auth/k/role/app", json={})
    assert said[1:] == [f"# Vault warns: {warning}"]
    vault([answer(200, '{"warnings": null}')]).get("/v1/auth/k/role/app")
    assert said[2:] == ['curl -s --cacert "$VAULT_CACERT" "$VAULT_ADDR/v1/auth/k/role/app"']
