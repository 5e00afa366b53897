"""VaultDynamicSecret: leased credentials, renewed while Vault allows it and replaced after.

The order of a rotation is what keeps a crash harmless: the token that leases is on the ledger
(leases.py) before it asks; then the Secret is written, then the status. Killed in between, the
next process finds a token that is not its own in the status (or none), syncs again, and the
old token ends with every lease it ever took. Until then the Secret holds valid credentials.
"""

from __future__ import annotations

import time
from typing import Any

from standins.common.kube import KubeError
from standins.common.logs import Log
from standins.common.vault import VaultError
from standins.operator import conditions, destination, model, restarts, timing, transform
from standins.operator.clients import ClientRefused
from standins.operator.conditions import Condition
from standins.operator.context import Context, add_finalizer, client_for, release, report
from standins.operator.model import Key, Obj, Reason
from standins.operator.renewal import (
    after_restart,
    duration,
    is_static,
    lease_status,
    percent,
    renew,
)
from standins.operator.staticcreds import Schedule, await_rotation, fingerprinted
from standins.operator.vaultclient import Answer, View

log = Log(__name__)


async def reconcile(context: Context, key: Key) -> float | None:
    """One pass over a VaultDynamicSecret; seconds until the next."""
    obj = context.find(key)
    if obj is None:
        return None
    if model.deleting(obj):
        await _delete(context, key, obj)
        return None
    try:
        secret = await destination.current(context.kube, obj)
    except destination.DestinationRefused as error:
        return await _failed(context, key, obj, str(error), None)
    if secret is None and not destination.creates(obj):
        # Upstream says so in its log alone.
        text = destination.missing(obj)
        context.recorder.event(obj, Reason.K8S_CLIENT_ERROR, text, warning=True)
        context.leases.reconciled(key)
        return timing.ERROR_RETRY
    try:
        view = await client_for(context, obj)
    except ClientRefused as error:
        text = f"Failed to get Vault client: {error}"
        context.recorder.event(obj, Reason.VAULT_CLIENT_CONFIG_ERROR, text, warning=True)
        return timing.error_retry()
    reason = sync_reason(obj, secret, view.meta, forced=key in context.forced)
    why: Condition | None = None
    if not reason:
        context.leases.reconciled(key)
        early = await after_restart(context, obj)
        if early is not None:
            return early
        lease = model.status(obj).get("secretLease") or {}
        if lease.get("renewable") and lease.get("id") and not is_static(obj):
            renewal = await renew(context, obj, view, lease)
            if renewal.condition is None:
                return renewal.after
            reason, why = Reason.LEASE_RENEWAL_ERROR, renewal.condition
    return await _sync(context, key, obj, secret, view, reason, why)


def sync_reason(obj: Obj, secret: Obj | None, client: dict[str, str], *, forced: bool) -> str:
    """Why new credentials are due regardless of the lease; "" when none are."""
    status = model.status(obj)
    last = status.get("vaultClientMeta") or {}
    checks = (
        (not status.get("lastGeneration"), Reason.INITIAL_SYNC),
        (forced, Reason.FORCE_SYNC),
        (model.generation(obj) != status.get("lastGeneration"), Reason.RESOURCE_UPDATED),
        (secret is None, Reason.INEXISTENT_DESTINATION),
        (
            bool(last.get("cacheKey")) and last["cacheKey"] != client["cacheKey"],
            Reason.CLIENT_CONFIG_CHANGED,
        ),
        (bool(last.get("id")) and last["id"] != client["id"], Reason.NEW_LOGIN),
    )
    return next((reason for due, reason in checks if due), "")


async def request(view: View, obj: Obj) -> Answer:
    """Ask Vault for the credentials that the spec names."""
    spec = model.spec(obj)
    path = f"{spec.get('mount', '').strip('/')}/{spec.get('path', '').strip('/')}"
    params = dict(spec.get("params") or {})
    if not params and spec.get("requestHTTPMethod") not in ("POST", "PUT"):
        return await view.read(path)
    answer = await view.write(path, params)
    if not answer.request_id and not answer.data:
        # Vault did something and said nothing: there is no secret. Upstream crashes here.
        raise ValueError(f'empty response from Vault, path="{path}"')
    return answer


def wrapping(answer: Answer) -> dict[str, Any] | None:
    """What templates see as `.WrapData`: all fields of a wrapped answer's information."""
    if not answer.wrap_info:
        return None
    fields = {
        "token": "",
        "accessor": "",
        "ttl": 0,
        "creation_time": "0001-01-01T00:00:00Z",
        "creation_path": "",
        "wrapped_accessor": "",
    }
    return {name: answer.wrap_info.get(name, empty) for name, empty in fields.items()}


async def _sync(
    context: Context,
    key: Key,
    obj: Obj,
    secret: Obj | None,
    view: View,
    reason: str,
    why: Condition | None,
) -> float | None:
    try:
        transformation = transform.gather(obj, context.store, exclude_raw=context.exclude_raw)
    except transform.TransformationRefused as error:
        text = f"Failed setting up SecretTransformationOption: {error}"
        context.recorder.event(obj, Reason.TRANSFORMATION_ERROR, text, warning=True)
        return timing.error_retry()
    before = model.status(obj)
    answer: Answer | None = None
    schedule = Schedule()
    mac = ""
    written = True
    try:
        # Before any lease is made: a destination that refuses would leak one at every retry,
        # and an object without finalizer could go while Vault answers.
        destination.check_writable(obj, secret)
        obj = await add_finalizer(context, obj)
        answer = await request(view, obj)
        rotated = is_static(obj) and not answer.renewable
        if rotated:
            answer, schedule = await await_rotation(before, answer, lambda: request(view, obj))
        data = await transform.build(
            context.templates, answer.data, answer.data, transformation, wrapped=wrapping(answer)
        )
        if rotated:
            mac = await context.fingerprints.of(fingerprinted(data))
            same = mac == before.get("secretMAC") and await context.fingerprints.matches(
                secret, mac, fingerprinted
            )
            # A changed spec may want other labels: upstream writes them at the next rotation.
            written = not same or reason == Reason.RESOURCE_UPDATED
        if written:
            await destination.write(context.kube, obj, secret, data)
    except (
        VaultError,
        KubeError,
        transform.TransformationRefused,
        destination.DestinationRefused,
        ValueError,
        TimeoutError,
    ) as error:
        if answer is not None and answer.lease_id:
            # Nobody will ever use it.
            await _revoke(context, obj, view, answer.lease_id, quiet=True)
        return await _failed(context, key, obj, str(error) or type(error).__name__, why)
    context.backoff.forget(key)
    changes = {
        "vaultClientMeta": view.meta,
        "secretLease": lease_status(answer),
        "staticCredsMetaData": schedule.status(),
        "lastRenewalTime": int(time.time()),
        "lastGeneration": model.generation(obj),
        "lastRuntimePodUID": context.pod_uid,
    } | ({"secretMAC": mac} if mac else {})
    after = next_sync(obj, changes, schedule)
    shown = timing.format_duration(after or 0)
    context.recorder.event(
        obj,
        Reason.ROTATED if before.get("lastGeneration") else Reason.SYNCED,
        f'Secret synced, lease_id="{answer.lease_id}", horizon={shown}, sync_reason="{reason}"',
    )
    # New credentials restart their users, even the first ones: upstream does so too.
    restarted = await restarts.trigger(context.kube, context.recorder, obj) if written else []
    found = [conditions.synced(obj, True, "Secret synced"), *([why] if why else [])]
    try:
        await report(context, obj, changes, *found, healthy=True, restarted=restarted)
    except KubeError:
        # The Secret holds a lease that no status names: get another, end this one.
        context.forced.add(key)
        context.leases.superseded(answer.lease_id, key, view.client)
        raise
    context.forced.discard(key)
    context.leases.reconciled(key)
    old = (before.get("secretLease") or {}).get("id", "")
    if old != answer.lease_id and (before.get("vaultClientMeta") or {}).get("id") == view.id:
        context.leases.superseded(old, key, view.client)
    return after


def next_sync(obj: Obj, status: dict[str, Any], schedule: Schedule) -> float | None:
    """Seconds until the lease or the static credentials are looked at again; None for never."""
    if is_static(obj):
        return schedule.after()
    seconds = duration(obj, status)
    return timing.lease_horizon(seconds, percent(obj)) if seconds else None


async def _failed(context: Context, key: Key, obj: Obj, error: str, why: Condition | None) -> float:
    after = context.backoff.next(key)
    text = f"Failed to sync the secret, horizon={timing.format_duration(after)}, err={error}"
    context.forced.add(key)
    context.recorder.event(obj, Reason.SYNC_ERROR, text, warning=True)
    found = [conditions.synced(obj, False, text), *([why] if why else [])]
    await report(context, obj, {}, *found, healthy=False)
    context.leases.reconciled(key)
    return after


async def _revoke(
    context: Context, obj: Obj, view: View, lease: str, *, quiet: bool = False
) -> None:
    try:
        await view.write("sys/leases/revoke", {"lease_id": lease})
    except VaultError as error:
        context.recorder.event(
            obj, Reason.LEASE_REVOKE, f"Failed to revoke lease: {error}", warning=True
        )
        if quiet:
            context.leases.superseded(lease, model.key_of(obj["kind"], obj), view.client)
    else:
        if not quiet:
            context.recorder.event(obj, Reason.LEASE_REVOKE, f"Lease revoked: {lease}")


async def _delete(context: Context, key: Key, obj: Obj) -> None:
    """Revoke what the secret still leases, then let it go whatever Vault says."""
    lease = (model.status(obj).get("secretLease") or {}).get("id", "")
    leases = [entry for entry in (lease, *context.leases.take_superseded(key)) if entry]
    if leases:
        try:
            view = await _last_client(context, obj)
        except ClientRefused as error:
            log.info("leases not revoked", key=key, error=error)
            context.recorder.event(
                obj, Reason.LEASE_REVOKE, f"Failed to revoke lease: {error}", warning=True
            )
        else:
            for entry in leases:
                await _revoke(context, obj, view, entry)
    context.forced.discard(key)
    context.backoff.forget(key)
    await release(context, obj)


async def _last_client(context: Context, obj: Obj) -> View:
    """The client for a deletion: the right one, or the one that took the lease."""
    try:
        return await context.clients.farewell(obj)
    except ClientRefused:
        used = (model.status(obj).get("vaultClientMeta") or {}).get("id", "")
        client = context.leases.client_of(used)
        if client is None:
            raise
        return View(client, str(model.spec(obj).get("namespace") or ""))
