"""What a client sends to `auth/<mount>/login`, for each auth method.

The identity is the consumer's: tokens are asked of the TokenRequest API for a service account
in the namespace of the secret's custom resource, and Secrets are read there too. The operator
never logs in as itself.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from standins.common.kube import Kube, KubeError
from standins.operator import authmethods, model
from standins.operator.lookups import find
from standins.operator.model import Obj

_TOKEN_SECONDS = 600
# The methods that work here, with upstream's words for them in errors.
_COVERED = {"kubernetes": "kubernetes", "jwt": "JWT", "appRole": "AppRole"}


class LoginImpossible(Exception):
    """The credentials that a VaultAuth names cannot be had."""


@dataclass(frozen=True)
class Identity:
    """Who logs in: `uid` is part of the client's cache key, so a new object means a new login."""

    uid: str
    body: dict[str, Any] = field(default_factory=dict, repr=False)


async def identity(kube: Kube, auth: Obj, namespace: str) -> Identity:
    """The identity that `auth` gives to consumers in `namespace`, without credentials."""
    method, block = str(model.spec(auth).get("method") or ""), _block(auth)
    if method == "appRole" and block.get("secretIDPath"):
        return Identity(f"{block.get('roleId')}.{block['secretIDPath']}")
    if method in ("kubernetes", "jwt") and block.get("serviceAccount"):
        kind, name = "ServiceAccount", block["serviceAccount"]
    elif method in ("jwt", "appRole") and block.get("secretRef"):
        kind, name = "Secret", block["secretRef"]
    else:
        raise LoginImpossible(
            "either serviceAccount or JWT token secret key selector is required to retrieve "
            "credentials to authenticate to Vault's JWT authentication backend"
        )
    found = await find(kube, kind, namespace, name)
    return Identity(model.uid(_present(found, kind, namespace, name)))


def _block(auth: Obj) -> dict[str, Any]:
    """The block of the auth's method. LoginImpossible says what is missing in it."""
    method = str(model.spec(auth).get("method") or "")
    if method not in _COVERED:
        raise LoginImpossible(
            f"unsupported authentication method {method}: the stand-in operator does not cover it"
            if method in authmethods.METHODS
            else f"unsupported authentication method {method}"
        )
    block: dict[str, Any] | None = model.spec(auth).get(method)
    label = _COVERED[method]
    if block is None:
        raise LoginImpossible(f"{label} auth method not configured")
    if faults := authmethods.faults(method, block):
        raise LoginImpossible(f"invalid {label} auth configuration: " + "\n".join(faults))
    return block


async def credentials(kube: Kube, auth: Obj, namespace: str) -> dict[str, Any]:
    """The body of the login request. Secret: never log it."""
    method = model.spec(auth).get("method", "")
    block = model.spec(auth).get(method) or {}
    if method == "appRole":
        if block.get("secretRef"):
            secret_id = await _secret_value(kube, namespace, block["secretRef"], "id")
        else:
            secret_id = _secret_id_from(block.get("secretIDPath", ""))
        return {"role_id": block.get("roleId", ""), "secret_id": secret_id}
    if block.get("serviceAccount"):
        try:
            token = await kube.service_account_token(
                namespace,
                block["serviceAccount"],
                list(block.get("audiences") or []),
                int(block.get("tokenExpirationSeconds") or _TOKEN_SECONDS),
            )
        except KubeError as error:
            raise LoginImpossible(str(error)) from error
    else:
        token = await _secret_value(kube, namespace, block.get("secretRef", ""), "jwt")
    return {"role": block.get("role", ""), "jwt": token}


def _present(found: Obj | None, kind: str, namespace: str, name: str) -> Obj:
    if found is None:
        raise LoginImpossible(f'{kind} "{name}" not found in namespace {namespace}')
    return found


async def _secret_value(kube: Kube, namespace: str, name: str, key: str) -> str:
    secret = await find(kube, "Secret", namespace, name)
    if secret is None:
        raise LoginImpossible(f'Secret "{name}" not found in namespace {namespace}')
    encoded = (secret.get("data") or {}).get(key)
    if not encoded:
        raise LoginImpossible(f'Secret {namespace}/{name} has no key "{key}"')
    try:
        return base64.b64decode(encoded).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise LoginImpossible(f'Secret {namespace}/{name}: key "{key}" is no text') from error


def _secret_id_from(text: str) -> str:
    try:
        authmethods.check_path(text)
        secret_id = Path(text).read_text().strip()
    except (OSError, ValueError) as error:
        # A file that is no text is a ValueError as well, whose words quote what it holds.
        reason = "it is no text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise LoginImpossible(f"failed to read Secret ID from file {text}: {reason}") from None
    if not secret_id:
        raise LoginImpossible("approle secret-id file contains no data")
    return secret_id
