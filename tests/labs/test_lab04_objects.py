"""What lab 04 reads out of Kubernetes' own notes and of Vault's audit log."""

from __future__ import annotations

from typing import Any

from labs.lab04_operator.database import leased
from labs.lab04_operator.objects import reads_of, written_at


def entry(time: str, *fields: str) -> dict[str, Any]:
    return {"time": time, "fieldsV1": {field: {} for field in fields}}


def test_the_last_write_of_data_counts_and_not_that_of_a_label() -> None:
    fields = [
        entry("2026-01-01T10:00:00Z", "f:data", "f:metadata"),
        entry("2026-01-01T11:00:00Z", "f:data"),
        entry("2026-01-01T12:00:00Z", "f:metadata"),
    ]
    assert written_at({"metadata": {"managedFields": fields}}) == "2026-01-01T11:00:00Z"


def test_a_secret_that_is_not_there_was_never_written() -> None:
    assert written_at({}) == ""
    assert written_at({"metadata": {"managedFields": [entry("2026-01-01T12:00:00Z")]}}) == ""


def answer(path: str, lease: str = "", **metadata: str) -> dict[str, Any]:
    secret = {"secret": {"lease_id": lease}} if lease else {}
    return {
        "type": "response",
        "request": {"path": path},
        "response": secret,
        "auth": {"metadata": metadata},
    }


def test_a_reader_is_named_by_namespace_and_account() -> None:
    who = {"service_account_namespace": "lab04", "service_account_name": "shop"}
    log = [answer("kv/data/app", **who), answer("kv/data/other", **who), answer("kv/data/app")]
    assert reads_of(log, "kv/data/app") == {"lab04/shop"}


def test_answers_without_a_lease_are_no_leases() -> None:
    class Log:
        def responses(self, path: str) -> list[dict[str, Any]]:
            return [answer(path), answer(path, "db/creds/orders/1"), answer(path)]

    class Lab:
        def audit_since(self, number: int) -> Log:
            return Log()

    lab: Any = Lab()
    assert leased(lab, 1, "db/creds/orders") == ["db/creds/orders/1"]
