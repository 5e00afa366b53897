"""Conditions of a custom resource, merged the way users of `kubectl wait` rely on.

A condition that is not touched stays; one that is touched moves to the end of the list.
Healthy and Ready keep their `lastTransitionTime` while they hold. The others say when the
last sync, renewal or restart was, as upstream's do, so their time is always the newest.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from standins.operator import model
from standins.operator.model import Obj, Reason

Condition = dict[str, Any]
STEADY = ("Healthy", "Ready")


def timestamp(now: datetime | None = None) -> str:
    """RFC 3339 in UTC, to the second, as metav1.Time is written."""
    return (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(obj: Obj, kind: str, reason: str, good: bool, message: str) -> Condition:
    """One condition of `obj`, observed at its present generation."""
    return {
        "type": kind,
        "reason": reason,
        "status": "True" if good else "False",
        "observedGeneration": model.generation(obj),
        "lastTransitionTime": timestamp(),
        # The API server refuses longer messages.
        "message": message[:32768],
    }


def synced(obj: Obj, good: bool, message: str) -> Condition:
    """`SecretSynced`, whose reason is always `Synced`."""
    return condition(obj, "SecretSynced", "Synced", good, message)


def health(obj: Obj, good: bool) -> list[Condition]:
    """`Healthy` and `Ready`, which every resource with conditions carries."""
    kind = str(obj.get("kind", ""))
    # Upstream's messages spell this one kind so.
    kind = "SecretsTransformation" if kind == model.TRANSFORMATION else kind
    reason = "Healthy" if good else "Unhealthy"
    return [
        condition(obj, "Healthy", reason, good, f"{kind}{reason}"),
        condition(obj, "Ready", "Ready", good, f"{kind}Ready"),
    ]


def restart(obj: Obj, error: str) -> Condition:
    """`RolloutRestart` after targets were patched; `error` is empty when all went well."""
    if error:
        # Two spellings, as upstream has them.
        link = ": " if obj.get("kind") == model.DYNAMIC else ", err="
        return condition(
            obj,
            "RolloutRestart",
            Reason.ROLLOUT_RESTART_TRIGGERED_FAILED,
            False,
            f"Rollout restart trigger failed{link}{error}",
        )
    return condition(
        obj,
        "RolloutRestart",
        Reason.ROLLOUT_RESTART_TRIGGERED,
        True,
        "Rollout restart triggered",
    )


def merged(current: Sequence[Condition], updates: Sequence[Condition]) -> list[Condition]:
    """`current` with `updates` taken in; the first update of a type wins."""
    by_type = {entry.get("type"): entry for entry in current}
    fresh: dict[str, Condition] = {}
    for update in updates:
        if update["type"] in fresh:
            continue
        before = by_type.get(update["type"])
        entry = dict(update)
        if (
            before
            and entry["type"] in STEADY
            and before.get("status") == entry["status"]
            and before.get("reason") == entry["reason"]
            and before.get("lastTransitionTime")
        ):
            entry["lastTransitionTime"] = before["lastTransitionTime"]
        fresh[update["type"]] = entry
    kept = [dict(entry) for entry in current if entry.get("type") not in fresh]
    return kept + list(fresh.values())
