"""Which of several replicas works: a coordination.k8s.io Lease, renewed while its holder leads.

Expiry is judged by this replica's own clock, from when it last saw the Lease change, as
client-go does: clocks of two nodes are never compared. A leader that cannot renew in time
stops before another may take over, and one that ends gives the Lease back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from standins.common.kube import Kube, KubeError, Obj
from standins.common.logs import Log

log = Log(__name__)

# Seconds, as client-go has them.
DURATION = 15
RENEW_WITHIN = 10.0
RETRY = 2.0


class LeadershipLost(Exception):
    """Another replica may be at work: this one has to stop."""


class Election:
    """One replica's part in the contest for one Lease. `identity` names the replica."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        lease: str,
        identity: str,
        *,
        labels: dict[str, str] | None = None,
        retry: float = RETRY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube = kube
        self._where = ("Lease", namespace, lease)
        self._identity = identity
        self._labels = labels or {}
        self._retry = retry
        self._clock = clock
        self._renewed: float | None = None
        self._seen = ""
        self._seen_at = 0.0

    @property
    def leading(self) -> bool:
        """Whether this replica may act as the leader now."""
        return self._renewed is not None and self._clock() - self._renewed < RENEW_WITHIN

    async def take_part(self) -> bool:
        """Renew, acquire or watch the Lease; whether this replica leads.

        An API server that does not answer leaves a leader leading for RENEW_WITHIN.
        """
        before = self.leading
        try:
            async with asyncio.timeout(RENEW_WITHIN / 2):
                await self._take_part()
        except (KubeError, TimeoutError) as error:
            log.warn("lease not renewed", lease=self._where[2], error=str(error) or "timed out")
        if before != self.leading:
            log.info("leadership", leading=self.leading, identity=self._identity)
        return self.leading

    async def acquire(self) -> None:
        """Wait until this replica leads."""
        while not await self.take_part():
            await asyncio.sleep(self._retry)

    async def hold(self) -> None:
        """Renew until cancelled; LeadershipLost when another leads or renewing took too long."""
        while True:
            await asyncio.sleep(self._retry)
            if not await self.take_part():
                raise LeadershipLost(
                    "another replica holds the Lease"
                    if self._renewed is None
                    else "the Lease could not be renewed in time"
                )

    async def resign(self) -> None:
        """Give the Lease back when this replica holds it; best effort, it runs out anyway."""
        if self._renewed is None:
            return
        self._renewed = None
        try:
            lease = await self._kube.get(*self._where)
            if (lease.get("spec") or {}).get("holderIdentity") == self._identity:
                spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                spec["renewTime"] = _now()
                await self._kube.replace(*self._where, {**lease, "spec": spec})
        except KubeError as error:
            log.warn("lease not given back", lease=self._where[2], error=error)

    async def _take_part(self) -> None:
        started = self._clock()
        lease = await self._kube.find(*self._where)
        if lease is None:
            metadata = {"name": self._where[2], "labels": self._labels}
            await self._kube.create(
                *self._where[:2], {"metadata": metadata, "spec": self._spec({})}
            )
            self._renewed = started
            return
        spec = lease.get("spec") or {}
        version = str(lease["metadata"].get("resourceVersion"))
        if version != self._seen:
            self._seen, self._seen_at = version, started
        valid = started - self._seen_at < float(spec.get("leaseDurationSeconds") or 0)
        if valid and spec.get("holderIdentity") not in (None, "", self._identity):
            self._renewed = None
            return
        # The version that was read is the version that is replaced: of two one gets a conflict.
        await self._kube.replace(*self._where, {**lease, "spec": self._spec(spec)})
        self._renewed = started

    def _spec(self, before: Obj) -> Obj:
        same = before.get("holderIdentity") == self._identity
        changes = int(before.get("leaseTransitions") or 0)
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION,
            "acquireTime": before.get("acquireTime") if same else _now(),
            "renewTime": _now(),
            "leaseTransitions": changes if same or not before else changes + 1,
        }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
