"""Reading Vault for a snapshot, as the environment's administrator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from harness.base.errors import EnvironmentLacks
from harness.clients.vault import VaultHTTP
from harness.snapshot.copies import SecretCopies


class VaultReader:
    """Reads on behalf of one lab. Missing things are None or [], not errors."""

    def __init__(self, http: VaultHTTP, prefix: str, copies: SecretCopies) -> None:
        self.http = http
        self.prefix = f"{prefix}-"
        self.copies = copies

    def require_ready(self) -> None:
        """Raise EnvironmentLacks, or VaultUnreachable, unless Vault can answer."""
        answer = self.http.request("GET", "/v1/sys/health", allow=range(400, 600))
        if answer.status_code not in (200, 429, 473):
            state = {501: "not initialised", 503: "sealed"}.get(answer.status_code, "not ready")
            raise EnvironmentLacks(
                f"Vault is {state}, so its contents can be neither read nor changed",
                where=self.http.addr,
                hint="vault operator unseal, or ./lab up, which repairs it",
            )

    def read(self, path: str, also: tuple[int, ...] = (), **query: object) -> dict[str, Any] | None:
        """The data at `path`; None when there is nothing. `also`: statuses that mean that too."""
        answer = self.http.request(
            "GET", f"/v1/{quote(path)}", params=query, allow=(404, 405, *also)
        )
        return dict(answer.json().get("data") or {}) if answer.status_code == 200 else None

    def names(self, path: str) -> list[str]:
        """The keys at `path`, sorted."""
        return sorted((self._listing(path)).get("keys") or [])

    def details(self, path: str) -> dict[str, dict[str, Any]]:
        """What LIST says about each key at `path`."""
        return dict(self._listing(path).get("key_info") or {})

    def _listing(self, path: str) -> dict[str, Any]:
        answer = self.http.request("LIST", f"/v1/{quote(path)}", allow=(404, 405))
        return dict(answer.json().get("data") or {}) if answer.status_code == 200 else {}

    def walk(self, path: str) -> Iterator[str]:
        """Every key below `path`, folders opened."""
        for name in self.names(path):
            if name.endswith("/"):
                yield from (name + below for below in self.walk(path + name))
            else:
                yield name
