"""The jwt auth method, set up as lab 01 teaches it, for the labs that build on it.

Vault checks the signature of a service-account token with the cluster's published keys and
asks nobody. The method of a lab is at `lab.path("jwt")`, in the environment's Vault or in
another one (`vault`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from harness.clients.vault import VaultHTTP
from harness.lab.context import LabContext


def trust_issuer(lab: LabContext, vault: VaultHTTP | None = None) -> None:
    """Publish the cluster's keys to everybody; enable the auth method that checks with them."""
    vault = vault or lab.http
    lab.kube.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": lab.path("discovery")},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:service-account-issuer-discovery",
            },
            "subjects": [
                {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "Group",
                    "name": "system:unauthenticated",
                }
            ],
        }
    )
    discovery = json.loads(lab.run("kubectl get --raw /.well-known/openid-configuration"))
    method = lab.path("jwt")
    vault.post(f"/v1/sys/auth/{method}", json={"type": "jwt"})
    vault.post(
        f"/v1/auth/{method}/config",
        json={
            "jwks_url": f"{lab.access.api_server}/openid/v1/jwks",
            "jwks_ca_pem": lab.kube.ca_certificate(),
            "bound_issuer": discovery["issuer"],
        },
    )


def make_role(
    lab: LabContext,
    name: str,
    *,
    policies: Sequence[str],
    account: str = "app",
    ttl: str = "10m",
    vault: VaultHTTP | None = None,
) -> None:
    """A role of the method for one service account of the lab's namespace."""
    (vault or lab.http).post(
        f"/v1/auth/{lab.path('jwt')}/role/{name}",
        json={
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": ["vault"],
            "bound_subject": f"system:serviceaccount:{lab.namespace}:{account}",
            "token_policies": list(policies),
            "token_ttl": ttl,
        },
    )
