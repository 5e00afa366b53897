"""Objects that a spec names. The name can be anything, and upstream has words for that."""

from __future__ import annotations

from standins.common.kube import Kube, KubeError, Obj


def segment_fault(name: str) -> str:
    """Why `name` cannot stand in a path of the API, in client-go's words; "" when it can."""
    if not name:
        return "may not be empty"
    if name in (".", ".."):
        return f"may not be '{name}'"
    found = [f"may not contain '{sign}'" for sign in "/%" if sign in name]
    return " ".join(found)


async def find(kube: Kube, kind: str, namespace: str, name: str) -> Obj | None:
    """The object, or None when there is none; any other failure is raised.

    For a name such as "other/x", in the hope for another namespace: upstream asks its cache,
    where nothing has such a name; Secrets are not cached, and for them its client refuses it.
    """
    if fault := segment_fault(name):
        if kind == "Secret":
            raise KubeError(0, f'invalid resource name "{name}": [{fault}]')
        return None
    return await kube.find(kind, namespace, name)
