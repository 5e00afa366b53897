"""One injector from start to end: keep a certificate, serve, and leave without a gap.

It listens only once it has a certificate, so a probe that connects has proved one. When
it is told to end it gives the Lease back and lets the calls it has finish. That no new
calls are routed to it by then is the Deployment's part (a preStop sleep).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from standins.common.account import in_cluster
from standins.common.election import Election
from standins.common.kube import Kube
from standins.common.logs import Log
from standins.common.serving import stop_signal
from standins.injector.certificate_context import ServingContext
from standins.injector.keeper import AutoKeeper, FileKeeper, Keeper
from standins.injector.kube import LABELS, LEASE, Cluster
from standins.injector.server import KEEP_ALIVE, Webhook
from standins.injector.settings import Settings

log = Log(__name__)

ROUND = 5.0
"""Seconds between two looks at the certificate, the Lease and the CA bundle."""
FIRST_ROUND = 0.5
"""Seconds between two tries while there is no certificate yet."""
FINISH = 10.0
"""Seconds that calls which have begun get to finish."""


async def run(settings: Settings, namespace: str, identity: str) -> None:
    """Serve until SIGTERM or SIGINT. Raises BadFlag for what cannot be served."""
    context = ServingContext(settings.tls_min_version, settings.tls_cipher_suites)
    ending = stop_signal()
    async with _keeper(settings, namespace, identity) as keeper:
        await serve(settings, keeper, context, ending)


async def serve(
    settings: Settings,
    keeper: Keeper,
    context: ServingContext,
    ending: asyncio.Event,
    *,
    on_listening: Callable[[int], None] | None = None,
) -> None:
    """Keep the certificate and serve with it until `ending` is set.

    `on_listening` is called with the port once it is open.
    """
    while not await keep(keeper, context):
        if await happened(ending, FIRST_ROUND):
            return
    runner = web.AppRunner(
        Webhook(settings).app(), keepalive_timeout=KEEP_ALIVE, shutdown_timeout=FINISH
    )
    await runner.setup()
    try:
        host, _, port = settings.listen.rpartition(":")
        # No host means every address, which in a pod is the pod's own.
        site = web.TCPSite(runner, host.strip("[]") or None, int(port), ssl_context=context.ssl)
        await site.start()
        log.info("listening", address=settings.listen)
        if on_listening:
            on_listening(runner.addresses[0][1])
        while not await happened(ending, ROUND):
            await keep(keeper, context)
        log.info("ending")
        await keeper.end()
    finally:
        await runner.cleanup()


async def keep(keeper: Keeper, context: ServingContext) -> bool:
    """One round of the keeper; whether there is a certificate to serve with."""
    try:
        pair = await keeper.round()
        if pair is None:
            return False
        context.use(pair)
    except Exception:  # the loop must outlive whatever a round meets; the certificate stays
        log.defect("round failed")
        return False
    return True


async def happened(event: asyncio.Event, within: float) -> bool:
    """Wait for an event; whether it came within that many seconds."""
    try:
        async with asyncio.timeout(within):
            await event.wait()
    except TimeoutError:
        return False
    return True


@asynccontextmanager
async def _keeper(settings: Settings, namespace: str, identity: str) -> AsyncIterator[Keeper]:
    from_files = bool(settings.tls_cert_file)
    if not settings.tls_auto and (from_files or not settings.use_leader_elector):
        yield _make_keeper(settings, None, None)
        return
    async with Kube(in_cluster(os.environ)) as kube:
        election = (
            Election(kube, namespace, LEASE, identity, labels=LABELS)
            if settings.use_leader_elector
            else None
        )
        yield _make_keeper(settings, Cluster(kube, namespace), election)


def _make_keeper(settings: Settings, cluster: Cluster | None, election: Election | None) -> Keeper:
    if settings.tls_cert_file:
        ca = Path(settings.tls_ca_cert_file) if settings.tls_ca_cert_file else None
        return FileKeeper(
            Path(settings.tls_cert_file),
            Path(settings.tls_key_file),
            ca,
            cluster,
            settings.tls_auto,
        )
    return AutoKeeper(
        cluster,
        [host for host in settings.tls_auto_hosts.split(",") if host] or ["localhost"],
        webhook=settings.tls_auto,
        election=election,
    )
