"""Step 9: another audience, and another auth method."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit import jwt_auth
from harness.lab.kit.kubernetes_auth import make_role
from harness.lab.kit.pods import file_sum
from labs.lab02_csi.lab import csi
from labs.lab02_csi.volumes import expect_mounted, pod, secret_class, way_in


@csi.step(
    "Other doors: an audience, a JWT",
    hints=[
        "A role bank with audience `bank`; a class bank with role bank and the parameter "
        "audience='bank'; a pod bank with the volume /secrets.",
        "Auth method type `jwt` at lab02-jwt: jwks_url (on lab.access.api_server, "
        "/openid/v1/jwks), jwks_ca_pem, bound_issuer; role app: role_type jwt, user_claim sub, "
        "bound_audiences vault, bound_subject system:serviceaccount:lab02:app.",
        "The class jwt has mount='jwt', the pod jwt mounts it. The keys are public once the "
        "ClusterRole system:service-account-issuer-discovery is bound to system:unauthenticated.",
    ],
)
def other_doors(lab: LabContext) -> None:
    """
    The token that kubelet hands along is for the audience `vault`, because the CSIDriver
    says so. A class may ask for **another audience**. Kubelet has made no such token, so the
    provider asks the API server for one: bound to this pod, for fifteen minutes. That right
    (`serviceaccounts/token`) is the one thing the provider may do in the cluster, and it is
    not a small one. Where everything uses one audience, it can be taken away.

    `vaultAuthMountPath` chooses **another auth method**. Here it is `jwt`: Vault checks the
    signature with the cluster's published keys and does not call the cluster at all
    (lab 01, step 7). To the pod it is the same.
    """
    path = lab.path("kv", "data", "app")
    entry = f"- {{objectName: password, secretPath: {path}, secretKey: password}}"
    make_role(lab, "bank", policies=[lab.path("app")], audience="bank")
    lab.kube.apply(secret_class(lab, "bank", entry, role="bank", audience="bank"))

    jwt_auth.trust_issuer(lab)
    jwt_auth.make_role(lab, "app", policies=[lab.path("app")])
    lab.kube.apply(secret_class(lab, "jwt", entry, mount="jwt"))

    for name in ("bank", "jwt"):
        lab.kube.apply(pod(lab, name, {"/secrets": name}))
    for name in ("bank", "jwt"):
        lab.kube.wait_for_pod(name)


@other_doors.check
def _(lab: LabContext) -> None:
    answer = lab.http.get(f"/v1/auth/{lab.path('kubernetes')}/role/bank", allow={404})
    audience = (answer.json().get("data") or {}).get("audience")
    expect(audience == "bank", "the role bank insists on the audience bank", found=audience)
    for name in ("bank", "jwt"):
        expect_mounted(lab, name)
        expect(
            file_sum(lab, name, "/secrets/password") == lab.fingerprint(lab.secret("app")),
            f"the pod {name} has the password",
        )
    logins = {
        (entry["auth"].get("metadata") or {}).get("role")
        for entry in lab.audit.responses(f"auth/{lab.path('kubernetes')}/login")
        if entry.get("auth")
    }
    expect("bank" in logins, "a pod logged in with a token for the audience bank", found=logins)
    doors = lab.audit.responses(f"auth/{lab.path('jwt')}/login")
    names = {(entry.get("auth") or {}).get("display_name") for entry in doors}
    wanted = f"{lab.path('jwt')}-system:serviceaccount:{lab.namespace}:app"
    expect(wanted in names, "and one by the JWT method, without a TokenReview", found=names)


@other_doors.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, "app", "password")
