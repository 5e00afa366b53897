"""Renewing the lease of a VaultDynamicSecret, and reading its clock.

A renewal that Vault shortens, refuses or does not know is no error: it means that new
credentials are due. `renew` then returns the condition that says so, and the caller syncs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from standins.common.values import parse_duration
from standins.common.vault import VaultError
from standins.operator import conditions, model, timing
from standins.operator.conditions import Condition
from standins.operator.context import Context, report
from standins.operator.model import Obj, Reason
from standins.operator.vaultclient import Answer, View

_SHORTEST_LEASE = 5.0
# Vault's own answers to a denied or unknown lease.
_GONE = ("lease not found", "lease is not renewable", "lease expired")


@dataclass
class Renewal:
    """What came of renewing a lease: a wait, or the condition that says why not."""

    after: float | None = None
    condition: Condition | None = None


def is_static(obj: Obj) -> bool:
    """Whether Vault itself rotates the credentials."""
    return bool(model.spec(obj).get("allowStaticCreds"))


def duration(obj: Obj, status: dict[str, Any]) -> float:
    """The lease's seconds, or refreshAfter when there is no lease."""
    seconds = float((status.get("secretLease") or {}).get("duration") or 0)
    text = model.spec(obj).get("refreshAfter") or ""
    return seconds or (parse_duration(text) if text else 0.0)


def percent(obj: Obj) -> int:
    """spec.renewalPercent."""
    return int(model.spec(obj).get("renewalPercent", 67))


async def after_restart(context: Context, obj: Obj) -> float | None:
    """After a change of pods: wait for the renewal window instead of renewing at once."""
    status = model.status(obj)
    if not context.pod_uid or context.pod_uid == status.get("lastRuntimePodUID") or is_static(obj):
        return None
    start = timing.renewal_start(duration(obj, status), percent(obj))
    left = float(status.get("lastRenewalTime") or 0) + start - time.time()
    if left <= 0:
        return None
    after = max(left, 1.0) * (1 - 0.05 * timing.uniform())
    shown = timing.format_duration(after)
    lease = (status.get("secretLease") or {}).get("id", "")
    context.recorder.event(
        obj,
        Reason.LEASE_RENEWAL,
        f"Not in renewal window after transitioning to a new leader/pod, lease_id={lease}, "
        f"horizon={shown}",
    )
    condition = conditions.condition(
        obj,
        "LeaseRenewal",
        Reason.LEASE_RENEWAL,
        False,
        f"Not in rotation period after transitioning to a new leader/pod, horizon={shown}",
    )
    changes = {"lastRuntimePodUID": context.pod_uid}
    await report(context, obj, changes, condition, healthy=True)
    return after


async def renew(context: Context, obj: Obj, view: View, lease: dict[str, Any]) -> Renewal:
    """Renew `lease` for as long as it was given, and write that into the status."""
    asked = int(lease.get("duration") or 0)
    identifier = str(lease["id"])
    try:
        answer = await view.write("sys/leases/renew", {"lease_id": identifier, "increment": asked})
        if answer.lease_duration < asked:
            text = f"lease renewal duration was truncated from {asked}s to {answer.lease_duration}s"
            context.recorder.event(
                obj,
                Reason.LEASE_RENEWAL,
                f"Lease renewal duration was truncated from {asked}s to "
                f"{answer.lease_duration}s, requesting new credentials",
            )
            return Renewal(condition=_not_renewed(obj, text))
    except VaultError as error:
        if not _lease_gone(error):
            context.recorder.event(
                obj,
                Reason.LEASE_RENEWAL_ERROR,
                f"Could not renew lease, lease_id={identifier}, err={error}",
                warning=True,
            )
        return Renewal(condition=_not_renewed(obj, str(error)))
    after = timing.lease_horizon(float(answer.lease_duration) or _SHORTEST_LEASE, percent(obj))
    changes = {
        "secretLease": lease_status(answer),
        "lastRenewalTime": int(time.time()),
        "lastRuntimePodUID": context.pod_uid,
    }
    good = conditions.condition(
        obj, "LeaseRenewal", Reason.LEASE_RENEWAL, True, "Successfully renewed lease"
    )
    await report(context, obj, changes, good, healthy=True)
    context.recorder.event(
        obj,
        Reason.LEASE_RENEWAL,
        f"Renewed lease, lease_id={identifier}, horizon={timing.format_duration(after)}",
    )
    if not answer.renewable:
        context.recorder.event(
            obj, Reason.LEASE_RENEWAL, "Lease is not renewable, staticCreds=false", warning=True
        )
    return Renewal(after=after)


def _lease_gone(error: VaultError) -> bool:
    """Whether Vault says that the lease was revoked or has run out."""
    return error.status == 400 and any(text in line for line in error.errors for text in _GONE)


def _not_renewed(obj: Obj, error: str) -> Condition:
    return conditions.condition(
        obj,
        "LeaseRenewal",
        Reason.LEASE_RENEWAL_ERROR,
        False,
        f"Could not renew lease, err={error}",
    )


def lease_status(answer: Answer) -> dict[str, Any]:
    """`status.secretLease` of an answer."""
    return {
        "id": answer.lease_id,
        "duration": answer.lease_duration,
        "renewable": answer.renewable,
        "requestID": answer.request_id,
    }
