"""Which of several replicas makes the certificates: a Lease, renewed while it leads.

Expiry is judged by this replica's own clock, from when it last saw the Lease change,
as client-go does: clocks of two nodes are never compared. A leader that ends gives the
Lease back, so that the next one need not wait for it to run out.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from standins.common.logs import Log
from standins.injector.certificates import now
from standins.injector.kube import Cluster, ClusterError, Conflict, LeaseRecord

log = Log(__name__)

DURATION = 15
"""Seconds without a renewal after which another replica may lead."""
RENEW_WITHIN = 10
"""Seconds without a successful renewal after which a leader stops leading."""


class Election:
    """One replica's part in the election. `identity` is the pod's name."""

    def __init__(
        self, cluster: Cluster, identity: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster = cluster
        self._identity = identity
        self._clock = clock
        self._renewed: float | None = None
        self._seen: LeaseRecord | None = None
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
            await self._take_part()
        except Conflict:
            self._renewed = None
        except ClusterError as error:
            log.warn("lease not renewed", error=str(error))
        if before != self.leading:
            log.info("leadership", leading=self.leading, identity=self._identity)
        return self.leading

    async def _take_part(self) -> None:
        started = self._clock()
        record = await self._cluster.lease()
        if record is not None and (self._seen is None or record.version != self._seen.version):
            self._seen, self._seen_at = record, started
        mine = record is None or record.holder in ("", self._identity)
        if mine or started - self._seen_at >= DURATION:
            await self._cluster.hold(self._identity, DURATION, _rfc3339(), record)
            self._renewed = started
        else:
            self._renewed = None

    async def resign(self) -> None:
        """Give the Lease back, when this replica holds it. Never raises ClusterError."""
        if self._renewed is None:
            return
        self._renewed = None
        try:
            record = await self._cluster.lease()
            if record is not None and record.holder == self._identity:
                await self._cluster.hold("", 1, _rfc3339(), record)
        except ClusterError as error:
            log.warn("lease not given back", error=str(error))


def _rfc3339() -> str:
    return now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
