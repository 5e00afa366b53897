"""A hint is right: for each broken set-up, the failed check of a step names that cause.

Lab 01 is brought to the state before step 5, where a pod logs in and reads. Each case
breaks one link of that way, runs the check of the step a learner would be at, reads the
failure, and repairs; afterwards the diagnosis finds the chain whole again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.base import certs
from harness.base.errors import LabError
from harness.base.wait import wait_for
from harness.diagnosis.explain import explain
from harness.environment.environment import Environment
from harness.lab.context import LabContext
from harness.lab.kit.kubernetes_auth import delegator
from harness.lab.login_path import LoginPath
from harness.lab.steps import Step
from harness.session.runner import Runner
from harness.snapshot import take as inventory

pytestmark = pytest.mark.live

# The API server believes a token for a few seconds after its account is gone.
FORGOTTEN_SECONDS = 60.0
ROLE_FIELDS = ("bound_service_account_names", "bound_service_account_namespaces")


@pytest.fixture(scope="module")
def runner(lab_context: Callable[[str], LabContext]) -> Runner:
    """Lab 01, solved up to the step before the log-in."""
    made = Runner(lab_context("01"))
    made.reset()
    made.reach(made.lab.find("pod_reads"))
    made.begin(made.lab.find("pod_reads"))
    return made


def role_address(lab: LabContext) -> str:
    return f"/v1/auth/{lab.path('kubernetes')}/role/app"


@contextmanager
def role(lab: LabContext, **fields: object) -> Iterator[None]:
    """The role app made anew with these fields in place of its own ones; None leaves one out."""
    address = role_address(lab)
    stored = lab.http.get(address).json()["data"]
    kept = ("audience", "token_policies", "token_ttl", "token_max_ttl", *ROLE_FIELDS)
    right = {name: stored[name] for name in kept}
    lab.http.delete(address)
    changed = {name: value for name, value in {**right, **fields}.items() if value is not None}
    lab.http.post(address, json=changed)
    try:
        yield
    finally:
        lab.http.delete(address)
        lab.http.post(address, json=right)


@contextmanager
def policy(lab: LabContext, text: str) -> Iterator[None]:
    """The policy app says this; "" removes it."""
    address = f"/v1/sys/policies/acl/{lab.path('app')}"
    stored = lab.http.get(address).json()["data"]["policy"]
    if text:
        lab.http.put(address, json={"policy": text})
    else:
        lab.http.delete(address)
    try:
        yield
    finally:
        lab.http.put(address, json={"policy": stored})


def policy_for(lab: LabContext, *path: str) -> AbstractContextManager[None]:
    return policy(lab, f'path "{lab.path(*path)}" {{ capabilities = ["read"] }}')


@contextmanager
def config(lab: LabContext, **fields: object) -> Iterator[None]:
    """The auth method's configuration with these fields; right again afterwards."""
    address = f"/v1/auth/{lab.path('kubernetes')}/config"
    right = {
        "kubernetes_host": lab.access.api_server,
        "kubernetes_ca_cert": lab.kube.ca_certificate(),
    }
    token = lab.kube.create_token("reviewer", seconds=24 * 3600)
    lab.http.post(address, json={**right, "token_reviewer_jwt": token, **fields})
    try:
        yield
    finally:
        token = lab.kube.create_token("reviewer", seconds=24 * 3600)
        lab.http.post(address, json={**right, "token_reviewer_jwt": token})


@contextmanager
def dead_reviewer(lab: LabContext) -> Iterator[None]:
    """The reviewer's account was deleted and made again: its token died in between."""
    with config(lab):
        account = lab.kube.get("ServiceAccount", "reviewer")
        assert account
        labels = account["metadata"].get("labels") or {}
        lab.kube.delete("ServiceAccount", "reviewer")
        lab.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "reviewer", "labels": labels},
            }
        )
        jwt = lab.kube.create_token("app", audience="vault")
        login = f"/v1/auth/{lab.path('kubernetes')}/login"
        attempt = {"role": "app", "jwt": jwt}
        wait_for(
            "the reviewer's old token to be refused",
            lambda: lab.http.post(login, json=attempt, token="", allow={403}).status_code == 403,
            timeout=FORGOTTEN_SECONDS,
        )
        yield


@contextmanager
def reviewer_without_rights(lab: LabContext) -> Iterator[None]:
    binding = delegator(lab, "reviewer")
    lab.kube.delete("ClusterRoleBinding", binding["metadata"]["name"])
    try:
        yield
    finally:
        lab.kube.apply(binding)


@contextmanager
def other_ca_for_pods(lab: LabContext) -> Iterator[None]:
    """Pods verify Vault with the cluster's CA."""
    other = lab.kube.ca_certificate()
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vault-ca"}}
    lab.kube.apply({**config_map, "data": {"ca.crt": other}})
    try:
        yield
    finally:
        right = lab.access.vault_ca.read_text(encoding="ascii")
        lab.kube.apply({**config_map, "data": {"ca.crt": right}})


@contextmanager
def sealed(lab: LabContext) -> Iterator[None]:
    lab.http.put("/v1/sys/seal")
    try:
        yield
    finally:
        Environment(lab.access.name).vault().unseal(lab.http)


@contextmanager
def stopped(lab: LabContext) -> Iterator[None]:
    server = Environment(lab.access.name).vault()
    container = server.container()
    assert container
    container.stop(timeout=5)
    try:
        yield
    finally:
        container.start()
        wait_for(
            "Vault to listen",
            lambda: lab.http.get("/v1/sys/seal-status").ok,
            transient=(LabError,),
            explain=server.logs,
        )
        server.unseal(lab.http)


@contextmanager
def deleted_secret(lab: LabContext) -> Iterator[None]:
    lab.http.post(f"/v1/{lab.path('kv', 'delete', 'app')}", json={"versions": [3]})
    try:
        yield
    finally:
        lab.http.post(f"/v1/{lab.path('kv', 'undelete', 'app')}", json={"versions": [3]})


@contextmanager
def disabled_method(lab: LabContext) -> Iterator[None]:
    """A mount with another name is looked for: the method itself stays."""
    name = lab.path("kubernetes")
    remount = {"from": f"auth/{name}", "to": f"auth/{name}-moved"}
    _move(lab, remount)
    try:
        yield
    finally:
        _move(lab, {"from": remount["to"], "to": remount["from"]})


def _move(lab: LabContext, remount: dict[str, str]) -> None:
    moving = lab.http.post("/v1/sys/remount", json=remount).json()
    status = f"/v1/sys/remount/status/{moving['migration_id']}"
    wait_for(
        f"{remount['from']} to be moved",
        lambda: lab.http.get(status).json()["data"]["migration_info"]["status"] == "success",
    )


Breaks = Callable[[LabContext], AbstractContextManager[Any]]

# Name: how it is broken, the step whose check is run, what the failure must say.
CASES: dict[str, tuple[Breaks, str, str]] = {
    "missing data/": (
        lambda lab: policy_for(lab, "kv", "app"),
        "allow_one_path",
        "policy path: lab01-app names lab01-kv/app, without data/",
    ),
    "missing data/, at the log-in": (
        lambda lab: policy_for(lab, "kv", "app"),
        "pod_reads",
        "policy path: lab01-app names lab01-kv/app, without data/",
    ),
    "wrong path": (
        lambda lab: policy_for(lab, "kv", "data", "other"),
        "pod_reads",
        "policy path: lab01-app names only lab01-kv/data/other",
    ),
    "wrong mount": (
        lambda lab: policy_for(lab, "kvs", "data", "app"),
        "pod_reads",
        "no engine is mounted at lab01-kvs/: wrong mount",
    ),
    "missing policy": (
        lambda lab: policy(lab, ""),
        "pod_reads",
        "policy: missing policy: there is no lab01-app",
    ),
    "wrong audience": (
        lambda lab: role(lab, audience="bank"),
        "pod_reads",
        "wrong audience: the role app wants bank, the token of pod app is made for vault",
    ),
    "misspelt role field": (
        lambda lab: role(lab, token_policies=None, policies_=["lab01-app"]),
        "trust_cluster",
        "policy: the role app grants no policy: its token_policies are empty",
    ),
    "wrong service account": (
        lambda lab: role(lab, bound_service_account_names=["web"]),
        "pod_reads",
        "service account: the role app is for web, the pod runs as app",
    ),
    "wrong namespace": (
        lambda lab: role(lab, bound_service_account_namespaces=["shop"]),
        "pod_reads",
        "the role app is for the namespace shop, the pod runs in lab01",
    ),
    "wrong CA of the cluster": (
        lambda lab: config(lab, kubernetes_ca_cert=lab.access.vault_ca.read_text()),
        "trust_cluster",
        "reviewer: wrong CA: kubernetes_ca_cert is CN=kube-vault-labs",
    ),
    "wrong address of the cluster": (
        lambda lab: config(lab, kubernetes_host="https://127.0.0.1:6443"),
        "pod_reads",
        "reviewer: wrong address: kubernetes_host is https://127.0.0.1:6443",
    ),
    "wrong CA in pods": (
        other_ca_for_pods,
        "pod_reads",
        "TLS for pods: wrong CA: with the ConfigMap vault-ca in lab01",
    ),
    "dead reviewer token": (
        dead_reviewer,
        "trust_cluster",
        "reviewer: dead token: reviewer exists and may review",
    ),
    "reviewer without rights": (
        reviewer_without_rights,
        "trust_cluster",
        "the service account reviewer may not create TokenReviews",
    ),
    "no auth method at this path": (
        disabled_method,
        "pod_reads",
        "auth method: none is enabled at lab01-kubernetes/",
    ),
    "deleted secret": (
        deleted_secret,
        "pod_reads",
        "secret: deleted: version 3 of app in lab01-kv/",
    ),
    "sealed Vault": (sealed, "pod_reads", "seal: Vault is sealed (sealed: true"),
    "stopped Vault": (stopped, "pod_reads", "reachability: "),
}


@pytest.mark.parametrize("name", CASES)
def test_the_failed_check_names_the_cause(runner: Runner, name: str) -> None:
    breaks, step_name, says = CASES[name]
    lab, step = runner.context, runner.lab.find(step_name)
    assert step.diagnoses
    way = runner.lab.find("pod_reads").diagnoses
    assert way
    assert explain(lab, way(lab)) == "", "the chain was whole before"
    with breaks(lab):
        text = failure(runner, step)
    cause = text.partition("\n  cause: ")[2]
    assert says in cause, text
    assert "try:" in text
    assert explain(lab, way(lab)) == "", "the repair made the chain whole again"


def test_a_diagnosis_leaves_nothing_behind(runner: Runner) -> None:
    lab = runner.context
    way = runner.lab.find("pod_reads").diagnoses
    assert way
    before = inventory.take(lab)
    explain(lab, way(lab))
    with role(lab, audience="bank"):
        explain(lab, way(lab))
    assert inventory.difference(before, inventory.take(lab)) == []
    roles = lab.http.list(f"/v1/auth/{lab.path('kubernetes')}/role").json()["data"]["keys"]
    assert roles == ["app"]


def failure(runner: Runner, step: Step) -> str:
    """What the check of the step says now. It must fail."""
    try:
        runner.check(step)
    except LabError as error:
        return str(error)
    pytest.fail(f"the check of {step.id} passes")


def test_pods_are_judged_by_another_vaults_ca(runner: Runner, tmp_path: Path) -> None:
    """Other labs hand pods the CA in other ways: it can be given in the path."""
    certs.make_ca("another CA", tmp_path / "ca.crt", tmp_path / "ca.key")
    other = (tmp_path / "ca.crt").read_text()
    assert "wrong CA" in explain(runner.context, LoginPath(ca=other))
