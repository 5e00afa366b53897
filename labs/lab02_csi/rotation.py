"""Step 7: a new version in Vault: what follows, and what does not."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kv import stored_sum
from harness.lab.kit.pods import env_sum, file_sum
from labs.lab02_csi.lab import csi
from labs.lab02_csi.sync import owners
from labs.lab02_csi.volumes import (
    end_secrets,
    expect_mounted,
    way_in,
)


def synced_sum(lab: LabContext) -> str:
    """The SHA-256 of the value in the Kubernetes Secret rotating, "" without one."""
    if not lab.kube.get("Secret", "rotating"):
        return ""
    get = f"kubectl -n {lab.namespace} get secret rotating -o go-template="
    with lab.quiet():
        return lab.fingerprint(lab.run(get + "'{{.data.pwd | base64decode}}'"))


@csi.step(
    "Rotate",
    minutes=8,
    goals=[
        "Vault has two versions of the secret rotating",
        "its container was never restarted",
        "the file of the volume has the new value",
        "the Kubernetes Secret has the new value",
        "the environment variable has the old value",
        "the file mounted by subPath has the old value",
        "the Secret belongs to the pod's status, so that it goes with the pod",
    ],
    hints=[
        "Compare by SHA-256: `kubectl exec rotating -- sha256sum /secrets/password`, and the same "
        "of `vault kv get -mount=lab02-kv -field=password rotating`.",
        "A mount of one file of a volume is called subPath. Kubelet looks after a pod at once when "
        "the pod changes, and an annotation is a change.",
        "subPath: password; secretPath: $NAMESPACE-kv/data/rotating; kubectl annotate pod rotating "
        "--overwrite lab/nudge=$RANDOM.",
    ],
)
def rotate(lab: LabContext) -> None:
    """
    Somebody writes a new password to Vault. Which of its copies change, without a restart?

    | where the pod has it | after the rotation |
    |---|---|
    | a file of the volume | new |
    | the Kubernetes Secret made from it | new |
    | an environment variable from that Secret | **old**, until the container starts again |
    | the same file mounted by `subPath` | **old**: it is bound to the first folder for good |

    What notices? Nothing watches Vault. Kubelet looks after each pod every 60 to 90 seconds,
    and whenever the pod changes, and calls the driver each time; the driver asks the
    provider again when its **poll interval** is over: 10 seconds here, two minutes by
    default. So in a cluster this takes minutes. To save you the wait we *nudge*
    kubelet: an annotation is a change of the pod.

    A trap of this driver version: each update of the Secret takes its owner away, for up to
    five seconds. A pod that goes in that time leaves its Secret behind, for good.

    An application must read the file again: when it is needed, or by watching the folder.
    """
    lab.sh(r"""
vault write -field=random_bytes sys/tools/random/12 format=hex |
  vault kv put -mount=$NAMESPACE-kv rotating password=-
vault policy write $NAMESPACE-rotating - <<END
path "$NAMESPACE-kv/data/rotating" {
  capabilities = ["read"]
}
END
vault write auth/$NAMESPACE-kubernetes/role/rotating \
  bound_service_account_names=app \
  bound_service_account_namespaces=$NAMESPACE \
  audience=vault \
  token_policies=$NAMESPACE-rotating \
  token_ttl=10m
""")
    lab.kubectl_apply("""
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata:
  name: rotating
spec:
  provider: vault
  parameters:
    vaultAuthMountPath: $NAMESPACE-kubernetes
    roleName: rotating  #? the role from above
    objects: |
      - objectName: password
        secretPath: $NAMESPACE-kv/data/rotating
        secretKey: password
  secretObjects:
  - secretName: rotating
    type: Opaque
    data:
    - {objectName: password, key: pwd}
---
apiVersion: v1
kind: Pod
metadata:
  name: rotating
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
        secretKeyRef: {name: rotating, key: pwd}
    volumeMounts:
    - name: secrets
      mountPath: /secrets
    - name: secrets
      mountPath: /single/password
      subPath: password  #?(subPath -> subpath) one file of the volume: how is the field spelt?
  volumes:
  - name: secrets
    csi:
      driver: secrets-store.csi.k8s.io
      readOnly: true
      volumeAttributes: {secretProviderClass: rotating}
""")
    lab.sh(r"""
kubectl wait pod/rotating --for=condition=Ready --timeout=90s
vault write -field=random_bytes sys/tools/random/12 format=hex |
  vault kv put -mount=$NAMESPACE-kv rotating password=-
new=$(vault kv get -mount=$NAMESPACE-kv -field=password rotating | sha256sum | cut -c1-64)
sums() {
  kubectl exec rotating -- sha256sum /secrets/password /single/password
  kubectl get secret rotating -o jsonpath='{.data.pwd}' | base64 -d | sha256sum
  kubectl exec rotating -- sh -c 'printf %s "$PASSWORD" | sha256sum'
}
until [ "$(sums | grep -c $new)" = 2 ]; do
  kubectl annotate pod rotating --overwrite lab/nudge=$RANDOM >/dev/null
  sleep 2
done
echo "Vault has $new"
sums
# The driver wrote the Secret anew, without its owner, and puts that back within 5 seconds.
owner() { kubectl get secret rotating -o jsonpath='{.metadata.ownerReferences[*].kind}'; }
until [ "$(owner)" ]; do sleep 1; done
owner
""")


@rotate.check
def _(lab: LabContext) -> None:
    answer = lab.http.get(f"/v1/{lab.path('kv', 'metadata', 'rotating')}", allow={404})
    version = (answer.json().get("data") or {}).get("current_version")
    expect(version == 2, "Vault has two versions of the secret rotating", found=version)
    expect_mounted(lab, "rotating")
    found = lab.kube.get("Pod", "rotating") or {}
    restarts = found["status"]["containerStatuses"][0]["restartCount"]
    expect(restarts == 0, "its container was never restarted", found=restarts)
    old, new = (stored_sum(lab, "rotating", version=number) for number in (1, 2))
    names = {old: "the old value", new: "the new value", "": "nothing"}
    sums = {
        "the file of the volume has the new value": (
            file_sum(lab, "rotating", "/secrets/password"),
            new,
        ),
        "the Kubernetes Secret has the new value": (synced_sum(lab), new),
        "the environment variable has the old value": (env_sum(lab, "rotating", "PASSWORD"), old),
        "the file mounted by subPath has the old value": (
            file_sum(lab, "rotating", "/single/password"),
            old,
        ),
    }
    for what, (sum_, wanted) in sums.items():
        expect(
            sum_ == wanted,
            what,
            found=names.get(sum_, "another value"),
            hint="wait two minutes, or nudge: kubectl annotate pod rotating --overwrite a=$RANDOM",
        )

    expect(
        owners(lab, "rotating") == ["SecretProviderClassPodStatus"],
        "the Secret belongs to the pod's status, so that it goes with the pod",
        found=owners(lab, "rotating"),
        hint="the driver looks for owners every five seconds",
    )


@rotate.undo
def _(lab: LabContext) -> None:
    lab.kube.delete("Pod", "rotating", grace=0)
    end_secrets(lab, {"rotating"}, "rotating")


@rotate.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
