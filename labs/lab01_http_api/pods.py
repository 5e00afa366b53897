"""The pod that the steps of lab 01 use: a shell with curl, and two identities in files.

The pod's own token is projected for the audience `vault`, so that the API server would
refuse it if somebody replayed it there. What it reads goes to a memory volume.
"""

from __future__ import annotations

from typing import Any

from harness.lab.api import LabContext
from harness.lab.kit.pods import confined, unprivileged


def curl_pod(
    lab: LabContext, name: str, service_account: str, audience: str = "vault", namespace: str = ""
) -> Any:
    """A pod that waits to be told what to do with `kubectl exec`.

    Its files: `/identity/token` (its service-account token for `audience`),
    `/vault-ca/ca.crt` (what Vault's certificate is verified with), `/memory` (writable,
    in memory).
    """
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace or lab.namespace},
        "spec": {
            "serviceAccountName": service_account,
            # The token for the API server is not needed, so it is not there to be stolen.
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": unprivileged(),
            "containers": [
                {
                    "name": "shell",
                    "image": lab.image("app"),
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "infinity"],
                    "securityContext": confined(),
                    "volumeMounts": [
                        {"name": "identity", "mountPath": "/identity", "readOnly": True},
                        {"name": "vault-ca", "mountPath": "/vault-ca", "readOnly": True},
                        {"name": "memory", "mountPath": "/memory"},
                    ],
                }
            ],
            "volumes": [
                {
                    "name": "identity",
                    "projected": {
                        "sources": [
                            {
                                "serviceAccountToken": {
                                    "path": "token",
                                    "audience": audience,
                                    "expirationSeconds": 600,
                                }
                            }
                        ]
                    },
                },
                {"name": "vault-ca", "configMap": {"name": "vault-ca"}},
                {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            ],
        },
    }
