"""Step 6: seven ways to be refused, each for its own reason."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.pods import service_account
from labs.lab01_http_api.lab import http_api
from labs.lab01_http_api.pods import curl_pod
from labs.lab01_http_api.trust import way_in

# What Vault answers, and the text that tells this reason from the others. The texts
# are the auth plug-in's (interfaces.md 5.3); a TokenReview that fails is always
# "permission denied", the true reason stands in the server's debug log only.
REASONS = {
    "wrong-account": (403, "service account name not authorized"),
    "wrong-namespace": (403, "namespace not authorized"),
    "wrong-audience": (403, "invalid audience"),
    "unknown-role": (400, "invalid role name"),
    "deleted-pod": (403, "permission denied"),
    "reviewer-without-rights": (403, "permission denied"),
    "revoked-token": (403, "permission denied"),
}


def login_refused(lab: LabContext, mount: str, role: str, jwt: str) -> dict[str, object]:
    """Try to log in; return the status and the words of the refusal."""
    answer = lab.http.post(
        f"/v1/auth/{mount}/login", json={"role": role, "jwt": jwt}, token="", allow={400, 403, 500}
    )
    return {"status": answer.status_code, "errors": answer.json().get("errors", [])}


@http_api.step(
    "Be refused, for the right reason",
    hints=[
        "Seven attempts. `lab.kube.create_token(account, audience=...)` makes a token for any "
        "account; POST it to the login. Put status and errors of each answer into "
        "`lab.notes['refusals']`, one key an attempt. wrong-namespace: a role for `app` in a "
        "namespace that this `app` is not in.",
        "deleted-pod: copy a pod's `/identity/token` (kube.exec cat), delete the pod with grace "
        "0, then log in. revoked-token: log in, revoke-self, then read the secret.",
        "reviewer-without-rights: a second auth method `lab01-powerless`, configured like the "
        "first but with the token of an account that has no system:auth-delegator.",
    ],
)
def be_refused(lab: LabContext) -> None:
    """
    A refusal is a message. This step collects seven and keeps what Vault said.

    | attempt | status | says |
    |---|---|---|
    | another service account, another namespace, another audience | 403 | which of them |
    | a role that does not exist | 400 | its name |
    | the token of a pod that is gone; a reviewer that may not review | 403 | `permission denied` |
    | a Vault token that was revoked | 403 | `permission denied` |

    Why are the last three so mute? The cluster answered the review with *no*, or could not
    be asked, and Vault does not tell a stranger which. So when you see a bare
    `permission denied` at login, look at Vault's side first: is the reviewer's token still
    alive, may it review, is the address right? A deleted pod's token is refused at once:
    that is what the TokenReview buys you.
    """
    mount, seen = lab.path("kubernetes"), {}

    # Another account, another namespace, another audience, another role.
    lab.kube.apply(service_account("intruder"))
    jwt = lab.kube.create_token("intruder", audience="vault")
    seen["wrong-account"] = login_refused(lab, mount, "app", jwt)

    elsewhere = {
        "bound_service_account_names": ["app"],
        "bound_service_account_namespaces": ["elsewhere"],
        "audience": "vault",
    }
    lab.http.post(f"/v1/auth/{mount}/role/elsewhere", json=elsewhere)
    jwt = lab.kube.create_token("app", audience="vault")
    seen["wrong-namespace"] = login_refused(lab, mount, "elsewhere", jwt)

    jwt = lab.kube.create_token("app", audience="https://elsewhere.example")
    seen["wrong-audience"] = login_refused(lab, mount, "app", jwt)
    jwt = lab.kube.create_token("app", audience="vault")
    seen["unknown-role"] = login_refused(lab, mount, "no-such-role", jwt)

    # A pod's token outlives the pod as a file, but not as a credential.
    lab.kube.apply(curl_pod(lab, "short-lived", service_account="app"))
    lab.kube.wait_for_pod("short-lived")
    copied = lab.kube.exec("short-lived", "cat /identity/token")
    lab.kube.delete("Pod", "short-lived", grace=0)
    lab.wait_for("the pod to be gone", lambda: not lab.kube.get("Pod", "short-lived"))
    seen["deleted-pod"] = login_refused(lab, mount, "app", copied)

    # A reviewer that exists but may not review.
    lab.kube.apply(service_account("powerless"))
    powerless = lab.path("powerless")
    lab.http.post(f"/v1/sys/auth/{powerless}", json={"type": "kubernetes"})
    config = {
        "kubernetes_host": lab.access.api_server,
        "kubernetes_ca_cert": lab.kube.ca_certificate(),
        "token_reviewer_jwt": lab.kube.create_token("powerless"),
    }
    lab.http.post(f"/v1/auth/{powerless}/config", json=config)
    role = {
        "bound_service_account_names": ["app"],
        "bound_service_account_namespaces": [lab.namespace],
        "audience": "vault",
    }
    lab.http.post(f"/v1/auth/{powerless}/role/app", json=role)
    jwt = lab.kube.create_token("app", audience="vault")
    seen["reviewer-without-rights"] = login_refused(lab, powerless, "app", jwt)

    # A Vault token that was good a moment ago.
    login = lab.http.post(f"/v1/auth/{mount}/login", json={"role": "app", "jwt": jwt}, token="")
    token = login.json()["auth"]["client_token"]
    lab.http.post("/v1/auth/token/revoke-self", token=token)
    answer = lab.http.get(f"/v1/{lab.path('kv', 'data', 'app')}", token=token, allow={403})
    seen["revoked-token"] = {"status": answer.status_code, "errors": answer.json()["errors"]}

    lab.notes["refusals"] = seen


@be_refused.check
def _(lab: LabContext) -> None:
    seen = lab.notes.get("refusals", {})
    for attempt, (status, reason) in REASONS.items():
        found = seen.get(attempt) or {}
        said = " ".join(str(error) for error in found.get("errors", []))
        expect(
            found.get("status") == status and reason in said,
            f"{attempt}: {status}, {reason}",
            found=found or f"nothing in lab.notes['refusals'] for {attempt}",
            hint="the same status with another text is another mistake",
        )
    errors = lab.audit.refusals(f"auth/{lab.path('kubernetes')}/login")
    for reason in ("service account name not authorized", "namespace not authorized"):
        expect(
            any(reason in error for error in errors),
            f"Vault's audit log has the refusal: {reason}",
            found=sorted(set(errors)),
        )
    expect(
        lab.kube.get("ClusterRoleBinding", lab.path("powerless")) is None,
        "the powerless reviewer may still not review",
    )


@be_refused.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
