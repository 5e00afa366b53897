"""The Vault that the provider's tests read from: one role, two secrets, users, certificates."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.fakes.vault_engines import Database, Pki, ServiceAccounts
from tests.fakes.vault_http import ServedVault

ROLE = "app"
KV: dict[str, list[dict[str, Any]]] = {
    "app": [{"user": "ada", "password": "canary-one"}, {"user": "ada", "password": "canary-two"}],
    "types": [
        {
            "number": 7,
            "fraction": 1.10,
            "list": [1, "two", None],
            "map": {"b": "<&>", "a": True},
            "text": "grüße",
            "b64": "aGVsbG8=",
            "hex": "68656c6c6f",
        }
    ],
}


class FakeVault(ServedVault):
    """The role `app` lets in the service account `app`, whose token is `jwt-app`."""

    def __init__(self) -> None:
        super().__init__()
        self.kubernetes = ServiceAccounts(self, {"jwt-app": "app"}, {ROLE: {"app"}})
        self.auth["kubernetes"] = self.kubernetes
        self.engines |= {"database/": Database(self, ttl=3600), "pki/": Pki(self)}
        self.mount("secret/", version="2")
        for name, versions in KV.items():
            for values in versions:
                self.write(f"secret/data/{name}", {"data": values})

    @property
    def logins(self) -> list[dict[str, Any]]:
        """The bodies of all logins, with their mounts."""
        return [
            {"mount": path.removeprefix("auth/").removesuffix("/login"), **body}
            for path, body in self.bodies
            if path.endswith("/login")
        ]

    @property
    def reads(self) -> Counter[str]:
        """Everything but the logins, by method and path."""
        return Counter(call for call in self.calls if not call.endswith("/login"))
