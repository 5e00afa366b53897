"""The JSON Patch that turns a plan into changes of the pod.

Only `add` is used, but for one `remove` when the agent has to be the first init
container. A list that the pod lacks is created by the first element and extended by
the next ones. Of all annotations only the status is written back.
"""

from __future__ import annotations

from standins.injector import containers
from standins.injector.annotations import PREFIX, STATUS
from standins.injector.jsonpatch import escape
from standins.injector.plan import Plan, stage
from standins.injector.pod import Container, JsonObject

INJECTED = "injected"


def make_patch(plan: Plan) -> list[JsonObject]:
    """The operations for this pod. Raises Refusal for what does not fit into it."""
    with stage("error creating patch for agent"):
        return _operations(plan)


def _operations(plan: Plan) -> list[JsonObject]:
    pod = plan.pod
    patch = _extend("/spec/volumes", bool(pod.volumes), containers.volumes(plan))
    for number, container in enumerate(pod.containers):
        if container.name in plan.containers:
            patch += _mount_secrets(plan, container, f"/spec/containers/{number}")
    if plan.pre_populate:
        patch += _init_containers(plan)
        if plan.share_process_namespace is not None:
            patch.append(_add("/spec/shareProcessNamespace", plan.share_process_namespace))
    if plan.sidecar:
        patch += _extend("/spec/containers", True, [containers.sidecar(plan)])
    # The pod has annotations: without one of them nobody would have asked for a patch.
    patch.append(_add(f"/metadata/annotations/{escape(PREFIX + STATUS)}", INJECTED))
    return patch


def _init_containers(plan: Plan) -> list[JsonObject]:
    agent = containers.init_container(plan)
    theirs = plan.pod.init_containers
    offset = 0
    patch: list[JsonObject] = []
    if plan.init_first:
        offset = 1
        if theirs:
            patch.append({"op": "remove", "path": "/spec/initContainers"})
        patch += _extend("/spec/initContainers", False, [agent, *(each.raw for each in theirs)])
    else:
        patch += _extend("/spec/initContainers", bool(theirs), [agent])
    for number, container in enumerate(theirs):
        if container.name != containers.INIT:
            patch += _mount_secrets(plan, container, f"/spec/initContainers/{number + offset}")
    return patch


def _mount_secrets(plan: Plan, container: Container, path: str) -> list[JsonObject]:
    mounts = containers.secret_mounts(plan)
    return _extend(f"{path}/volumeMounts", bool(container.mounts), mounts)


def _extend(path: str, exists: bool, items: list[JsonObject]) -> list[JsonObject]:
    """Operations that append `items` to the list at `path`, creating it if it is absent."""
    patch: list[JsonObject] = []
    for item in items:
        patch.append(_add(f"{path}/-", item) if exists else _add(path, [item]))
        exists = True
    return patch


def _add(path: str, value: object) -> JsonObject:
    return {"op": "add", "path": path, "value": value}
