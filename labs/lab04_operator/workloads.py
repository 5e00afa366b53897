"""The pods of lab 04: programs that read a Secret and know no Vault, and one that watches.

The programs lie in `app/` and come in by a ConfigMap. They read their credentials when they
start, as most programs do; that is why somebody has to restart them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.context import LabContext

PROGRAMS = Path(__file__).parent / "app"

_UNPRIVILEGED = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CONFINED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def program(name: str) -> Any:
    """A ConfigMap with one of the programs in `app/`."""
    text = (PROGRAMS / f"{name}.py").read_text(encoding="utf-8")
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"program-{name}"},
        "data": {"program.py": text},
    }


def deployment(
    lab: LabContext,
    name: str,
    runs: str,
    *,
    env: list[Any],
    replicas: int = 1,
    port: int = 8080,
    certificate: str = "",
) -> Any:
    """A Deployment of a program in `app/` that is replaced without a gap.

    A new pod is ready before an old one goes (`maxUnavailable: 0`), and an old one serves
    three seconds more, until everybody knows that it is leaving.
    """
    scheme = "HTTPS" if certificate else "HTTP"
    mounts = [{"name": "program", "mountPath": "/program", "readOnly": True}]
    volumes: list[Any] = [{"name": "program", "configMap": {"name": f"program-{runs}"}}]
    if certificate:
        mounts.append({"name": "tls", "mountPath": "/tls", "readOnly": True})
        volumes.append({"name": "tls", "secret": {"secretName": certificate}})
    container = {
        "name": "app",
        "image": lab.image("app"),
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/program/program.py"],
        "env": env,
        "ports": [{"containerPort": port}],
        "readinessProbe": {
            "httpGet": {"path": "/", "port": port, "scheme": scheme},
            "periodSeconds": 1,
            "timeoutSeconds": 3,
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
        "securityContext": _CONFINED,
        "volumeMounts": mounts,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 5,
                    "securityContext": _UNPRIVILEGED,
                    "containers": [container],
                    "volumes": volumes,
                },
            },
        },
    }


def service(name: str, port: int = 8080) -> Any:
    """A Service in front of a Deployment of the same name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": port, "targetPort": port}]},
    }


def from_secret(variable: str, secret: str, key: str) -> Any:
    """An environment variable that is filled from a Secret when the container starts."""
    reference = {"secretKeyRef": {"name": secret, "key": key}}
    return {"name": variable, "valueFrom": reference}


def shell(lab: LabContext, name: str, command: str, *, volumes: list[Any] | None = None) -> Any:
    """A pod that runs `command` with `sh -c`; `volumes` are mounted at `/NAME`."""
    volumes = volumes or []
    mounts = [{"name": v["name"], "mountPath": f"/{v['name']}", "readOnly": True} for v in volumes]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "restartPolicy": "Never",
            "securityContext": dict(_UNPRIVILEGED),
            "containers": [
                {
                    "name": "shell",
                    "image": lab.image("app"),
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", command],
                    "securityContext": dict(_CONFINED),
                    "volumeMounts": mounts,
                }
            ],
            "volumes": volumes,
        },
    }
