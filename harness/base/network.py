"""Servers beside the cluster: a free port on 127.0.0.1, and a name that pods can use."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from harness.base.paths import PROJECT

LOCALHOST = "127.0.0.1"


def free_port() -> int:
    """A port on 127.0.0.1 that is free at this moment."""
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Whether this port of 127.0.0.1 is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCALHOST, port))
        except OSError:
            return False
        return True


def outside_service(
    namespace: str, name: str, ip: str, port: int, port_name: str
) -> Sequence[dict[str, Any]]:
    """Namespace, Service and EndpointSlice that lead pods to a server outside the cluster.

    Pods then reach it as `name.namespace.svc` (Kubernetes documentation, "Services
    without selectors").
    """
    entry = {"name": port_name, "port": port, "protocol": "TCP"}
    return (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"ports": [{**entry, "targetPort": port}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {
                    "kubernetes.io/service-name": name,
                    "endpointslice.kubernetes.io/managed-by": PROJECT,
                },
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [ip], "conditions": {"ready": True}}],
            "ports": [entry],
        },
    )
