"""A Vault in memory: requests in, answers out, as the real one words them.

It keeps documents by path, lists folders, forgets what lies in a mount when that is
unmounted, and knows the versions of KV 2, logins, tokens with their lives, and leases that
end with their token. Engines and auth methods with a life of their own are in
`tests.fakes.vault_engines`. Time is `clock`, which tests move. What speaks to it is elsewhere:
`tests.fakes.vault` stands for the harness' client, `tests.fakes.vault_http` serves it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes.vault_answers import Answer, Asked, Data, data, errors, listing
from tests.fakes.vault_kv import kv2

# What answers below a mount; the text is the rest of the path.
Engine = Callable[[Asked, str], Answer]

DENIED = "1 error occurred:\n\t* permission denied\n\n"


class MemoryVault:
    """The state of one Vault. With `checks_tokens` a request needs a token of a login.

    `refuse` maps "METHOD path" to the error text it gets, `denied` are paths that no policy
    allows. `unleased` tokens die when they are looked up, as a token of the real one does
    before its lease is stored.
    """

    def __init__(self, *, checks_tokens: bool = False, clock: float = 1_700_000_000.0) -> None:
        self.checks_tokens = checks_tokens
        self.clock = clock
        self.sealed = False
        self.mounts: dict[str, Data] = {}
        self.methods: dict[str, Data] = {}
        self.engines: dict[str, Engine] = {}
        self.auth: dict[str, Callable[[Data], Answer]] = {}
        self.documents: dict[str, Data] = {}
        self.secrets: dict[str, Data] = {}
        # By accessor and by lease ID.
        self.tokens: dict[str, Data] = {}
        self.leases: dict[str, Data] = {}
        self.token_ttl = 3600
        # What logins and renewals say of a token instead of the truth.
        self.grant: Data = {}
        self.unleased: set[str] = set()
        self.entities: dict[str, Data] = {}
        self.refuse: dict[str, str] = {}
        self.denied: set[str] = set()
        self.calls: list[str] = []
        self.bodies: list[tuple[str, Data]] = []
        # Called after Vault has acted and before it answers: a place for a crash.
        self.before_answer: Callable[[str], None] = lambda _: None
        self.numbers = itertools.count(1)

    # -- what tests do -------------------------------------------------------------------

    def mount(self, path: str, type_: str = "kv", **options: str) -> None:
        """Mount a secrets engine; `version="2"` makes a KV store of version 2."""
        self.mounts[path] = {"type": type_, "description": "", "config": {}, "options": options}

    def enable(self, path: str, type_: str) -> None:
        """Enable an auth method."""
        self.methods[path] = {"type": type_, "description": "", "config": {}, "options": None}

    def count(self, path: str) -> int:
        """How often this path was asked for, with any method."""
        return sum(call.partition(" ")[2] == path for call in self.calls)

    def write(self, path: str, body: Data) -> None:
        """Write something beside the requests that are counted."""
        self.route(Asked("PUT", path, body, {}))

    def expire_tokens(self) -> None:
        """Forget every token, as a restart or a revocation does."""
        self.tokens.clear()

    # -- requests -----------------------------------------------------------------------

    def answer(
        self,
        method: str,
        path: str,
        body: Data | None = None,
        query: Mapping[str, Any] | None = None,
        token: str = "",
    ) -> Answer:
        """Answer one request; `path` is below /v1/."""
        self.calls.append(f"{method} {path}")
        self.bodies.append((path, body or {}))
        if text := self.refuse.get(f"{method} {path}"):
            return errors(400, text)
        if path == "sys/health":
            return Answer(503 if self.sealed else 200)
        if path == "sys/seal-status":
            return Answer(200, {"initialized": True, "sealed": self.sealed, "progress": 0, "t": 1})
        if self.sealed:
            return errors(503, "Vault is sealed")
        asked = Asked(method, path, body or {}, query or {}, self._accessor_of(token))
        if path.startswith("auth/") and path.endswith("/login"):
            answer = self.login(path.removeprefix("auth/").removesuffix("/login"), asked.body)
        elif self.checks_tokens and not self._alive(asked.accessor):
            answer = errors(403, "permission denied")
        elif path in self.denied:
            answer = errors(403, DENIED)
        else:
            answer = self.route(asked)
        self.before_answer(path)
        return answer

    def login(self, mount: str, body: Data) -> Answer:
        """A login at `auth/<mount>`."""
        method = self.auth.get(mount)
        return method(body) if method else errors(403, "permission denied")

    def route(self, asked: Asked) -> Answer:
        """The answer to a request that is allowed."""
        path = asked.path
        if path.startswith(("sys/mounts", "sys/auth")):
            return self._mounts(asked)
        if path.startswith("auth/token/"):
            return self._tokens(asked)
        if path.startswith("sys/leases/"):
            return self._leases(asked)
        if path.startswith("identity/entity/id") and asked.method in ("LIST", "DELETE"):
            return self._entities(asked)
        for at, engine in self.engines.items():
            if path.startswith(at):
                return engine(asked, path.removeprefix(at))
        at = next((name for name in self.mounts if path.startswith(name)), "")
        if at and (self.mounts[at].get("options") or {}).get("version") == "2":
            return kv2(self, asked, at)
        if self.checks_tokens and not at:
            return errors(404, f'no handler for route "{path}". route entry not found.')
        return self.document(asked.method, path, asked.body)

    # -- tokens and leases ---------------------------------------------------------------

    def new_token(self, path: str, policies: Any = (), **more: Any) -> Answer:
        """A token of a login at `path`; the answer is the login's."""
        number = next(self.numbers)
        accessor = f"accessor-{number}"
        self.tokens[accessor] = {
            "id": f"hvs.canary-token-{number}",
            "path": path,
            "policies": [*policies],
            "ttl": self.token_ttl,
            "expires": self.clock + self.token_ttl,
            **more,
        }
        return Answer(200, {"auth": self._auth(accessor)})

    def new_lease(self, asked: Asked, ttl: int, longest: int, found: Data) -> Answer:
        """`found` with a lease that belongs to the token of the request."""
        lease = f"{asked.path}/{next(self.numbers)}"
        self.leases[lease] = {
            "token": asked.accessor,
            "expires": self.clock + ttl,
            "ends": self.clock + longest,
            **found,
        }
        frame = {"lease_id": lease, "renewable": True, "lease_duration": ttl}
        return Answer(200, {**frame, "data": found})

    def revoke(self, accessor: str) -> None:
        """Revoke a token; its leases go with it."""
        self.tokens.pop(accessor, None)
        for name in [name for name, lease in self.leases.items() if lease.get("token") == accessor]:
            del self.leases[name]

    def _auth(self, accessor: str) -> Data:
        known = self.tokens[accessor]
        return {
            "client_token": known["id"],
            "accessor": accessor,
            "lease_duration": known["ttl"],
            "renewable": True,
            **self.grant,
        }

    def _accessor_of(self, token: str) -> str:
        return next((a for a, known in self.tokens.items() if known.get("id") == token), "")

    def _alive(self, accessor: str) -> bool:
        known = self.tokens.get(accessor)
        return known is not None and known["expires"] > self.clock

    def _tokens(self, asked: Asked) -> Answer:
        word = asked.path.removeprefix("auth/token/")
        if word in ("create", "create-orphan"):
            return self.new_token(asked.path, asked.body["policies"])
        if word == "renew-self":
            known = self.tokens[asked.accessor]
            known["expires"] = self.clock + known["ttl"]
            return Answer(200, {"auth": self._auth(asked.accessor)})
        if word == "lookup-self":
            # Without an accessor it is the administrator's, which never ends.
            known = self.tokens.get(asked.accessor, {"ttl": 0})
            return data({"accessor": asked.accessor, "ttl": known["ttl"]})
        if word in ("revoke", "revoke-self"):
            found = asked.accessor if word != "revoke" else self._accessor_of(asked.body["token"])
            self.revoke(found)
            return Answer(204 if found else 400)
        if asked.method == "LIST":
            return data({"keys": list(self.tokens)})
        accessor = asked.body["accessor"]
        if accessor not in self.tokens:
            return errors(400 if word == "revoke-accessor" else 403, "invalid accessor")
        if word == "revoke-accessor":
            self.revoke(accessor)
            return Answer(204)
        if accessor in self.unleased:
            self.revoke(accessor)
            return errors(403, "invalid accessor")
        return data(self.tokens[accessor])

    def _leases(self, asked: Asked) -> Answer:
        if asked.method == "LIST":
            held = [
                f"{entry.get('path')}/h{accessor}"
                for accessor, entry in self.tokens.items()
                if accessor not in self.unleased
            ]
            return listing([*held, *self.leases], asked.path.removeprefix("sys/leases/lookup/"))
        name = asked.body.get("lease_id") or asked.path.removeprefix("sys/leases/revoke-force/")
        if asked.path != "sys/leases/renew":
            self.leases.pop(name, None)
            return Answer(204)
        lease = self.leases.get(name)
        if lease is None or lease["expires"] <= self.clock:
            return errors(400, "lease not found")
        lease["expires"] = min(self.clock + int(asked.body["increment"]), lease["ends"])
        left = int(lease["expires"] - self.clock)
        return Answer(200, {"lease_id": name, "renewable": True, "lease_duration": left})

    def _entities(self, asked: Asked) -> Answer:
        if asked.method == "LIST":
            return data({"keys": list(self.entities), "key_info": self.entities})
        del self.entities[asked.path.rpartition("/")[2]]
        return Answer(204)

    # -- mounts and what lies in them ----------------------------------------------------

    def _mounts(self, asked: Asked) -> Answer:
        table = self.methods if asked.path.startswith("sys/auth") else self.mounts
        root = "auth/" if table is self.methods else ""
        name = asked.path.partition("/")[2].partition("/")[2]
        if not name:
            return data(table)
        if name.endswith("/tune"):
            table[name.removesuffix("tune")].update(config=asked.body)
        elif asked.method == "DELETE":
            table.pop(f"{name}/", None)
            for store in (self.documents, self.secrets):
                for inside in [key for key in store if key.startswith(f"{root}{name}/")]:
                    del store[inside]
        else:
            table[f"{name}/"] = asked.body
        return Answer(204)

    def document(self, method: str, path: str, body: Data) -> Answer:
        if method == "LIST":
            return listing(self.documents, path)
        if method in ("POST", "PUT"):
            self.documents[path] = body
            return Answer(204)
        if method == "DELETE":
            self.documents.pop(path, None)
            return Answer(204)
        return data(self.documents.get(path))
