"""Step 4: where the files lie, and who can read them."""

from __future__ import annotations

import base64

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    SECRETS,
    app_pod,
    asking,
    container,
    expect_running,
    file_sum,
    show,
)
from labs.lab03_injector.trust import way_in


def password_only(lab: LabContext, name: str, perms: str = "") -> dict[str, str]:
    """The wish for a file `name` that holds the password alone, with these permissions."""
    path = lab.path("kv", "data", "app")
    return {
        f"agent-inject-template-{name}": f'{{{{ with secret "{path}" }}}}'
        "{{ .Data.data.password }}{{ end }}",
        f"agent-inject-perms-{name}": perms,
    }


@injector.step(
    "Files in memory, and who can read them",
    hints=[
        "Pod `files`: two containers, app and neighbour (`container(lab, 'neighbour')`); only "
        "app is chosen with `agent-inject-containers`. Two secrets: `open` without and `closed` "
        'with `agent-inject-perms-closed: "0400"`.',
        'Pod `same-user`: the same secrets and `agent-run-as-same-user: "true"`.',
    ],
)
def files_in_memory(lab: LabContext) -> None:
    """
    `/vault/secrets` is a **tmpfs** that the containers of one pod share: nothing on the
    node's disk, nothing in etcd, gone with the pod. Who can read it?

    - Containers that mount it. By default all of the pod; `agent-inject-containers` names
      those that shall.
    - Users that the **file mode** lets. The agent writes as user 100, and files are 0644
      unless `agent-inject-perms-NAME` says otherwise. Mode 0400 sounds right and is a trap:
      it locks out the application, which is user 1000. `agent-run-as-same-user` makes the
      agent take the application's user, and then 0400 is right.
    - Whoever may `kubectl exec` into the pod, as the check of this very step does. No
      integration takes that away: `pods/exec` is as good as reading the secret.
    """
    both = password_only(lab, "open") | password_only(lab, "closed", "0400")
    pod = app_pod(lab, "files", asking(lab, both | {"agent-inject-containers": "app"}))
    pod["spec"]["containers"].append(container(lab, "neighbour"))
    lab.kube.apply(pod)
    lab.kube.apply(
        app_pod(lab, "same-user", asking(lab, both | {"agent-run-as-same-user": "true"}))
    )
    for name in ("files", "same-user"):
        lab.kube.wait_for_pod(name)
        print(name, show(lab, name, f"id -u; ls -ln {SECRETS}; cat {SECRETS}/closed >/dev/null"))


@files_in_memory.check
def _(lab: LabContext) -> None:
    for name in ("files", "same-user"):
        expect_running(lab, name)
    kind = show(lab, "files", f"stat -f -c %T {SECRETS}")
    expect(kind == "tmpfs", "/vault/secrets is a tmpfs: it lies in memory", found=kind)
    right = lab.fingerprint(lab.secret("app"))
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
    word = str(lab.secret("app")).encode()
    copies = [
        secret["metadata"]["name"]
        for secret in lab.kube.list("Secret")
        if any(word in base64.b64decode(value) for value in (secret.get("data") or {}).values())
    ]
    expect(not copies, "no Kubernetes Secret of this namespace holds the password", found=copies)


@files_in_memory.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
