"""Step 3: a class, a pod, and files in memory."""

from __future__ import annotations

import json
import time

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.pods import file_sum
from labs.lab02_csi.lab import csi
from labs.lab02_csi.volumes import API, CLASS, STATUS, expect_mounted, pod, secret_class, way_in


@csi.step(
    "Mount a secret",
    hints=[
        "`secret_class(lab, 'app', objects)` makes the class; an object has objectName (the "
        "file), secretPath (with `data/`) and secretKey. `pod(lab, 'web', {'/secrets': 'app'})` "
        "makes a pod that mounts it.",
        "Five files: password (filePermission: 0444), username, conf/name (the username again, "
        "in a folder), decoded (secretKey encoded, encoding: base64), all.json (no secretKey).",
        "kubectl -n lab02 describe pod web, when it does not start: the event FailedMount.",
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
    path = lab.path("kv", "data", "app")
    lab.kube.apply(
        secret_class(
            lab,
            "app",
            f"""
- {{objectName: password, secretPath: {path}, secretKey: password, filePermission: 0444}}
- {{objectName: username, secretPath: {path}, secretKey: username}}
- {{objectName: conf/name, secretPath: {path}, secretKey: username}}
- {{objectName: decoded, secretPath: {path}, secretKey: encoded, encoding: base64}}
- {{objectName: all.json, secretPath: {path}}}
""",
        )
    )
    started = time.monotonic()
    lab.kube.apply(pod(lab, "web", {"/secrets": "app"}))
    lab.kube.wait_for_pod("web")
    print(f"from creation to a readable secret: {time.monotonic() - started:.1f} s")
    print(lab.kube.exec("web", "grep ' /secrets ' /proc/mounts; ls -lA /secrets"))


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
    for file, name in (("password", "app"), ("decoded", "decoded")):
        expect(
            file_sum(lab, "web", f"/secrets/{file}") == lab.fingerprint(lab.secret(name)),
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
