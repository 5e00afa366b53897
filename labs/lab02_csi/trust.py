"""Step 2: Vault learns to know this cluster's pods, and holds something for them."""

from __future__ import annotations

import base64

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kubernetes_auth import expect_role, logged_in, make_role, trust_cluster
from harness.lab.kit.pods import service_account
from labs.lab02_csi.lab import csi
from labs.lab02_csi.volumes import way_in

# What the service account app may read in this lab, by the name of the secret.
SECRETS = ("app", "shared")


@csi.step(
    "Let the pods in",
    goals=[
        "a key/value engine, version 2, is at lab02-kv/",
        "the secret app has ['encoded', 'password', 'username']",
        "the secret shared has ['password']",
        "the auth method lab02-kubernetes has a role app",
        "the role app has bound_service_account_names = ['app']",
        "the role app has bound_service_account_namespaces = ['lab02']",
        "the role app has audience = vault",
        "the role app has token_policies = ['lab02-app']",
        "a token of the service account app logs in",
        "it may read app",
        "it may read shared",
    ],
    hints=[
        "As in lab 01: engine `lab02-kv` (KV version 2), policy `lab02-app` that may read "
        "`lab02-kv/data/app` and `lab02-kv/data/shared`, auth method `lab02-kubernetes` with "
        "kubernetes_host, kubernetes_ca_cert and token_reviewer_jwt.",
        "The role app: bound to service account app in lab02, audience `vault`, token_policies "
        "`lab02-app`, token_ttl 10m. The secret app has username, password and encoded (base64 "
        "of a value); shared has password. `lab.secret(name)` makes values.",
    ],
)
def let_pods_in(lab: LabContext) -> None:
    """
    Lab 01 did this at leisure; here it is in one go. A key/value engine with two secrets, a
    policy that may read both, and the **kubernetes auth method**: Vault has the pod's token
    reviewed by the cluster, and the role `app` says which service account gets what.

    Notice what is *not* here: nothing is granted to the driver or to the provider. Vault has
    no role for them. They will come with the token of the pod whose volume they fill, and
    get what that pod may have.

    The audience `vault` is the one that the CSIDriver object asks kubelet for.
    """
    kv = lab.path("kv")
    lab.http.post(f"/v1/sys/mounts/{kv}", json={"type": "kv", "options": {"version": "2"}})
    encoded = base64.b64encode(lab.secret("decoded").encode()).decode()
    for name, fields in {
        "app": {"username": "shop", "password": lab.secret("app"), "encoded": encoded},
        "shared": {"password": lab.secret("shared")},
    }.items():
        lab.http.post(f"/v1/{kv}/data/{name}", json={"data": fields})
    policy = "\n".join(
        f'path "{kv}/data/{name}" {{ capabilities = ["read"] }}' for name in ("app", "shared")
    )
    lab.http.put(f"/v1/sys/policies/acl/{lab.path('app')}", json={"policy": policy})

    # Who vouches for the pods: the cluster, asked with a token of the account reviewer.
    lab.kube.apply(service_account("app"))
    trust_cluster(lab)
    make_role(lab, "app", policies=[lab.path("app")])


@let_pods_in.check
def _(lab: LabContext) -> None:
    mounts = lab.http.get("/v1/sys/mounts").json()["data"]
    version = ((mounts.get(f"{lab.path('kv')}/") or {}).get("options") or {}).get("version")
    expect(version == "2", f"a key/value engine, version 2, is at {lab.path('kv')}/", found=version)
    for name, fields in (("app", {"username", "password", "encoded"}), ("shared", {"password"})):
        answer = lab.http.get(f"/v1/{lab.path('kv', 'data', name)}", allow={404})
        data = (answer.json().get("data") or {}).get("data") or {}
        expect(fields <= set(data), f"the secret {name} has {sorted(fields)}", found=sorted(data))
    expect_role(lab, "app", policies=[lab.path("app")])
    # Only a log-in shows that the cluster answers Vault's question, and a read that it is enough.
    with logged_in(lab, "app") as token:
        for name in SECRETS:
            answer = lab.http.get(
                f"/v1/{lab.path('kv', 'data', name)}", token=token, allow={403, 404}
            )
            expect(answer.status_code == 200, f"it may read {name}", found=answer.status_code)


@let_pods_in.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, "app", "password")
