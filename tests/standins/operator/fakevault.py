"""A Vault on the loopback with the semantics that the operator leans on.

Tokens have accessors, lives and a parent-child bond to their leases: revoking a token revokes
what it leased. KV v1 and v2, a credentials engine with leases, a static role and a small PKI
answer as Vault does, error bodies included. Time is `clock`, which tests move.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Token:
    accessor: str
    ttl: int
    expires: float
    policies: set[str]
    login: dict[str, Any]


@dataclass
class Lease:
    token: str
    username: str
    ttl: int
    expires: float
    ends: float


@dataclass
class FakeVault:
    """Start with `async with vault.serving()`; `address` is then set."""

    token_ttl: int = 3600
    lease_ttl: int = 60
    lease_max: int = 180
    clock: float = 1_700_000_000.0
    tokens: dict[str, Token] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    kv1: dict[str, dict[str, Any]] = field(default_factory=dict)
    kv2: dict[str, list[dict[str, Any] | None]] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    sealed: bool = False
    revoked_serials: list[str] = field(default_factory=list)
    certificate_ttl: int = 3600
    chain: list[str] = field(default_factory=list)
    batch_tokens: bool = False
    static_rotated: float = 1_699_999_990.0
    static_period: int = 60
    address: str = ""
    # Called after Vault has acted and before it answers: a place for a crash.
    before_answer: Callable[[str], None] = lambda _: None
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    async def start(self) -> web.AppRunner:
        """Serve on a free port of the loopback."""
        app = web.Application()
        app.router.add_route("*", "/v1/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        self.address = f"http://127.0.0.1:{port}"
        return runner

    def put(self, path: str, data: dict[str, Any]) -> None:
        """A new version of a KV v2 secret."""
        self.kv2.setdefault(path, []).append(data)

    def live_leases(self) -> set[str]:
        return {name for name, lease in self.leases.items() if lease.expires > self.clock}

    def revoke_token(self, token: str) -> None:
        """As Vault does: its leases go with it."""
        self.tokens.pop(token, None)
        self.leases = {name: lease for name, lease in self.leases.items() if lease.token != token}

    async def _handle(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        text = await request.text()
        body = json.loads(text) if text else {}
        self.requests.append((request.method, path))
        self.bodies.append((path, body))
        if self.sealed and path != "sys/seal-status":
            return _errors(503, "Vault is sealed")
        if path == "sys/seal-status":
            return web.json_response({"sealed": self.sealed, "initialized": True})
        if path.startswith("auth/") and path.endswith("/login"):
            answer = self._login(path, body)
        else:
            answer = self._authorised(request, path, body)
        self.before_answer(path)
        return answer

    def _login(self, path: str, body: dict[str, Any]) -> web.Response:
        if body.get("role") == "wrong":
            return _errors(403, "permission denied")
        number = next(self._numbers)
        token = f"hvs.{number:024d}"
        self.tokens[token] = Token(
            f"accessor-{number}", self.token_ttl, self.clock + self.token_ttl, {"default"}, body
        )
        return web.json_response({"auth": self._auth(token) | {"client_token": token}})

    def _auth(self, token: str) -> dict[str, Any]:
        known = self.tokens[token]
        found = {"accessor": known.accessor, "lease_duration": known.ttl, "renewable": True}
        # A batch token has no accessor and is not renewable.
        return found | ({"accessor": "", "renewable": False} if self.batch_tokens else {})

    def _authorised(self, request: web.Request, path: str, body: dict[str, Any]) -> web.Response:
        token = request.headers.get("X-Vault-Token", "")
        known = self.tokens.get(token)
        if known is None or known.expires <= self.clock or path in self.denied:
            return _errors(403, "permission denied")
        writes = request.method in ("PUT", "POST")
        if path == "auth/token/renew-self":
            known.expires = self.clock + known.ttl
            return web.json_response({"auth": self._auth(token)})
        if path == "auth/token/lookup-self":
            return web.json_response({"data": {"accessor": known.accessor}})
        if path == "auth/token/revoke-self":
            self.revoke_token(token)
            return web.Response(status=204)
        if path == "auth/token/revoke-accessor":
            for other, entry in list(self.tokens.items()):
                if entry.accessor == body["accessor"]:
                    self.revoke_token(other)
                    return web.Response(status=204)
            return _errors(400, "invalid accessor")
        if path == "sys/leases/renew":
            return self._renew(body)
        if path == "sys/leases/revoke":
            self.leases.pop(body["lease_id"], None)
            return web.Response(status=204)
        if path.startswith("kv1/"):
            return _data(self.kv1.get(path.removeprefix("kv1/")))
        if path.startswith("kv/data/"):
            return self._kv2(path.removeprefix("kv/data/"), request.query.get("version", "0"))
        if path == "database/static-creds/app":
            return _data(self._static())
        if path.startswith("database/creds/"):
            return self._lease(token, path)
        if path == "plain/config":
            return web.json_response({"data": {"answer": body.get("question", "none")}})
        if writes and path.startswith("pki/"):
            return self._pki(path, body)
        return web.json_response({"errors": []}, status=404)

    def _kv2(self, path: str, version: str) -> web.Response:
        versions = self.kv2.get(path, [])
        number = int(version) or len(versions)
        if not 0 < number <= len(versions):
            return web.json_response({"errors": []}, status=404)
        data = versions[number - 1]
        metadata = {"version": number, "deletion_time": "" if data else "2026-01-01T00:00:00Z"}
        status = 200 if data is not None else 404
        return web.json_response({"data": {"data": data, "metadata": metadata}}, status=status)

    def _lease(self, token: str, path: str) -> web.Response:
        number = next(self._numbers)
        lease = f"{path}/{number}"
        self.leases[lease] = Lease(
            token,
            f"v-{number}",
            self.lease_ttl,
            self.clock + self.lease_ttl,
            self.clock + self.lease_max,
        )
        return web.json_response(
            {
                "request_id": f"request-{number}",
                "lease_id": lease,
                "renewable": True,
                "lease_duration": self.lease_ttl,
                "data": {"username": f"v-{number}", "password": f"pw-{number}"},
            }
        )

    def _renew(self, body: dict[str, Any]) -> web.Response:
        lease = self.leases.get(body["lease_id"])
        if lease is None or lease.expires <= self.clock:
            return _errors(400, "lease not found")
        lease.expires = min(self.clock + int(body["increment"]), lease.ends)
        return web.json_response(
            {
                "lease_id": body["lease_id"],
                "renewable": True,
                "lease_duration": int(lease.expires - self.clock),
            }
        )

    def _static(self) -> dict[str, Any]:
        left = int(self.static_rotated + self.static_period - self.clock)
        moment = int(self.static_rotated)
        return {
            "username": "app",
            "password": f"rotated-at-{moment}",
            "last_vault_rotation": f"{_utc(moment)}.123456789Z",
            "rotation_period": self.static_period,
            "ttl": max(left, 0),
        }

    def _pki(self, path: str, body: dict[str, Any]) -> web.Response:
        if path == "pki/revoke":
            self.revoked_serials.append(body["serial_number"])
            return web.json_response({"data": {}})
        number = next(self._numbers)
        return _data(
            {
                "certificate": f"CERT {number} {body['common_name']}",
                "private_key": f"KEY {number}",
                "issuing_ca": "CA",
                "ca_chain": self.chain,
                "serial_number": f"0{number}:aa",
                "expiration": int(self.clock + self.certificate_ttl),
                "private_key_type": "rsa",
            }
        )


def _utc(moment: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _data(data: dict[str, Any] | None) -> web.Response:
    if data is None:
        return web.json_response({"errors": []}, status=404)
    return web.json_response({"request_id": "r", "data": data})


def _errors(status: int, *texts: str) -> web.Response:
    return web.json_response({"errors": list(texts)}, status=status)
