"""What a pod, its agent, an integration and the operator say becomes the cause."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness import integrations
from harness.diagnosis.explain import Finding, diagnose, first_cause
from harness.diagnosis.pods import last_error, meaning
from harness.integrations import operator as operators
from harness.lab.context import LabContext
from harness.lab.login_path import LoginPath
from tests.fakes.chain import MOUNT, ROLE, SECRET, FakeLab
from tests.fakes.cluster import FakeKube

Data = dict[str, Any]
WAY = LoginPath(mount=MOUNT, role=ROLE, service_account="app", pod="web", secret=SECRET)
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


class TalkingKube(FakeKube):
    """A cluster whose objects have events, and whose pods have logs and answer."""

    said: tuple[str, ...] = ()
    log = ""
    answer = "0 https://vault.vault.svc:8200"

    def events(self, name: str, namespace: str = "", uid: str = "") -> list[str]:
        return list(self.said)

    def logs(self, pod: str, namespace: str = "", container: str = "", tail: int = 0) -> str:
        return self.log

    def exec(self, pod: str, command: str, namespace: str = "") -> str:
        return self.answer


@pytest.fixture
def lab(lab: FakeLab) -> FakeLab:
    lab.kube = TalkingKube(lab.cluster, lab.namespace)
    pod(lab, READY)
    return lab


def pod(lab: FakeLab, status: Data, created: str = "2026-01-02T00:00:00Z") -> None:
    metadata = {"creationTimestamp": created, "uid": "1"}
    spec = {"serviceAccountName": "app"}
    lab.cluster.put("Pod", "web", "lab01", metadata=metadata, spec=spec, status=status)


def cause(lab: FakeLab, way: LoginPath = WAY) -> Finding | None:
    return first_cause(diagnose(cast(LabContext, lab), way))


def test_a_pod_that_runs_and_reaches_vault_is_no_cause(lab: FakeLab) -> None:
    found = diagnose(cast(LabContext, lab), WAY)
    assert [str(finding) for finding in found if not finding.ok] == []
    assert found[-1].evidence == "the pod reaches https://vault.vault.svc:8200"


def test_a_pod_older_than_its_account_has_a_dead_token(lab: FakeLab) -> None:
    pod(lab, READY, created="2025-12-31T00:00:00Z")
    found = cause(lab)
    assert found
    assert found.evidence.startswith("dead token: the account app was made again at 2026-01-01")
    assert found.run == (
        "kubectl -n lab01 get pod web -o yaml | kubectl replace --force --grace-period=0 -f -"
    )


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (
            "FailedMount: kubernetes.io/csi: mounter.SetUpAt failed: driver name csi.example not "
            "found in the list of registered CSI drivers",
            "name of an installed driver",
        ),
        (
            "FailedMount: rpc error: failed to get secretproviderclass lab01/ap, error: not found",
            "in the pod's own namespace",
        ),
        ('Failed: Error: secret "tea" not found', "names a Secret or ConfigMap"),
        ("FailedMount: something that nobody has seen", "kubectl -n lab01 describe pod web"),
    ],
)
def test_an_event_is_told_with_its_meaning(lab: FakeLab, said: str, hint: str) -> None:
    pod(lab, {"phase": "Pending"})
    cast(TalkingKube, lab.kube).said = ("Scheduled: fine", said, "Pulled: fine")
    found = cause(lab)
    assert found
    assert found.evidence == f"web is not ready: {said}"
    assert hint in found.hint


def test_an_agent_says_it_better_than_the_event(lab: FakeLab) -> None:
    state = {"name": "vault-agent-init", "ready": False}
    pod(lab, {"phase": "Pending", "initContainerStatuses": [state]})
    kube = cast(TalkingKube, lab.kube)
    kube.said = ("FailedMount: an old one",)
    kube.log = '[INFO] starting\n[ERROR] agent: error="invalid role name \\"ap\\""\n[INFO] backoff'
    found = cause(lab)
    assert found
    assert found.evidence.startswith("web is not ready: vault-agent-init says: [ERROR]")
    assert found.hint == "the role that the pod names is not at this auth method"


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (6, "the name in its VAULT_ADDR does not resolve"),
        (7, "nobody listens"),
        (60, "cannot verify Vault"),
        (77, "the CA file that its VAULT_CACERT names is not there"),
    ],
)
def test_the_pod_itself_is_asked(lab: FakeLab, status: int, says: str) -> None:
    cast(TalkingKube, lab.kube).answer = f"{status} https://vault.other:8200"
    found = cause(lab)
    assert found
    assert found.link == "Vault from the pod"
    assert says in found.evidence
    assert "VAULT_ADDR=https://vault.other:8200" in found.evidence


def test_a_pod_without_an_address_is_not_judged(lab: FakeLab) -> None:
    cast(TalkingKube, lab.kube).answer = "none"
    assert cause(lab) is None


# -- integrations and custom resources -------------------------------------------------------


@pytest.mark.parametrize(
    ("workload", "says"),
    [
        (None, "there is no Deployment vault-agent-injector in vault-injector"),
        ({"spec": {"replicas": 0}}, "wants no pod"),
        ({"spec": {"replicas": 2}, "status": {"readyReplicas": 1}}, "1 of 2 are ready"),
    ],
)
def test_an_integration_that_is_not_there_comes_first(
    lab: FakeLab, workload: Data | None, says: str
) -> None:
    lab.lab = SimpleNamespace(needs=("injector",))
    lab.kube.apply(
        {"kind": "MutatingWebhookConfiguration", "metadata": {"name": "vault-agent-injector-cfg"}}
    )
    metadata = {"name": "vault-agent-injector", "namespace": "vault-injector"}
    if workload:
        lab.kube.apply({"kind": "Deployment", "metadata": metadata, **workload})
    lab.role["audience"] = "bank"
    found = cause(lab)
    assert found
    assert found.link == "integration injector"
    assert says in found.evidence
    assert found.run == "./lab up"


def test_every_integration_with_a_controller_names_its_objects() -> None:
    with_objects = {name for name in integrations.names() if integrations.find(name).objects}
    assert with_objects == {"csi", "injector", "operator"}


@pytest.mark.parametrize(
    ("status", "events", "says"),
    [
        ({"valid": False, "error": "no such host"}, (), "no such host"),
        (
            {"conditions": [{"type": "Ready", "status": "False", "reason": "R", "message": "m"}]},
            ("VaultClientError: Code: 403. permission denied",),
            "VaultClientError: Code: 403. permission denied",
        ),
        (
            {"conditions": [{"type": "Ready", "status": "False", "reason": "R", "message": "m"}]},
            ("SecretSynced: fine",),
            "R: m",
        ),
    ],
)
def test_the_operators_complaint_is_told(
    lab: FakeLab, status: Data, events: tuple[str, ...], says: str, operator: None
) -> None:
    resource(lab, "VaultStaticSecret", "app", status)
    cast(TalkingKube, lab.kube).said = events
    found = cause(lab, LoginPath())
    assert found
    assert (found.link, found.evidence) == ("VaultStaticSecret", f"app: {says}")


def test_what_others_depend_on_comes_first(lab: FakeLab, operator: None) -> None:
    resource(lab, "VaultStaticSecret", "app", {"error": "its auth is invalid"})
    resource(lab, "VaultAuth", "shop", {"valid": False, "error": "no such account"})
    found = cause(lab, LoginPath())
    assert found
    assert found.evidence == "shop: no such account"


def test_resources_that_are_in_order_are_no_cause(lab: FakeLab, operator: None) -> None:
    resource(lab, "VaultAuth", "shop", {"valid": True})
    ready = {"type": "Ready", "status": "True"}
    resource(lab, "VaultStaticSecret", "app", {"conditions": [ready]})
    cast(TalkingKube, lab.kube).said = ("VaultClientError: of an hour ago",)
    assert cause(lab, LoginPath()) is None


@pytest.fixture
def operator(lab: FakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab needs the operator, which is there."""
    lab.lab = SimpleNamespace(needs=("operator",))
    metadata = {"name": operators.MANAGER, "namespace": operators.NAMESPACE}
    ready = {"spec": {"replicas": 1}, "status": {"readyReplicas": 1}}
    lab.kube.apply({"kind": "Deployment", "metadata": metadata, **ready})


def resource(lab: FakeLab, kind: str, name: str, status: Data) -> None:
    metadata = {"name": name, "namespace": "lab01", "uid": "2"}
    lab.kube.apply({"kind": kind, "metadata": metadata, "status": status})


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("[INFO] all is well", ""),
        (
            "2026-01-01T00:00:00Z [ERROR] agent.auth.handler: error authenticating:\n"
            "  error=\n  | Error making API request.\n  | Code: 400. Errors:\n  |\n"
            '  | * invalid role name "ap"\n2026-01-01T00:00:01Z [INFO] backing off',
            'error= Error making API request. Code: 400. Errors: * invalid role name "ap"',
        ),
        ("[ERROR] the first\n[ERROR] the last\n[INFO] end", "[ERROR] the last"),
    ],
)
def test_the_last_error_of_an_agent_is_one_line(log: str, says: str) -> None:
    found = last_error(log)
    assert found.endswith(says)
    assert bool(found) == bool(says)


def test_what_is_not_known_has_no_meaning() -> None:
    assert meaning("all is well") == ""
