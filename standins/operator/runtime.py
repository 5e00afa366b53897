"""Puts the parts together and runs them until a signal or the loss of leadership.

Start: probes, leader election, one list of all custom resources (so that a secret never runs
before its VaultAuth is known), the ledger of earlier tokens, then watches and workers. Every
ten minutes the list is taken again and compared, in case a watch missed a deletion.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from standins.common.account import Access
from standins.common.election import Election
from standins.common.kube import Kube, KubeError
from standins.common.logs import Log
from standins.common.serving import Page, health, stop_signal, text_pages
from standins.operator import configs, dynamic, model, pki, static, watching
from standins.operator.clients import ClientCache, ClientRefused
from standins.operator.connections import Connections
from standins.operator.context import Context
from standins.operator.drift import Fingerprints
from standins.operator.events import KubeRecorder
from standins.operator.gotemplate import TemplateEngine
from standins.operator.leases import LeaseKeeper
from standins.operator.metrics import Sample, rendered
from standins.operator.model import Key
from standins.operator.options import Options
from standins.operator.queueing import Controller, Reconcile
from standins.operator.references import ReferenceRefused, Resolver
from standins.operator.store import Store
from standins.operator.timing import Backoff
from standins.operator.triggers import Triggers
from standins.operator.vaultclient import VaultClient

log = Log(__name__)

_RESYNC = 600.0
_RETRY = 5.0
# What the API server itself asks for (Retry-After) while it makes ready to store a new kind.
_RETRY_BUSY = 1.0
_CONFIG_WORKERS = 2
_DRAIN = 10.0
# Long lists of a busy API server take their time.
_TIMEOUT = 30.0
LEASE = "vault-secrets-operator-standin"


class Operator:
    """All parts of one operator process."""

    def __init__(self, kube: Kube, options: Options) -> None:
        self.options = options
        self.kube = kube
        self.leading = False
        self.store = Store()
        self.recorder = KubeRecorder(kube)
        resolver = Resolver(self.store, options.namespace, options.allow_default_globals)
        connections = Connections(kube)
        self.leases = LeaseKeeper(kube, self.store, options.namespace, grace=options.lease_grace)
        clients = ClientCache(kube, resolver, connections, self.leases, self._client_lost)
        self.context = Context(
            kube=kube,
            store=self.store,
            resolver=resolver,
            connections=connections,
            clients=clients,
            recorder=self.recorder,
            fingerprints=Fingerprints(kube, options.namespace),
            leases=self.leases,
            backoff=Backoff(
                options.backoff_initial,
                options.backoff_most,
                options.backoff_factor,
                options.backoff_spread,
            ),
            templates=TemplateEngine(),
            operator_namespace=options.namespace,
            pod_uid=options.pod_uid,
            exclude_raw=options.exclude_raw,
        )
        self.controllers = {
            model.CONNECTION: self._controller(model.CONNECTION, configs.connection),
            model.AUTH: self._controller(model.AUTH, configs.auth),
            model.AUTH_GLOBAL: self._controller(model.AUTH_GLOBAL, configs.auth_global),
            model.TRANSFORMATION: self._controller(model.TRANSFORMATION, configs.transformation),
            model.STATIC: self._controller(model.STATIC, static.reconcile, options.workers),
            model.DYNAMIC: self._controller(
                model.DYNAMIC, dynamic.reconcile, options.workers_dynamic
            ),
            model.PKI: self._controller(model.PKI, pki.reconcile, options.workers),
        }
        self.triggers = Triggers(
            self.store,
            self.controllers,
            self.context.forced,
            lambda obj: configs.connection_changed(self.context, obj),
        )
        self.context.transformed = self.triggers.transformed

    def _controller(self, kind: str, work: Any, workers: int = _CONFIG_WORKERS) -> Controller:
        async def reconcile(key: Key) -> float | None:
            try:
                after: float | None = await work(self.context, key)
            except Exception as error:
                # Whatever it is: the queue logs it and tries again, the object's users see it.
                self.context.failed(key, error)
                raise
            return after

        bound: Reconcile = reconcile
        return Controller(kind, bound, workers)

    def _client_lost(self, cache_key: str) -> None:
        self.triggers.client_lost(cache_key)

    async def prime(self) -> None:
        """List everything into the store and put every object into its queue."""
        # All at once: right after an installation each kind makes whoever lists it wait.
        lists = await asyncio.gather(*(self._list(kind) for kind in model.KINDS))
        for kind, found in zip(model.KINDS, lists, strict=True):
            for obj in found:
                self.store.put(kind, obj)
        for kind, controller in self.controllers.items():
            for obj in self.store.all(kind):
                controller.add(model.key_of(kind, obj))

    async def _list(self, kind: str) -> list[model.Obj]:
        while True:
            try:
                return await self.kube.list_all(kind)
            except KubeError as error:
                hint = "; is the CRD installed?" if error.not_found else ""
                log.warn("not listed", kind=kind, error=f"{error}{hint}")
                await asyncio.sleep(_RETRY_BUSY if error.busy else _RETRY)

    async def resync(self) -> None:
        """Compare the store with a fresh list now and again, until cancelled."""
        while True:
            await asyncio.sleep(_RESYNC)
            for kind in model.KINDS:
                listed = await self._list(kind)
                there = {model.key_of(kind, obj) for obj in listed}
                for obj in list(self.store.all(kind)):
                    if model.key_of(kind, obj) not in there:
                        self.triggers.seen(kind, "DELETED", obj)
                for obj in listed:
                    self.triggers.seen(kind, None, obj)

    async def client_for(self, auth_ref: str, namespace: str) -> VaultClient:
        """A client of a VaultAuth named `namespace/name`, for the ledger."""
        where = tuple(auth_ref.split("/", 1))
        auth = self.store.get(model.AUTH, where[0], where[-1])
        if auth is None:
            raise ClientRefused(f"VaultAuth {auth_ref} not found", missing=True)
        try:
            merged = self.context.resolver.merged(auth)[0]
        except ReferenceRefused as error:
            raise ClientRefused(str(error), missing=True) from error
        return await self.context.clients.get_for(merged, namespace)

    def samples(self) -> list[Sample]:
        """The metrics."""
        found: list[Sample] = [
            ("vso_standin_vault_requests_total", "", self.context.connections.requests),
            ("vso_standin_vault_logins_total", "", self.context.clients.logins),
            ("vso_standin_vault_clients", "", len(self.context.clients.live())),
        ]
        for kind, controller in self.controllers.items():
            label = f'kind="{kind}"'
            found += [
                ("vso_standin_reconciles_total", label, controller.runs),
                ("vso_standin_reconcile_errors_total", label, controller.failures),
                ("vso_standin_queue_depth", label, controller.depth),
            ]
        return found

    def workers(self) -> list[Coroutine[Any, Any, None]]:
        """Everything that runs beside the watches."""
        grace = self.options.lease_grace
        return [
            self.recorder.run(),
            self.resync(),
            self.leases.run(self.client_for, every=min(max(grace / 4, 1.0), 30.0)),
            *(controller.run() for controller in self.controllers.values()),
        ]

    async def close(self) -> None:
        """Stop renewing and close connections; tokens and leases stay as they are."""
        await self.context.clients.close()
        await self.context.connections.close()
        await self.context.templates.close()


def open_kube(access: Access) -> Kube:
    """A client that knows the custom resources."""
    return Kube(access, kinds=model.RESOURCES, timeout=_TIMEOUT)


async def run(options: Options) -> None:
    """Run until SIGTERM or SIGINT. LeadershipLost and defects are raised."""
    access, stop = watching.access(options.kubeconfig), stop_signal()
    # The Lease has connections of its own: it must not wait behind 500 failing secrets.
    async with open_kube(access) as kube, open_kube(access) as apart:
        operator = Operator(kube, options)
        identity = f"{options.pod_name or 'operator'}_{options.pod_uid or 'local'}"
        election = Election(apart, options.namespace, LEASE, identity)
        async with contextlib.AsyncExitStack() as served:
            for port, pages in _pages(operator).items():
                if port:
                    await served.enter_async_context(text_pages(f":{port}", pages))
            try:
                await _until(stop, operator, _lead(operator, kube, election, stop))
            finally:
                await operator.close()
                if options.leader_elect:
                    await election.resign()
                log.info("stopped")


def _pages(operator: Operator) -> dict[int, dict[str, Page]]:
    """The pages by their ports; port 0 is for none.

    /healthz answers while the event loop turns. So does /readyz, also on a replica that waits
    to lead: a rollout of the operator has to finish.
    """

    async def metrics() -> tuple[int, str]:
        return 200, rendered(operator.samples())

    return {
        operator.options.probe_port: {"/healthz": health(), "/readyz": health()},
        operator.options.metrics_port: {"/metrics": metrics},
    }


async def _lead(operator: Operator, kube: Kube, election: Election, stop: asyncio.Event) -> None:
    options = operator.options
    if options.leader_elect:
        await election.acquire()
    await operator.prime()
    left = await operator.leases.load()
    log.info("started", namespace=options.namespace, tokens_of_earlier_runs=left)
    operator.leading = True
    async with asyncio.TaskGroup() as group:
        beside = [*operator.workers()]
        if options.leader_elect:
            beside.append(election.hold())
        beside.append(watching.lost_secrets(kube, operator.triggers.destination_lost))
        tasks = [group.create_task(work) for work in beside]
        await watching.custom_resources(operator.triggers.seen, stop, options.kubeconfig)
        # kopf takes the signals over while it runs, and comes back when one has come.
        stop.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN):
                for controller in operator.controllers.values():
                    await controller.drain()
        for task in tasks:
            task.cancel()


async def _until(stop: asyncio.Event, operator: Operator, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends or `stop` is set; its error is raised."""
    task = asyncio.create_task(work)
    waiter = asyncio.create_task(stop.wait())
    await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set() and operator.leading:
        # Reconciles under way may end; after that time they are cut off as by a kill.
        await asyncio.wait({task}, timeout=_DRAIN + 5)
    for part in (task, waiter):
        part.cancel()
    await asyncio.wait({task, waiter})
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
