"""kubectl's verbs about pods, where they do more than pass on what the API said."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from harness.clients.kube import Kube

SECOND = datetime(2026, 11, 25, 20, 0, 5, tzinfo=UTC)
# What client-go appends to the name of the object: nanoseconds since 1970, in hexadecimal.
NANOSECONDS = int(SECOND.timestamp()) * 10**9


def event(reason: str, made_at: float, **moment: Any) -> Any:
    """An event made `made_at` seconds after SECOND."""
    suffix = f"{NANOSECONDS + int(made_at * 10**9):x}"
    times = {"last_timestamp": None, "event_time": None} | moment
    metadata = SimpleNamespace(name=f"app.{suffix}", creation_timestamp=SECOND)
    return SimpleNamespace(reason=reason, message="", metadata=metadata, **times)


def order(*events: Any) -> list[str]:
    """The reasons in the order that `Kube.events` gives them."""
    kube = object.__new__(Kube)
    kube.namespace = "lab"
    answer = SimpleNamespace(items=list(events))
    kube.core = SimpleNamespace(list_namespaced_event=lambda *_, **__: answer)
    return [told.partition(":")[0] for told in kube.events("app")]


def test_the_schedulers_event_comes_before_the_kubelets_of_the_same_second() -> None:
    # The kubelet wrote 20:00:05 at .9, the scheduler 20:00:05.2.
    started = event("Started", 0.9, last_timestamp=SECOND)
    scheduled = event("Scheduled", 0.2, event_time=SECOND.replace(microsecond=200_000))
    assert order(started, scheduled) == ["Scheduled", "Started"]


def test_an_event_that_happened_again_counts_when_it_happened_last() -> None:
    again = event("Unhealthy", 0.1, last_timestamp=SECOND.replace(second=9))
    assert order(again, event("Started", 0.5, last_timestamp=SECOND)) == ["Started", "Unhealthy"]


def test_an_event_that_was_named_by_hand_is_sorted_by_its_second() -> None:
    late = event("Late", 0, last_timestamp=SECOND.replace(second=6))
    by_hand = event("ByHand", 0, last_timestamp=SECOND)
    by_hand.metadata.name = "written by hand"
    assert order(late, by_hand) == ["ByHand", "Late"]
