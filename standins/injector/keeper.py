"""Keeping a certificate that the API server trusts, on every replica, without a gap.

The leader makes a CA, publishes it next to the ones still in use, waits until the API
server has surely taken it in, and only then shares and serves a certificate made with
it. Followers serve what is shared. So at each moment every certificate that some
replica serves is signed by a CA in the published bundle. Any step may fail: the next
round does it again, and the certificate served so far stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from standins.common.election import Election
from standins.common.kube import KubeError
from standins.common.logs import Log
from standins.injector import certificates
from standins.injector.certificates import Authority, KeyPair
from standins.injector.kube import Cluster, SharedPair

log = Log(__name__)

SETTLE = 3.0
"""Seconds from publishing a CA until a certificate of it is served."""


class Keeper(Protocol):
    """Brings the serving certificate up to date."""

    async def round(self) -> KeyPair | None:
        """The certificate to serve from now on; None while there is none."""

    async def end(self) -> None:
        """Hand over what others may be waiting for."""


class FileKeeper:
    """Serves a certificate from files, and reads them again when they change.

    With a CA file and a webhook name it also publishes that CA.
    """

    def __init__(
        self, cert: Path, key: Path, ca: Path | None, cluster: Cluster | None, webhook: str
    ) -> None:
        self._files = (cert, key)
        self._ca = ca
        self._cluster = cluster
        self._webhook = webhook
        self._pair: KeyPair | None = None

    async def round(self) -> KeyPair | None:
        """See Keeper. Files that are half written leave the old certificate in use."""
        try:
            pair = KeyPair(*(file.read_bytes() for file in self._files))
        except OSError as error:
            log.warn("certificate not read", error=str(error))
            return self._pair
        if pair.readable:
            self._pair = pair
        else:
            log.warn("certificate and key do not fit", file=str(self._files[0]))
        if self._ca and self._cluster and self._webhook:
            await self._publish(self._cluster, self._ca)
        return self._pair

    async def _publish(self, cluster: Cluster, ca: Path) -> None:
        try:
            bundle = ca.read_bytes()
            found = await cluster.webhooks(self._webhook)
            if found and any(each != bundle for each in found.bundles):
                await cluster.publish(self._webhook, found, bundle)
        except (OSError, KubeError) as error:
            log.warn("CA not published", error=str(error))

    async def end(self) -> None:
        """See Keeper."""


class AutoKeeper:
    """Makes CAs and certificates itself; see the module's text.

    Without `webhook` nothing is published, without `election` nothing is shared.
    """

    def __init__(
        self,
        cluster: Cluster | None,
        hosts: Sequence[str],
        *,
        webhook: str = "",
        election: Election | None = None,
        leaf_life: timedelta = certificates.LEAF_LIFE,
        ca_life: timedelta = certificates.CA_LIFE,
        settle: float = SETTLE,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = certificates.now,
    ) -> None:
        if ca_life < 10 * leaf_life:
            raise ValueError("a CA has to live at least ten times as long as a certificate")
        self._cluster = cluster
        self._hosts = hosts
        self._webhook = webhook
        self._election = election
        self._leaf_life = leaf_life
        self._ca_life = ca_life
        self._settle = settle
        self._clock = clock
        self._now = now
        self._authority: Authority | None = None
        self._settled = 0.0
        self._pair: KeyPair | None = None

    async def round(self) -> KeyPair | None:
        """See Keeper."""
        leading = await self._election.take_part() if self._election else True
        try:
            shared = await self._read_shared()
            if leading:
                await self._lead(shared)
            else:
                # Somebody else leads: what this replica's CA signed may leave the bundle.
                self._authority = None
        except KubeError as error:
            log.warn("certificates not looked after", error=str(error))
        if self._pair and not self._pair.usable(self._now()):
            log.error("serving a certificate that has run out", pair=repr(self._pair))
        return self._pair

    async def end(self) -> None:
        """See Keeper."""
        if self._election:
            await self._election.resign()

    async def _read_shared(self) -> SharedPair | None:
        if not (self._election and self._cluster):
            return None
        shared = await self._cluster.shared_pair()
        if shared and shared.pair and shared.pair != self._pair and shared.pair.usable(self._now()):
            log.info("serving the shared certificate", pair=repr(shared.pair))
            self._pair = shared.pair
        return shared

    async def _lead(self, shared: SharedPair | None) -> None:
        at = self._now()
        if self._authority is None or not self._authority.outlives(2 * self._leaf_life, at):
            self._authority = Authority(self._ca_life, at)
            log.info("made a CA")
        if not await self._published(self._authority, at):
            return
        pair = self._pair
        usable = pair is not None and pair.usable(at)
        if pair and usable and self._authority.signed(pair) and not pair.due(at):
            if self._election and (shared is None or shared.pair != pair):
                await self._share(pair, shared)
            return
        if usable and self._clock() < self._settled:
            return
        pair = self._authority.issue(self._hosts, self._leaf_life, at)
        await self._share(pair, shared)
        self._pair = pair
        log.info("made a certificate", pair=repr(pair))

    async def _share(self, pair: KeyPair, shared: SharedPair | None) -> None:
        if self._election and self._cluster:
            await self._cluster.share(pair, shared)

    async def _published(self, authority: Authority, at: datetime) -> bool:
        """Whether the webhooks trust this CA; publishes it when they do not."""
        if not (self._cluster and self._webhook):
            return True
        found = await self._cluster.webhooks(self._webhook)
        if found is None or not found.bundles:
            # A certificate is needed all the same: the probes ask over TLS.
            log.warn("no webhook configuration", webhook=self._webhook)
            return True
        bundle = certificates.trusted_bundle(
            authority.pem, b"".join(dict.fromkeys(found.bundles)), self._leaf_life, at
        )
        if any(each != bundle for each in found.bundles):
            await self._cluster.publish(self._webhook, found, bundle)
            self._settled = self._clock() + self._settle
            log.info("published the CA bundle", webhook=self._webhook)
        return True
