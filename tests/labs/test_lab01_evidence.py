"""Lab 01: what its checks read from Vault's audit log."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.lab.api import AuditLog
from labs.lab01_http_api.evidence import claims_of, refused, refused_for_value
from labs.lab01_http_api.tokens import _used_after_the_end

LOGIN = "auth/lab01-kubernetes/login"
# {"sub": "app"} between a header and a signature that nobody looks at.
JWT = "aGVhZA.eyJzdWIiOiAiYXBwIn0.c2ln"


class Vault:
    """Stands for VaultHTTP: sys/audit-hash, with an HMAC that one can read."""

    def post(self, path: str, json: dict[str, str]) -> Any:
        assert path == "/v1/sys/audit-hash/file"
        return SimpleNamespace(json=lambda: {"data": {"hash": f"hmac({json['input']})"}})


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """Makes a lab whose audit log has these entries."""

    def lab(*entries: dict[str, Any]) -> Any:
        file = tmp_path / "audit.log"
        file.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
        return SimpleNamespace(http=Vault(), audit=AuditLog(file))

    return lab


def login(role: str, **more: Any) -> dict[str, Any]:
    return {"request": {"path": LOGIN, "data": {"role": f"hmac({role})"}}, **more}


def test_a_refusal_is_found_in_the_clear_and_as_the_hmac_of_its_text(make: Any) -> None:
    core = login("app", error="1 error occurred: permission denied")
    engine = login("app", response={"data": {"error": "hmac(invalid role name)"}})
    other = {"request": {"path": "auth/else/login"}, "error": "permission denied"}
    good = login("app", response={"auth": {"policies": ["app"]}})
    lab = make(core, engine, other, good)
    assert refused(lab, LOGIN, "permission denied") == [core]
    assert refused(lab, LOGIN, "invalid role name") == [engine]
    assert refused(lab, LOGIN, "invalid audience") == []


def test_a_refusal_counts_only_for_the_value_that_was_handed_in(make: Any) -> None:
    lab = make(login("app", error="permission denied"), login("strict"))
    assert refused_for_value(lab, LOGIN, "app", "permission denied")
    assert not refused_for_value(lab, LOGIN, "strict", "permission denied")


def test_a_token_is_late_only_when_it_was_good_before() -> None:
    good = {"request": {"client_token": "t1", "client_token_accessor": "a1"}}
    late = {"request": {"client_token": "t1"}, "error": "permission denied"}
    stranger = {"request": {"client_token": "t2"}, "error": "permission denied"}
    assert _used_after_the_end([stranger, good, late]) == {"a1"}
    assert _used_after_the_end([late, good, stranger]) == set()


@pytest.mark.parametrize(
    ("text", "claims"), [(JWT, {"sub": "app"}), ("", {}), ("a.b.c", {}), ("a.MQ.c", {})]
)
def test_what_is_no_token_has_no_claims(text: str, claims: dict[str, str]) -> None:
    lab: Any = SimpleNamespace(kube=SimpleNamespace(exec=lambda *_: text))
    assert claims_of(lab, "/memory/x.jwt") == claims
