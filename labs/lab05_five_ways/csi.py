"""Step 4: the third way, CSI: kubelet mounts the secret as a volume in memory."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab05_five_ways.lab import five_ways
from labs.lab05_five_ways.ways import (
    CSI,
    events_with,
    expect_guest_refused,
    expect_open,
    expect_seen,
    pod_name,
    way_in,
)


@five_ways.step(
    "Third way: CSI",
    minutes=2,
    goals=[
        "CSI: /secrets/password in the pod holds the password (compared by SHA-256)",
        "/secrets is a tmpfs: in memory, and read-only",
        "CSI: Vault's audit log names the pod's own account lab05/shop",
        "Vault refused the login of the account guest",
        "the Deployment csi has had a revision with the account guest",
        "an event FailedMount of its pod says not authorized",
    ],
    hints=[
        "A SecretProviderClass says which path of Vault becomes which file; the pod's volume "
        "names the class.",
        "When the pod does not start, `kubectl describe pod -l app=csi` says why: the event "
        "FailedMount.",
        "roleName: shop; secretPath: $NAMESPACE-kv/data/shop/csi; secretProviderClass: shop",
    ],
)
def by_csi(lab: LabContext) -> None:
    """
    **What you write**: a SecretProviderClass, and a volume that names it. The shop has no line
    of code for Vault.

    **What arrives**: files in a tmpfs, before the first container starts.

    **What Vault saw**: a login and a read, by the pod's own account. Kubelet handed the pod's
    token to the driver, the driver to the provider.

    **The refusal**: with the account `guest` the pod does not start. The reason stands in an
    event of the pod, and the old pod goes on.
    """
    lab.kubectl_apply("""
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: shop}
spec:
  provider: vault
  parameters:
    vaultAuthMountPath: $NAMESPACE-kubernetes
    roleName: shop  #? the role that knows the pod's account
    objects: |
      - objectName: password
        secretPath: $NAMESPACE-kv/data/shop/csi
        secretKey: password
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: csi}
spec:
  selector: {matchLabels: {app: csi}}
  template:
    metadata:
      labels: {app: csi}
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
        volumeMounts:
        - {name: secrets, mountPath: /secrets, readOnly: true}
      volumes:
      - name: secrets
        csi:
          driver: secrets-store.csi.k8s.io
          readOnly: true
          volumeAttributes:
            secretProviderClass: shop  #? the class that lists the files
""")
    lab.sh("kubectl rollout status deployment/csi --timeout=60s")
    lab.sh("""
kubectl exec deploy/csi -- sh -c 'grep " /secrets " /proc/mounts; sha256sum /secrets/password'
grep "$NAMESPACE-kv/data/shop/csi" $VAULT_AUDIT_LOG | kubectl exec -i deploy/csi -- jq -r '
  select(.type == "response") | [.time[11:19], .auth.display_name, .request.path] | join("  ")
' | tail -n 1
""")
    lab.sh("""
kubectl set serviceaccount deployment/csi guest
until kubectl get events --field-selector=reason=FailedMount -o jsonpath='{..message}' |
  grep -E 'failed to login|not authorized'; do sleep 0.5; done
kubectl rollout undo deployment/csi
""")


@by_csi.check
def _(lab: LabContext) -> None:
    expect_open(lab, CSI)
    mounted = lab.kube.exec(pod_name(lab, CSI), "grep ' /secrets ' /proc/mounts || true").split()
    expect(
        mounted[2:3] == ["tmpfs"] and "ro" in mounted[3].split(","),
        "/secrets is a tmpfs: in memory, and read-only",
        found=" ".join(mounted),
    )
    expect_seen(lab, CSI)
    expect_guest_refused(lab, CSI)
    said = events_with(lab, "FailedMount")
    expect(
        any("not authorized" in message for message in said),
        "an event FailedMount of its pod says not authorized",
        found=said[-2:],
    )


@by_csi.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, CSI)
