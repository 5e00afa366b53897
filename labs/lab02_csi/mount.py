"""Step 3: a class, a pod, and files in memory."""

from __future__ import annotations

import base64
import json

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kv import stored, stored_sum
from harness.lab.kit.pods import file_sum
from labs.lab02_csi.lab import csi
from labs.lab02_csi.volumes import API, CLASS, STATUS, expect_mounted, way_in


@csi.step(
    "Mount a secret",
    minutes=8,
    goals=[
        "there is a SecretProviderClass app",
        "pod web runs: all its volumes are mounted",
        "/secrets is a tmpfs: in memory, and read-only",
        "the file password holds the value of Vault (compared by SHA-256)",
        "the file decoded holds the value of Vault (compared by SHA-256)",
        "the file username holds the user's name",
        "the file conf/name holds the user's name",
        "one file has the mode asked for, 444, the others 644",
        "all.json is the whole answer of Vault",
        "Vault saw the pod's own account log in",
    ],
    hints=[
        "Step 2 made the role and the secrets: `vault list auth/lab02-kubernetes/role`, "
        "`vault kv get lab02-kv/app`. The request path of a secret stands at the top of the "
        "answer, under `Secret Path`.",
        "When the pod does not start, `kubectl describe pod web` says why: the event FailedMount. "
        "`kubectl get csidriver` knows the name of the driver.",
        "roleName: app; secretPath: $NAMESPACE-kv/data/app; encoding: base64; in the pod "
        "serviceAccountName: app, driver: secrets-store.csi.k8s.io, secretProviderClass: app.",
    ],
)
def mount_secret(lab: LabContext) -> None:
    """
    A **SecretProviderClass** lists files: which path of Vault, which key of the answer, under
    which name. A pod names the class in a volume of type `csi`, and that is all it does.
    Nothing in the pod speaks to Vault; it has not even a service-account token.

    Look at what arrives, the details are useful:

    - the volume is a **tmpfs**: memory of the node, nothing on its disk; and read-only;
    - each file is a link through `..data` to a folder with a time in its name. A new set of
      files is written beside the old one, then the link is swung: a reader sees all of the
      old or all of the new;
    - without `secretKey` the whole answer of Vault is written, as JSON;
    - `encoding: base64` decodes before it writes; `filePermission` is an octal number, as for
      chmod. Files belong to root, so a mode of 0400 would be of no use to this pod.
    """
    lab.kubectl_apply("""
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata:
  name: app
spec:
  provider: vault
  parameters:
    vaultAuthMountPath: $NAMESPACE-kubernetes
    roleName: app  #? the role of this auth method that knows the pod's account
    objects: |
      - objectName: password
        secretPath: $NAMESPACE-kv/data/app  #? the request path of the secret
        secretKey: password
        filePermission: 0444
      - objectName: username
        secretPath: $NAMESPACE-kv/data/app
        secretKey: username
      - objectName: conf/name
        secretPath: $NAMESPACE-kv/data/app
        secretKey: username
      - objectName: decoded
        secretPath: $NAMESPACE-kv/data/app
        secretKey: encoded
        encoding: base64  #? how the value is encoded in Vault
      - objectName: all.json
        secretPath: $NAMESPACE-kv/data/app
""")
    lab.kubectl_apply("""
apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  serviceAccountName: app  #? the account whose token kubelet hands to the driver
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext:
    runAsNonRoot: true
    runAsUser: 1000
    seccompProfile: {type: RuntimeDefault}
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    volumeMounts:
    - name: secrets
      mountPath: /secrets
      readOnly: true
  volumes:
  - name: secrets
    csi:
      driver: secrets-store.csi.k8s.io  #? the name of the driver
      readOnly: true
      volumeAttributes:
        secretProviderClass: app  #? the class that lists the files
""")
    lab.sh("time kubectl wait pod/web --for=condition=Ready --timeout=60s")
    lab.sh("""
kubectl exec web -- grep ' /secrets ' /proc/mounts
kubectl exec web -- ls -lA /secrets
kubectl exec web -- sha256sum /secrets/password
""")


@mount_secret.check
def _(lab: LabContext) -> None:
    found = lab.kube.get(CLASS, "app", api_version=API)
    expect(found, "there is a SecretProviderClass app")
    expect_mounted(lab, "web")
    mounted = lab.kube.exec("web", "grep ' /secrets ' /proc/mounts || true").split()
    expect(
        mounted[2:3] == ["tmpfs"] and "ro" in mounted[3].split(","),
        "/secrets is a tmpfs: in memory, and read-only",
        found=" ".join(mounted),
    )
    said = lab.kube.exec("web", "touch /secrets/mine 2>&1 || true")
    expect("Read-only file system" in said, "nobody can write there", found=said)
    encoded = stored(lab, "app", "encoded")
    sums = {
        "password": stored_sum(lab, "app"),
        "decoded": lab.fingerprint(base64.b64decode(encoded).decode()),
    }
    for file, sum_ in sums.items():
        expect(
            file_sum(lab, "web", f"/secrets/{file}") == sum_,
            f"the file {file} holds the value of Vault (compared by SHA-256)",
            hint="encoding: base64 for decoded" if file == "decoded" else "",
        )
    for file in ("username", "conf/name"):
        expect(
            lab.kube.exec("web", f"cat /secrets/{file} || true") == "shop",
            f"the file {file} holds the user's name",
        )
    modes = lab.kube.exec("web", "stat -Lc %a /secrets/password /secrets/username").split()
    expect(
        modes == ["444", "644"], "one file has the mode asked for, 444, the others 644", found=modes
    )
    answer = json.loads(lab.kube.exec("web", "cat /secrets/all.json 2>/dev/null || echo {}"))
    expect(
        set((answer.get("data") or {}).get("data") or {}) == {"username", "password", "encoded"},
        "all.json is the whole answer of Vault",
        found=sorted(answer),
    )
    link = lab.kube.exec("web", "readlink /secrets/password; readlink /secrets/..data").split()
    expect(
        link[0] == "..data/password" and link[1].startswith("..20"),
        "a file is a link into a folder with a time in its name, through ..data",
        found=link,
    )
    status = lab.kube.get(STATUS, f"web-{lab.namespace}-app", api_version=API) or {}
    listed = [entry["id"] for entry in (status.get("status") or {}).get("objects") or []]
    expect(
        listed == ["all.json", "conf/name", "decoded", "password", "username"],
        "the driver keeps a SecretProviderClassPodStatus: which files, in which version",
        found=listed,
    )
    logins = lab.audit.responses(f"auth/{lab.path('kubernetes')}/login")
    accounts = {
        ((entry.get("auth") or {}).get("metadata") or {}).get("service_account_name")
        for entry in logins
    }
    expect("app" in accounts, "Vault saw the pod's own account log in", found=accounts)


@mount_secret.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, "app", "password", "username", "encoded")
