"""Writes the destination Secret of a custom resource (interfaces.md section 3.3).

With `create: false` only the data of an existing Secret is replaced. With `create: true` the
operator also owns labels, annotations, the owner reference and the type, and leaves the rest
as others have set it (finalizers); a foreign Secret is refused unless `overwrite` is set, one of
another custom resource always. A type change is a delete and a create; Secrets under a former
destination name are removed.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

from standins.common.kube import Kube, KubeError
from standins.common.logs import Log
from standins.operator import model
from standins.operator.lookups import find
from standins.operator.model import Obj

log = Log(__name__)


class DestinationRefused(Exception):
    """The Secret may not be written, or is not there and may not be created."""


async def current(kube: Kube, obj: Obj) -> Obj | None:
    """The destination Secret as it is, or None. DestinationRefused when it cannot be read."""
    name = str(_destination(obj).get("name") or "")
    try:
        return await find(kube, "Secret", model.namespace(obj), name)
    except KubeError as error:
        raise DestinationRefused(str(error)) from error


def _destination(obj: Obj) -> Obj:
    found: Obj = model.spec(obj).get("destination") or {}
    return found


def creates(obj: Obj) -> bool:
    """Whether the operator owns the destination's whole life."""
    return bool(_destination(obj).get("create"))


def missing(obj: Obj) -> str:
    """The words for a destination that is not there and may not be created."""
    name = _destination(obj).get("name")
    return (
        f'Kubernetes secret "{name}" does not exist yet, either create it or '
        "set .spec.destination.create=true"
    )


def check_writable(obj: Obj, secret: Obj | None) -> None:
    """Raise DestinationRefused when `write` would; costs no request.

    Called before credentials are asked of Vault, so that a refused destination does not make
    a lease at every retry.
    """
    destination = _destination(obj)
    label = f"{model.namespace(obj)}/{destination.get('name')}"
    if not destination.get("create"):
        if secret is None:
            raise DestinationRefused(f"destination secret {label} does not exist, and create=false")
        return
    if secret is None:
        return
    labels = model.meta(secret).get("labels") or {}
    faults = [
        f"invalid owner label, key={key}, present={str(key in labels).lower()}"
        for key, value in model.OWNER_LABELS.items()
        if labels.get(key) != value
    ]
    if destination.get("overwrite") and faults:
        # Not a Secret of this operator: the user asked for it to be taken over.
        return
    references = model.meta(secret).get("ownerReferences") or []
    if not references:
        faults.append(f"secret {label} has no ownerReferences")
    elif not _same_owner(references, obj):
        faults.append("invalid ownerReferences")
    if faults:
        raise DestinationRefused(
            "\n".join([*faults, f"not the owner of the destination Secret {label}"])
        )


def _same_owner(references: list[Obj], obj: Obj) -> bool:
    wanted = model.owner_reference(obj)
    return len(references) == 1 and all(
        references[0].get(key) == value for key, value in wanted.items()
    )


async def write(kube: Kube, obj: Obj, secret: Obj | None, data: Mapping[str, bytes]) -> None:
    """Make the destination hold `data`. `secret` is the destination as last read."""
    check_writable(obj, secret)
    namespace, destination = model.namespace(obj), _destination(obj)
    name = str(destination["name"])
    encoded = {key: base64.b64encode(value).decode() for key, value in sorted(data.items())}
    if secret is not None and not destination.get("create"):
        await kube.replace("Secret", namespace, name, {**secret, "data": encoded})
        return
    wanted: Obj = {
        **(secret or {}),
        "metadata": {
            **model.meta(secret or {}),
            "name": name,
            "namespace": namespace,
            "labels": (destination.get("labels") or {})
            | model.OWNER_LABELS
            | {model.OWNER_UID_LABEL: model.uid(obj)},
            "annotations": destination.get("annotations") or {},
            "ownerReferences": [model.owner_reference(obj)],
        },
        "type": destination.get("type") or "Opaque",
        "data": encoded,
    }
    if secret is None:
        await kube.create("Secret", namespace, wanted)
    elif secret.get("type", "Opaque") != wanted["type"]:
        await _recreate(kube, secret, wanted)
    else:
        # The version read is the version replaced: a writer in between causes a retry.
        await kube.replace("Secret", namespace, name, wanted)
    if model.status(obj).get("lastGeneration") not in (None, 0, model.generation(obj)):
        # Only a changed spec can leave a Secret under a former name.
        await _prune(kube, obj, keep=name)


async def _recreate(kube: Kube, secret: Obj, wanted: Obj) -> None:
    namespace, name = model.namespace(secret), model.name(secret)
    # Without its labels the old Secret's end does not look like a lost destination.
    await kube.patch("Secret", namespace, name, {"metadata": {"labels": None}})
    await kube.delete("Secret", namespace, name, uid=model.uid(secret))
    kept = ("name", "namespace", "labels", "annotations", "ownerReferences", "finalizers")
    meta = {key: value for key, value in wanted["metadata"].items() if key in kept}
    await kube.create("Secret", namespace, {**wanted, "metadata": meta})


async def _prune(kube: Kube, obj: Obj, keep: str) -> None:
    labels = {**model.OWNER_LABELS, model.OWNER_UID_LABEL: model.uid(obj)}
    try:
        for secret in await kube.list_all("Secret", model.namespace(obj), labels):
            references = model.meta(secret).get("ownerReferences") or []
            if model.name(secret) != keep and _same_owner(references, obj):
                await kube.delete(
                    "Secret", model.namespace(obj), model.name(secret), uid=model.uid(secret)
                )
    except KubeError as error:
        log.info("former destinations not pruned", name=model.name(obj), error=error)


async def clear(kube: Kube, obj: Obj) -> None:
    """Empty a destination that the operator does not own."""
    secret = await current(kube, obj)
    if secret is not None:
        await write(kube, obj, secret, {})
