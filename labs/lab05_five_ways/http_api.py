"""Step 3: the second way, Vault's HTTP API: the application does it all itself."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab05_five_ways.lab import five_ways
from labs.lab05_five_ways.ways import (
    HTTP,
    expect_guest_refused,
    expect_open,
    expect_seen,
    lines_for_vault,
    way_in,
)


@five_ways.step(
    "Second way: the HTTP API",
    minutes=2,
    goals=[
        "HTTP API: /memory/password in the pod holds the password (compared by SHA-256)",
        "HTTP API: Vault's audit log names the pod's own account lab05/shop",
        "the application has code of its own for Vault",
        "Vault refused the login of the account guest",
        "the Deployment http has had a revision with the account guest",
    ],
    hints=[
        "The pod logs in at `auth/$NAMESPACE-kubernetes/login` with a role and its token, and "
        "sends the Vault token that it gets in the header X-Vault-Token.",
        "`kubectl logs deployment/http` shows the errors that Vault answers.",
        "audience: vault",
    ],
)
def by_http_api(lab: LabContext) -> None:
    """
    **What you write**: code. Between the two comments stands all that the shop does for Vault:
    log in with the pod's token, keep Vault's token, read, and read again every five seconds. A
    real program also renews its token and survives errors (lab 01, step 12).

    **What arrives**: a file, in memory. Nothing is installed in the cluster.

    **What Vault saw**: a login and reads, by the pod's own account.

    **The refusal**: the same program with the account `guest`. Vault answers 403, and the
    program itself has to say so.
    """
    lab.kubectl_apply("""
apiVersion: apps/v1
kind: Deployment
metadata: {name: http}
spec:
  selector: {matchLabels: {app: http}}
  template:
    metadata:
      labels: {app: http}
    spec:
      serviceAccountName: shop
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 0
      securityContext: {runAsNonRoot: true, runAsUser: 1000}
      containers:
      - name: shop
        image: $APP_IMAGE
        imagePullPolicy: IfNotPresent
        readinessProbe:
          exec: {command: [test, -s, /memory/password]}
          periodSeconds: 1
        command: [sh, -c]
        args:
        - |
          # From here: for Vault.
          v1=$VAULT_POD_ADDR/v1
          vault() { curl -sS --fail-with-body --cacert /vault-ca/ca.crt "$@"; }
          jq -Rs '{role: "shop", jwt: .}' /identity/token |
            vault -d @- $v1/auth/$NAMESPACE-kubernetes/login > /memory/login ||
            { jq -c .errors /memory/login; exit 1; }
          jq -j '"X-Vault-Token: " + .auth.client_token' /memory/login > /memory/token
          refresh() {
            vault -H @/memory/token $v1/$NAMESPACE-kv/data/shop/http > /memory/answer || exit 1
            jq -j .data.data.password /memory/answer > /memory/new
            mv /memory/new /memory/password
          }
          # To here.
          refresh
          echo open
          while sleep 5; do refresh; done
        volumeMounts:
        - {name: identity, mountPath: /identity, readOnly: true}
        - {name: vault-ca, mountPath: /vault-ca, readOnly: true}
        - {name: memory, mountPath: /memory}
      volumes:
      - name: identity
        projected:
          sources:
          - serviceAccountToken:
              path: token
              audience: vault  #? for whom the token is made: what the role insists on
              expirationSeconds: 600
      - {name: vault-ca, configMap: {name: vault-ca}}
      - {name: memory, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
""")
    lab.sh("kubectl rollout status deployment/http --timeout=60s")
    lab.sh("""
kubectl exec deploy/http -- sha256sum /memory/password
grep "$NAMESPACE-kv/data/shop/http" $VAULT_AUDIT_LOG | kubectl exec -i deploy/http -- jq -r '
  select(.type == "response") | [.time[11:19], .auth.display_name, .request.path] | join("  ")
' | tail -n 1
""")
    lab.sh("""
kubectl set serviceaccount deployment/http guest
until kubectl logs -l app=http --tail=5 | grep 'not authorized'; do sleep 0.5; done
kubectl rollout undo deployment/http
""")


@by_http_api.check
def _(lab: LabContext) -> None:
    expect_open(lab, HTTP)
    expect_seen(lab, HTTP)
    lines = lines_for_vault(lab, HTTP)
    expect(lines > 5, "the application has code of its own for Vault", found=f"{lines} lines")
    expect_guest_refused(lab, HTTP)


@by_http_api.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, HTTP)
