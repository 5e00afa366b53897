"""VaultPKISecret: issues a certificate, keeps it in a Secret and replaces it before its end.

There is no lease to renew; the certificate's own expiry, minus `expiryOffset`, says when the
next one is due. A changed spec, a lost or edited Secret causes a new certificate, too. With
`revoke` the certificate that was replaced, or whose resource is deleted, is revoked.
"""

from __future__ import annotations

import time
from typing import Any

from standins.common.kube import KubeError
from standins.common.logs import Log
from standins.common.values import parse_duration
from standins.common.vault import VaultError
from standins.operator import conditions, destination, model, restarts, timing, transform
from standins.operator.clients import ClientRefused
from standins.operator.context import Context, client_for, release, report
from standins.operator.model import Key, Obj, Reason
from standins.operator.vaultclient import View

log = Log(__name__)

_SOONEST = 1.0
_JITTER = 0.05


async def reconcile(context: Context, key: Key) -> float | None:
    """One pass over a VaultPKISecret; seconds until the next."""
    obj = context.find(key)
    if obj is None:
        return None
    if model.deleting(obj):
        await _delete(context, key, obj)
        return None
    try:
        secret = await destination.current(context.kube, obj)
    except destination.DestinationRefused as error:
        return await _unwritten(context, obj, str(error))
    if secret is None and not destination.creates(obj):
        after = timing.error_retry()
        shown = timing.format_duration(after)
        name = model.spec(obj)["destination"]["name"]
        text = f'Kubernetes secret "{name}" does not exist yet, horizon={shown}'
        return await _failed(context, obj, text, Reason.K8S_CLIENT_ERROR, after)
    reason = await sync_reason(context, obj, secret, forced=key in context.forced)
    if reason == Reason.DATA_DRIFT:
        context.recorder.event(obj, reason, "Secret data drift detected", warning=True)
    if not reason:
        after, due = renewal_window(obj, time.time())
        if not due:
            return after
        reason = Reason.IN_RENEWAL_WINDOW
    return await _issue(context, key, obj, secret, reason)


async def sync_reason(context: Context, obj: Obj, secret: Obj | None, *, forced: bool) -> str:
    """Why a new certificate is due although the present one has not run out; "" if none is."""
    status = model.status(obj)
    if not status.get("serialNumber"):
        return Reason.INITIAL_SYNC
    if forced:
        return Reason.FORCE_SYNC
    if model.generation(obj) != status.get("lastGeneration"):
        return Reason.RESOURCE_UPDATED
    if secret is None:
        return Reason.INEXISTENT_DESTINATION
    try:
        same = await context.fingerprints.matches(secret, status.get("secretMAC") or "")
    except KubeError as error:
        # No key, no comparison: no reason to issue anything.
        log.warn("destination not compared", name=model.name(obj), error=error)
        same = True
    return "" if same else Reason.DATA_DRIFT


def renewal_window(obj: Obj, now: float) -> tuple[float, bool]:
    """(seconds until the certificate must be looked at, whether it must be replaced now)."""
    text = model.spec(obj).get("expiryOffset") or ""
    try:
        offset = parse_duration(text) if text else 0.0
    except ValueError:
        # The schema lets days pass ("30d"), which are no duration in Go: upstream goes on without.
        offset = 0.0
    left = float(model.status(obj).get("expiration") or 0) - offset - now
    due = left < _SOONEST
    horizon = _SOONEST if due else left
    jitter = horizon * _JITTER * timing.uniform()
    # With an offset there is room to be late; without one only to be early.
    return (horizon + jitter if offset or due else horizon - jitter), due


def request_body(spec: dict[str, Any]) -> dict[str, Any]:
    """What `<mount>/issue/<role>` is asked for."""
    body = {
        "common_name": spec.get("commonName", ""),
        "ttl": spec.get("ttl", ""),
        "exclude_cn_from_sans": bool(spec.get("excludeCNFromSans")),
        "remove_roots_from_chain": True,
    }
    lists = {
        "alt_names": "altNames",
        "ip_sans": "ipSans",
        "uri_sans": "uriSans",
        "other_sans": "otherSans",
        "user_ids": "userIDs",
    }
    body |= {field: ",".join(spec.get(source) or []) for field, source in lists.items()}
    # Vault takes an empty not_after, which upstream sends; OpenBao refuses it.
    optional = {
        "format": "format",
        "private_key_format": "privateKeyFormat",
        "not_after": "notAfter",
    }
    return body | {field: spec[source] for field, source in optional.items() if spec.get(source)}


def issue_path(spec: dict[str, Any]) -> str:
    """`<mount>/issue/<role>`, or `<mount>/issuer/<ref>/<role>` for a named issuer.

    The latter follows upstream; Vault's own path has an `issue` between the two.
    """
    mount, role = spec.get("mount", "").strip("/"), spec.get("role", "")
    if issuer := spec.get("issuerRef"):
        return f"{mount}/issuer/{issuer}/{role}"
    return f"{mount}/issue/{role}"


def tls_data(data: dict[str, bytes]) -> dict[str, bytes]:
    """`data` with the keys of a kubernetes.io/tls Secret, made of Vault's fields."""
    result = dict(data)
    chain = data.get("ca_chain") or b""
    if not chain and data.get("issuing_ca"):
        chain = result["ca.crt"] = data["issuing_ca"]
    if "certificate" in data:
        parts = [data["certificate"], *([chain] if chain else [])]
        result["tls.crt"] = b"\n".join(parts)
    if "private_key" in data:
        result["tls.key"] = data["private_key"]
    return result


async def _failed(
    context: Context, obj: Obj, text: str, reason: str, after: float, error: str = ""
) -> float:
    context.recorder.event(obj, reason, text, warning=True)
    shown = timing.format_duration(after)
    condition = conditions.synced(
        obj, False, f"Failed to sync the secret, horizon={shown}, err={error or reason}"
    )
    changes = {"valid": False, "error": reason}
    await report(context, obj, changes, condition, healthy=False)
    return after


async def _unwritten(context: Context, obj: Obj, error: str) -> float:
    text = f"Failed to update k8s secret: {error}"
    return await _failed(context, obj, text, Reason.SYNC_ERROR, timing.error_retry(), error)


async def _issue(
    context: Context, key: Key, obj: Obj, secret: Obj | None, reason: str
) -> float | None:
    spec, before = model.spec(obj), model.status(obj)
    try:
        transformation = transform.gather(obj, context.store, exclude_raw=context.exclude_raw)
        destination.check_writable(obj, secret)
        view = await client_for(context, obj)
    except transform.TransformationRefused as error:
        text = f"Failed setting up SecretTransformationOption: {error}"
        context.recorder.event(obj, Reason.TRANSFORMATION_ERROR, text, warning=True)
        return timing.error_retry()
    except destination.DestinationRefused as error:
        return await _unwritten(context, obj, str(error))
    except ClientRefused as error:
        text = f"Failed to get Vault client: {error}"
        return await _failed(
            context, obj, text, Reason.VAULT_CLIENT_CONFIG_ERROR, timing.error_retry(), str(error)
        )
    try:
        answer = await view.write(issue_path(spec), request_body(spec))
        if not answer.data.get("serial_number"):
            raise VaultError("serial_number cannot be empty")
    except VaultError as error:
        context.forced.add(key)
        text = f"Failed to issue certificate from Vault: {error}"
        after = context.backoff.next(key)
        return await _failed(context, obj, text, Reason.K8S_CLIENT_ERROR, after, str(error))
    context.backoff.forget(key)
    try:
        data = await transform.build(context.templates, answer.data, answer.data, transformation)
        if data.get("ca_chain") and isinstance(answer.data.get("ca_chain"), list):
            data["ca_chain"] = "\n".join(answer.data["ca_chain"]).encode()
        if spec["destination"].get("type") == "kubernetes.io/tls" and not transformation.templates:
            data = tls_data(data)
        mac = await context.fingerprints.of(data)
        await destination.write(context.kube, obj, secret, data)
    except (transform.TransformationRefused, destination.DestinationRefused, KubeError) as error:
        return await _unwritten(context, obj, str(error))
    old = str(before.get("serialNumber") or "")
    if old:
        # Told by events alone: upstream sets no condition RolloutRestart on this kind.
        await restarts.trigger(context.kube, context.recorder, obj)
    if spec.get("revoke") and old:
        await _revoke(context, obj, view, old)
    changes = {
        "serialNumber": str(answer.data["serial_number"]),
        "expiration": int(answer.data.get("expiration") or 0),
        "lastGeneration": model.generation(obj),
        "lastRotation": int(time.time()),
        "secretMAC": mac,
        "valid": True,
        "error": "",
    }
    after, _ = renewal_window({**obj, "status": changes}, time.time())
    text = f"Secret synced, horizon={timing.format_duration(after)}"
    good = conditions.synced(obj, True, text)
    await report(context, obj, changes, good, healthy=True)
    context.forced.discard(key)
    context.recorder.event(obj, Reason.ROTATED if old else Reason.SYNCED, text)
    log.info("issued", key=key, reason=reason)
    return after


async def _revoke(context: Context, obj: Obj, view: View, serial: str) -> None:
    mount = model.spec(obj).get("mount", "").strip("/")
    try:
        await view.write(f"{mount}/revoke", {"serial_number": serial})
    except VaultError as error:
        context.recorder.event(
            obj,
            Reason.CERTIFICATE_REVOCATION_ERROR,
            f"Failed to revoke certificate {serial}: {error}",
            warning=True,
        )


async def _delete(context: Context, key: Key, obj: Obj) -> None:
    """Revoke and clear as the spec says, then let the object go whatever came of it."""
    spec, serial = model.spec(obj), str(model.status(obj).get("serialNumber") or "")
    try:
        if spec.get("revoke") and serial:
            await _revoke(context, obj, await context.clients.farewell(obj), serial)
        if spec.get("clear") and not destination.creates(obj):
            await destination.clear(context.kube, obj)
    except (ClientRefused, KubeError, destination.DestinationRefused) as error:
        log.info("not revoked or cleared", key=key, error=error)
    context.forced.discard(key)
    context.backoff.forget(key)
    await release(context, obj)
