"""Step 10: what becomes of the agent's token when the pod ends."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab03_injector.lab import injector
from labs.lab03_injector.trust import way_in

PODS = ("leaver", "leaker")


def living_roles(lab: LabContext) -> list[str]:
    """The roles of this lab's auth method that tokens were granted by and are still alive."""
    answer = lab.http.list("/v1/auth/token/accessors", allow={404}).json().get("data") or {}
    roles = []
    for accessor in answer.get("keys") or []:
        found = lab.http.post(
            "/v1/auth/token/lookup-accessor", json={"accessor": accessor}, allow={400, 403, 404}
        )
        token = found.json().get("data") or {}
        if str(token.get("path", "")).startswith(f"auth/{lab.path('kubernetes')}/"):
            roles.append(str((token.get("meta") or {}).get("role")))
    return roles


def logged_in_by(lab: LabContext, role: str) -> set[str]:
    """The accessors, as the audit log has them (HMAC), of the tokens that this role granted."""
    logins = lab.audit.responses(f"auth/{lab.path('kubernetes')}/login")
    granted = [entry.get("auth") or {} for entry in logins]
    return {
        str(auth["accessor"])
        for auth in granted
        if (auth.get("metadata") or {}).get("role") == role
    }


def revoked_themselves(lab: LabContext) -> set[str]:
    """The accessors, as the audit log has them, of the tokens that asked to be revoked."""
    return {
        str((entry.get("auth") or {}).get("accessor"))
        for entry in lab.audit.responses("auth/token/revoke-self")
    }


@injector.step(
    "Revoke the token when the pod ends",
    minutes=6,
    further=True,
    goals=[
        "the agent of leaver has logged in, with the role leaver",
        "the agent of leaker has logged in, with the role leaker",
        "the pod leaver has ended",
        "the pod leaker has ended",
        "Vault's audit log has the request: the agent of leaver revoked itself",
        "no token of the role leaver is left",
        "the token of leaker has outlived its pod",
    ],
    answer="The one of `leaker`. The agent of `leaver` has revoked its token; the other token "
    "lives on until its time is up.",
    hints=[
        "`vault list auth/token/accessors` names all living tokens without showing one; "
        "`vault token lookup -accessor ...` says whose it is, in `meta`.",
        "Upstream's list of annotations has two that begin with `agent-revoke`. A pod that is "
        "deleted with `--force` or grace 0 gets no chance to revoke anything.",
        'vault.hashicorp.com/agent-revoke-on-shutdown: "true"; then kubectl delete pod leaver '
        "leaker.",
    ],
)
def revoke_at_the_end(lab: LabContext) -> None:
    """
    A pod ends; its agent's token does not. The token lives until its time has run out, together
    with all that was leased under it. Somebody who copied it has that long.

    `agent-revoke-on-shutdown` gives the sidecar a last task (a *preStop* hook): wait
    `agent-revoke-grace` seconds, so that the application can finish, then revoke its own
    token. The pod's `terminationGracePeriodSeconds` must leave time for both.

    Two limits. A pod that is killed (node lost, grace 0) gets no chance to revoke its token.
    And the token of the *init* agent is another one, which nobody revokes: give roles a short
    `token_ttl`.

    Each pod has a role of its own here, so that Vault's list says whose token is whose. An
    **accessor** names a token and cannot be used as one.

    Before you run it: which of the two accessors will Vault still know at the end?
    """
    lab.sh(r"""
for role in leaver leaker; do
  vault write auth/$NAMESPACE-kubernetes/role/$role \
    bound_service_account_names=app \
    bound_service_account_namespaces=$NAMESPACE \
    audience=https://kubernetes.default.svc.cluster.local \
    token_policies=$NAMESPACE-app \
    token_ttl=20m
done
""")
    lab.kubectl_apply("""
apiVersion: v1
kind: Pod
metadata:
  name: leaver
  annotations:
    vault.hashicorp.com/agent-inject: "true"
    vault.hashicorp.com/role: leaver
    vault.hashicorp.com/auth-path: auth/$NAMESPACE-kubernetes
    vault.hashicorp.com/agent-pre-populate: "false"
    vault.hashicorp.com/agent-inject-token: "true"
    vault.hashicorp.com/agent-revoke-on-shutdown: "true"  #?(agent-revoke-on-shutdown) the last task
    vault.hashicorp.com/agent-revoke-grace: "1"
spec:
  serviceAccountName: app
  terminationGracePeriodSeconds: 15
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "trap exit TERM; sleep infinity & wait"]
    securityContext: {runAsUser: 1000, runAsGroup: 1000}
""")
    lab.sh(r"""
kubectl get pod leaver -o \
  jsonpath='{.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}' |
  sed 's/"leaver"/"leaker"/g' |
  kubectl annotate --local -f - -o yaml vault.hashicorp.com/agent-revoke-on-shutdown- |
  kubectl apply -f -
kubectl wait pod/leaver pod/leaker --for=condition=Ready --timeout=60s
accessor() {
  until kubectl exec $1 -c app -- test -s /vault/secrets/token; do sleep 1; done
  VAULT_TOKEN=$(kubectl exec $1 -c app -- cat /vault/secrets/token) \
    vault read -field=accessor auth/token/lookup-self
}
leaver=$(accessor leaver) leaker=$(accessor leaker)
kubectl delete pod leaver leaker  #?(leaver leaker) end both pods
vault token lookup -accessor $leaver || true
vault token lookup -accessor $leaker
""")


@revoke_at_the_end.check
def _(lab: LabContext) -> None:
    granted = {name: logged_in_by(lab, name) for name in PODS}
    for name in PODS:
        expect(granted[name], f"the agent of {name} has logged in, with the role {name}")
    for name in PODS:
        expect(not lab.kube.get("Pod", name), f"the pod {name} has ended")
    expect(
        granted["leaver"] & revoked_themselves(lab),
        "Vault's audit log has the request: the agent of leaver revoked itself",
        hint="agent-revoke-on-shutdown; deleted with grace 0 it has no time to do it",
    )
    alive = living_roles(lab)
    expect("leaver" not in alive, "no token of the role leaver is left", found=alive)
    expect("leaker" in alive, "the token of leaker has outlived its pod", found=alive)


@revoke_at_the_end.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
