"""Step 11: Vault is away: for a pod that runs, and for one that is new."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kv import stored_sum
from harness.lab.kit.pods import file_sum, pod_events
from labs.lab02_csi.lab import csi
from labs.lab02_csi.volumes import (
    DRIVER_NAMESPACE,
    expect_mounted,
    way_in,
)


def failed_rotations(lab: LabContext, name: str) -> list[str]:
    """The driver's log lines, since the pod was made, about failures to fill its volume again."""
    pod = lab.kube.get("Pod", name) or {"metadata": {}}
    since = pod["metadata"].get("creationTimestamp", "")
    selector = "-l app=secrets-store-csi-driver -c secrets-store --tail=-1"
    log = lab.run(f"kubectl -n {DRIVER_NAMESPACE} logs {selector} --since-time={since}")
    marks = (f'pod="{lab.namespace}/{name}"', "isRemountRequest=true")
    return [
        line for line in log.splitlines() if line.startswith("E") and all(m in line for m in marks)
    ]


@csi.step(
    "Vault is away",
    minutes=10,
    goals=[
        "pod before runs: all its volumes are mounted",
        "pod during runs: all its volumes are mounted",
        "the pod that ran noticed nothing: no restart, no event since it started",
        "a rotation of its volume failed, and only the driver's log says so",
        "it had a password all the time: first the old one, then the new one",
        "the new pod waited: its event names the address that did not answer",
    ],
    answer="Only the new one. The pod that runs keeps its files, and no event tells of the "
    "rotations that fail.",
    hints=[
        "`kubectl get pods` and `kubectl describe pod during` while the door is shut; "
        "`kubectl logs before` is what the application saw, second by second.",
        "A class can name another address of Vault (`vaultAddress`), and the name in the "
        "certificate that it expects there (`vaultTLSServerName`).",
        "vaultAddress: https://door.$NAMESPACE.svc:8200; --replicas=0 to shut the door, "
        "--replicas=1 to open it.",
    ],
)
def vault_is_away(lab: LabContext) -> None:
    """
    Files in memory outlive Vault. So what does a pod notice when Vault is away?

    - **A pod that runs** notices nothing. Its rotation fails, and the driver keeps quiet about
      it on purpose: the old files stay, no event, no restart. It may run for days on a
      password that was changed meanwhile. That is the price of the calm: watch the driver's
      error counter.
    - **A new pod** cannot start. It waits, with an event that says why, and starts by itself
      when Vault is back. So an outage of Vault is an outage of every deployment, every
      scaling and every node that fails over.

    We do not stop Vault for this, others may use it: the class goes through a *door*, a
    small forwarder of our own, and we shut that. It passes on bytes; TLS ends at Vault as
    before.

    The application of this step is a loop that prints the SHA-256 of its file each second.

    Before you run it: which of the two pods will have an event about the outage?
    """
    lab.kubectl_apply("""
apiVersion: v1
kind: Service
metadata:
  name: door
spec:
  selector: {app: door}
  ports:
  - port: 8200
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: door
spec:
  selector:
    matchLabels: {app: door}
  template:
    metadata:
      labels: {app: door}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 1
      containers:
      - name: forward
        image: $APP_IMAGE
        imagePullPolicy: IfNotPresent
        readinessProbe:
          tcpSocket: {port: 8200}
          periodSeconds: 1
        securityContext: {runAsNonRoot: true, runAsUser: 1000}
        command:
        - python3
        - -c
        - |
          import asyncio

          async def copy(source, target):
              while data := await source.read(65536):
                  target.write(data)
                  await target.drain()
              target.close()

          async def serve(reader, writer):
              inner = await asyncio.open_connection("vault.vault.svc", 8200)
              ways = copy(reader, inner[1]), copy(inner[0], writer)
              await asyncio.gather(*ways, return_exceptions=True)

          async def main():
              server = await asyncio.start_server(serve, "0.0.0.0", 8200)
              await server.serve_forever()

          asyncio.run(main())
""")
    lab.sh(r"""
kubectl rollout status deployment/door --timeout=60s
vault write -field=random_bytes sys/tools/random/12 format=hex |
  vault kv put -mount=$NAMESPACE-kv away password=-
vault policy write $NAMESPACE-away - <<END
path "$NAMESPACE-kv/data/away" {
  capabilities = ["read"]
}
END
vault write auth/$NAMESPACE-kubernetes/role/away \
  bound_service_account_names=app \
  bound_service_account_namespaces=$NAMESPACE \
  audience=vault \
  token_policies=$NAMESPACE-away \
  token_ttl=10m
""")
    lab.kubectl_apply("""
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata:
  name: door
spec:
  provider: vault
  parameters:
    vaultAddress: https://door.$NAMESPACE.svc:8200  #? Vault's address, as this class sees it
    vaultTLSServerName: vault.vault.svc
    vaultAuthMountPath: $NAMESPACE-kubernetes
    roleName: away
    objects: |
      - {objectName: password, secretPath: $NAMESPACE-kv/data/away, secretKey: password}
---
apiVersion: v1
kind: Pod
metadata:
  name: before
spec:
  serviceAccountName: app
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "while sleep 1; do sha256sum /secrets/password; done"]
    securityContext: {runAsNonRoot: true, runAsUser: 1000}
    volumeMounts:
    - {name: secrets, mountPath: /secrets}
  volumes:
  - name: secrets
    csi:
      driver: secrets-store.csi.k8s.io
      readOnly: true
      volumeAttributes: {secretProviderClass: door}
""")
    lab.sh(r"""
kubectl wait pod/before --for=condition=Ready --timeout=90s
kubectl scale deployment door --replicas=0  #? shut it
kubectl wait pod -l app=door --for=delete --timeout=60s
vault write -field=random_bytes sys/tools/random/12 format=hex |
  vault kv put -mount=$NAMESPACE-kv away password=-
# The same pod again, under another name.
kubectl get pod before -o \
  jsonpath='{.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}' |
  sed 's/"before"/"during"/' | kubectl apply -f -
events() { kubectl get events --field-selector involvedObject.name=during -o yaml; }
until grep -m1 -F 'door.' <<< "$(events)"; do sleep 1; done
""")
    lab.sh(r"""
# Rotations of the running pod fail, and only the driver says so.
failed() {
  kubectl -n kube-system logs -l app=secrets-store-csi-driver -c secrets-store --tail=-1 \
    --since-time=$(kubectl get pod before -o jsonpath='{.metadata.creationTimestamp}') |
    grep '^E.*isRemountRequest=true' | grep -m1 "pod=\"$NAMESPACE/before\"" | cut -c1-300
}
until [ "$(failed)" ]; do
  kubectl annotate pod before --overwrite lab/nudge=$RANDOM >/dev/null
  sleep 2
done
failed || true
kubectl get pods before during
""")
    lab.sh(r"""
kubectl scale deployment door --replicas=1
kubectl wait pod/during --for=condition=Ready --timeout=110s
""")
    lab.sh(r"""
new=$(vault kv get -mount=$NAMESPACE-kv -field=password away | sha256sum | cut -c1-64)
until kubectl logs before --tail=1 | grep -q $new; do
  kubectl annotate pod before --overwrite lab/nudge=$RANDOM >/dev/null
  sleep 2
done
kubectl logs before | sort | uniq -c
""")


@vault_is_away.check
def _(lab: LabContext) -> None:
    for name in ("before", "during"):
        expect_mounted(lab, name)
    found = lab.kube.get("Pod", "before") or {}
    events = [event.partition(":")[0] for event in pod_events(lab, "before")]
    since = events[events.index("Started") :] if "Started" in events else ["never started"]
    expect(
        found["status"]["containerStatuses"][0]["restartCount"] == 0 and since == ["Started"],
        "the pod that ran noticed nothing: no restart, no event since it started",
        found=since,
    )
    failures = failed_rotations(lab, "before")
    expect(failures, "a rotation of its volume failed, and only the driver's log says so")
    old, new = (stored_sum(lab, "away", version=number) for number in (1, 2))
    seen = [line.partition(" ")[0] for line in lab.kube.logs("before").splitlines()]
    expect(
        list(dict.fromkeys(seen)) == [old, new],
        "it had a password all the time: first the old one, then the new one",
        found={old: seen.count(old), new: seen.count(new), "lines": len(seen)},
        hint="kubectl logs before; after the door is open again, wait or nudge",
    )
    failed = [event for event in pod_events(lab, "during") if event.startswith("FailedMount")]
    expect(
        any("door." in event for event in failed),
        "the new pod waited: its event names the address that did not answer",
        found=failed[-1:] or "no FailedMount event",
    )
    for name in ("before", "during"):
        expect(
            file_sum(lab, name, "/secrets/password") == new,
            f"now that Vault is back, pod {name} has the new password",
            hint=f"kubectl annotate pod {name} --overwrite a=$RANDOM, after ten seconds",
        )


@vault_is_away.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
