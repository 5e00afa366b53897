"""Finding the tokens of one lab without breaking any client's login.

Vault lists the accessors of all tokens without their owners: each has to be looked up.
Vault stores a new token before it stores the token's lease, and a look-up between the two
revokes the token, because its lease seems to be lost: the client logs in well and gets a
403 right afterwards. Three rules keep a snapshot out of that gap:

- Nothing is looked up unless a lease shows that the lab may have a token: the leases of
  tokens lie below the path that made them, `auth/lab01-jwt/` or `auth/token/`.
- A new accessor is looked up only after all requests that ran while it was listed have
  ended (`sys/in-flight-req`): each of them has stored its token's lease by then.
- A foreign token is not looked up again. Path and policies of a token never change; the
  policies that it inherits from an entity may, so tokens of entities are looked up again.

Batch tokens leave no trace in Vault and cannot be found.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from harness.base.errors import GaveUp
from harness.base.wait import pause, wait_for
from harness.snapshot.model import Item
from harness.snapshot.reader import VaultReader

# A request that still runs after this time waits for a server behind Vault. Between a token
# and its lease there is nothing to wait for: two writes to Vault's own storage.
BIRTH_SECONDS = 2.0
EVERY = 0.02

Entry = Mapping[str, Any]


class Tokens:
    """The tokens of one lab. One object serves many looks: it remembers what is foreign."""

    def __init__(self, vault: VaultReader) -> None:
        self._vault = vault
        # Accessors of tokens whose leases are there.
        self._grown: set[str] = set()
        self._foreign: set[str] = set()

    def accessors(self) -> list[str]:
        """The accessors that may be the lab's and can be looked up without harm."""
        if not self._may_exist():
            return []
        listed = self._vault.names("auth/token/accessors")
        if not self._grown.issuperset(listed):
            self._wait_for_leases()
        self._grown, self._foreign = set(listed), self._foreign & set(listed)
        return [accessor for accessor in listed if accessor not in self._foreign]

    def look_up(self, accessor: str) -> list[Item]:
        """The token of this accessor as an item; [] when it has ended or is not the lab's."""
        answer = self._vault.http.request(
            "POST",
            "/v1/auth/token/lookup-accessor",
            json={"accessor": accessor},
            allow=(400, 403, 404),  # it may have expired since it was listed
        )
        if answer.status_code != 200:
            return []
        entry = answer.json().get("data") or {}
        if owns_token(entry, self._vault.prefix):
            return [_item(accessor, entry)]
        if not entry.get("entity_id"):
            self._foreign.add(accessor)
        return []

    def _may_exist(self) -> bool:
        """Whether there is a lease of a token that the lab's logins or a person made."""
        makers = self._vault.names("sys/leases/lookup/auth/")
        return any(name == "token/" or name.startswith(self._vault.prefix) for name in makers)

    def _wait_for_leases(self) -> None:
        """Return when every token that was listed just now has its lease."""
        running = self._requests()
        if running is None:
            pause(BIRTH_SECONDS)
            return
        with suppress(GaveUp):
            wait_for(
                "the requests that ran while tokens were listed to end",
                lambda: not running & (self._requests() or frozenset()),
                timeout=BIRTH_SECONDS,
                every=EVERY,
            )

    def _requests(self) -> frozenset[str] | None:
        """The identifiers of the requests that Vault works on; None when it does not say."""
        answer = self._vault.http.request(
            "GET", "/v1/sys/in-flight-req", allow=(400, 403, 404, 405)
        )
        return frozenset(answer.json()) if answer.status_code == 200 else None


def owns_token(entry: Entry, prefix: str) -> bool:
    """Whether a token is of the lab with this prefix (`lab01-`); no lab owns a root token."""
    policies = [*(entry.get("policies") or []), *(entry.get("identity_policies") or [])]
    if "root" in policies:
        return False
    # A wrapping token has the path of what it wraps and no policy of its own.
    path = str(entry.get("path") or "").removeprefix("auth/")
    return any(name.startswith(prefix) for name in (path, *policies))


def _item(accessor: str, entry: Entry) -> Item:
    name = str(entry.get("display_name") or entry.get("path"))
    return Item(
        f"auth/token/accessors/{accessor}",
        "token of",
        name,
        "",
        kind="token",
        ephemeral=True,
        holder=f"{name} by {entry.get('path')}",
    )
