"""The resources that only configure others: connection, auth, global auth, transformation.

They are checked when they change and get `status.valid`; an invalid one is tried again every
few seconds. A change of an auth or a connection ends the clients that were made with it.
"""

from __future__ import annotations

import hashlib

from standins.common import gojson
from standins.common.kube import KubeError
from standins.common.logs import Log
from standins.common.vault import VaultError
from standins.operator import conditions, model, timing, transform
from standins.operator.context import Context, release, report
from standins.operator.gotemplate import TemplateError
from standins.operator.model import Key, Obj, Reason
from standins.operator.references import ReferenceRefused

log = Log(__name__)


async def connection(context: Context, key: Key) -> float | None:
    """VaultConnection: can Vault be asked for its seal status?"""
    obj = context.find(key)
    if obj is None:
        return None
    if model.deleting(obj):
        _end_clients(context, obj)
        await release(context, obj)
        return None
    address = model.spec(obj).get("address", "")
    found, fault = [], ""
    try:
        api = await context.connections.api(obj)
    except (ValueError, KubeError) as error:
        fault = str(error)
        text = f"Failed to construct Vault client: {fault}"
        context.recorder.event(obj, Reason.VAULT_CLIENT_ERROR, text, warning=True)
        text = f"Failed to setup Vault client, address={address}, err={fault}"
        found.append(
            conditions.condition(obj, "VaultClient", Reason.VAULT_CLIENT_CONFIG_ERROR, False, text)
        )
    else:
        try:
            await api.call("GET", "sys/seal-status")
        except VaultError as error:
            fault = str(error)
            text = f"Failed to check Vault seal status: {fault}"
            context.recorder.event(obj, Reason.VAULT_CLIENT_ERROR, text, warning=True)
            text = f"Vault ping failed, address={address}, errs={fault}"
            reason = Reason.INVALID_CONFIGURATION
            found.append(conditions.condition(obj, "VaultPing", reason, False, text))
        else:
            text = f"Vault ping, address={address}"
            found.append(conditions.condition(obj, "VaultPing", Reason.ACCEPTED, True, text))
    good = not fault
    reason = Reason.ACCEPTED if good else Reason.INVALID_CONFIGURATION
    text = f"Successfully validated resource, address={address}"
    if not good:
        fault = f"{fault}\ninvalid VaultConnection {key}"
        text = f"Failed to validate resource, address={address}, errs={fault}"
    found.append(conditions.condition(obj, "ResourceValidation", reason, good, text))
    what = "accepted" if good else "invalid"
    context.recorder.event(obj, reason, f"VaultConnection {what}", warning=not good)
    # Conditions of an earlier try that do not hold any more must not stay.
    fresh = {**obj, "status": {**model.status(obj), "conditions": []}}
    await report(context, fresh, {"valid": good}, *found, healthy=good)
    return None if good else timing.error_retry()


def _end_clients(context: Context, connection_obj: Obj) -> None:
    for auth in context.store.all(model.AUTH):
        try:
            merged = context.resolver.merged(auth)[0]
            uses = context.resolver.connection_for(merged)
        except ReferenceRefused:
            continue
        if model.uid(uses) == model.uid(connection_obj):
            context.clients.prune(f"{model.namespace(auth)}/{model.name(auth)}")


def connection_changed(context: Context, obj: Obj) -> None:
    """A VaultConnection has a new generation: its clients are replaced."""
    _end_clients(context, obj)


async def auth(context: Context, key: Key) -> float | None:
    """VaultAuth: does its global merge, is its connection there?"""
    obj = context.find(key)
    if obj is None:
        return None
    if model.deleting(obj):
        context.clients.prune(f"{key.namespace}/{key.name}")
        await release(context, obj)
        return None
    found: list[conditions.Condition] = []
    faults: list[str] = []
    merged, shared, text = context.resolver.connected(obj), None, ""
    try:
        merged, shared = context.resolver.merged(obj)
    except ReferenceRefused as error:
        faults.append(str(error))
        text = str(error)
    if shared is not None:
        where = model.key_of(model.AUTH_GLOBAL, shared)
        text = (
            f"VaultAuthGlobal successfully merged, key={where}, uid={model.uid(shared)}, "
            f"generation={model.generation(shared)}"
        )
    if text:
        found.append(conditions.condition(obj, "Available", "VaultAuthGlobalRef", not faults, text))
    if key.namespace == context.operator_namespace and not model.spec(merged).get(
        "vaultConnectionRef"
    ):
        faults.append(
            f'vaultConnectionRef must be set on resources in the "{key.namespace}" namespace'
        )
    try:
        context.resolver.connection_for(merged)
    except ReferenceRefused as error:
        faults.append(str(error))
        text = f"Invalid VaultConnectionRef: {error}"
        context.recorder.event(obj, Reason.INVALID_RESOURCE_REF, text, warning=True)
    spec_hash = hashlib.blake2b(
        gojson.dumps(model.spec(merged)).encode(), digest_size=32
    ).hexdigest()
    known = model.status(obj).get("specHash")
    if not faults and known and known != spec_hash:
        context.clients.prune(f"{key.namespace}/{key.name}")
    error_text = "\n".join(faults)
    changes = {"valid": not faults, "error": error_text, "specHash": spec_hash}
    await report(context, obj, changes, *found, healthy=not faults)
    text = "Successfully handled VaultAuth resource request"
    if faults:
        text = f"Failed to handle VaultAuth resource request: err={error_text}"
    context.recorder.event(obj, Reason.ACCEPTED, text, warning=bool(faults))
    return timing.error_retry() if faults else None


async def auth_global(context: Context, key: Key) -> float | None:
    """VaultAuthGlobal: nothing to check by itself; it shows its faults where it is merged."""
    obj = context.find(key)
    if obj is None or model.deleting(obj):
        return None
    if model.status(obj) != {"valid": True, "error": ""}:
        change = {"status": {"valid": True, "error": ""}}
        now = await context.kube.patch(
            key.kind, key.namespace, key.name, change, subresource="status"
        )
        context.store.put(key.kind, now)
    return None


async def transformation(context: Context, key: Key) -> float | None:
    """SecretTransformation: do its templates and patterns parse?"""
    obj = context.find(key)
    if obj is None or model.deleting(obj):
        return None
    try:
        faults = await transform.check(context.templates, model.spec(obj), str(key))
        after = None
    except TemplateError as error:
        # The engine failed, not the templates: they are looked at again.
        faults, after = [str(error)], timing.error_retry()
    if faults:
        text = "Failed to validate configured templates: " + "\n".join(faults)
        context.recorder.event(obj, Reason.INVALID_CONFIGURATION, text, warning=True)
    changes = {"valid": not faults, "error": "\n".join(faults)}
    seen = {entry.get("observedGeneration") for entry in model.status(obj).get("conditions") or []}
    await report(context, obj, changes, healthy=not faults)
    if not faults and model.generation(obj) not in seen:
        context.transformed(key)
    return after
