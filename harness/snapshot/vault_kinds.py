"""The table of what can lie inside Vault: where it is listed, read, written and deleted.

One row is one kind of object, by engine type; harness.snapshot.vault reads by it,
harness.snapshot.restore_vault writes by it. KV secrets, leases, tokens and entities follow rules of
their own and are not here. An engine type without rows is known as a mount only: it is
mounted and unmounted, its inside is not looked at. Certificates that PKI has issued are
not here either: Vault cannot forget one before it expires.

Sources: the HTTP API pages of each engine, tried on Vault 1.19.5 and OpenBao 2.6.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ALWAYS = "*"


@dataclass(frozen=True)
class Kind:
    """One kind of object. Paths are relative to the mount ("" for the system's own).

    `list` is the path to LIST; without it, `at` is the path of the only object of its
    kind, otherwise `at` holds a `{}` for the name. `write` is what follows the path of an
    object when it is written. `drop` are fields that Vault writes or changes by itself,
    `only` are the fields that matter (all of them when empty).

    `hidden` names the field that says that Vault holds a secret which it does not show
    (ALWAYS: it always does): such an object cannot be created again. `merges`: a write keeps
    the fields that it does not name, the hidden secret included. `fixed` are fields that only
    the first write may name. `removable`: DELETE works on it. `clears`: it is deleted before
    it is written, because a write would keep old fields.
    """

    noun: str
    at: str
    list: str = ""
    write: str = ""
    drop: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()
    hidden: str = ""
    merges: bool = False
    removable: bool = True
    clears: bool = True

    def content(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """What matters of an answer of Vault about such an object."""
        return {
            name: value
            for name, value in answer.items()
            if name not in self.drop and (not self.only or name in self.only)
        }

    def complete(self, content: Mapping[str, Any]) -> bool:
        """Whether this content is complete, so that the object can be created from it."""
        return not self.hidden or (self.hidden != ALWAYS and not content.get(self.hidden))


def fields(*names: str) -> frozenset[str]:
    """A set of field names."""
    return frozenset(names)


_ROTATION = fields("last_vault_rotation", "next_vault_rotation", "last_bao_rotation", "ttl")
_KEY_NOISE = fields("keys", "min_available_version")

SYSTEM: dict[str, Kind] = {
    "policy": Kind(
        "policy", "sys/policies/acl/{}", "sys/policies/acl", only=fields("policy"), clears=False
    ),
    "password policy": Kind(
        "password policy", "sys/policies/password/{}", "sys/policies/password", clears=False
    ),
    "rate limit": Kind(
        "rate limit", "sys/quotas/rate-limit/{}", "sys/quotas/rate-limit", drop=fields("name")
    ),
    "named entity": Kind(
        "entity",
        "identity/entity/name/{}",
        "identity/entity/name",
        only=fields("name", "policies", "metadata", "disabled"),
        clears=False,
    ),
    "named group": Kind(
        "group",
        "identity/group/name/{}",
        "identity/group/name",
        only=fields("name", "type", "policies", "metadata", "member_entity_ids"),
        clears=False,
    ),
}

SECRETS: dict[str, dict[str, Kind]] = {
    "database": {
        "config": Kind(
            "database connection", "config/{}", "config", hidden=ALWAYS, merges=True, clears=False
        ),
        "role": Kind("database role", "roles/{}", "roles"),
        "static role": Kind(
            "static database role", "static-roles/{}", "static-roles", drop=_ROTATION, clears=False
        ),
    },
    "pki": {
        "issuer": Kind("issuer", "issuer/{}", "issuers", hidden=ALWAYS, merges=True, clears=False),
        "key": Kind("PKI key", "key/{}", "keys", hidden=ALWAYS, merges=True, clears=False),
        "role": Kind("PKI role", "roles/{}", "roles"),
        **{
            f"config {name}": Kind("PKI setting", f"config/{name}", removable=False)
            for name in ("issuers", "urls", "crl", "cluster", "auto-tidy")
        },
    },
    "transit": {
        "key": Kind(
            "transit key",
            "keys/{}",
            "keys",
            write="/config",
            drop=_KEY_NOISE,
            hidden=ALWAYS,
            merges=True,
            clears=False,
        ),
    },
    "ssh": {
        "ca": Kind("SSH CA", "config/ca", hidden=ALWAYS),
        "role": Kind("SSH role", "roles/{}", "roles"),
    },
    "kubernetes": {
        "config": Kind("kubernetes engine setting", "config", hidden=ALWAYS),
        "role": Kind("kubernetes engine role", "roles/{}", "roles"),
    },
    "totp": {"key": Kind("TOTP key", "keys/{}", "keys", hidden=ALWAYS)},
    "kv": {"config": Kind("KV setting", "config", removable=False)},
}

AUTH: dict[str, dict[str, Kind]] = {
    "kubernetes": {
        "config": Kind("login setting", "config", hidden="token_reviewer_jwt_set", removable=False),
        "role": Kind("login role", "role/{}", "role"),
    },
    "jwt": {
        "config": Kind("login setting", "config", hidden="oidc_client_id", removable=False),
        "role": Kind("login role", "role/{}", "role"),
    },
    # Deleting an AppRole would take its secret IDs along.
    "approle": {
        "role": Kind(
            "login role", "role/{}", "role", fixed=fields("local_secret_ids"), clears=False
        )
    },
    "userpass": {
        "user": Kind("user", "users/{}", "users", hidden=ALWAYS, merges=True, clears=False)
    },
    "cert": {"role": Kind("login role", "certs/{}", "certs")},
}
AUTH["oidc"] = AUTH["jwt"]


def kinds_of(mount_path: str, engine: str) -> dict[str, Kind]:
    """The rows for a mount (`lab01-db/`) or auth method (`auth/lab01-jwt/`) of this type."""
    return (AUTH if mount_path.startswith("auth/") else SECRETS).get(engine, {})


def find_kind(name: str) -> Kind | None:
    """The row that `Item.kind` names: `auth/jwt:role`, `database:role`, `policy`."""
    where, _, row = name.partition(":")
    if not row:
        return SYSTEM.get(where)
    return kinds_of(where, where.removeprefix("auth/")).get(row)


def body_of(kind: str, copy: Mapping[str, Any]) -> dict[str, Any]:
    """The body that writes a stored copy again, without null: to Vault that means absent."""
    body = dict(copy)
    if kind == "database:config":
        # Read as a nested object, written flat; one field has another name when written.
        # OpenBao does not tell whether the connection was verified: the server may be gone.
        body.setdefault("verify_connection", False)
        body |= body.pop("connection_details", None) or {}
        body["root_rotation_statements"] = body.pop("root_credentials_rotate_statements", None)
        if not body.get("plugin_version"):
            body.pop("plugin_version", None)
    return {name: value for name, value in body.items() if value is not None}
