"""The Vault of the operator's tests: KV 1 and 2, users with leases, a static role, a small PKI."""

from __future__ import annotations

from typing import Any

from tests.fakes.vault_answers import Answer, Asked, Data, data, errors
from tests.fakes.vault_engines import Database, Pki
from tests.fakes.vault_http import ServedVault


class FakeVault(ServedVault):
    """Everybody may log in, at any mount, but for the role `wrong`."""

    def __init__(self, *, clock: float = 1_700_000_000.0, token_ttl: int = 3600) -> None:
        super().__init__(clock=clock)
        self.token_ttl = token_ttl
        self.database, self.pki = Database(self), Pki(self)
        self.engines |= {"database/": self.database, "pki/": self.pki, "plain/": _plain}
        self.mount("kv/", version="2")
        self.mount("kv1/")

    @property
    def requests(self) -> list[tuple[str, str]]:
        """Methods and paths of all requests."""
        pairs = (call.partition(" ") for call in self.calls)
        return [(method, path) for method, _, path in pairs]

    def put(self, path: str, values: dict[str, Any]) -> None:
        """A new version of a KV v2 secret."""
        self.write(f"kv/data/{path}", {"data": values})

    def delete_latest(self, path: str) -> None:
        """Delete the latest version of a KV v2 secret, so that it can be undeleted."""
        self.write(f"kv/delete/{path}", {"versions": [len(self.secrets[f"kv/{path}"]["versions"])]})

    def login(self, mount: str, body: Data) -> Answer:
        """A token for everybody."""
        if body.get("role") == "wrong":
            return errors(403, "permission denied")
        return self.new_token(f"auth/{mount}/login")


def _plain(asked: Asked, path: str) -> Answer:
    """An engine whose answers have no lease."""
    return data({"answer": asked.body.get("question", "none")})
