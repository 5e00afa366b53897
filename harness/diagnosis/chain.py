"""The data of a diagnosis: the login path, a finding, and the answers that links share.

Data and cached requests only; the links that use them are in harness.diagnosis.server,
login, reviewer and policy, their order is in harness.diagnosis.explain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.lab.login_path import LoginPath

if TYPE_CHECKING:
    from harness.lab.context import LabContext


@dataclass(frozen=True)
class Finding:
    """The result of testing one link. `hint` says what to do; with a hint, a link that holds
    is a remark: it is not broken, but unusual. `run` is the command that mends it, if one does.
    """

    link: str
    ok: bool
    evidence: str
    hint: str = ""
    run: str = ""

    def __str__(self) -> str:
        return f"{'✓' if self.ok else '✗'} {self.link}: {self.evidence}"


class Chain:
    """What the links share: the path, the requests, and answers that are asked for once."""

    def __init__(self, lab: LabContext, path: LoginPath) -> None:
        self.lab = lab
        self.path = path
        self.namespace = path.namespace or lab.namespace
        self.found: list[Finding] = []

    @property
    def whole(self) -> bool:
        """Whether nothing broken was found so far."""
        return all(finding.ok for finding in self.found)

    def read(self, address: str) -> dict[str, Any]:
        """`data` of a GET as administrator, {} when there is nothing."""
        answer = self.lab.http.get(f"/v1/{address}", allow={400, 404, 405, 500})
        return dict(answer.json().get("data") or {}) if answer.status_code == 200 else {}

    def names(self, address: str) -> list[str]:
        """The keys of a LIST as administrator."""
        answer = self.lab.http.list(f"/v1/{address}", allow={400, 404, 405})
        return list((answer.json().get("data") or {}).get("keys") or [])

    @cached_property
    def method(self) -> dict[str, Any]:
        """The auth method at `path.mount`, {} when none is enabled there."""
        return dict(self.read("sys/auth").get(f"{self.path.mount}/") or {})

    @cached_property
    def config(self) -> dict[str, Any]:
        """The auth method's configuration; {} when it has none."""
        return self.read(f"auth/{self.path.mount}/config")

    @cached_property
    def nodes(self) -> list[dict[str, Any]]:
        """The cluster's nodes."""
        return list(self.lab.kube.list("Node"))

    @cached_property
    def pod(self) -> dict[str, Any]:
        """The pod that the path names; {} when it names none, or there is none."""
        if not self.path.pod:
            return {}
        return self.lab.kube.get("Pod", self.path.pod, self.namespace) or {}

    @cached_property
    def role(self) -> dict[str, Any]:
        """The role as Vault stored it; {} when there is none."""
        if not (self.method and self.path.role):
            return {}
        return self.read(f"auth/{self.path.mount}/role/{self.path.role}")

    @cached_property
    def policies(self) -> list[str]:
        """The policies that a token of this path carries, without `default`."""
        if not self.path.role:
            return list(self.path.policies)
        named = self.role.get("token_policies") or self.role.get("policies") or []
        return [str(name) for name in named if name != "default"]

    @cached_property
    def mounts(self) -> dict[str, Any]:
        """The secrets engines: path with a slash at the end -> description."""
        return {
            name: mount
            for name, mount in self.read("sys/mounts").items()
            if isinstance(mount, dict) and "type" in mount
        }


Link = Callable[[Chain], Finding | None]
