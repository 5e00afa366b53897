"""The pods of lab 04: programs that read a Secret and know no Vault, an nginx, a watcher.

The programs lie in `app/` and come in by a ConfigMap. All read their credentials when they
start, as most programs do; that is why somebody has to restart them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.lab.api import LabContext
from harness.lab.kit.pods import confined, unprivileged

PROGRAMS = Path(__file__).parent / "app"


def program(name: str) -> Any:
    """A ConfigMap `program-NAME` with one of the programs in `app/`."""
    return _config_map(f"program-{name}", "program.py", f"{name}.py")


def web_server() -> Any:
    """A ConfigMap `nginx` with the configuration of the TLS server."""
    return _config_map("nginx", "nginx.conf", "nginx.conf")


def _config_map(name: str, key: str, file: str) -> Any:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {key: (PROGRAMS / file).read_text(encoding="utf-8")},
    }


def deployment(lab: LabContext, name: str, runs: str, *, env: list[Any], replicas: int = 1) -> Any:
    """A Deployment of a program in `app/` that is replaced without a gap."""
    container = {
        "image": lab.image("app"),
        "command": ["python3", "/program/program.py"],
        "env": env,
        "ports": [{"containerPort": 8080}],
        "readinessProbe": _probe(8080, "HTTP"),
        "volumeMounts": [{"name": "program", "mountPath": "/program", "readOnly": True}],
    }
    volumes = [{"name": "program", "configMap": {"name": f"program-{runs}"}}]
    return _without_a_gap(name, container, volumes, replicas)


def tls_server(lab: LabContext, name: str, certificate: str) -> Any:
    """A Deployment of nginx that serves the TLS Secret `certificate` on port 8443.

    It reads the certificate when it starts. Its root file system is read-only; the few files
    that it writes are in memory.
    """
    container = {
        "image": lab.image("nginx"),
        "command": ["nginx", "-c", "/web/nginx.conf", "-e", "stderr", "-g", "daemon off;"],
        "ports": [{"containerPort": 8443}],
        "readinessProbe": _probe(8443, "HTTPS"),
        "volumeMounts": [
            {"name": "web", "mountPath": "/web", "readOnly": True},
            {"name": "tls", "mountPath": "/tls", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 # in a pod, and its own
        ],
    }
    volumes = [
        {"name": "web", "configMap": {"name": "nginx"}},
        {"name": "tls", "secret": {"secretName": certificate}},
        {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
    ]
    return _without_a_gap(name, container, volumes, replicas=1)


def _probe(port: int, scheme: str) -> Any:
    asked = {"path": "/", "port": port, "scheme": scheme}
    return {"httpGet": asked, "periodSeconds": 1, "timeoutSeconds": 3}


def _without_a_gap(name: str, container: Any, volumes: list[Any], replicas: int) -> Any:
    """A Deployment in which a new pod is ready before an old one goes (`maxUnavailable: 0`).

    An old one serves three seconds more, until everybody knows that it is leaving.
    """
    container = {
        "name": "app",
        "imagePullPolicy": "IfNotPresent",
        "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
        "securityContext": confined(),
        **container,
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
            "template": _template(name, container, volumes),
        },
    }


def sleeper(lab: LabContext, kind: str, name: str, env: list[Any]) -> Any:
    """A StatefulSet or DaemonSet of a pod that sleeps, with variables from a Secret."""
    container = {
        "name": "app",
        "image": lab.image("app"),
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", "trap 'exit 0' TERM; sleep infinity & wait"],
        "env": env,
        "securityContext": confined(),
    }
    spec = {"selector": {"matchLabels": {"app": name}}, "template": _template(name, container, [])}
    if kind == "StatefulSet":
        spec |= {"serviceName": name}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _template(name: str, container: Any, volumes: list[Any]) -> Any:
    return {
        "metadata": {"labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 5,
            "securityContext": unprivileged(),
            "containers": [container],
            "volumes": volumes,
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
            "securityContext": unprivileged(),
            "containers": [
                {
                    "name": "shell",
                    "image": lab.image("app"),
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", command],
                    "securityContext": confined(),
                    "volumeMounts": mounts,
                }
            ],
            "volumes": volumes,
        },
    }
