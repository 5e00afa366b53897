"""A Vault in memory that stands for VaultHTTP in the tests of the harness.

It keeps documents by path, lists folders, forgets what lies in a mount when that is
unmounted, and knows the versions of KV 2, logins of the Kubernetes method, tokens, leases
and the capabilities that policies give. It checks no token: every request is the
administrator's. Like the real one, it revokes a token that is looked up before its lease
is stored (`unleased`).
"""

from __future__ import annotations

import json as jsonlib
from collections.abc import Collection
from typing import Any
from urllib.parse import unquote

from harness.clients.vault import VaultRefused, VaultUnreachable
from harness.diagnosis.policy import covers, parse_policy

Data = dict[str, Any]

KV2_SETTINGS = {
    "cas_required": False,
    "custom_metadata": None,
    "delete_version_after": "0s",
    "max_versions": 0,
}


class Answer:
    """As much of a `requests.Response` as the code under test looks at."""

    def __init__(self, status: int, body: Data | None = None) -> None:
        self.status_code = status
        self._body = body or {}

    def json(self) -> Data:
        copy: Data = jsonlib.loads(jsonlib.dumps(self._body))
        return copy


class FakeVault:
    """Stands for VaultHTTP. `refuse` maps "METHOD path" to the error text it gets.

    `reviews`: the cluster answers its TokenReviews. `login_says` is the status and the text
    with which logins of the role `app` end.
    """

    addr = "https://vault.test:8200"

    def __init__(self) -> None:
        self.sealed = False
        self.down = False
        self.mounts: dict[str, Data] = {}
        self.methods: dict[str, Data] = {}
        self.documents: dict[str, Data] = {}
        self.secrets: dict[str, Data] = {}
        self.tokens: dict[str, Data] = {}
        self.unleased: set[str] = set()
        self.running: dict[str, Data] | None = {}
        self.leases: set[str] = set()
        self.entities: dict[str, Data] = {}
        self.refuse: dict[str, str] = {}
        self.reviews = True
        self.login_says: tuple[int, str] = (200, "")
        self.calls: list[str] = []

    # -- the setting up of tests --------------------------------------------------------

    def mount(self, path: str, type_: str = "kv", **options: str) -> None:
        """Mount a secrets engine; `version="2"` makes a KV store of version 2."""
        self.mounts[path] = {"type": type_, "description": "", "config": {}, "options": options}

    def enable(self, path: str, type_: str) -> None:
        """Enable an auth method."""
        self.methods[path] = {"type": type_, "description": "", "config": {}, "options": None}

    def put(self, path: str, **data: Any) -> None:
        """Write a document, or a version of a secret in a KV store of version 2."""
        self.request("POST", f"/v1/{path}", json=data)

    # -- requests -----------------------------------------------------------------------

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
        self.calls.append(f"{method} {path}")
        if self.down:
            raise VaultUnreachable("Vault does not answer: refused", where=self.addr)
        text = self.refuse.get(f"{method} {path}")
        if text:
            answer = Answer(400, {"errors": [text]})
        elif path == "sys/health":
            answer = Answer(503 if self.sealed else 200)
        else:
            answer = self._route(method, path, json or {}, params or {})
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

    def _route(self, method: str, path: str, body: Data, query: Data) -> Answer:
        if path == "sys/seal-status":
            status = {"initialized": True, "sealed": self.sealed, "progress": 0, "t": 1}
            return Answer(200, status)
        if path == "sys/capabilities":
            return Answer(
                200, {"data": {p: self._allowed(body["token"], p) for p in body["paths"]}}
            )
        if path.startswith("auth/") and path.endswith("/login"):
            return self._login(path, body)
        if path.startswith(("sys/mounts", "sys/auth")):
            return self._mounts(method, path, body)
        if path.startswith("auth/token/"):
            return self._tokens(method, path, body)
        if path.startswith("sys/leases/"):
            return self._leases(method, path, body)
        if path == "sys/in-flight-req":
            return _NOTHING if self.running is None else Answer(200, self.running)
        if path.startswith("identity/entity/id") and method in ("LIST", "DELETE"):
            return self._entities(method, path)
        at = next((name for name in self.mounts if path.startswith(name)), "")
        if at and (self.mounts[at].get("options") or {}).get("version") == "2":
            return self._kv2(method, at, path.removeprefix(at), body, query)
        return self._document(method, path, body)

    def _document(self, method: str, path: str, body: Data) -> Answer:
        if method == "LIST":
            return _listing(self.documents, path)
        if method == "POST":
            self.documents[path] = body
            return Answer(204)
        if method == "DELETE":
            self.documents.pop(path, None)
            return Answer(204)
        return Answer(200, {"data": self.documents[path]}) if path in self.documents else _NOTHING

    def _mounts(self, method: str, path: str, body: Data) -> Answer:
        table = self.methods if path.startswith("sys/auth") else self.mounts
        root = "auth/" if table is self.methods else ""
        name = path.partition("/")[2].partition("/")[2]
        if not name:
            return Answer(200, {"data": table})
        if name.endswith("/tune"):
            table[name.removesuffix("tune")].update(config=body)
        elif method == "DELETE":
            table.pop(f"{name}/", None)
            for store in (self.documents, self.secrets):
                for inside in [key for key in store if key.startswith(f"{root}{name}/")]:
                    del store[inside]
        else:
            table[f"{name}/"] = body
        return Answer(204)

    def _login(self, path: str, body: Data) -> Answer:
        role = self.documents[f"{path.removesuffix('login')}role/{body['role']}"]
        status, text = self.login_says if body["role"] == "app" else (200, "")
        if not self.reviews:
            status, text = 403, "permission denied"
        if status != 200:
            return Answer(status, {"errors": [text]})
        return self._new_token(path, role.get("token_policies") or [])

    def _new_token(self, path: str, policies: Any) -> Answer:
        token = f"token-{len(self.calls)}"
        self.tokens[f"accessor-of-{token}"] = {"id": token, "path": path, "policies": [*policies]}
        return Answer(200, {"auth": {"client_token": token}})

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

    def _tokens(self, method: str, path: str, body: Data) -> Answer:
        if path in ("auth/token/create", "auth/token/create-orphan"):
            return self._new_token(path, body["policies"])
        if path == "auth/token/revoke":
            found = [a for a, entry in self.tokens.items() if entry.get("id") == body["token"]]
            for accessor in found:
                del self.tokens[accessor]
            return Answer(204 if found else 400)
        if method == "LIST":
            return Answer(200, {"data": {"keys": list(self.tokens)}})
        if body["accessor"] not in self.tokens:
            return Answer(403, {"errors": ["invalid accessor"]})
        if path.endswith("revoke-accessor"):
            del self.tokens[body["accessor"]]
            return Answer(204)
        if body["accessor"] in self.unleased:
            del self.tokens[body["accessor"]]
            return Answer(403, {"errors": ["invalid accessor"]})
        return Answer(200, {"data": self.tokens[body["accessor"]]})

    def _leases(self, method: str, path: str, body: Data) -> Answer:
        if method == "LIST":
            held = {
                f"{entry.get('path')}/h{accessor}": _EMPTY
                for accessor, entry in self.tokens.items()
                if accessor not in self.unleased
            }
            leases = held | dict.fromkeys(self.leases, _EMPTY)
            return _listing(leases, path.removeprefix("sys/leases/lookup/"))
        self.leases.discard(body.get("lease_id") or path.removeprefix("sys/leases/revoke-force/"))
        return Answer(204)

    def _entities(self, method: str, path: str) -> Answer:
        if method == "LIST":
            return Answer(200, {"data": {"keys": list(self.entities), "key_info": self.entities}})
        del self.entities[path.rpartition("/")[2]]
        return Answer(204)

    def _kv2(self, method: str, at: str, path: str, body: Data, query: Data) -> Answer:
        word, _, name = path.partition("/")
        if word == "config":
            return self._document(method, f"{at}config", body) if method == "POST" else _KV2_CONFIG
        if method == "LIST":
            return _listing({k: v for k, v in self.secrets.items() if k.startswith(at)}, at + name)
        key = at + name
        secret = self.secrets.get(key)
        if word == "metadata" and method == "DELETE":
            self.secrets.pop(key, None)
            return Answer(204)
        if method == "GET":
            return self._kv2_read(secret, word, query)
        if secret is None:
            secret = self.secrets[key] = {"settings": dict(KV2_SETTINGS), "versions": {}}
        if word == "metadata":
            secret["settings"] |= {**body, "custom_metadata": body["custom_metadata"] or None}
        elif word == "data":
            secret["versions"][str(len(secret["versions"]) + 1)] = {
                "data": body["data"],
                "state": "alive",
                "created": str(len(self.calls)),
            }
        else:
            for number in body["versions"]:
                version = secret["versions"][str(number)]
                version["state"] = {"undelete": "alive", "delete": "deleted"}.get(word, "destroyed")
                if version["state"] == "destroyed":
                    version["data"] = None
        return Answer(204)

    def _kv2_read(self, secret: Data | None, word: str, query: Data) -> Answer:
        if secret is None:
            return _NOTHING
        versions: Data = secret["versions"]
        if word == "data":
            version = versions[str(query.get("version") or len(versions))]
            readable = version["state"] == "alive"
            return Answer(200, {"data": {"data": version["data"]}}) if readable else _NOTHING
        marks = {
            number: {
                "created_time": version["created"],
                "destroyed": version["state"] == "destroyed",
                "deletion_time": "2026-01-01T00:00:00Z" if version["state"] == "deleted" else "",
            }
            for number, version in versions.items()
        }
        found = {**secret["settings"], "current_version": len(versions), "versions": marks}
        return Answer(200, {"data": found})


_EMPTY: Data = {}
_NOTHING = Answer(404, {"errors": []})
_KV2_CONFIG = Answer(200, {"data": {"max_versions": 0, "delete_version_after": "0s"}})


def _listing(documents: dict[str, Data], path: str) -> Answer:
    """The names right below `path`, folders with a slash."""
    start = path.rstrip("/") + "/"
    below = [key.removeprefix(start) for key in documents if key.startswith(start)]
    names = sorted({name.partition("/")[0] + ("/" if "/" in name else "") for name in below})
    return Answer(200, {"data": {"keys": names}}) if names else _NOTHING
