"""What Vault does about each weakness that this lab has shown: small tries, each measured.

Each function does one thing with the environment's Vault, under names of this lab, and
returns what it saw, for the table of step 7. The two readers are tokens with a policy of
their own and nothing else, as a login would give them to two applications.
"""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.lab.api import PROJECT, LabContext
from harness.lab.kit.control_plane import FLAVOURS

TEAMS = ("shop", "billing")
# Secrets that come after the policies: one elsewhere, one in the folder of a reader.
FORBIDDEN, LATER = "other/app", "shop/tomorrow"
SHORT_SECONDS = 2
# The storage tells the key of each entry in the clear, and no value. This key is always there.
CONTROL = "core/mounts"

Facts = dict[str, Any]


def reader_policy(lab: LabContext, reader: str) -> str:
    """One shared secret; all of a folder, also what comes later; certificates of its own."""
    return f"""
path "{lab.path("kv", "data", "shared/app")}" {{ capabilities = ["read"] }}
path "{lab.path("kv", "data", reader)}/*"     {{ capabilities = ["read"] }}
path "{lab.path("kv", "metadata", reader)}/*" {{ capabilities = ["list"] }}
path "{lab.path("pki", "issue", "web")}"      {{ capabilities = ["update"] }}
"""


def token_of(lab: LabContext, reader: str, display_name: str = "", ttl: str = "2m") -> Facts:
    """A token with the policy of a reader: client_token, accessor. Never shown."""
    wish = {
        "policies": [lab.path(reader)],
        "no_default_policy": True,
        "display_name": display_name or reader,
        "ttl": ttl,
    }
    answer = lab.http.post("/v1/auth/token/create-orphan", json=wish)
    return dict(answer.json()["auth"])


def put_password(lab: LabContext, name: str, value: str) -> None:
    """Write the password of one secret of this lab's key/value engine."""
    lab.http.post(f"/v1/{lab.path('kv', 'data', name)}", json={"data": {"password": value}})


def read(lab: LabContext, name: str, token: str) -> tuple[int, str]:
    """The HTTP status, and the SHA-256 of the password if there was one."""
    answer = lab.http.get(f"/v1/{lab.path('kv', 'data', name)}", token=token, allow={403, 404})
    if answer.status_code != 200:
        return answer.status_code, ""
    return 200, lab.fingerprint(answer.json()["data"]["data"]["password"])


def one_place(lab: LabContext) -> Facts:
    """One secret with two readers; one write; how long until both have the new value."""
    tokens = [token_of(lab, reader)["client_token"] for reader in TEAMS]
    put_password(lab, "shared/app", lab.secret("shared-1"))
    before = [read(lab, "shared/app", token) for token in tokens]
    started = time.monotonic()
    put_password(lab, "shared/app", lab.secret("shared-2"))
    after = [read(lab, "shared/app", token) for token in tokens]
    old, new = ((200, lab.fingerprint(lab.secret(f"shared-{number}"))) for number in (1, 2))
    return {
        "readers": sum(pair == (old, new) for pair in zip(before, after, strict=True)),
        "seconds": round(time.monotonic() - started, 2),
    }


def exact_paths(lab: LabContext, display_name: str = "") -> Facts:
    """What one reader may, what it may not, what a list shows, and a secret of tomorrow."""
    token = token_of(lab, "shop", display_name)["client_token"]
    folder = f"/v1/{lab.path('kv', 'metadata', 'shop/')}"
    listed = lab.http.list(folder, token=token, allow={403, 404})
    names = (listed.json().get("data") or {}).get("keys") or []
    return {
        "own": read(lab, "shared/app", token)[0],
        "other": read(lab, FORBIDDEN, token)[0],
        "later": read(lab, LATER, token)[0],
        "names": len(names),
        "values": listed.text.count(lab.secret("tomorrow")),
    }


def things_that_end(lab: LabContext) -> Facts:
    """Two readers get two certificates; a token with a short life is used until it is dead."""
    serials = set()
    for reader in TEAMS:
        wish = {"common_name": f"{reader}.lab00.svc", "ttl": "60s"}
        token = token_of(lab, reader)["client_token"]
        answer = lab.http.post(f"/v1/{lab.path('pki', 'issue', 'web')}", json=wish, token=token)
        serials.add(answer.json()["data"]["serial_number"])
    started = time.monotonic()
    mortal = token_of(lab, "shop", "mortal", ttl=f"{SHORT_SECONDS}s")
    lab.wait_for(
        "the token to end by itself",
        lambda: read(lab, "shared/app", mortal["client_token"])[0] == 403,
        timeout=SHORT_SECONDS + 10,
        every=0.1,
    )
    return {
        "certificates": len(serials),
        "ttl": SHORT_SECONDS,
        "seconds": round(time.monotonic() - started, 1),
        "accessor": mortal["accessor"],
    }


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
        "found": in_storage(lab, lab.secret("shared-2")),
        "control": in_storage(lab, CONTROL),
    }


def traces(lab: LabContext) -> Facts:
    """What the audit log tells of the read that was refused, and of the values."""
    path = lab.path("kv", "data", FORBIDDEN)
    refused = [
        entry
        for entry in lab.audit.entries()
        if entry.get("error") and (entry.get("request") or {}).get("path") == path
    ]
    readers = {
        (entry.get("auth") or {}).get("display_name", "")
        for entry in lab.audit.responses(lab.path("kv", "data", "shared/app"))
        if entry["request"]["operation"] == "read"
    }
    values = [lab.secret(name) for name in ("shared-1", "shared-2", "forbidden", "tomorrow")]
    text = lab.access.audit_log.read_text(encoding="utf-8")
    last: Facts = refused[-1] if refused else {"auth": {}, "request": {}}
    return {
        "who": (last.get("auth") or {}).get("display_name", ""),
        "operation": last["request"].get("operation", ""),
        "path": last["request"].get("path", ""),
        "readers": sorted(readers - {"root", "token-learner"}),
        "values": sum(value in text for value in values),
    }
