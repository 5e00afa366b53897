"""Step 6: a Kubernetes Secret beside the volume: environment variables, owners, its end."""

from __future__ import annotations

from typing import Any

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.etcd import find_in_etcd
from harness.lab.kit.kv import stored, stored_sum
from harness.lab.kit.pods import env_sum, file_sum
from labs.lab02_csi.lab import csi
from labs.lab02_csi.volumes import (
    API,
    CLASS,
    MANAGED,
    end_secrets,
    pod_of,
    way_in,
)

DEPLOYMENTS = ("first", "second-copy")


def owners(lab: LabContext, secret: str) -> list[str]:
    """The kinds of the owners of a Secret, sorted."""
    found = (lab.kube.get("Secret", secret) or {}).get("metadata") or {}
    return sorted(owner["kind"] for owner in found.get("ownerReferences") or [])


@csi.step(
    "Keep a Kubernetes Secret in step",
    minutes=8,
    goals=[
        "there is a Kubernetes Secret synced",
        "it bears the label asked for, and the driver's own",
        "it is of the type asked for",
        "two ReplicaSets own it: it lives as long as one of them",
        "first has the password as a file and as a variable (compared by SHA-256)",
        "second-copy has the password as a file and as a variable (compared by SHA-256)",
        "the value lies in etcd's files, in the clear now",
        "the class passing is there, its pod is not",
        "with its last pod, the Secret passing went",
        "three mounts read the value from Vault",
    ],
    hints=[
        "`kubectl describe pod -l app=first` says what the container waits for; "
        "`kubectl get secret synced -o yaml` shows labels and owners.",
        "`secretObjects` is a field beside `parameters`. Each of its `data` has the name of a file "
        "(objectName) and the key that the file gets in the Secret.",
        "type: Opaque; objectName: password; secretKeyRef: {name: synced, key: pwd}; "
        "secretProviderClass: synced; kubectl delete pod passing.",
    ],
)
def sync_secret(lab: LabContext) -> None:
    """
    Some programs insist on **environment variables**, and those come from Kubernetes Secrets.
    With `secretObjects` the driver
    [makes one](https://secrets-store-csi-driver.sigs.k8s.io/topics/sync-as-kubernetes-secret)
    out of files of the volume, *while* some pod has the volume mounted. Two Deployments share
    one here.

    - The Secret bears the labels you asked for, and one that marks it as the driver's.
    - Its **owners** are the ReplicaSets of the pods that use it. When the last one is gone,
      Kubernetes deletes the Secret. A bare pod's Secret goes with the pod: watch it go.
    - `type` must be given, and so must a mounted volume: a class alone makes no Secret.

    And now look into etcd again. This value *is* there, in the clear, and everybody who may
    read Secrets in the namespace has it. The driver needs the right to write every Secret of
    the cluster for this (`secretprovidersyncing-role`). Use it where you must. What you keep:
    Vault's policy, its audit log and the rotation.
    """
    lab.kubectl_apply("""
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata:
  name: synced
spec:
  provider: vault
  parameters:
    vaultAuthMountPath: $NAMESPACE-kubernetes
    roleName: app
    objects: |
      - {objectName: password, secretPath: $NAMESPACE-kv/data/shared, secretKey: password}
  secretObjects:
  - secretName: synced
    type: Opaque  #? the type of an ordinary Secret
    labels: {team: shop}
    data:
    - objectName: password  #? the file
      key: pwd
""")
    lab.kubectl_apply("""
apiVersion: apps/v1
kind: Deployment
metadata:
  name: first
spec:
  selector:
    matchLabels: {app: first}
  template:
    metadata:
      labels: {app: first}
    spec:
      serviceAccountName: app
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 0
      containers:
      - name: app
        image: $APP_IMAGE
        imagePullPolicy: IfNotPresent
        command: [sleep, infinity]
        securityContext: {runAsNonRoot: true, runAsUser: 1000}
        env:
        - name: PASSWORD
          valueFrom:
            secretKeyRef: {name: synced, key: pwd}  #?(synced) the Secret that the driver makes
        volumeMounts:
        - {name: secrets, mountPath: /secrets}
      volumes:
      - name: secrets
        csi:
          driver: secrets-store.csi.k8s.io
          readOnly: true
          volumeAttributes: {secretProviderClass: synced}
""")
    lab.sh(r"""
kubectl get deployment first -o \
  jsonpath='{.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}' |
  sed 's/"first"/"second-copy"/g' | kubectl apply -f -
kubectl rollout status deployment/first --timeout=90s
kubectl rollout status deployment/second-copy --timeout=90s
# The driver writes the Secret a moment after the mount, and looks for owners every 5 seconds.
owners() { kubectl get secret $1 -o jsonpath='{.metadata.ownerReferences[*].kind}' 2>/dev/null; }
until [ "$(owners synced)" = 'ReplicaSet ReplicaSet' ]; do sleep 1; done
kubectl get secret synced --show-labels
echo "the owners of synced: $(owners synced)"
kubectl exec deployment/first -- sh -c 'printf %s "$PASSWORD" | sha256sum; sha256sum /secrets/*'
""")
    lab.kubectl_apply("""
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata:
  name: passing
spec:
  provider: vault
  parameters:
    vaultAuthMountPath: $NAMESPACE-kubernetes
    roleName: app
    objects: |
      - {objectName: password, secretPath: $NAMESPACE-kv/data/shared, secretKey: password}
  secretObjects:
  - secretName: passing
    type: Opaque
    data:
    - {objectName: password, key: pwd}
---
apiVersion: v1
kind: Pod
metadata:
  name: passing
spec:
  serviceAccountName: app
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext: {runAsNonRoot: true, runAsUser: 1000}
    volumeMounts:
    - {name: secrets, mountPath: /secrets}
  volumes:
  - name: secrets
    csi:
      driver: secrets-store.csi.k8s.io
      readOnly: true
      volumeAttributes: {secretProviderClass: passing}
""")
    lab.sh(r"""
owners() { kubectl get secret $1 -o jsonpath='{.metadata.ownerReferences[*].kind}' 2>/dev/null; }
until [ "$(owners passing)" ]; do sleep 1; done
echo "the owner of passing: $(owners passing)"
kubectl delete pod passing  #?(pod passing) end the last user of the Secret passing
kubectl wait --for=delete secret/passing --timeout=60s
kubectl get secrets
echo 'the value of synced is in these files of etcd:'
vault kv get -mount=$NAMESPACE-kv -field=password shared |
  docker exec -i $NODE grep -rlF -f - /var/lib/etcd/member
""")


@sync_secret.check
def _(lab: LabContext) -> None:
    found: dict[str, Any] = lab.kube.get("Secret", "synced") or {}
    expect(found, "there is a Kubernetes Secret synced")
    labels = (found.get("metadata") or {}).get("labels") or {}
    expect(
        labels.get("team") == "shop" and labels.get(MANAGED) == "true",
        "it bears the label asked for, and the driver's own",
        found=labels,
    )
    expect(found.get("type") == "Opaque", "it is of the type asked for", found=found.get("type"))
    expect(
        owners(lab, "synced") == ["ReplicaSet", "ReplicaSet"],
        "two ReplicaSets own it: it lives as long as one of them",
        found=owners(lab, "synced"),
    )
    wanted = stored_sum(lab, "shared")
    for name in DEPLOYMENTS:
        running = pod_of(lab, name)
        expect(running, f"a pod of the Deployment {name} runs")
        expect(
            file_sum(lab, running, "/secrets/password") == wanted
            and env_sum(lab, running, "PASSWORD") == wanted,
            f"{name} has the password as a file and as a variable (compared by SHA-256)",
        )
    expect(
        find_in_etcd(lab, stored(lab, "shared")), "the value lies in etcd's files, in the clear now"
    )
    status = lab.kube.get(CLASS, "passing", api_version=API)
    expect(
        status and not lab.kube.get("Pod", "passing"), "the class passing is there, its pod is not"
    )
    expect(not lab.kube.get("Secret", "passing"), "with its last pod, the Secret passing went")
    reads = lab.audit.responses(lab.path("kv", "data", "shared"))
    expect(len(reads) >= 3, "three mounts read the value from Vault", found=len(reads))


@sync_secret.undo
def _(lab: LabContext) -> None:
    # The driver would write the Secrets again for as long as a pod is left.
    for name in DEPLOYMENTS:
        lab.kube.delete("Deployment", name)
    lab.kube.delete("Pod", "passing", grace=0)
    end_secrets(lab, {"synced", "passing"}, "synced", "passing")


@sync_secret.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, "shared", "password")
