"""Step 5: the pod logs in with its own token and reads its secret."""

from __future__ import annotations

import json
from typing import Any

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab01_http_api.lab import http_api
from labs.lab01_http_api.trust import way_in


@http_api.step(
    "A pod logs in and reads",
    minutes=8,
    goals=[
        "the pod's token is for the audience vault and names the service account app",
        "it is bound to this pod: it ends with it",
        "the Vault token carries the policy lab01-app",
        "it lives ten minutes at most, and may be renewed",
        "the pod holds exactly the password that Vault stores (compared by SHA-256)",
        "Vault's audit log shows that the service account app read it",
    ],
    hints=[
        "Who is the pod? `kubectl exec app -- cat /memory/claims.json`. What did Vault answer to "
        "the login? `kubectl exec -it app -- bash` and try it by hand, line by line.",
        "A login says which role it wants and hands in the token (`jwt`); step 4 made the role. "
        "Vault's token is in the answer under `auth`; it goes into the header X-Vault-Token.",
        'role: "app"; .auth.client_token; $NAMESPACE-kv/data/app; .data.data.password: the outer '
        "data is Vault's, the inner one is the engine's",
    ],
)
def pod_reads(lab: LabContext) -> None:
    """
    Now the pod does it by itself. Its token is in a file because *kubelet* put it there: made
    for this pod, for the audience `vault`, for ten minutes. It is a JWT; anyone can read its
    claims, nobody can change them. With `curl` the pod swaps it for a Vault token and reads
    the secret.

    Vault answers a login with an object `auth`: in it `client_token` is the token, `policies`
    says what it may do, `lease_duration` how long. The Vault token is a different thing than
    the token of the service account. It belongs to a **role**, carries **policies** and dies
    by itself: `lookup-self` tells how long it has (`ttl`) and that it may be renewed.

    Nothing secret was put into the image, the manifest or a Kubernetes Secret. What the
    pod gets goes to a memory volume, not to the terminal: what is printed ends up in logs.

    All of it runs inside the pod. Open a shell there, `kubectl exec -it app -- bash`, and
    type the lines yourself if you like.
    """
    lab.sh(r"""
kubectl exec -i app -- bash -e -o pipefail <<'EOF'
# The claims of a JWT are its second part, base64url without padding.
jq -R 'split(".")[1] | gsub("-"; "+") | gsub("_"; "/") | @base64d | fromjson' /identity/token |
  tee /memory/claims.json
EOF
""")
    lab.sh(r"""
kubectl exec -i app -- bash -e -o pipefail <<'EOF'
api() { curl -sS --fail-with-body --cacert /vault-ca/ca.crt "$@"; }

# Log in: hand in the service-account token, get a Vault token.
jq -R '{role: "app", jwt: .}' /identity/token | #?(app)
  api $VAULT_ADDR/v1/auth/$NAMESPACE-kubernetes/login -d @- |
  jq -j .auth.client_token > /memory/vault-token  #?(.auth.client_token) where is the token?

# What may this token do, and for how long?
api -H "X-Vault-Token: $(cat /memory/vault-token)" $VAULT_ADDR/v1/auth/token/lookup-self |
  jq '.data | {policies, ttl, renewable, display_name, meta}' | tee /memory/lookup.json

# Read. The password stays in memory; its length is no secret.
api -H "X-Vault-Token: $(cat /memory/vault-token)" $VAULT_ADDR/v1/$NAMESPACE-kv/data/app |
  jq -j .data.data.password > /memory/password  #?(.data.data.password) where is the password?
wc -c /memory/password
EOF
""")


@pod_reads.check
def _(lab: LabContext) -> None:
    expect(lab.kube.get("Pod", "app"), "there is a pod app", hint="step 1 makes it")
    claims = _file(lab, "claims.json")
    expect(
        claims.get("aud") == ["vault"]
        and claims.get("sub") == f"system:serviceaccount:{lab.namespace}:app",
        "the pod's token is for the audience vault and names the service account app",
        found={name: claims.get(name) for name in ("aud", "sub")},
    )
    pod_claim = (claims.get("kubernetes.io") or {}).get("pod") or {}
    expect(
        pod_claim.get("name") == "app", "it is bound to this pod: it ends with it", found=pod_claim
    )
    lookup = _file(lab, "lookup.json")
    expect(
        lab.path("app") in lookup.get("policies", []),
        f"the Vault token carries the policy {lab.path('app')}",
        found=lookup.get("policies"),
    )
    expect(
        0 < lookup.get("ttl", 0) <= 600 and lookup.get("renewable"),
        "it lives ten minutes at most, and may be renewed",
        found={name: lookup.get(name) for name in ("ttl", "renewable")},
    )
    answer = lab.http.get(f"/v1/{lab.path('kv', 'data', 'app')}", allow={404})
    fields = (answer.json().get("data") or {}).get("data") or {}
    expect("password" in fields, "Vault holds a password for it to read", found=sorted(fields))
    digest = lab.kube.exec("app", "sha256sum /memory/password 2>/dev/null || true").split(" ")[0]
    expect(
        digest == lab.fingerprint(fields["password"]),
        "the pod holds exactly the password that Vault stores (compared by SHA-256)",
        found=digest or "no file /memory/password in the pod",
    )
    readers = {
        ((entry.get("auth") or {}).get("metadata") or {}).get("service_account_name")
        for entry in lab.audit.responses(lab.path("kv", "data", "app"))
    }
    expect(
        "app" in readers,
        "Vault's audit log shows that the service account app read it",
        found=sorted(str(reader) for reader in readers),
    )


@pod_reads.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, pod="app", secret=lab.path("kv", "data", "app"), fields=("password",))


def _file(lab: LabContext, name: str) -> dict[str, Any]:
    """A JSON file of the pod; {} when it is not there or not JSON."""
    text = lab.kube.exec("app", f"cat /memory/{name} 2>/dev/null || true")
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
