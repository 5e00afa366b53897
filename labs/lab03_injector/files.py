"""Step 4: where the files lie, and who can read them."""

from __future__ import annotations

import base64

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kv import stored, stored_sum
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    SECRETS,
    expect_running,
    file_sum,
    show,
)
from labs.lab03_injector.trust import way_in


@injector.step(
    "Files in memory, and who can read them",
    minutes=8,
    goals=[
        "/vault/secrets is a tmpfs: it lies in memory",
        "the agent, user 100, has written one file for all and one for itself",
        "the application can read the file open",
        "the file closed is refused to it: mode 0400 of another user",
        "the container neighbour was not chosen and does not see the folder",
        "with agent-run-as-same-user a file of mode 0400 belongs to the application",
        "no Kubernetes Secret of this namespace holds the password",
    ],
    hints=[
        "`kubectl exec files -c app -- ls -ln /vault/secrets` shows modes and owners; "
        "the same with `-c neighbour` shows what that container has.",
        "The annotations are `agent-inject-containers`, `agent-inject-perms-NAME` and "
        "`agent-run-as-same-user`. A mode is an octal number in quotes.",
        'agent-inject-containers: app; agent-inject-perms-closed: "0400"; '
        "vault.hashicorp.com/agent-run-as-same-user=true.",
    ],
)
def files_in_memory(lab: LabContext) -> None:
    """
    `/vault/secrets` is a **tmpfs** that the containers of one pod share: nothing on the
    node's disk, nothing in etcd, gone with the pod. Who can read it?

    - Containers that mount it. By default all of the pod; `agent-inject-containers` names
      the ones that should.
    - Users that the **file mode** lets in. The agent writes as user 100, and files are 0644
      unless `agent-inject-perms-NAME` says otherwise. Mode 0400 sounds right and is a trap:
      it locks out the application, which is user 1000. With `agent-run-as-same-user` the
      agent takes the application's user, and then 0400 is right.
    - Everybody who may `kubectl exec` into the pod, as you do here. No integration takes that
      away: `pods/exec` is as good as reading the secret.
    """
    lab.kubectl_apply("""
apiVersion: v1
kind: Pod
metadata:
  name: files
  annotations:
    vault.hashicorp.com/agent-inject: "true"
    vault.hashicorp.com/role: app
    vault.hashicorp.com/auth-path: auth/$NAMESPACE-kubernetes
    vault.hashicorp.com/agent-inject-containers: app  #? which container gets the files
    vault.hashicorp.com/agent-inject-template-open: |-
      {{- with secret "$NAMESPACE-kv/data/app" }}{{ .Data.data.password }}{{ end -}}
    vault.hashicorp.com/agent-inject-template-closed: |-
      {{- with secret "$NAMESPACE-kv/data/app" }}{{ .Data.data.password }}{{ end -}}
    vault.hashicorp.com/agent-inject-perms-closed: "0400"  #? for its owner alone
spec:
  serviceAccountName: app
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext: {runAsUser: 1000, runAsGroup: 1000}
  - name: neighbour
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext: {runAsUser: 1000, runAsGroup: 1000}
""")
    lab.sh(r"""
kubectl get pod files -o \
  jsonpath='{.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}' |
  sed 's/"name":"files"/"name":"same-user"/' |
  kubectl annotate --local -f - -o yaml \
    vault.hashicorp.com/agent-run-as-same-user=true |  #?(agent-run-as-same-user) the same user
  kubectl apply -f -
kubectl wait pod/files pod/same-user --for=condition=Ready --timeout=60s
for pod in files same-user; do
  echo "--- $pod: the application is user $(kubectl exec $pod -c app -- id -u)"
  kubectl exec $pod -c app -- ls -ln /vault/secrets
  kubectl exec $pod -c app -- sha256sum /vault/secrets/closed || true
done
kubectl exec files -c neighbour -- ls /vault/secrets || true
kubectl exec files -c app -- grep ' /vault/secrets ' /proc/mounts
""")


@files_in_memory.check
def _(lab: LabContext) -> None:
    for name in ("files", "same-user"):
        expect_running(lab, name)
    kind = show(lab, "files", f"stat -f -c %T {SECRETS}")
    expect(kind == "tmpfs", "/vault/secrets is a tmpfs: it lies in memory", found=kind)
    right = stored_sum(lab, "app")
    modes = show(lab, "files", f"stat -c '%a %u' {SECRETS}/open {SECRETS}/closed").splitlines()
    expect(
        modes == ["644 100", "400 100"],
        "the agent, user 100, has written one file for all and one for itself",
        found=modes,
    )
    expect(
        file_sum(lab, "files", f"{SECRETS}/open") == right,
        "the application can read the file open",
    )
    refused = show(lab, "files", f"cat {SECRETS}/closed >/dev/null")
    expect(
        "Permission denied" in refused,
        "the file closed is refused to it: mode 0400 of another user",
        found=refused,
    )
    seen = show(lab, "files", f"ls {SECRETS}", container="neighbour")
    expect(
        "No such file" in seen,
        "the container neighbour was not chosen and does not see the folder",
        found=seen,
        hint='agent-inject-containers: "app"',
    )
    owner = show(lab, "same-user", f"stat -c '%a %u' {SECRETS}/closed")
    expect(
        owner == "400 1000" and file_sum(lab, "same-user", f"{SECRETS}/closed") == right,
        "with agent-run-as-same-user a file of mode 0400 belongs to the application",
        found=owner,
    )
    word = str(stored(lab, "app") or "nothing in Vault").encode()
    copies = [
        secret["metadata"]["name"]
        for secret in lab.kube.list("Secret")
        if any(word in base64.b64decode(value) for value in (secret.get("data") or {}).values())
    ]
    expect(not copies, "no Kubernetes Secret of this namespace holds the password", found=copies)


@files_in_memory.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
