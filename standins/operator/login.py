"""What a client sends to `auth/<mount>/login`, for each auth method.

The identity is the consumer's: tokens are asked of the TokenRequest API for a service account
in the namespace of the secret's custom resource, and Secrets are read there too. The operator
never logs in as itself.
"""

from __future__ import annotations

import base64
import binascii
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from standins.common.kube import Kube, KubeError
from standins.operator import model
from standins.operator.model import Obj

_SECRET_ID_MOST = 1 << 20
_TOKEN_SECONDS = 600


class LoginImpossible(Exception):
    """The credentials that a VaultAuth names cannot be had."""


@dataclass(frozen=True)
class Identity:
    """Who logs in: `uid` is part of the client's cache key, so a new object means a new login."""

    uid: str
    body: dict[str, Any] = field(default_factory=dict, repr=False)


async def identity(kube: Kube, auth: Obj, namespace: str) -> Identity:
    """The identity that `auth` gives to consumers in `namespace`, without credentials."""
    method = model.spec(auth).get("method", "")
    block = model.spec(auth).get(method) or {}
    if method in ("kubernetes", "jwt") and block.get("serviceAccount"):
        found = await kube.find("ServiceAccount", namespace, block["serviceAccount"])
        return Identity(model.uid(_present(found, "ServiceAccount", namespace, block)))
    if method in ("jwt", "appRole") and block.get("secretRef"):
        found = await kube.find("Secret", namespace, block["secretRef"])
        secret = _present(found, "Secret", namespace, block)
        return Identity(f"{model.uid(secret)}.{model.meta(secret).get('resourceVersion')}")
    if method == "appRole" and block.get("secretIDPath"):
        return Identity(f"{block.get('roleId')}.{block['secretIDPath']}")
    if method in ("kubernetes", "jwt", "appRole"):
        raise LoginImpossible(f"invalid {method} auth: no credentials are configured")
    raise LoginImpossible(f'auth method "{method}" is not covered by the stand-in operator')


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


def _present(found: Obj | None, kind: str, namespace: str, block: dict[str, Any]) -> Obj:
    if found is None:
        name = block.get("serviceAccount") if kind == "ServiceAccount" else block.get("secretRef")
        raise LoginImpossible(f'{kind} "{name}" not found in namespace {namespace}')
    return found


async def _secret_value(kube: Kube, namespace: str, name: str, key: str) -> str:
    secret = await kube.find("Secret", namespace, name)
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
    path = Path(text)
    if not path.is_absolute() or ".." in path.parts:
        raise LoginImpossible("secretIDPath must be absolute and free of '..'")
    try:
        facts = path.lstat()
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > _SECRET_ID_MOST:
            raise LoginImpossible("secretIDPath must be a regular file of at most 1 MiB")
        return path.read_text().strip()
    except OSError as error:
        raise LoginImpossible(f"secretIDPath cannot be read: {error.strerror}") from error
