"""A redacted picture of an environment that failed: what an engineer would ask for first.

Events, objects, pod logs, the node's kubelet journal, both servers' logs and the last
lines of Vault's audit file, as text files in one folder. Everything passes through
redaction; Secrets are listed by name and keys only. Collecting never raises: what could
not be had is written down instead.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from harness.base.redact import redact
from harness.clients.kube import Kube
from harness.environment.environment import Environment
from harness.supply.engine import engine

AUDIT_LINES = 40
LOG_LINES = 200


def collect(environment: Environment, folder: Path) -> None:
    """Write the picture of `environment` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    kube: list[Kube] = []

    def cluster() -> Kube:
        if not kube:
            kube.append(Kube(environment.cluster.kubeconfig))
        return kube[0]

    pictures: dict[str, Callable[[], str]] = {
        "environment.txt": lambda: _record(environment),
        "containers.txt": lambda: _containers(environment),
        "vault.log": lambda: environment.vault().logs(),
        "vault-audit.txt": lambda: _tail(environment.vault().audit_log, AUDIT_LINES),
        "kind.log": lambda: _tail(environment.folder / "kind.log", LOG_LINES),
        "kubelet.log": environment.cluster.journal,
        "events.txt": lambda: _events(cluster()),
        "pods.txt": lambda: _pods(cluster()),
        "secrets.txt": lambda: _secrets(cluster()),
    }
    for name, picture in pictures.items():
        try:
            text = picture()
        except Exception as error:  # whatever is broken is why we are here: write that down
            text = f"could not be collected: {type(error).__name__}: {error}"
        (folder / name).write_text(redact(text), encoding="utf-8")


def _record(environment: Environment) -> str:
    record = environment.record
    return json.dumps(record.to_json() if record else {}, indent=1)


def _containers(environment: Environment) -> str:
    client = engine.client()
    try:
        return "\n".join(
            f"{c.name} {c.status} {c.image.tags if c.image else ''}"
            for c in client.containers.list(all=True)
            if environment.name in str(c.name)
        )
    finally:
        client.close()


def _events(kube: Kube) -> str:
    lines = []
    for event in kube.list("Event", all_namespaces=True):
        about = event["involvedObject"]
        lines.append(
            f"{event.get('lastTimestamp') or event['metadata']['creationTimestamp']} "
            f"{about.get('namespace', '')}/{about.get('kind')}/{about.get('name')} "
            f"{event.get('reason')}: {event.get('message')}"
        )
    return "\n".join(sorted(lines))


def _pods(kube: Kube) -> str:
    return "\n\n".join(
        kube.explain_pod(pod["metadata"]["name"], pod["metadata"]["namespace"])
        for pod in kube.list("Pod", all_namespaces=True)
    )


def _secrets(kube: Kube) -> str:
    return "\n".join(
        f"{secret['metadata']['namespace']}/{secret['metadata']['name']} "
        f"{secret.get('type')} keys {sorted(secret.get('data') or {})}"
        for secret in kube.list("Secret", all_namespaces=True)
    )


def _tail(file: Path, lines: int) -> str:
    if not file.exists():
        return "there is no such file"
    return os.linesep.join(file.read_text(errors="replace").splitlines()[-lines:])
