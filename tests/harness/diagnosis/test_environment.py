"""What a learner breaks beside the subject of a lab, and what a role takes from its tokens."""

from __future__ import annotations

from typing import Any, cast

import pytest

from harness.diagnosis.explain import Finding, diagnose, first_cause
from harness.lab.context import LabContext
from harness.lab.login_path import LoginPath
from tests.fakes.chain import MOUNT, ROLE, ROLE_PATH, FakeLab

Data = dict[str, Any]
WAY = LoginPath(mount=MOUNT, role=ROLE, service_account="app")
ADDRESS = {"type": "InternalIP", "address": "172.18.0.3"}


def cause(lab: FakeLab) -> Finding:
    found = first_cause(diagnose(cast(LabContext, lab), WAY))
    assert found
    return found


def node(lab: FakeLab, ready: str = "True", **spec: object) -> None:
    condition = {"type": "Ready", "status": ready, "reason": "Kubelet", "message": "is away"}
    status = {"conditions": [condition], "addresses": [ADDRESS]}
    lab.kube.apply({"kind": "Node", "metadata": {"name": "n1"}, "spec": spec, "status": status})


def test_a_cordoned_node(lab: FakeLab) -> None:
    node(lab, unschedulable=True)
    found = cause(lab)
    assert (found.link, found.run) == ("node", "kubectl uncordon n1")


def test_a_node_whose_kubelet_is_away(lab: FakeLab) -> None:
    node(lab, ready="Unknown")
    assert cause(lab).evidence == "n1 is not Ready: Kubelet: is away"


def test_a_cluster_without_dns(lab: FakeLab) -> None:
    metadata = {"name": "coredns", "namespace": "kube-system"}
    lab.kube.apply({"kind": "Deployment", "metadata": metadata, "spec": {"replicas": 0}})
    found = cause(lab)
    assert found.evidence.startswith("CoreDNS has no pod that is ready (0 wanted)")
    assert found.run.splitlines()[0].endswith("scale deployment coredns --replicas=1")


def test_no_audit_device(lab: FakeLab) -> None:
    lab.http.put("sys/audit")
    assert cause(lab).link == "audit log"
    lab.access.flavour = "openbao"
    assert first_cause(diagnose(cast(LabContext, lab), WAY)) is None


@pytest.mark.parametrize(
    ("fields", "says", "mends"),
    [
        ({"token_type": "batch"}, "grants batch tokens", "token_type=default"),
        ({"token_num_uses": 2}, "end after 2 requests", "token_num_uses=0"),
        ({"token_ttl": 1}, "end after 1 s", "token_ttl=15m"),
        ({"token_bound_cidrs": ["10.0.0.0/8"]}, "pods come from 172.18.0.3", "token_bound_cidrs="),
    ],
)
def test_a_role_whose_tokens_are_of_no_use(
    lab: FakeLab, fields: Data, says: str, mends: str
) -> None:
    node(lab)
    lab.role.update(fields)
    found = cause(lab)
    assert says in found.evidence
    assert found.run == f"vault write {ROLE_PATH} {mends}"


def test_a_role_for_the_nodes_own_address_is_in_order(lab: FakeLab) -> None:
    node(lab)
    lab.role.update({"token_bound_cidrs": ["172.18.0.0/16"], "token_ttl": 600})
    assert first_cause(diagnose(cast(LabContext, lab), WAY)) is None
