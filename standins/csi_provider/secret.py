"""What Vault answered, and the file content that an object makes of it.

An object names a key of the answer, or none and gets the whole answer as JSON; an
encoding says how the value is decoded before it is written. Values that are not text
become JSON the way Go writes it, so that files are byte for byte what the real
provider would have written. Error texts name paths and keys, never values.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from standins.common import gobase64, gojson
from standins.common.gotyped import Decoder, TypeMismatch
from standins.common.vault import VaultError
from standins.csi_provider.errors import MountError
from standins.csi_provider.objects import SecretObject

# Source: github.com/hashicorp/vault/api v1.23.0, secret.go.
_TYPES = Decoder(
    {
        "Secret": {
            "request_id": "string",
            "lease_id": "string",
            "lease_duration": "int64",
            "renewable": "bool",
            "data": "map[string]any",
            "warnings": "[]string",
            "auth,omitempty": "*SecretAuth",
            "wrap_info,omitempty": "*SecretWrapInfo",
            "mount_type,omitempty": "string",
        },
        "SecretAuth": {
            "client_token": "string",
            "accessor": "string",
            "policies": "[]string",
            "token_policies": "[]string",
            "identity_policies": "[]string",
            "metadata": "map[string]string",
            "orphan": "bool",
            "entity_id": "string",
            "lease_duration": "int64",
            "renewable": "bool",
            "mfa_requirement": "*MFARequirement",
        },
        "SecretWrapInfo": {
            "token": "string",
            "accessor": "string",
            "ttl": "int64",
            # Vault writes it as Go does.
            "creation_time": "string",
            "creation_path": "string",
            "wrapped_accessor": "string",
        },
        "MFARequirement": {
            "mfa_request_id,omitempty": "string",
            "mfa_constraints,omitempty": "map[string]*MFAConstraintAny",
        },
        "MFAConstraintAny": {"any,omitempty": "[]*MFAMethodID"},
        "MFAMethodID": {
            "type,omitempty": "string",
            "id,omitempty": "string",
            "uses_passcode,omitempty": "bool",
            "name,omitempty": "string",
            "self_enrollment_enabled,omitempty": "bool",
        },
    }
)
_NOTHING = _TYPES.decode("Secret", None)


@dataclass(frozen=True)
class Secret:
    """One answer of Vault's API. `data` is None where the answer had none.

    `written` is the answer as Vault's Go client writes it down.
    """

    data: Mapping[str, Any] | None = field(default=None, repr=False)
    warnings: tuple[str, ...] = ()
    auth: Mapping[str, Any] | None = field(default=None, repr=False)
    written: Mapping[str, Any] = field(default_factory=dict, repr=False)


def parse_secret(found: Mapping[str, Any]) -> Secret:
    """Read the JSON object of an answer; {} is an empty one. Raises VaultError."""
    try:
        written = _TYPES.decode("Secret", found)
    except (TypeMismatch, RecursionError):
        # The reason would quote a number of the secret.
        raise VaultError("the response is not one of Vault's: a field has another type") from None
    if written == _NOTHING and "errors" not in found:
        # Some endpoints (sys/health) answer without the usual frame: all of it is data.
        written["data"] = dict(found) or None
    return Secret(
        data=written["data"],
        warnings=tuple(written["warnings"] or ()),
        auth=written.get("auth"),
        written=written,
    )


def content(entry: SecretObject, secret: Secret) -> bytes:
    """The bytes of the file for `entry`. Raises MountError."""
    if not entry.key:
        return gojson.dumps(secret.written).encode()
    try:
        return _decode(_value(secret.data or {}, entry.key), entry.encoding)
    except ValueError as error:
        raise MountError(f"{{{entry.path}}}: {{{error}}}") from None


def _value(data: Mapping[str, Any], key: str) -> bytes:
    # KV v2 wraps the keys in a map called data, beside the metadata.
    inner = data.get("data")
    found = inner if isinstance(inner, Mapping) else data
    if key not in found:
        raise ValueError(f'key "{key}" does not exist at the secret path')
    value = found[key]
    if isinstance(value, str) and not isinstance(value, gojson.Number):
        return value.encode()
    return gojson.dumps(value).encode()


def _decode(value: bytes, encoding: str) -> bytes:
    match encoding.casefold():
        case "" | "utf-8":
            return value
        case "base64":
            return gobase64.decode(value)
        case "hex":
            try:
                return binascii.unhexlify(value)
            except ValueError:
                raise ValueError("encoding/hex: not hexadecimal text") from None
    raise ValueError("invalid encoding type. Should be utf-8, base64, or hex")
