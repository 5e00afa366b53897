"""What Vault answered, and the file content that an object makes of it.

An object names a key of the answer, or none and gets the whole answer as JSON; an
encoding says how the value is decoded before it is written. Values that are not text
become JSON the way Go writes it, so that files are byte for byte what the real
provider would have written. Error texts name paths and keys, never values.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from standins.common import gojson
from standins.csi_provider.errors import MountError
from standins.csi_provider.objects import SecretObject


@dataclass(frozen=True)
class Secret:
    """One answer of Vault's API. `data` is None where the answer had none."""

    data: Mapping[str, Any] | None = field(default=None, repr=False)
    request_id: str = ""
    lease_id: str = ""
    lease_duration: gojson.Number | int = 0
    renewable: bool = False
    warnings: tuple[str, ...] = ()
    auth: Mapping[str, Any] | None = field(default=None, repr=False)
    wrap_info: Mapping[str, Any] | None = field(default=None, repr=False)
    mount_type: str = ""


def parse_secret(found: Mapping[str, Any]) -> Secret:
    """Read the JSON object of an answer; {} is an empty one."""
    secret = Secret(
        data=_mapping(found.get("data")),
        request_id=str(found.get("request_id") or ""),
        lease_id=str(found.get("lease_id") or ""),
        lease_duration=_lease(found.get("lease_duration")),
        renewable=found.get("renewable") is True,
        warnings=tuple(str(line) for line in found.get("warnings") or ()),
        auth=_mapping(found.get("auth")),
        wrap_info=_mapping(found.get("wrap_info")),
        mount_type=str(found.get("mount_type") or ""),
    )
    if secret == Secret() and found and not {"data", "errors"} & set(found):
        # Some endpoints (sys/health) answer without the usual frame: all of it is data.
        return Secret(data=found)
    return secret


def content(entry: SecretObject, secret: Secret) -> bytes:
    """The bytes of the file for `entry`. Raises MountError."""
    if not entry.key:
        return _utf8(whole(secret))
    try:
        return _decode(_value(secret.data or {}, entry.key), entry.encoding)
    except ValueError as error:
        raise MountError(f"{{{entry.path}}}: {{{error}}}") from None


def whole(secret: Secret) -> str:
    """The answer as JSON, fields in the order of Vault's Go client."""
    fields: dict[str, Any] = {
        "request_id": secret.request_id,
        "lease_id": secret.lease_id,
        "lease_duration": secret.lease_duration,
        "renewable": secret.renewable,
        "data": secret.data,
        "warnings": list(secret.warnings) or None,
    }
    optional = {
        "auth": secret.auth,
        "wrap_info": secret.wrap_info,
        "mount_type": secret.mount_type,
    }
    fields |= {name: value for name, value in optional.items() if value}
    return "{" + ",".join(f'"{name}":{gojson.dumps(value)}' for name, value in fields.items()) + "}"


def _value(data: Mapping[str, Any], key: str) -> bytes:
    # KV v2 wraps the keys in a map called data, beside the metadata.
    inner = data.get("data")
    found = inner if isinstance(inner, Mapping) else data
    if key not in found:
        raise ValueError(f'key "{key}" does not exist at the secret path')
    value = found[key]
    if isinstance(value, str) and not isinstance(value, gojson.Number):
        return _utf8(value)
    return _utf8(gojson.dumps(value))


def _utf8(text: str) -> bytes:
    """UTF-8, with half surrogate pairs (which JSON can hold) replaced as Go does."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _decode(value: bytes, encoding: str) -> bytes:
    match encoding.lower():
        case "" | "utf-8":
            return value
        case "base64":
            # As in Go, line breaks are skipped and nothing else is.
            try:
                return base64.b64decode(
                    value.replace(b"\r", b"").replace(b"\n", b""), validate=True
                )
            except binascii.Error:
                raise ValueError("illegal base64 data") from None
        case "hex":
            try:
                return binascii.unhexlify(value)
            except ValueError:
                raise ValueError("encoding/hex: not hexadecimal text") from None
    raise ValueError("invalid encoding type. Should be utf-8, base64, or hex")


def _lease(value: Any) -> gojson.Number | int:
    return value if isinstance(value, gojson.Number) and value != "0" else 0


def _mapping(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, dict) else None
