"""VaultStaticSecret: copies a KV secret into a Kubernetes Secret and keeps it so.

Every reconcile reads Vault. With `hmacSecretData` (the default) the Secret is written only
when Vault's data, the Secret's data or the spec changed; restart targets are restarted on any
of these but the first sync. Without it every reconcile writes and nothing is restarted.
"""

from __future__ import annotations

from standins.common.kube import KubeError
from standins.common.logs import Log
from standins.common.values import parse_duration
from standins.common.vault import VaultError
from standins.operator import conditions, destination, model, restarts, timing, transform
from standins.operator.clients import ClientRefused
from standins.operator.context import Context, client_for, release, report
from standins.operator.model import Key, Obj, Reason
from standins.operator.vaultclient import Answer, View

log = Log(__name__)

_DEFAULT_POLL = 60.0


async def reconcile(context: Context, key: Key) -> float | None:
    """One pass over a VaultStaticSecret; seconds until the next."""
    obj = context.find(key)
    if obj is None:
        return None
    if model.deleting(obj):
        context.backoff.forget(key)
        await release(context, obj)
        return None
    try:
        view = await client_for(context, obj)
    except ClientRefused as error:
        return await _failed(
            context,
            obj,
            Reason.VAULT_CLIENT_CONFIG_ERROR,
            f"Failed to get Vault auth login: {error}",
            str(error),
        )
    try:
        secret = await destination.current(context.kube, obj)
    except destination.DestinationRefused as error:
        text = f"Failed to update k8s secret: {error}"
        return await _failed(context, obj, Reason.SYNC_ERROR, text, str(error))
    if secret is None and not destination.creates(obj):
        # Upstream says so in its log alone.
        text = destination.missing(obj)
        context.recorder.event(obj, Reason.K8S_CLIENT_ERROR, text, warning=True)
        return timing.ERROR_RETRY
    return await _sync(context, key, obj, view, secret)


async def _failed(
    context: Context, obj: Obj, reason: str, text: str, error: str, after: float | None = None
) -> float:
    """Event, status, and the wait until the next try."""
    wait = timing.error_retry() if after is None else after
    context.recorder.event(obj, reason, text, warning=True)
    shown = timing.format_duration(wait)
    await report(
        context,
        obj,
        {},
        conditions.synced(obj, False, f"Failed to sync the secret, horizon={shown}, err={error}"),
        healthy=False,
    )
    return wait


def _period(obj: Obj) -> float:
    """Seconds between two reads without jitter; 0 for none."""
    text = model.spec(obj).get("refreshAfter") or ""
    try:
        seconds = parse_duration(text) if text else 0.0
    except ValueError as error:
        raise ValueError(f'invalid value "{text}" for .spec.refreshAfter, {error}') from None
    return seconds or (_DEFAULT_POLL if model.spec(obj).get("hmacSecretData", True) else 0.0)


async def read(view: View, obj: Obj) -> tuple[dict[str, object], Answer]:
    """(values, whole answer) of the KV secret that the spec names. VaultError otherwise."""
    spec = model.spec(obj)
    mount, path = spec.get("mount", "").strip("/"), spec.get("path", "").strip("/")
    if spec.get("type") == "kv-v1":
        answer = await view.read(f"{mount}/{path}")
        return answer.data, answer
    version = {"version": str(spec["version"])} if spec.get("version") else None
    answer = await view.read(f"{mount}/data/{path}", version)
    inner = answer.data.get("data")
    # A deleted version has metadata but no values.
    return (inner if isinstance(inner, dict) else {}), answer


async def _sync(
    context: Context, key: Key, obj: Obj, view: View, secret: Obj | None
) -> float | None:
    try:
        period = _period(obj)
        transformation = transform.gather(obj, context.store, exclude_raw=context.exclude_raw)
    except ValueError as error:
        text = f"Field validation failed, err={error}"
        return await _failed(context, obj, Reason.STATIC_ERROR, text, str(error))
    except transform.TransformationRefused as error:
        text = f"Failed setting up SecretTransformationOption: {error}"
        return await _failed(context, obj, Reason.TRANSFORMATION_ERROR, text, str(error))
    try:
        values, answer = await read(view, obj)
    except VaultError as error:
        text = f"Failed to read Vault secret: {error}"
        wait = context.backoff.next(key)
        return await _failed(context, obj, Reason.VAULT_CLIENT_ERROR, text, str(error), wait)
    context.backoff.forget(key)
    try:
        data = await transform.build(context.templates, values, answer.data, transformation)
    except transform.TransformationRefused as error:
        text = f"Failed to build K8s secret data: {error}"
        return await _failed(context, obj, Reason.DATA_BUILDER_ERROR, text, str(error))
    return await _apply(context, obj, view, secret, data, period)


async def _apply(
    context: Context,
    obj: Obj,
    view: View,
    secret: Obj | None,
    data: dict[str, bytes],
    period: float,
) -> float | None:
    before, spec = model.status(obj), model.spec(obj)
    last = before.get("secretMAC") or ""
    changes: Obj = {"vaultClientMeta": view.meta, "lastGeneration": model.generation(obj)}
    wanted = True
    if spec.get("hmacSecretData", True):
        try:
            changes["secretMAC"] = await context.fingerprints.of(data)
            same = changes["secretMAC"] == last and await context.fingerprints.matches(secret, last)
        except KubeError as error:
            text = f"Failed to HMAC the secret data: {error}"
            return await _failed(context, obj, Reason.HMAC_DATA_ERROR, text, str(error))
        wanted = not (same and before.get("lastGeneration") == model.generation(obj))
    after = timing.horizon(period) if period else None
    found = []
    restarted: list[conditions.Condition] = []
    if wanted:
        try:
            await destination.write(context.kube, obj, secret, data)
        except (destination.DestinationRefused, KubeError) as error:
            # Upstream leaves the status as it was: Ready, with an event beside it.
            text = f"Failed to update k8s secret: {error}"
            return await _failed(context, obj, Reason.SYNC_ERROR, text, str(error))
        shown = timing.format_duration(after or 0)
        found.append(conditions.synced(obj, True, f"Secret synced, horizon={shown}"))
        context.recorder.event(obj, Reason.SYNCED, "Secret synced")
        if last and spec.get("hmacSecretData", True):
            restarted = await restarts.trigger(context.kube, context.recorder, obj)
    if (spec.get("syncConfig") or {}).get("instantUpdates"):
        context.recorder.event(
            obj,
            Reason.EVENT_WATCHER_ERROR,
            "Failed to watch events: the stand-in operator does not cover instantUpdates",
            warning=True,
        )
    await report(context, obj, changes, *found, healthy=True, restarted=restarted)
    return after
