"""Step 6: the fifth way, the operator: it copies the secret into a Kubernetes Secret."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.pods import env_sum
from labs.lab05_five_ways.lab import five_ways
from labs.lab05_five_ways.ways import (
    OPERATOR,
    events_with,
    expect_open,
    expect_seen,
    expect_turned_away,
    pod_name,
    wanted_sum,
    way_in,
)


@five_ways.step(
    "Fifth way: the operator",
    minutes=2,
    goals=[
        "operator: /secrets/password in the pod holds the password (compared by SHA-256)",
        "the variable PASSWORD holds it, too",
        "the Secret operator belongs to a VaultStaticSecret",
        "operator: Vault's audit log names the pod's own account lab05/shop",
        "Vault refused the login of the account guest",
        "an event of the resource guest says not authorized",
    ],
    hints=[
        "A VaultConnection says where Vault is, a VaultAuth who asks, a VaultStaticSecret which "
        "secret becomes which Kubernetes Secret.",
        "`kubectl describe vaultstaticsecret operator` shows its events.",
        "vaultAuthRef: shop; path: shop/operator; destination: {name: operator, create: true}",
    ],
)
def by_operator(lab: LabContext) -> None:
    """
    **What you write**: custom resources. The Deployment is the one of the first way: it knows
    a Kubernetes Secret, and nothing of Vault.

    **What arrives**: a Secret, kept as it is in Vault; a file and a variable of it. When the
    secret changes, the operator restarts the Deployment.

    **What Vault saw**: logins and reads in the name of `shop`, by the operator: before the pod
    is there, and not at its start.

    **The refusal**: a resource that asks in the name of `guest`. Its events say why.
    """
    lab.sh("kubectl create secret generic vault-ca --from-file=ca.crt=$VAULT_CACERT")
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultConnection
metadata: {name: vault}
spec:
  address: $VAULT_POD_ADDR
  caCertSecretRef: vault-ca
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultAuth
metadata: {name: shop}
spec:
  vaultConnectionRef: vault
  method: kubernetes
  mount: $NAMESPACE-kubernetes
  kubernetes: {role: shop, serviceAccount: shop, audiences: [vault]}
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata: {name: operator}
spec:
  vaultAuthRef: shop
  type: kv-v2
  mount: $NAMESPACE-kv
  path: shop/operator  #? the secret's name, without data/
  refreshAfter: 5s
  destination: {name: operator, create: true}
  rolloutRestartTargets:
  - {kind: Deployment, name: operator}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: operator}
spec:
  selector: {matchLabels: {app: operator}}
  template:
    metadata:
      labels: {app: operator}
    spec:
      serviceAccountName: shop
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 0
      securityContext: {runAsNonRoot: true, runAsUser: 1000}
      containers:
      - name: shop
        image: $APP_IMAGE
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "test -s /secrets/password && echo open && exec sleep infinity"]
        env:
        - name: PASSWORD
          valueFrom:
            secretKeyRef: {name: operator, key: password}
        volumeMounts:
        - {name: secrets, mountPath: /secrets, readOnly: true}
      volumes:
      - name: secrets
        secret:
          secretName: operator  #? the Secret that the operator makes
""")
    lab.sh("kubectl rollout status deployment/operator --timeout=60s")
    lab.sh("""
kubectl exec deploy/operator -- sha256sum /secrets/password
grep "$NAMESPACE-kv/data/shop/operator" $VAULT_AUDIT_LOG | kubectl exec -i deploy/csi -- jq -r '
  select(.type == "response") | [.time[11:19], .auth.display_name, .request.path] | join("  ")
' | tail -n 1
""")
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultAuth
metadata: {name: guest}
spec:
  vaultConnectionRef: vault
  method: kubernetes
  mount: $NAMESPACE-kubernetes
  kubernetes: {role: shop, serviceAccount: guest, audiences: [vault]}
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata: {name: guest}
spec:
  vaultAuthRef: guest
  type: kv-v2
  mount: $NAMESPACE-kv
  path: shop/operator
  refreshAfter: 1h
  destination: {name: guest, create: true}
""")
    lab.sh("""
until kubectl get events --field-selector=involvedObject.name=guest -o jsonpath='{..message}' |
  grep 'not authorized'; do sleep 0.5; done
""")


@by_operator.check
def _(lab: LabContext) -> None:
    expect_open(lab, OPERATOR)
    expect(
        env_sum(lab, pod_name(lab, OPERATOR), OPERATOR.variable) == wanted_sum(lab, OPERATOR),
        "the variable PASSWORD holds it, too",
    )
    made = (lab.kube.get("Secret", OPERATOR.name) or {"metadata": {}})["metadata"]
    owners = [owner["kind"] for owner in made.get("ownerReferences") or []]
    expect(
        owners == ["VaultStaticSecret"],
        "the Secret operator belongs to a VaultStaticSecret",
        found=owners,
    )
    expect_seen(lab, OPERATOR)
    expect_turned_away(lab)
    said = events_with(lab, name="guest")
    expect(
        any("not authorized" in message for message in said),
        "an event of the resource guest says not authorized",
        found=said[-2:],
    )


@by_operator.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, OPERATOR)
