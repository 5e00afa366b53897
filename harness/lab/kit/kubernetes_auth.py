"""The kubernetes auth method of a lab, as its checks look at it.

Vault lets the cluster review each token that logs in (TokenReview). It asks with the token
of the service account `reviewer`. The method of a lab is at `lab.path("kubernetes")`; its
roles say which service account gets which policies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.base.redact import Secret
from harness.clients.kube import Object
from harness.lab.context import LabContext
from harness.lab.steps import expect


def delegator(lab: LabContext, account: str) -> Object:
    """Lets a service account have tokens reviewed: ClusterRole system:auth-delegator."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": lab.path(account)},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "system:auth-delegator",
        },
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": lab.namespace}],
    }


def expect_role(
    lab: LabContext,
    name: str,
    *,
    policies: Sequence[str],
    account: str = "app",
    namespaces: Sequence[str] = (),
    audience: str = "vault",
) -> None:
    """State that the role grants these policies to this account, and to no other."""
    path = f"/v1/auth/{lab.path('kubernetes')}/role/{name}"
    # An auth method that is not there answers 400 or 404, by flavour.
    role = lab.http.get(path, allow={400, 404}).json().get("data") or {}
    expect(role, f"the auth method {lab.path('kubernetes')} has a role {name}")
    for field, value in {
        "bound_service_account_names": [account],
        "bound_service_account_namespaces": list(namespaces) or [lab.namespace],
        "audience": audience,
        "token_policies": list(policies),
    }.items():
        expect(
            _sorted(role.get(field)) == _sorted(value),
            f"the role {name} has {field} = {value}",
            found=role.get(field),
            hint="a misspelt field is dropped without an error: compare the names",
        )


def _sorted(value: object) -> object:
    """Vault keeps no order in its lists of names."""
    return sorted(value) if isinstance(value, list) else value


@contextmanager
def logged_in(
    lab: LabContext, role: str, account: str = "app", audience: str = "vault"
) -> Iterator[Secret]:
    """State that a token of the account logs in; its Vault token, which is revoked at the end."""
    login = lab.http.post(
        f"/v1/auth/{lab.path('kubernetes')}/login",
        json={"role": role, "jwt": lab.kube.create_token(account, audience=audience)},
        token="",
        allow={400, 403, 404, 500},
    )
    expect(
        login.status_code == 200,
        f"a token of the service account {account} logs in",
        found=login.text if login.status_code != 200 else None,
        hint="permission denied here means: the reviewer's token is dead or its account has no "
        "system:auth-delegator",
    )
    token = Secret(login.json()["auth"]["client_token"])
    try:
        yield token
    finally:
        lab.http.post("/v1/auth/token/revoke-self", token=token)
