"""Each broken link is named, in the order of the chain, and no probe is left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from harness.base import certs
from harness.base.errors import CheckFailed, LabError
from harness.base.network import free_port
from harness.diagnosis import reviewer
from harness.diagnosis.explain import Finding, add_cause, diagnose, explain
from harness.lab.context import LabContext
from harness.lab.login_path import LoginPath
from harness.lab.steps import Lab
from tests.fakes.chain import (
    CONFIG_PATH,
    MOUNT,
    POLICY,
    POLICY_PATH,
    ROLE,
    ROLE_PATH,
    SECRET,
    FakeLab,
)

WAY = LoginPath(
    mount=MOUNT,
    role=ROLE,
    service_account="app",
    reviewer="reviewer",
    pod="app",
    secret=SECRET,
    fields=("password",),
)


def found(lab: FakeLab, way: LoginPath = WAY) -> list[Finding]:
    return diagnose(cast(LabContext, lab), way)


def cause(lab: FakeLab, way: LoginPath = WAY) -> str:
    return explain(cast(LabContext, lab), way)


def test_a_whole_chain_has_no_cause_and_every_link_was_tested(lab: FakeLab) -> None:
    findings = found(lab)
    assert [finding for finding in findings if not finding.ok] == []
    assert [finding.link for finding in findings] == [
        "reachability",
        "TLS",
        "seal",
        "cluster",
        "reachability from pods",
        "TLS for pods",
        "token of the shell",
        "audit log",
        "auth method",
        "reviewer",
        "role",
        "service account",
        "audience",
        "token of the role",
        "policy",
        "policy path",
        "secret",
        "log-in",
    ]
    assert cause(lab) == ""


def test_nothing_is_left_behind_and_no_secret_is_read_as_the_account(lab: FakeLab) -> None:
    before = set(lab.http.documents)
    found(lab)
    lab.http.reviews = False
    found(lab)
    assert set(lab.http.documents) == before
    assert lab.http.tokens == {}
    # The checks ask the audit log who revoked what, and how: these two are a learner's.
    assert not [call for call in lab.http.calls if "revoke-" in call]


def test_no_value_of_a_secret_is_told(lab: FakeLab) -> None:
    assert "s3cr3t-value" not in "".join(map(str, found(lab)))


Break = Callable[[FakeLab], Any]


def deaf(lab: FakeLab, **config: object) -> FakeLab:
    """The cluster does not review for Vault any more; the configuration says so much."""
    lab.http.reviews = False
    lab.config.update(config)
    return lab


BROKEN: dict[str, tuple[Break, str]] = {
    "sealed": (
        lambda lab: setattr(lab.http, "sealed", True),
        "seal: Vault is sealed",
    ),
    "no method": (
        lambda lab: lab.http.methods.pop(f"{MOUNT}/"),
        f"auth method: none is enabled at {MOUNT}/ (there are: token/)",
    ),
    "another method": (
        lambda lab: lab.http.methods[f"{MOUNT}/"].update(type="jwt"),
        f"auth method: the one at {MOUNT}/ is of type jwt",
    ),
    "not configured": (
        lambda lab: lab.http.documents.pop(CONFIG_PATH),
        "enabled but not configured",
    ),
    "dead reviewer": (
        deaf,
        "reviewer: dead token: reviewer exists and may review",
    ),
    "reviewer's account gone": (
        lambda lab: deaf(lab).cluster.remove("ServiceAccount", "lab01", "reviewer"),
        "reviewer: the service account reviewer does not exist",
    ),
    "wrong address": (
        lambda lab: deaf(lab, kubernetes_host="https://127.0.0.1:6443"),
        "reviewer: wrong address: kubernetes_host is https://127.0.0.1:6443",
    ),
    "wrong CA": (
        lambda lab: deaf(lab, kubernetes_ca_cert="ANOTHER CA"),
        "reviewer: wrong CA",
    ),
    "no reviewer token": (
        lambda lab: deaf(lab, token_reviewer_jwt_set=False),
        "reviewer: no token_reviewer_jwt is set",
    ),
    "no role": (
        lambda lab: lab.http.documents.update({f"{ROLE_PATH}s": lab.http.documents.pop(ROLE_PATH)}),
        f"role: there is no role {ROLE} at {MOUNT}/ (there are: apps)",
    ),
    "no account": (
        lambda lab: lab.cluster.remove("ServiceAccount", "lab01", "app"),
        "service account: there is no service account app in lab01",
    ),
    "another account bound": (
        lambda lab: lab.role.update(bound_service_account_names=["web"]),
        "service account: the role app is for web, the pod runs as app",
    ),
    "another namespace bound": (
        lambda lab: lab.role.update(bound_service_account_namespaces=["shop"]),
        "service account: the role app is for the namespace shop, the pod runs in lab01",
    ),
    "pod of another account": (
        lambda lab: lab.cluster.put("Pod", "app", "lab01", spec={"serviceAccountName": "web"}),
        "service account: the pod app runs as web, not as app",
    ),
    "another audience": (
        lambda lab: lab.role.update(audience="bank"),
        "audience: wrong audience: the role app wants bank, the pod's token is made for vault",
    ),
    "pod's token for another audience": (
        lambda lab: lab.cluster.put("Pod", "app", "lab01", spec=spec_with_audience("bank")),
        "audience: wrong audience: the role app wants vault, the token of pod app is made for bank",
    ),
    "misspelt field": (
        lambda lab: lab.role.update(token_policies=[], policies_=["lab01-app"]),
        "policy: the role app grants no policy",
    ),
    "no policy": (
        lambda lab: lab.http.documents.pop(POLICY_PATH),
        "policy: missing policy: there is no lab01-app",
    ),
    "deleted secret": (
        lambda lab: lab.version.update(state="deleted"),
        "secret: deleted: version 1 of app in lab01-kv/",
    ),
    "destroyed secret": (
        lambda lab: lab.version.update(state="destroyed"),
        "secret: version 1 of app in lab01-kv/, the present one, is destroyed",
    ),
    "no secret": (
        lambda lab: lab.http.secrets.update({"lab01-kv/ap": lab.http.secrets.pop("lab01-kv/app")}),
        "secret: there is no secret app in lab01-kv/ (there are: ap)",
    ),
    "no field": (
        lambda lab: lab.version["data"].pop("password"),
        "secret: app in lab01-kv/ has no field password (it has: username)",
    ),
    "no engine": (
        lambda lab: lab.http.mounts.clear(),
        f"secret: no secrets engine is mounted where {SECRET} begins",
    ),
    "refused at the end": (
        lambda lab: setattr(lab.http, "login_says", (403, "entity disabled")),
        "log-in: app is refused (403): entity disabled",
    ),
}


def spec_with_audience(audience: str) -> dict[str, Any]:
    source = {"serviceAccountToken": {"path": "token", "audience": audience}}
    volumes = [{"name": "identity", "projected": {"sources": [source]}}]
    return {"serviceAccountName": "app", "volumes": volumes}


@pytest.mark.parametrize("name", BROKEN)
def test_the_broken_link_is_named(lab: FakeLab, name: str) -> None:
    breaks, says = BROKEN[name]
    breaks(lab)
    assert says in cause(lab)
    first = next(finding for finding in found(lab) if not finding.ok)
    assert first.hint


def test_an_account_without_the_right_is_told_from_a_dead_token(
    lab: FakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.http.reviews = False
    monkeypatch.setattr(reviewer, "may_review", lambda *_: False)
    assert "reviewer may not create TokenReviews" in cause(lab)


def test_an_account_made_after_the_token_is_the_evidence(lab: FakeLab) -> None:
    lab.http.reviews = False
    line = (
        '{"type": "response", "time": "2025-06-01T10:00:00.123456789Z", '
        f'"request": {{"operation": "update", "path": "auth/{MOUNT}/config"}}}}\n'
    )
    lab.access.audit_log.write_text(line)
    try:
        assert "reviewer was made at 2026-01-01T00:00:00Z, after the token" in cause(lab)
    finally:
        lab.access.audit_log.unlink()


def test_the_first_broken_link_wins(lab: FakeLab) -> None:
    for breaks, _ in (BROKEN["deleted secret"], BROKEN["another audience"], BROKEN["no policy"]):
        breaks(lab)
    broken = [finding.link for finding in found(lab) if not finding.ok]
    assert broken == ["audience", "policy", "secret"]
    assert cause(lab).startswith("audience: ")


def test_a_missing_policy_that_is_not_needed_is_a_remark(lab: FakeLab) -> None:
    lab.role["token_policies"] = ["lab01-app", "lab01-old"]
    assert "there is no lab01-old, the others are enough" in cause(lab)
    assert all(finding.ok for finding in found(lab))


def test_a_role_without_audience_is_a_remark_not_a_break(lab: FakeLab) -> None:
    lab.role["audience"] = ""
    assert "names no audience" in cause(lab)
    assert all(finding.ok for finding in found(lab))
    BROKEN["deleted secret"][0](lab)
    assert cause(lab).startswith("secret: ")


def test_a_namespace_selector_counts(lab: FakeLab) -> None:
    lab.role.update(
        {
            "bound_service_account_namespaces": [],
            "bound_service_account_namespace_selector": '{"matchLabels": {"team": "shop"}}',
        }
    )
    assert cause(lab) == ""
    lab.cluster.put("Namespace", "lab01", metadata={"labels": {"team": "bank"}})
    assert cause(lab).startswith("service account: ")


# -- the server -------------------------------------------------------------------------


def test_nobody_listening(lab: FakeLab) -> None:
    lab.access.vault_addr = f"https://127.0.0.1:{free_port()}"
    (only,) = found(lab)
    assert (only.link, only.ok) == ("reachability", False)


def test_another_ca_for_us(lab: FakeLab, tmp_path: Path) -> None:
    certs.make_ca("another CA", tmp_path / "ca.crt", tmp_path / "ca.key")
    lab.access.vault_ca = tmp_path / "ca.crt"
    assert cause(lab).startswith("TLS: ")
    assert [finding.link for finding in found(lab)] == ["reachability", "TLS"]


def test_another_ca_for_pods(lab: FakeLab, tmp_path: Path) -> None:
    certs.make_ca("another CA", tmp_path / "ca.crt", tmp_path / "ca.key")
    other = (tmp_path / "ca.crt").read_text()
    lab.cluster.put("ConfigMap", "vault-ca", "lab01", data={"ca.crt": other})
    assert "TLS for pods: wrong CA: with the ConfigMap vault-ca in lab01" in cause(lab)
    assert "wrong CA: with the certificate that the pod was given" in cause(
        lab, LoginPath(ca=other)
    )


@pytest.mark.parametrize(
    ("data", "says"),
    [({}, "has no ca.crt"), ({"ca.crt": "no certificate"}, "holds no certificate in PEM form")],
)
def test_no_ca_for_pods(lab: FakeLab, data: dict[str, str], says: str) -> None:
    lab.cluster.put("ConfigMap", "vault-ca", "lab01", data=data)
    assert says in cause(lab)


def test_a_service_that_leads_nowhere(lab: FakeLab) -> None:
    lab.cluster.remove("EndpointSlice", "vault", "vault")
    assert "vault.vault.svc leads nowhere" in cause(lab)


# -- what a failed check makes of it ----------------------------------------------------


def step_of(way: LoginPath | None) -> Any:
    lab = Lab("91", "A lab", 1, "A goal.")

    @lab.step("A step")
    def step(_: LabContext) -> None:
        """Why."""

    if way:
        step.diagnosis(lambda _: way)
    return step


def test_a_failed_check_names_the_cause_and_what_to_do(lab: FakeLab) -> None:
    BROKEN["another audience"][0](lab)
    error = CheckFailed("not yet true: the pod reads", hint="look again")
    add_cause(error, cast(LabContext, lab), step_of(WAY))
    assert "cause: audience: wrong audience: the role app wants bank" in str(error)
    assert "try:   one of the two must change" in str(error)


def test_a_whole_chain_leaves_the_failure_as_it_was(lab: FakeLab) -> None:
    error = CheckFailed("not yet true: the pod reads", hint="look again")
    before = str(error)
    add_cause(error, cast(LabContext, lab), step_of(WAY))
    assert str(error) == before


def test_a_remark_does_not_take_the_place_of_a_hint(lab: FakeLab) -> None:
    lab.role["audience"] = ""
    error = CheckFailed("not yet true", hint="look again")
    add_cause(error, cast(LabContext, lab), step_of(WAY))
    assert "cause" not in str(error)
    error = CheckFailed("not yet true")
    add_cause(error, cast(LabContext, lab), step_of(WAY))
    assert "cause: audience: the role app names no audience" in str(error)


def test_a_step_without_a_path_is_diagnosed_only_when_its_check_broke_off(lab: FakeLab) -> None:
    lab.http.sealed = True
    failed, broke_off = CheckFailed("not yet true"), LabError("Vault answered 503")
    for error in (failed, broke_off):
        add_cause(error, cast(LabContext, lab), step_of(None))
    assert "cause" not in str(failed)
    assert "cause: seal: Vault is sealed" in str(broke_off)


def test_a_diagnosis_that_fails_hides_nothing(lab: FakeLab) -> None:
    lab.http.calls = None  # type: ignore[assignment] # a defect: every question raises
    error = CheckFailed("not yet true: the pod reads", hint="look again")
    add_cause(error, cast(LabContext, lab), step_of(WAY))
    assert str(error).startswith("not yet true: the pod reads")
    assert "cause: not found (AttributeError" in str(error)
    assert error.hint == "look again"


def test_a_path_without_a_log_in_tests_policies_alone(lab: FakeLab) -> None:
    way = LoginPath(policies=("lab01-app",), secret=SECRET)
    assert [finding.link for finding in found(lab, way)][8:] == ["policy", "policy path", "secret"]
    lab.http.put(POLICY_PATH, policy=POLICY.replace("/data", ""))
    assert "without data/" in cause(lab, way)
