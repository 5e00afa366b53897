"""What the steps of lab 02 are made of: classes, pods with CSI volumes, and looks into them.

A pod's files are compared by SHA-256, so that no value passes through a check. `nudge` is
how a lab does not wait for kubelet: it calls the driver again whenever a pod changes, and
a new annotation is a change.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.pods import confined, expect_running, from_secret, unprivileged

API = "secrets-store.csi.x-k8s.io/v1"
DRIVER = "secrets-store.csi.k8s.io"
DRIVER_NAMESPACE = "kube-system"
CLASS, STATUS = "SecretProviderClass", "SecretProviderClassPodStatus"
MANAGED = "secrets-store.csi.k8s.io/managed"
NUDGE = "lab/nudge"

_numbers = itertools.count(1)


def secret_class(
    lab: LabContext,
    name: str,
    objects: str,
    *,
    role: str = "app",
    mount: str = "kubernetes",
    provider: str = "vault",
    secrets: list[Any] | None = None,
    api: str = API,
    **parameters: str,
) -> Any:
    """A SecretProviderClass: log in with `role` at this lab's auth method, then read `objects`.

    `objects` is YAML text, as in a manifest. `secrets` are the secretObjects; any other
    keyword is one more parameter of the provider.
    """
    synced = {"secretObjects": secrets} if secrets else {}
    return {
        "apiVersion": api,
        "kind": CLASS,
        "metadata": {"name": name},
        "spec": {
            "provider": provider,
            **synced,
            "parameters": {
                "roleName": role,
                "vaultAuthMountPath": lab.path(mount),
                **parameters,
                "objects": objects.strip() + "\n",
            },
        },
    }


def pod_spec(
    lab: LabContext,
    volumes: Mapping[str, str],
    *,
    account: str = "app",
    env: Mapping[str, tuple[str, str]] | None = None,
    single: str = "",
    read_only: bool = True,
) -> Any:
    """A pod that waits, with a CSI volume at each path of `volumes` (path: class).

    `env` maps a variable to (Secret, key). `single` is a file of the first volume that is
    mounted once more, by subPath, as `/single/FILE`.
    """
    names = {path: path.strip("/").replace("/", "-") for path in volumes}
    mounts: list[Any] = [
        {"name": names[path], "mountPath": path, "readOnly": True} for path in volumes
    ]
    if single:
        first = next(iter(names.values()))
        mounts.append({"name": first, "mountPath": f"/single/{single}", "subPath": single})
    return {
        "serviceAccountName": account,
        # The container has no token at all: kubelet makes one for the driver, not for it.
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": unprivileged(),
        "containers": [
            {
                "name": "app",
                "image": lab.image("app"),
                "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "infinity"],
                "env": [from_secret(name, *source) for name, source in (env or {}).items()],
                "securityContext": confined(),
                "volumeMounts": mounts,
            }
        ],
        "volumes": [
            {
                "name": names[path],
                "csi": {
                    "driver": DRIVER,
                    "readOnly": read_only,
                    "volumeAttributes": {"secretProviderClass": name},
                },
            }
            for path, name in volumes.items()
        ],
    }


def pod(lab: LabContext, name: str, volumes: Mapping[str, str], **options: Any) -> Any:
    """A Pod with CSI volumes; options as for `pod_spec`."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": pod_spec(lab, volumes, **options),
    }


def deployment(lab: LabContext, name: str, volumes: Mapping[str, str], **options: Any) -> Any:
    """A Deployment of one such pod."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": pod_spec(lab, volumes, **options),
            },
        },
    }


def way_in(lab: LabContext, name: str = "app", *fields: str) -> LoginPath:
    """How the account `app` gets to a secret, as the steps diagnose it."""
    return LoginPath(
        mount=lab.path("kubernetes"),
        role="app",
        service_account="app",
        reviewer="reviewer",
        secret=lab.path("kv", "data", name),
        fields=fields,
    )


def expect_mounted(lab: LabContext, name: str) -> None:
    """State that a pod runs: kubelet starts none before all its volumes are there."""
    expect_running(lab, name, meaning="all its volumes are mounted")


def pod_of(lab: LabContext, name: str) -> str:
    """The name of the running pod of a Deployment, "" when there is none."""
    for found in lab.kube.list("Pod", selector=f"app={name}"):
        if (found.get("status") or {}).get("phase") == "Running":
            return str(found["metadata"]["name"])
    return ""


def end_secrets(lab: LabContext, classes: set[str], *secrets: str) -> None:
    """Wait until no pod has a volume of these classes, then delete the Secrets made of them.

    Before that the driver would write them again; and one that was updated in the last five
    seconds has no owner, so that nobody else would delete it (see step 7).
    """

    def in_use() -> list[str]:
        found = lab.kube.list(STATUS, api_version=API)
        return [
            status["metadata"]["name"]
            for status in found
            if (status.get("status") or {}).get("secretProviderClassName") in classes
        ]

    lab.wait_for("the volumes to go with their pods", lambda: not in_use(), timeout=90)
    for name in secrets:
        lab.kube.delete("Secret", name)


def nudge(lab: LabContext, name: str) -> None:
    """Change an annotation of the pod, so that kubelet looks after its volumes at once."""
    value = f"{next(_numbers)}"
    lab.run(
        f"kubectl -n {lab.namespace} annotate pod {name} --overwrite {NUDGE}={value}", timeout=30
    )


def nudge_until(
    lab: LabContext, name: str, what: str, probe: Callable[[], object], timeout: float = 60
) -> None:
    """Nudge the pod each two seconds until `probe` is true.

    The driver calls the provider again when ten seconds have gone by since the last time.
    """

    def nudged() -> object:
        with lab.quiet():
            nudge(lab, name)
        return probe()

    lab.say(f"kubectl -n {lab.namespace} annotate pod {name} --overwrite {NUDGE}=…  # repeatedly")
    lab.wait_for(
        what,
        nudged,
        timeout=timeout,
        every=2,
        explain=lambda: lab.kube.explain_pod(name),
        hint="kubelet calls the driver when the pod changes; the driver's poll interval is 10s",
    )


def driver_pod(lab: LabContext) -> Any:
    """The driver's pod on the only node. Raises IndexError when there is none."""
    pods = lab.kube.list("Pod", DRIVER_NAMESPACE, selector="app=secrets-store-csi-driver")
    return pods[0]


def find_in_etcd(lab: LabContext, value: str) -> list[str]:
    """The files of etcd on the node that hold `value` as it is.

    It is looked for in the raw files, because that is what somebody finds who steals a disk
    or a backup. The value travels by standard input: a command line can be seen by others.
    """
    node = f"{lab.access.cluster}-control-plane"
    look = "grep -rlF -f - /var/lib/etcd/member || true"
    return lab.run(f"docker exec -i {node} sh -c '{look}'", stdin=str(value)).split()
