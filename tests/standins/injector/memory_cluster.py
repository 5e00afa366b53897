"""A cluster in memory, with versions as the API server gives them, and faults on demand."""

from __future__ import annotations

from dataclasses import dataclass, field

from standins.injector.certificates import KeyPair
from standins.injector.kube import ClusterError, Conflict, LeaseRecord, SharedPair, Webhooks


@dataclass
class MemoryCluster:
    """Implements kube.Cluster. Every write checks the version it was made from."""

    config: Webhooks | None = field(
        default_factory=lambda: Webhooks(("vault.hashicorp.com",), (b"",), "1")
    )
    secret: SharedPair | None = None
    record: LeaseRecord | None = None
    down: bool = False
    conflicts: int = 0
    """How many of the next writes of the configuration or the Secret lose."""
    log: list[str] = field(default_factory=list)
    _version: int = 1

    def _next(self) -> str:
        self._version += 1
        return str(self._version)

    def _up(self) -> None:
        if self.down:
            raise ClusterError("the API server does not answer")

    def _won(self) -> None:
        if self.conflicts:
            self.conflicts -= 1
            raise Conflict("somebody else was first")

    @property
    def bundle(self) -> bytes:
        """The CA bundle of the first webhook."""
        return self.config.bundles[0] if self.config else b""

    async def webhooks(self, name: str) -> Webhooks | None:
        """See kube.Cluster."""
        self._up()
        return self.config

    async def publish(self, name: str, seen: Webhooks, bundle: bytes) -> None:
        """See kube.Cluster."""
        self._up()
        if self.config is None or self.config.version != seen.version:
            raise Conflict("the configuration changed")
        self._won()
        self.log.append("publish")
        self.config = Webhooks(seen.names, (bundle,) * len(seen.names), self._next())

    async def shared_pair(self) -> SharedPair | None:
        """See kube.Cluster."""
        self._up()
        return self.secret

    async def share(self, pair: KeyPair, seen: SharedPair | None) -> None:
        """See kube.Cluster."""
        self._up()
        if (seen.version if seen else None) != (self.secret.version if self.secret else None):
            raise Conflict("the Secret changed")
        self._won()
        self.log.append("share")
        self.secret = SharedPair(pair, self._next())

    async def lease(self) -> LeaseRecord | None:
        """See kube.Cluster."""
        self._up()
        return self.record

    async def hold(self, holder: str, seconds: int, now: str, seen: LeaseRecord | None) -> None:
        """See kube.Cluster."""
        self._up()
        if (seen.version if seen else None) != (self.record.version if self.record else None):
            raise Conflict("the Lease changed")
        changed = seen is not None and seen.holder != holder
        transitions = (seen.transitions if seen else 0) + changed
        self.record = LeaseRecord(holder, transitions, self._next())
