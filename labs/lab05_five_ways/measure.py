"""Step 7: what each way costs and how fast it is, measured now."""

from __future__ import annotations

import statistics
from typing import Any

from harness import expect
from harness.lab.api import LabContext
from labs.lab05_five_ways.cost import costs
from labs.lab05_five_ways.installed import KINDS, installed, pods_in_cluster
from labs.lab05_five_ways.lab import five_ways
from labs.lab05_five_ways.pictures import draw_times
from labs.lab05_five_ways.probes import Change, Start, change_all, start_pod
from labs.lab05_five_ways.results import (
    drop,
    keep,
    load,
    load_average,
    print_table,
    seconds,
)
from labs.lab05_five_ways.ways import (
    OPERATOR,
    WAYS,
    Way,
    identity,
    lines_for_vault,
    secret_path,
)

PODS, PODS_IN_FULL = 1, 5
NOBODY = "nobody"


def measured(lab: LabContext, way: Way, starts: list[Start], change: Change) -> dict[str, Any]:
    """All cells of one way, as results.json keeps them."""
    return {
        "start_seconds": [start.seconds for start in starts],
        "requests_at_start": statistics.median(start.requests for start in starts),
        "tokens_left_by_a_pod": statistics.median(start.tokens_left for start in starts),
        "change_to_file_seconds": change.file,
        "change_nudged": change.nudged,
        "change_to_restarted_process_seconds": change.process,
        "variable_stale": change.variable_stale,
        "secrets_left": secrets_left(lab, way),
        "installed": installed(lab, way),
        "seen_by_vault": who_was_seen(lab, way),
        "lines_for_vault": lines_for_vault(lab, way),
    }


def start_pods(lab: LabContext) -> dict[str, list[Start]]:
    """One pod of each way after the other, five with --full, with what was seen of each."""
    pods = PODS_IN_FULL if lab.full else PODS
    return {way.name: [start_pod(lab, way) for _ in range(pods)] for way in WAYS}


def figures(
    lab: LabContext,
    starts: dict[str, list[Start]],
    changes: dict[str, Change],
    used: dict[str, dict[str, float]],
) -> dict[str, Any]:
    """The cells of all ways, as results.json keeps them."""
    return {
        way.name: measured(lab, way, starts[way.name], changes[way.name]) | used[way.name]
        for way in WAYS
    }


def who_was_seen(lab: LabContext, way: Way) -> str:
    """The account in whose name Vault was asked for the secret of a way, since step 1."""
    seen = {identity(entry) for entry in lab.audit_since(1).responses(secret_path(lab, way))}
    return ", ".join(sorted(seen - {""})) or NOBODY


def secrets_left(lab: LabContext, way: Way) -> list[str]:
    """The Kubernetes Secrets of this way: they are there with or without a pod."""
    names = [str(one["metadata"]["name"]) for one in lab.kube.list("Secret")]
    return [name for name in names if name == way.name]


def show_figures(ways: dict[str, Any]) -> None:
    """Print what was measured as a table."""

    def row(name: str, cell: Any) -> tuple[str, list[str]]:
        return name, [str(cell(ways[way.name])) for way in WAYS]

    def after_change(one: dict[str, Any]) -> str:
        return f"{one['change_to_file_seconds']}{' *' if one['change_nudged'] else ''}"

    print_table(
        [
            row("pod created to secret read, s", lambda one: seconds(one["start_seconds"])),
            row("change to file, s", after_change),
            row(
                "change to restarted process, s",
                lambda one: one["change_to_restarted_process_seconds"] or "you restart",
            ),
            row("requests to Vault at start", lambda one: f"{one['requests_at_start']:g}"),
            row("Vault tokens left by a pod", lambda one: f"{one['tokens_left_by_a_pod']:g}"),
            row("Kubernetes Secrets left", lambda one: len(one["secrets_left"])),
            *(
                row(kind.replace("_", " "), lambda one, kind=kind: len(one["installed"][kind]))
                for kind in KINDS
            ),
            row("memory of the pod, MiB", lambda one: f"{one['pod_memory_mib']:.0f}"),
            row("memory of its parts, MiB", lambda one: f"{one['cluster_memory_mib']:.0f}"),
            row("CPU of the pod, m", lambda one: f"{one['pod_cpu_millicores']:.0f}"),
            row("CPU of its parts, m", lambda one: f"{one['cluster_cpu_millicores']:.0f}"),
            row("Vault saw", lambda one: one["seen_by_vault"]),
            row("lines for Vault in the shop", lambda one: one["lines_for_vault"]),
        ]
    )
    print("* kubelet was asked to look at once; by itself it looks every 60 to 90 seconds")


@five_ways.step(
    "Measured, side by side",
    minutes=3,
    goals=[
        "each way has a figure for how soon a pod has its secret",
        "each way has a figure for how soon a change is in the file",
        "the operator has restarted the shop with the new value",
        "a variable kept the old value in the process that was not restarted",
        "what is installed in the cluster is as the table says",
        "what Vault saw is as the table says",
        "each way has a figure for the memory of its pod",
    ],
    hints=[
        "`start_pod(lab, way)` makes one pod of a way's own template, "
        "`change_all(lab, nudge=True)` stores new passwords and waits for them.",
        "`measured(...)` makes the cells of one way, `keep(lab, ways=...)` writes them.",
        "`./lab solve 05.7` measures.",
    ],
)
def measure(lab: LabContext) -> None:
    """
    Now the same questions to all five ways, answered by measuring. For each way a pod is made
    of your own Deployment's template: how long until it has its password, how often was Vault
    asked, what is left when the pod is gone? Then all passwords change at once: when does the
    file have the new one, and when a process that was restarted for it?

    The load average stands beside the figures: on a busy machine all of them grow.
    `./lab run 05 --full` takes five pods a way and lets kubelet take its own time.
    """
    before = load_average()
    print("pods of each way, one after the other")
    with lab.quiet():
        starts = start_pods(lab)  # ?(start_pods) what makes a pod of each way?
        used = costs(lab)
    print("new passwords for all ways at once")
    with lab.quiet():
        changes = change_all(lab, nudge=not lab.full)
        ways = figures(lab, starts, changes, used)
    keep(lab, ways=ways, load_average=[before, load_average()])
    show_figures(ways)
    print(f"load average before and after: {before}, {load_average()}")
    lab.show(draw_times(ways, lab.folder / "times.png"))


@measure.check
def _(lab: LabContext) -> None:
    ways = load(lab).get("ways") or {}
    for name, cell in (
        ("how soon a pod has its secret", "start_seconds"),
        ("how soon a change is in the file", "change_to_file_seconds"),
        ("the memory of its pod", "pod_memory_mib"),
    ):
        missing = [way.name for way in WAYS if not (ways.get(way.name) or {}).get(cell)]
        expect(not missing, f"each way has a figure for {name}", found=missing)
    expect(
        ways[OPERATOR.name]["change_to_restarted_process_seconds"],
        "the operator has restarted the shop with the new value",
    )
    expect(
        ways["plain"]["variable_stale"],
        "a variable kept the old value in the process that was not restarted",
    )
    for way in WAYS:
        asked = ways[way.name]["requests_at_start"]
        itself = way.name in ("http", "csi", "injector")
        expect(
            asked >= 2 if itself else asked == 0,
            f"{way.title}: a new pod asks Vault {'at its start' if itself else 'nothing'}",
            found=asked,
        )
    for question, cell, answer in (
        ("what is installed in the cluster", "installed", installed),
        ("what Vault saw", "seen_by_vault", who_was_seen),
        ("the number of lines for Vault", "lines_for_vault", lines_for_vault),
        ("what is left in the cluster", "secrets_left", secrets_left),
    ):
        differing = [way.name for way in WAYS if ways[way.name].get(cell) != answer(lab, way)]
        expect(not differing, f"{question} is as the table says", found=differing)
    free = [
        way.name
        for way in WAYS
        if bool(ways[way.name].get("cluster_memory_mib")) != bool(pods_in_cluster(lab, way))
    ]
    expect(not free, "what runs in the cluster for a way has its memory counted", found=free)
    counted = [way.name for way in WAYS if "tokens_left_by_a_pod" not in ways[way.name]]
    expect(not counted, "the tokens that a pod leaves were counted", found=counted)


@measure.undo
def _(lab: LabContext) -> None:
    drop(lab, "ways", "load_average")
