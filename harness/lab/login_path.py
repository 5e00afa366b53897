"""The way from a pod to a secret, as a step describes it for the diagnosis.

Data only. harness.diagnosis walks along it, link by link, when a check fails.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LoginPath:
    """One way from a pod to a secret; what is left out is not tested.

    `mount` is the auth method's path without a slash, `role` a role of it. The pod's
    account is `service_account` in `namespace` (the lab's own by default), its token is
    made for `audience`; with `pod`, that pod's projected token is looked at. `secret` is
    the request path without /v1/ (KV version 2: with data/), `fields` what it must hold,
    `capability` what the pod does there. `policies` are what the role should grant; without
    a role, what the token carries. `reviewer` names the account whose token Vault reviews others
    with.
    `ca` is the certificate (PEM) that the pod verifies Vault with; by default that in the
    ConfigMap vault-ca of the namespace.
    """

    mount: str = ""
    role: str = ""
    service_account: str = ""
    namespace: str = ""
    audience: str = "vault"
    pod: str = ""
    secret: str = ""
    fields: tuple[str, ...] = ()
    capability: str = "read"
    policies: tuple[str, ...] = ()
    reviewer: str = ""
    ca: str = ""
