"""Lab 05: what the kubelet counts, and what Vault was asked, become the cells of the tables."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.base.errors import GaveUp
from harness.lab.api import AuditLog
from labs.lab05_five_ways import cost, crowd
from labs.lab05_five_ways.ways import CSI, WAYS

PROVIDER = ("csi", "provider-1")


def pod(namespace: str, name: str, memory: int, cpu: int | None = 2_000_000) -> dict[str, Any]:
    used = {} if cpu is None else {"usageNanoCores": cpu}
    return {
        "podRef": {"namespace": namespace, "name": name},
        "memory": {"workingSetBytes": memory},
        "cpu": used,
    }


def lab_with(summaries: list[list[dict[str, Any]]]) -> Any:
    """A lab whose node tells these summaries one after the other, the last one for good."""
    told = iter(summaries)
    last: list[dict[str, Any]] = []

    def run(_: str) -> str:
        nonlocal last
        last = next(told, last)
        return json.dumps({"pods": last})

    def wait_for(what: str, probe: Any, **_: Any) -> Any:
        for _round in range(5):
            if value := probe():
                return value
        raise GaveUp(what)

    kube = SimpleNamespace(list=lambda *_, **__: [{"metadata": {"name": "node"}}])
    return SimpleNamespace(namespace="lab05", run=run, wait_for=wait_for, kube=kube)


@pytest.fixture(autouse=True)
def pods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "pod_name", lambda _, way: f"{way.name}-1")
    monkeypatch.setattr(cost, "pods_in_cluster", lambda _, way: [PROVIDER] if way is CSI else [])


def test_a_pod_and_the_parts_are_counted_apart() -> None:
    own = [pod("lab05", f"{way.name}-1", 3 << 20) for way in WAYS]
    found = cost.costs(lab_with([[*own, pod(*PROVIDER, 30 << 20, 7_000_000)]]))
    assert found["csi"] == {
        "pod_memory_mib": 3.0,
        "pod_cpu_millicores": 2.0,
        "cluster_memory_mib": 30.0,
        "cluster_cpu_millicores": 7.0,
    }
    assert found["plain"]["cluster_memory_mib"] == 0.0


def test_a_pod_that_is_not_counted_yet_is_waited_for() -> None:
    own = [pod("lab05", f"{way.name}-1", 3 << 20) for way in WAYS]
    early = [pod("lab05", f"{way.name}-1", 0, None) for way in WAYS]
    provider = pod(*PROVIDER, 30 << 20)
    assert cost.costs(lab_with([[*early, provider], own, [*own, provider]]))
    with pytest.raises(GaveUp):
        cost.costs(lab_with([[*early, provider]]))


def entry(path: str, accessor: str, kind: str = "response", account: str = "shop") -> str:
    metadata = {"service_account_name": account, "service_account_namespace": "lab05"}
    return json.dumps(
        {
            "type": kind,
            "auth": {"accessor": accessor, "metadata": metadata if account else {}},
            "request": {"path": path},
        }
    )


def test_requests_belong_to_the_way_whose_secret_their_token_has_read(tmp_path: Path) -> None:
    read, login = "lab05-kv/data/shop/csi", "auth/lab05-kubernetes/login"
    lines = [
        entry(login, "a"),
        entry(read, "a", "request"),
        entry(read, "a"),
        entry("auth/token/renew-self", "a"),
        entry(login, "b"),
        entry("lab05-kv/data/shop/http", "b"),
        entry(read, "learner", account=""),
    ]
    (tmp_path / "audit").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    lab: Any = SimpleNamespace(path=lambda word, *more: "/".join([f"lab05-{word}", *more]))
    assert crowd._requests(lab, CSI, AuditLog(tmp_path / "audit")) == 3
