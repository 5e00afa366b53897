"""Step 10: what Vault sees of all this, and what the driver counts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from harness import expect
from harness.lab.api import Entry, LabContext, LoginPath
from harness.lab.kit.kv import stored_sum
from harness.lab.kit.pods import file_sum
from labs.lab02_csi.lab import csi
from labs.lab02_csi.volumes import (
    driver_pod,
    expect_mounted,
    way_in,
)

METRICS = ("node_publish_total", "node_unpublish_total", "rotation_reconcile_total")
FAILED_UNMOUNT = "failed to clean and unmount"


def seen_of(lab: LabContext, account: str) -> tuple[list[Entry], list[Entry]]:
    """The logins and the reads of one service account since the step began."""
    login = f"auth/{lab.path('kubernetes')}/login"
    logins: list[Entry] = []
    reads: list[Entry] = []
    for entry in lab.audit.entries():
        who = ((entry.get("auth") or {}).get("metadata") or {}).get("service_account_name")
        if who == account and entry["type"] == "response" and not entry.get("error"):
            (logins if entry["request"]["path"] == login else reads).append(entry)
    return logins, reads


def metrics_address(lab: LabContext) -> str:
    """Where the driver serves its counters to the cluster."""
    return f"http://{driver_pod(lab)['status']['podIP']}:8095/metrics"


@csi.step(
    "What Vault sees",
    minutes=8,
    goals=[
        "pair/a has the second version",
        "pair/b has the second version",
        "single/a has the second version",
        "apart/a has the second version",
        "Vault saw two logins of this pod: two of its three classes share one",
        "every read used one of these two tokens",
        "each class read the path once at the mount and once at a rotation",
        "every volume of a pod that is gone was unmounted",
    ],
    answer="Two logins: two of the three classes say the same about Vault and share one. One read "
    "for each path of a class at the mount, and one more at the rotation.",
    hints=[
        "VAULT_AUDIT_LOG is the file of Vault's audit log; `grep watched $VAULT_AUDIT_LOG | "
        "tail -1` shows one line of it.",
        "The provider keeps a token for each pod and set of Vault parameters: same account, same "
        "role, same mount, same login.",
        "roleName: apart; secretProviderClass: apart; kubectl annotate pod watched --overwrite "
        "lab/nudge=$RANDOM.",
    ],
)
def what_vault_sees(lab: LabContext) -> None:
    """
    One pod with three classes, watched in Vault's
    [audit log](https://developer.hashicorp.com/vault/docs/audit) from its start through one
    rotation. (Vault writes one only when somebody has said `vault audit enable`; the labs'
    environment has.)

    - **One login for each pod and set of parameters.** The provider keeps that Vault token,
      in memory, and uses it again. Two of the classes say the same about Vault and share a
      login; the third names another role and has its own. At the rotation nothing logs in.
    - **One read for each path of a class**, however many files are made of it; and again at
      each rotation, whether anything changed or not. Count them before you set the
      poll interval for a thousand pods.
    - Each line names the pod's **own service account**. The provider does not appear.

    The driver counts, too, on port 8095: mounts, unmounts, rotations. On version 1.6 a
    rotation that fails is to be found *only* there and in the driver's log: the pod has no
    event of it.

    Before you run it: how many logins, and how many reads, for one pod with four files?
    """
    lab.sh(r"""
kubectl create serviceaccount watched
vault write -field=random_bytes sys/tools/random/12 format=hex |
  vault kv put -mount=$NAMESPACE-kv watched password=-
vault policy write $NAMESPACE-watched - <<END
path "$NAMESPACE-kv/data/watched" {
  capabilities = ["read"]
}
END
for role in watched apart; do
  vault write auth/$NAMESPACE-kubernetes/role/$role \
    bound_service_account_names=watched \
    bound_service_account_namespaces=$NAMESPACE \
    audience=vault \
    token_policies=$NAMESPACE-watched \
    token_ttl=10m
done
""")
    lab.kubectl_apply("""
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata:
  name: pair
spec:
  provider: vault
  parameters:
    vaultAuthMountPath: $NAMESPACE-kubernetes
    roleName: watched
    objects: |
      - {objectName: a, secretPath: $NAMESPACE-kv/data/watched, secretKey: password}
      - {objectName: b, secretPath: $NAMESPACE-kv/data/watched, secretKey: password}
---
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata:
  name: single
spec:
  provider: vault
  parameters:
    vaultAuthMountPath: $NAMESPACE-kubernetes
    roleName: watched
    objects: |
      - {objectName: a, secretPath: $NAMESPACE-kv/data/watched, secretKey: password}
---
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata:
  name: apart
spec:
  provider: vault
  parameters:
    vaultAuthMountPath: $NAMESPACE-kubernetes
    roleName: apart  #? the second role of the same account
    objects: |
      - {objectName: a, secretPath: $NAMESPACE-kv/data/watched, secretKey: password}
""")
    lab.kubectl_apply("""
apiVersion: v1
kind: Pod
metadata:
  name: watched
spec:
  serviceAccountName: watched  #? an account of its own, easy to find in the log
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext: {runAsNonRoot: true, runAsUser: 1000}
    volumeMounts:
    - {name: pair, mountPath: /secrets/pair}
    - {name: single, mountPath: /secrets/single}
    - {name: apart, mountPath: /secrets/apart}
  volumes:
  - name: pair
    csi:
      driver: secrets-store.csi.k8s.io
      readOnly: true
      volumeAttributes: {secretProviderClass: pair}
  - name: single
    csi:
      driver: secrets-store.csi.k8s.io
      readOnly: true
      volumeAttributes: {secretProviderClass: single}
  - name: apart
    csi:
      driver: secrets-store.csi.k8s.io
      readOnly: true
      volumeAttributes: {secretProviderClass: apart}
""")
    lab.sh(r"""
kubectl wait pod/watched --for=condition=Ready --timeout=60s
vault write -field=random_bytes sys/tools/random/12 format=hex |
  vault kv put -mount=$NAMESPACE-kv watched password=-
new=$(vault kv get -mount=$NAMESPACE-kv -field=password watched | sha256sum | cut -c1-64)
sums() { kubectl exec watched -- sh -c 'sha256sum /secrets/*/a'; }
until [ "$(sums | grep -c $new)" = 3 ]; do
  kubectl annotate pod watched --overwrite lab/nudge=$RANDOM >/dev/null
  sleep 2
done
sums
""")
    lab.sh(r"""
grep '"service_account_name":"watched"' $VAULT_AUDIT_LOG | grep '"type":"response"' | tail -12 |
  sed -En 's/.*"operation":"([a-z]+)","path":"([^"]+)".*"time":"[^T]*T([0-9:]+).*/\3 \1 \2/p'
driver=$(kubectl -n kube-system get pod -l app=secrets-store-csi-driver \
  -o jsonpath='{.items[0].status.podIP}')
kubectl exec watched -- curl -s http://$driver:8095/metrics |
  grep -E '^(node_publish_total|node_unpublish_total|rotation_reconcile_total)'
""")


@what_vault_sees.check
def _(lab: LabContext) -> None:
    expect_mounted(lab, "watched")
    new = stored_sum(lab, "watched", version=2)
    for file in ("pair/a", "pair/b", "single/a", "apart/a"):
        expect(
            file_sum(lab, "watched", f"/secrets/{file}") == new, f"{file} has the second version"
        )
    logins, reads = seen_of(lab, "watched")
    expect(
        len(logins) == 2,
        "Vault saw two logins of this pod: two of its three classes share one",
        found=len(logins),
    )
    tokens = {entry["auth"]["accessor"] for entry in logins}
    by_token = Counter(entry["auth"]["accessor"] for entry in reads)
    expect(
        set(by_token) == tokens,
        "every read used one of these two tokens",
        found=f"{len(by_token)} tokens",
    )
    counts = sorted(by_token.values())
    expect(
        counts[0] >= 2 and counts[1] >= 4 and len(reads) % 3 == 0,
        "each class read the path once at the mount and once at a rotation",
        found=counts,
    )
    _check_driver(lab)


def _check_driver(lab: LabContext) -> None:
    text = lab.kube.exec("watched", f"curl -s {metrics_address(lab)}")
    for name in METRICS:
        counted = [line for line in text.splitlines() if line.startswith(name)]
        total = sum(float(line.rsplit(" ", 1)[1]) for line in counted)
        expect(total > 0, f"the driver counts: {name}", found=counted)
    found: Any = driver_pod(lab)["metadata"]["name"]
    log = lab.kube.logs(found, "kube-system", "secrets-store")
    bad = [line for line in log.splitlines() if FAILED_UNMOUNT in line]
    expect(not bad, "every volume of a pod that is gone was unmounted", found=bad[-1:])


@what_vault_sees.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
