"""Rolling restarts of workloads that use a rotated secret.

Each target's pod template gets an annotation with the time, which is what `kubectl rollout
restart` does. A failure is reported and not retried; the rollout itself is not waited for.
"""

from __future__ import annotations

from standins.common.kube import Kube, KubeError
from standins.operator import model
from standins.operator.conditions import Condition, restart, timestamp
from standins.operator.events import Recorder
from standins.operator.lookups import find
from standins.operator.model import Obj, Reason

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


async def trigger(kube: Kube, recorder: Recorder, obj: Obj) -> list[Condition]:
    """Restart all targets of `obj`; the condition that says how it went, or none."""
    targets = model.spec(obj).get("rolloutRestartTargets") or []
    if not targets:
        return []
    faults = []
    for target in targets:
        kind, name = target.get("kind", ""), target.get("name", "")
        try:
            await _restart(kube, model.namespace(obj), kind, name)
        except (KubeError, ValueError) as error:
            faults.append(str(error))
            recorder.event(
                obj,
                Reason.ROLLOUT_RESTART_FAILED,
                f'Rollout restart failed for target v1beta1.RolloutRestartTarget{{Kind:"{kind}", '
                f'Name:"{name}"}}: err={error}',
                warning=True,
            )
        else:
            recorder.event(
                obj,
                Reason.ROLLOUT_RESTART_TRIGGERED,
                f"Rollout restart triggered for {{{kind} {name}}}",
            )
    return [restart(obj, "\n".join(faults))]


async def _restart(kube: Kube, namespace: str, kind: str, name: str) -> None:
    if kind not in (*_WORKLOADS, "argo.Rollout"):
        raise ValueError(f'unsupported Kind "{kind}" for v1beta1.RolloutRestartTarget')
    stored = "Rollout" if kind == "argo.Rollout" else kind
    try:
        workload = await find(kube, stored, namespace, name)
    except KubeError as error:
        raise ValueError(
            f"failed to Get object for objKey {namespace}/{name}, err={error}"
        ) from error
    if workload is None:
        group = "argoproj.io" if kind == "argo.Rollout" else "apps"
        raise ValueError(
            f"failed to Get object for objKey {namespace}/{name}, "
            f'err={stored}.{group} "{name}" not found'
        )
    if kind == "argo.Rollout":
        await kube.patch(stored, namespace, name, {"spec": {"restartAt": timestamp()}})
        return
    if kind == "Deployment" and model.spec(workload).get("paused"):
        raise ValueError(f"deployment {namespace}/{name} is paused, cannot restart it")
    annotations = {model.RESTARTED_AT: timestamp()}
    change = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    await kube.patch(kind, namespace, name, change)
