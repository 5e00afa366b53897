"""What Vault does about each weakness that this lab has shown: each answer is measured.

What the two readers did stands in Vault's audit log, with the times: the log says who had which
value when. What leaves no trace there (TLS, the bytes on the disk, a policy) is tried here, with
tokens of its own.
"""

from __future__ import annotations

import socket
import ssl
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.lab.api import PROJECT, Entry, LabContext
from harness.lab.kit.control_plane import FLAVOURS

TEAMS = ("shop", "billing")
# Secrets that come after the policies: one elsewhere, one in the folder of a reader.
SHARED, FORBIDDEN, LATER = "shared/app", "other/app", "shop/tomorrow"
# The token that ends by itself, by its display name.
MORTAL = "token-mortal"
# The storage tells the key of each entry in the clear, and no value. This key is always there.
CONTROL = "core/mounts"

Facts = dict[str, Any]


def token_of(lab: LabContext, reader: str, display_name: str) -> str:
    """A token with the policy of a reader. Never shown."""
    wish = {
        "policies": [lab.path(reader)],
        "no_default_policy": True,
        "display_name": display_name,
        "ttl": "2m",
    }
    answer = lab.http.post("/v1/auth/token/create-orphan", json=wish)
    return str(answer.json()["auth"]["client_token"])


def password_in(lab: LabContext, name: str) -> str:
    """The password in one secret of this lab's key/value engine; "" when there is none."""
    answer = lab.http.get(f"/v1/{lab.path('kv', 'data', name)}", allow={403, 404})
    fields = (answer.json().get("data") or {}).get("data") or {}
    return str(fields.get("password", ""))


def read(lab: LabContext, name: str, token: str) -> int:
    """The HTTP status of reading a secret with this token."""
    path = f"/v1/{lab.path('kv', 'data', name)}"
    return lab.http.get(path, token=token, allow={403, 404}).status_code


def one_place(lab: LabContext) -> Facts:
    """How many readers had the value of the last write, and how soon, by Vault's audit log."""
    entries = lab.audit.responses(lab.path("kv", "data", SHARED))
    writes = [_time(one) for one in entries if one["request"]["operation"] in ("create", "update")]
    if not writes:
        return {"readers": 0, "seconds": 0.0}
    first = {}
    for entry in reversed(entries):
        if entry["request"]["operation"] == "read" and _time(entry) > writes[-1]:
            first[_who(entry)] = _time(entry)
    times = [first[f"token-{team}"] for team in TEAMS if f"token-{team}" in first]
    took = (max(times) - writes[-1]).total_seconds() if times else 0.0
    return {"readers": len(times), "seconds": round(took, 2)}


def exact_paths(lab: LabContext) -> Facts:
    """What one reader may, what it may not, what a list shows, and a secret of tomorrow."""
    # With a display name of its own, so that the log of the readers stays theirs.
    token = token_of(lab, "shop", "check")
    folder = f"/v1/{lab.path('kv', 'metadata', 'shop/')}"
    listed = lab.http.list(folder, token=token, allow={403, 404})
    names = (listed.json().get("data") or {}).get("keys") or []
    later = password_in(lab, LATER)
    return {
        "own": read(lab, SHARED, token),
        "other": read(lab, FORBIDDEN, token),
        "later": read(lab, LATER, token),
        "names": len(names),
        "values": listed.text.count(later) if later else 0,
    }


def things_that_end(lab: LabContext) -> Facts:
    """The certificates of the readers, and how a token with a short life ended, by the log."""
    answer = lab.http.list(f"/v1/{lab.path('pki')}/certs", allow={404}).json()
    serials = (answer.get("data") or {}).get("keys") or []
    # One of the certificates is that of the CA itself.
    facts: Facts = {"certificates": max(len(serials) - 1, 0)}
    reads = lab.audit.responses(lab.path("kv", "data", SHARED))
    first = next((one for one in reads if _who(one) == MORTAL), None)
    if first is None:
        return facts
    token = first["request"].get("client_token")
    # The log knows a dead token by its HMAC, which is that of the living one.
    ends = [
        _time(one) for one in refused(lab, SHARED) if one["request"].get("client_token") == token
    ]
    if ends:
        facts["ttl"] = first["auth"].get("token_ttl", 0)
        facts["seconds"] = round((ends[0] - _time(first)).total_seconds(), 1)
    return facts


def refused(lab: LabContext, name: str) -> list[Entry]:
    """What the audit log says of the reads of a secret that were refused, oldest first."""
    path = lab.path("kv", "data", name)
    return [
        entry
        for entry in lab.audit.entries()
        if entry.get("error") and (entry.get("request") or {}).get("path") == path
    ]


def _time(entry: Entry) -> datetime:
    return datetime.fromisoformat(str(entry["time"]))


def _who(entry: Entry) -> str:
    return str((entry.get("auth") or {}).get("display_name", ""))


def tls_version(address: str, ca: Path | str) -> str:
    """The version of TLS that the server at `address` speaks, its certificate verified.

    "" when it was not verified: the server is not the one that this CA vouches for.
    """
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or 443
    context = ssl.create_default_context(cafile=str(ca))
    try:
        with (
            socket.create_connection((host, port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=host) as connection,
        ):
            return connection.version() or ""
    except ssl.SSLCertVerificationError:
        return ""


def both_doors(lab: LabContext) -> Facts:
    """TLS at Vault and at the API server, each with its own CA and with the other's."""
    api, api_ca = lab.kube.api.configuration.host, lab.kube.api.configuration.ssl_ca_cert
    vault, vault_ca = lab.access.vault_addr, lab.access.vault_ca
    # Without a token: what is sent to a door without TLS can be read on the way.
    insecure = vault.replace("https", "http", 1)
    plain = lab.http.get(f"{insecure}/v1/sys/health", token="", allow={400})
    return {
        "api": tls_version(api, api_ca),
        "vault": tls_version(vault, vault_ca),
        "plain": plain.status_code,
        "wrong_ca": [tls_version(api, vault_ca), tls_version(vault, api_ca)],
    }


def in_storage(lab: LabContext, text: str) -> int:
    """How many lines of Vault's storage hold `text` as it is; a copied disk would show them.

    The text travels by standard input: a command line can be seen by others.
    """
    container = f"{PROJECT}-{lab.access.name}-vault"
    folder = f"{FLAVOURS[lab.access.flavour].home}/file"
    # The engine hands out the folder as a tar archive, the database in it as it is.
    look = f"exec 3<&0; docker cp {container}:{folder} - | grep -acF -f /dev/fd/3 || true"
    return int(lab.run(f"sh -c '{look}'", stdin=str(text)))


def look_into_storage(lab: LabContext) -> Facts:
    """Whether the value that both readers got lies in Vault's storage, with a control."""
    return {
        "found": in_storage(lab, password_in(lab, SHARED) or CONTROL),
        "control": in_storage(lab, CONTROL),
    }


def traces(lab: LabContext) -> Facts:
    """What the audit log tells of the read that was refused, and of the values."""
    denied = refused(lab, FORBIDDEN)
    readers = {
        _who(entry)
        for entry in lab.audit.responses(lab.path("kv", "data", SHARED))
        if entry["request"]["operation"] == "read"
    }
    values = [value for name in (SHARED, FORBIDDEN, LATER) if (value := password_in(lab, name))]
    text = lab.access.audit_log.read_text(encoding="utf-8")
    last: Facts = denied[-1] if denied else {"auth": {}, "request": {}}
    return {
        "who": _who(last),
        "operation": last["request"].get("operation", ""),
        "path": last["request"].get("path", ""),
        "readers": sorted(readers - {"root", "token-learner"}),
        "values": sum(value in text for value in values),
    }
