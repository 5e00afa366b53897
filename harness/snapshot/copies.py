"""Copies of secret values for `reset`, kept in the one place that may hold them: Vault.

An inventory on disk holds HMACs only. The value behind an HMAC is written to the
cubbyhole of the environment's root token, under that HMAC: no other token can read that
store, it belongs to no lab, and it ends with the token. So a secret that a learner
destroyed comes back exactly. The values of one lab lie in one folder, which is deleted
when the whole lab is wiped.

A version of a KV secret never changes, so each is read once: an index keeps its HMAC even
after the version was deleted. Learners see the administrator's reads in the audit log;
this keeps them few.
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import Executor
from typing import Any

from harness.base.paths import PROJECT
from harness.base.redact import redact
from harness.clients.vault import VaultHTTP
from harness.snapshot.model import canonical, sum_of

_INDEX = "index"


class SecretCopies:
    """The secret copies of one lab. Thread-safe; nothing is written before `flush`."""

    def __init__(self, http: VaultHTTP, key: str, lab: str) -> None:
        self._http = http
        self._key = key
        self._folder = f"/v1/cubbyhole/{PROJECT}/{lab}"
        self._pending: dict[str, str] = {}
        self._index: dict[str, str] = {}
        self._stored_index: dict[str, str] = {}
        self._lock = threading.Lock()

    def open(self) -> None:
        """Read the index. Call it before `recall`."""
        self._stored_index = self.find(_INDEX) or {}
        self._index = dict(self._stored_index)

    def sum(self, content: object) -> str:
        """The HMAC under which `content` is known."""
        return sum_of(content, self._key)

    def keep(self, content: object, name: str = "") -> str:
        """Remember `content` for the next `flush`, in the index as `name`; return its HMAC."""
        found = self.sum(content)
        with self._lock:
            self._pending[found] = canonical(content)
            if name:
                self._index[name] = found
        return found

    def recall(self, name: str) -> str:
        """The HMAC of what was once kept as `name`; "" when there is none."""
        return self._index.get(name, "")

    def split(self, content: Any) -> tuple[str, Any, bool]:
        """`content` as an item's sum, copy and kept; only what holds no secret is the copy."""
        text = canonical(content)
        if redact(text) != text:
            return self.keep(content), None, True
        return self.sum(content), content, False

    def flush(self, pool: Executor) -> None:
        """Write the pending copies that Vault does not have yet."""
        with self._lock:
            pending, self._pending = self._pending, {}
        missing = pending.keys() - set(self._names()) if pending else set()
        list(pool.map(lambda name: self._write(name, pending[name]), sorted(missing)))
        if self._index != self._stored_index:
            self._write(_INDEX, canonical(self._index))
            self._stored_index = dict(self._index)

    def find(self, name: str) -> Any:
        """The content with this HMAC; None when no copy is left (Vault was restarted)."""
        answer = self._http.request("GET", f"{self._folder}/{name}", allow=(404,))
        if answer.status_code == 404:
            return None
        return json.loads(answer.json()["data"]["content"])

    def empty(self) -> None:
        """Remove every copy of this lab."""
        for name in self._names():
            self._http.request("DELETE", f"{self._folder}/{name}")

    def _names(self) -> list[str]:
        answer = self._http.request("LIST", self._folder, allow=(404,))
        return [] if answer.status_code == 404 else list(answer.json()["data"]["keys"])

    def _write(self, name: str, text: str) -> None:
        self._http.request("POST", f"{self._folder}/{name}", json={"content": text})
