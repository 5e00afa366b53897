"""Step 5: the fourth way, the injector: a webhook puts a Vault Agent beside the shop."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab05_five_ways.lab import five_ways
from labs.lab05_five_ways.ways import (
    INJECTOR,
    expect_guest_refused,
    expect_open,
    expect_seen,
    pods_of,
    way_in,
)


@five_ways.step(
    "Fourth way: the injector",
    minutes=2,
    goals=[
        "injector: /vault/secrets/password in the pod holds the password (compared by SHA-256)",
        "the pod has an agent before the shop, and one beside it",
        "injector: Vault's audit log names the pod's own account lab05/shop",
        "Vault refused the login of the account guest",
        "the Deployment injector has had a revision with the account guest",
    ],
    hints=[
        "All is in the annotations of the pod template: that there be an agent, its role, and "
        "what shall become a file.",
        "While the pod waits, `kubectl logs deployment/injector -c vault-agent-init` says why.",
        "agent-inject: 'true', role: shop, "
        "agent-inject-secret-password: $NAMESPACE-kv/data/shop/injector",
    ],
)
def by_injector(lab: LabContext) -> None:
    """
    **What you write**: annotations. A webhook changes the pod on its way into the cluster: an
    agent runs before the shop, and another one stays beside it.

    **What arrives**: files in memory, made by a template. The second agent keeps them fresh.

    **What Vault saw**: logins by the pod's own account, one for each agent.

    **The refusal**: with the account `guest` the pod waits. The reason stands in the log of
    its first agent.
    """
    lab.kubectl_apply("""
apiVersion: apps/v1
kind: Deployment
metadata: {name: injector}
spec:
  selector: {matchLabels: {app: injector}}
  template:
    metadata:
      labels: {app: injector}
      annotations:
        vault.hashicorp.com/agent-inject: "true"
        vault.hashicorp.com/auth-path: auth/$NAMESPACE-kubernetes
        vault.hashicorp.com/role: shop  #? the role that knows the pod's account
        vault.hashicorp.com/agent-service-account-token-volume-name: identity
        vault.hashicorp.com/agent-inject-secret-password: $NAMESPACE-kv/data/shop/injector
        vault.hashicorp.com/agent-inject-template-password: |
          {{- with secret "$NAMESPACE-kv/data/shop/injector" -}}
          {{ .Data.data.password }}
          {{- end -}}
        vault.hashicorp.com/template-static-secret-render-interval: 5s
    spec:
      serviceAccountName: shop
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 0
      securityContext: {runAsNonRoot: true, runAsUser: 1000}
      containers:
      - name: shop
        image: $APP_IMAGE
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "test -s /vault/secrets/password && echo open && exec sleep infinity"]
      volumes:
      - name: identity
        projected:
          sources:
          - serviceAccountToken:
              path: token
              audience: vault  #? for whom the token is made: what the role insists on
              expirationSeconds: 600
""")
    lab.sh("kubectl rollout status deployment/injector --timeout=60s")
    lab.sh(r"""
kubectl get pod -l app=injector \
  -o custom-columns='BEFORE:.spec.initContainers[*].name,BESIDE:.spec.containers[*].name'
kubectl exec deploy/injector -c shop -- sha256sum /vault/secrets/password
grep "$NAMESPACE-kv/data/shop/injector" $VAULT_AUDIT_LOG | kubectl exec -i deploy/csi -- jq -r '
  select(.type == "response") | [.time[11:19], .auth.display_name, .request.path] | join("  ")
' | tail -n 2
""")
    lab.sh("""
kubectl set serviceaccount deployment/injector guest
until kubectl logs -l app=injector -c vault-agent-init --tail=20 | grep 'not authorized'
do sleep 0.5; done
kubectl rollout undo deployment/injector
""")


@by_injector.check
def _(lab: LabContext) -> None:
    expect_open(lab, INJECTOR)
    spec = pods_of(lab, INJECTOR)[-1]["spec"]
    first = [one["name"] for one in spec.get("initContainers") or []]
    beside = [one["name"] for one in spec["containers"]]
    expect(
        "vault-agent-init" in first and "vault-agent" in beside,
        "the pod has an agent before the shop, and one beside it",
        found={"before": first, "beside": beside},
    )
    expect_seen(lab, INJECTOR)
    expect_guest_refused(lab, INJECTOR)


@by_injector.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, INJECTOR)
