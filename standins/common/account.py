"""What a pod knows about its API server: where it is, whom to trust, and its own account."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class NoAccount(Exception):
    """This process does not run in a pod with a service account."""


@dataclass(frozen=True)
class Access:
    """Where the API server is and how to be known to it; `namespace` is the pod's."""

    server: str
    tls: ssl.SSLContext | None = None
    token_file: Path | None = None
    token: str = field(default="", repr=False)
    namespace: str = "default"


def in_cluster(environment: Mapping[str, str], account: Path = ACCOUNT) -> Access:
    """The access that Kubernetes gives every pod. Raises NoAccount."""
    try:
        # The address in the environment works before the cluster's DNS does.
        host, port = (environment[f"KUBERNETES_SERVICE_{name}"] for name in ("HOST", "PORT"))
        host = f"[{host}]" if ":" in host else host
        tls = ssl.create_default_context(cafile=str(account / "ca.crt"))
        namespace = (account / "namespace").read_text("ascii").strip()
    except KeyError as error:
        raise NoAccount(f"not in a pod: {error.args[0]} is not set") from None
    except (OSError, ssl.SSLError) as error:
        raise NoAccount(f"not in a pod with a service account: {error}") from None
    return Access(f"https://{host}:{port}", tls, account / "token", namespace=namespace)
