"""One operator works, its replicas wait: leader election with a coordination.k8s.io Lease.

A waiting replica takes over when the holder has not renewed for the Lease's duration by the
waiting one's own clock. A leader that cannot renew in time stops at once: two at work would
rotate credentials against each other. A restarted container of the holder's pod carries on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

from standins.operator.kube import KubeApi, KubeError, get_or_none
from standins.operator.model import Obj

log = logging.getLogger("operator")

LEASE = "vault-secrets-operator-standin"
# Seconds; client-go's defaults.
DURATION = 15.0
RENEW_WITHIN = 10.0
RETRY = 2.0


class LeadershipLost(Exception):
    """Another replica may be at work: this process has to end."""


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Election:
    """The contest for one Lease."""

    def __init__(
        self, kube: KubeApi, namespace: str, identity: str, *, retry: float = RETRY
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._identity = identity
        self._retry = retry
        self._seen: tuple[str, str] = ("", "")
        self._seen_at = 0.0

    async def _try(self) -> bool:
        """Take or renew the Lease; whether it is ours now."""
        lease = await get_or_none(self._kube, "Lease", self._namespace, LEASE)
        if lease is None:
            await self._kube.create(
                "Lease", self._namespace, {"metadata": {"name": LEASE}, "spec": self._spec({})}
            )
            return True
        spec = lease.get("spec") or {}
        holder, renewed = spec.get("holderIdentity") or "", spec.get("renewTime") or ""
        if (holder, renewed) != self._seen:
            self._seen, self._seen_at = (holder, renewed), time.monotonic()
        expired = time.monotonic() - self._seen_at > float(spec.get("leaseDurationSeconds") or 0)
        if holder not in ("", self._identity) and not expired:
            return False
        changed = {**lease, "spec": self._spec(spec)}
        await self._kube.replace("Lease", self._namespace, LEASE, changed)
        return True

    def _spec(self, before: Obj) -> Obj:
        same = before.get("holderIdentity") == self._identity
        changes = int(before.get("leaseTransitions") or 0)
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(DURATION),
            "acquireTime": before.get("acquireTime") if same else _now(),
            "renewTime": _now(),
            "leaseTransitions": changes if same or not before else changes + 1,
        }

    async def acquire(self) -> None:
        """Wait until this replica leads."""
        while True:
            try:
                if await self._try():
                    log.info("leading as %s", self._identity)
                    return
            except KubeError as error:
                log.info("leader election: %s", error)
            await asyncio.sleep(self._retry)

    async def hold(self) -> None:
        """Renew until cancelled; LeadershipLost when that fails for too long."""
        good = time.monotonic()
        while True:
            await asyncio.sleep(self._retry)
            try:
                async with asyncio.timeout(RENEW_WITHIN / 2):
                    held = await self._try()
            except (KubeError, TimeoutError) as error:
                log.info("leader election: %s", error or "timed out")
                if time.monotonic() - good > RENEW_WITHIN:
                    raise LeadershipLost("the Lease could not be renewed in time") from error
            else:
                if not held:
                    raise LeadershipLost("another replica holds the Lease")
                good = time.monotonic()

    async def release(self) -> None:
        """Let the next replica start at once; best effort, the Lease runs out anyway."""
        try:
            lease = await self._kube.get("Lease", self._namespace, LEASE)
            if (lease.get("spec") or {}).get("holderIdentity") == self._identity:
                spec = {**lease["spec"], "holderIdentity": "", "renewTime": _now()}
                await self._kube.replace("Lease", self._namespace, LEASE, {**lease, "spec": spec})
        except KubeError as error:
            log.info("the Lease was not released: %s", error)
