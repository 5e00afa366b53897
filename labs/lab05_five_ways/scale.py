"""Step 11: many at once. How the time grows with the number, and what it costs Vault."""

from __future__ import annotations

from typing import Any

from harness import expect
from harness.lab.api import LabContext
from labs.lab05_five_ways.crowd import (
    PODS,
    PODS_AT_SCALE,
    SECRETS,
    SECRETS_AT_SCALE,
    STEADY_PODS,
    crowd_of_pods,
    crowd_of_secrets,
    steady_requests,
)
from labs.lab05_five_ways.lab import five_ways
from labs.lab05_five_ways.pictures import draw_growth
from labs.lab05_five_ways.results import drop, keep, load
from labs.lab05_five_ways.ways import CSI, HTTP, INJECTOR, OPERATOR


def grow(lab: LabContext) -> dict[str, Any]:
    """Make more and more of each kind, and note for each number how long it took."""
    secrets = SECRETS_AT_SCALE if lab.scale else SECRETS
    pods = PODS_AT_SCALE if lab.scale else PODS
    return {
        OPERATOR.name: [crowd_of_secrets(lab, count) for count in secrets],
        INJECTOR.name: [crowd_of_pods(lab, INJECTOR, count) for count in pods],
        CSI.name: [crowd_of_pods(lab, CSI, count) for count in pods],
    }


def stand_by(lab: LabContext) -> dict[str, Any]:
    """Requests an hour that nothing but time causes, for one pod and for twenty."""
    return {
        way.name: {str(count): steady_requests(lab, way, count) for count in STEADY_PODS}
        for way in (HTTP, CSI, INJECTOR, OPERATOR)
    }


def show_growth(grown: dict[str, Any], steady: dict[str, Any]) -> None:
    """Print both as tables."""
    head = ("way", "how many", "all, s", "p50, s", "p99, s", "requests", "a minute")
    keys = ("count", "seconds", "p50_seconds", "p99_seconds", "requests", "requests_per_minute")
    rows = [(way, *(row[key] for key in keys)) for way, found in grown.items() for row in found]
    for name, *cells in (head, *rows):
        print(f"{name:<10}" + "".join(f"{cell:>10}" for cell in cells))
    for way, by_count in steady.items():
        said = ", ".join(f"{asked} for {count}" for count, asked in by_count.items())
        print(f"{way}: requests an hour in steady state, by the number of pods: {said}")


@five_ways.step(
    "Many at once",
    minutes=3,
    further=True,
    goals=[
        "all of the secrets that the operator was to sync were there",
        "all pods with an agent became ready",
        "all pods with a CSI volume became ready",
        "with more of them Vault was asked more often",
    ],
    hints=[
        "`grow(lab)` makes them, notes the times and removes them again.",
        "`keep(lab, scale=...)` writes what was measured.",
        "./lab solve 05.11",
    ],
)
def many_at_once(lab: LabContext) -> None:
    """
    One pod is quick. What about many that start in the same moment, as after a node's failure?
    The operator syncs copies of your VaultStaticSecret; pods are made of your Deployments'
    templates, with an agent and with a CSI volume. For each number: when the half of them was
    there (p50), when nearly all were (p99), and how often Vault was asked.

    Here the numbers are small. `./lab run 05 --scale` makes 500 secrets and 100 pods of each kind,
    and then counts for two minutes what one pod and twenty pods ask of Vault while nothing
    happens.
    """
    print("more and more of them, from small to large")
    with lab.quiet():
        grown = grow(lab)  # ?(grow) what makes them?
        steady = stand_by(lab) if lab.scale else {}
        keep(lab, scale={"grown": grown, "steady_requests_an_hour": steady})
    show_growth(grown, steady)
    lab.show(draw_growth(grown, lab.folder / "growth.png"))


@many_at_once.check
def _(lab: LabContext) -> None:
    grown = (load(lab).get("scale") or {}).get("grown") or {}
    for way, sentence in (
        (OPERATOR, "all of the secrets that the operator was to sync were there"),
        (INJECTOR, "all pods with an agent became ready"),
        (CSI, "all pods with a CSI volume became ready"),
    ):
        rows = grown.get(way.name) or []
        expect(len(rows) > 1 and all(row["seconds"] > 0 for row in rows), sentence, found=rows)
    more = {way: rows[-1]["requests"] > rows[0]["requests"] for way, rows in grown.items()}
    expect(all(more.values()), "with more of them Vault was asked more often", found=more)


@many_at_once.undo
def _(lab: LabContext) -> None:
    drop(lab, "scale")
