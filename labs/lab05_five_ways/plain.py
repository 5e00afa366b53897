"""Step 2: the first way, a plain Kubernetes Secret, without Vault."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.pods import env_sum
from labs.lab05_five_ways.lab import five_ways
from labs.lab05_five_ways.ways import PLAIN, expect_open, pod_name, wanted_sum


@five_ways.step(
    "First way: a plain Secret",
    minutes=2,
    goals=[
        "there is a Secret plain with a password",
        "plain Secret: /secrets/password in the pod holds the password (compared by SHA-256)",
        "the variable PASSWORD holds it, too",
        "the shop's account may not read the Secret with kubectl",
    ],
    hints=[
        "A volume of type `secret` makes each key of a Secret a file; `secretKeyRef` makes one "
        "key a variable.",
        "`kubectl get secret` lists the Secret; `kubectl describe deployment plain` says what "
        "the Deployment refers to.",
        "secretKeyRef: {name: plain, key: password}; secretName: plain",
    ],
)
def by_plain_secret(lab: LabContext) -> None:
    """
    **What you write**: a Secret and its two uses, as a file and as a variable.

    **The refusal**: the shop's account may not read the Secret with kubectl.

    **What arrives**: the pod has it all the same, as a file and as a variable, because kubelet
    fetched it. Whoever may create a pod in this namespace can read every Secret of it.

    **What Vault saw**: nothing. Vault cannot say who read the password.
    """
    lab.sh(r"""
head -c 18 /dev/urandom | base64 | tr -d '\n' |
  kubectl create secret generic plain --from-file=password=/dev/stdin
""")
    lab.kubectl_apply("""
apiVersion: apps/v1
kind: Deployment
metadata: {name: plain}
spec:
  selector: {matchLabels: {app: plain}}
  template:
    metadata:
      labels: {app: plain}
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
            secretKeyRef: {name: plain, key: password}
        volumeMounts:
        - {name: secrets, mountPath: /secrets, readOnly: true}
      volumes:
      - name: secrets
        secret:
          secretName: plain  #? the Secret whose keys become files
""")
    lab.sh("kubectl rollout status deployment/plain --timeout=60s")
    lab.sh("kubectl get secret plain --as=system:serviceaccount:$NAMESPACE:shop", fails=True)
    lab.sh("""
kubectl exec deploy/plain -- sha256sum /secrets/password
kubectl exec deploy/plain -- sh -c 'printf %s "$PASSWORD" | sha256sum'
""")


@by_plain_secret.check
def _(lab: LabContext) -> None:
    expect(wanted_sum(lab, PLAIN), "there is a Secret plain with a password")
    expect_open(lab, PLAIN)
    expect(
        env_sum(lab, pod_name(lab, PLAIN), PLAIN.variable) == wanted_sum(lab, PLAIN),
        "the variable PASSWORD holds it, too",
    )
    account = f"system:serviceaccount:{lab.namespace}:shop"
    may = lab.run(f"sh -c 'kubectl auth can-i get secrets/plain --as={account} || true'")
    expect(
        may.split() == ["no"],
        "the shop's account may not read the Secret with kubectl",
        found=may.strip(),
    )
