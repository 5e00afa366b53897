"""The Vault in memory behind the harness' own client: it stands for VaultHTTP.

Every request is the administrator's. It also says what policies allow and which requests are
under way.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from urllib.parse import unquote

from harness.clients.vault import VaultRefused, VaultUnreachable
from harness.diagnosis.policy import covers, parse_policy
from tests.fakes.vault_answers import NOTHING, Answer, Asked, Data, data, errors
from tests.fakes.vault_memory import MemoryVault


class FakeVault(MemoryVault):
    """Stands for VaultHTTP.

    `reviews`: the cluster answers its TokenReviews. `login_says` is the status and the text
    with which logins of the role `app` end.
    """

    addr = "https://vault.test:8200"

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.running: dict[str, Data] | None = {}
        self.reviews = True
        self.login_says: tuple[int, str] = (200, "")

    def put(self, path: str, **data: Any) -> None:
        """Write a document, or a version of a secret in a KV store of version 2."""
        self.request("POST", f"/v1/{path}", json=data)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Data | None = None,
        allow: Collection[int] = (),
        timeout: float = 30,
        token: str | None = None,
    ) -> Answer:
        """Answer one request as VaultHTTP does."""
        path = unquote(path.removeprefix("/v1/"))
        if self.down:
            self.calls.append(f"{method} {path}")
            raise VaultUnreachable("Vault does not answer: refused", where=self.addr)
        answer = self.answer(method, path, json, params, token or "")
        if answer.status_code >= 400 and answer.status_code not in allow:
            raise VaultRefused(
                method, path, answer.status_code, answer.json().get("errors", []), "hint"
            )
        return answer

    def get(self, path: str, **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Answer:
        return self.request("POST", path, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        return self.request("DELETE", path, **options)

    def list(self, path: str, **options: Any) -> Answer:
        return self.request("LIST", path, **options)

    def login(self, mount: str, body: Data) -> Answer:
        """A login of the Kubernetes method, by the roles that were written."""
        role = self.documents[f"auth/{mount}/role/{body['role']}"]
        status, text = self.login_says if body["role"] == "app" else (200, "")
        if not self.reviews:
            status, text = 403, "permission denied"
        if status != 200:
            return errors(status, text)
        return self.new_token(f"auth/{mount}/login", role.get("token_policies") or [])

    def route(self, asked: Asked) -> Answer:
        """Beside the rest: capabilities and the requests under way."""
        if asked.path == "sys/capabilities":
            token = asked.body["token"]
            return data({path: self._allowed(token, path) for path in asked.body["paths"]})
        if asked.path == "sys/in-flight-req":
            return NOTHING if self.running is None else Answer(200, self.running)
        return super().route(asked)

    def _allowed(self, token: str, path: str) -> Any:
        entry = next(entry for entry in self.tokens.values() if entry.get("id") == token)
        texts = (self.documents.get(f"sys/policies/acl/{name}") for name in entry["policies"])
        return [
            capability
            for text in texts
            for pattern, capabilities in parse_policy((text or {}).get("policy") or "").items()
            if covers(pattern, path)
            for capability in capabilities
        ] or ["deny"]
