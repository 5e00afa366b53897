"""Step 14: what an agent in every pod costs."""

from __future__ import annotations

import statistics
import time
from typing import Any

from harness import expect
from harness.lab.api import LabContext
from labs.lab03_injector.files import password_only
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    AGENT,
    app_pod,
    asking,
    expect_running,
    find_container,
    names,
    show,
)

MIB = 1024 * 1024
LIMIT_MIB = 128
# Memory that is really the process's own: the program's file in the page cache is shared.
# cgroup v1 and v2 name and place it differently, and the CPU time, too.
MEMORY = (
    "cat /sys/fs/cgroup/memory/memory.stat /sys/fs/cgroup/memory.stat 2>/dev/null"
    " | sed -n 's/^total_rss //p; s/^anon //p'"
)
CPU = (
    "sed 's/...$//' /sys/fs/cgroup/cpuacct/cpuacct.usage 2>/dev/null"
    " || sed -n 's/^usage_usec //p' /sys/fs/cgroup/cpu.stat"
)


def read_number(lab: LabContext, pod: str, command: str, container: str) -> int:
    """The number that a command prints in a container; 0 when it prints something else."""
    text = show(lab, pod, command, container=container)
    return int(text) if text.isdigit() else 0


def own_memory(lab: LabContext, pod: str, container: str) -> float:
    """The memory of one container in MiB, without page cache; 0 when it cannot be read."""
    return read_number(lab, pod, MEMORY, container) / MIB


def cpu_seconds(lab: LabContext, pod: str, container: str) -> float:
    """The processor time that one container has used since its start, in seconds."""
    return read_number(lab, pod, CPU, container) / 1e6


def seconds_until_ready(lab: LabContext, pod: Any) -> float:
    """Create the pod; the seconds until it is Ready."""
    started = time.monotonic()
    lab.kube.apply(pod)
    lab.kube.wait_for_pod(pod["metadata"]["name"])
    return round(time.monotonic() - started, 1)


def with_agent(lab: LabContext) -> list[str]:
    """The running pods of this lab that have a sidecar."""
    return [
        pod["metadata"]["name"]
        for pod in lab.kube.list("Pod")
        if pod["status"]["phase"] == "Running" and AGENT in names(pod)
    ]


def measure(lab: LabContext) -> dict[str, Any]:
    """Agents; the median of their memory and its sum (MiB); the median of their CPU seconds."""
    agents = with_agent(lab)
    memory = [own_memory(lab, pod, AGENT) for pod in agents]
    cpu = [cpu_seconds(lab, pod, AGENT) for pod in agents]
    return {
        "agents": len(agents),
        "median_mib": round(statistics.median(memory or [0]), 1),
        "sum_mib": round(sum(memory), 1),
        "median_cpu_seconds": round(statistics.median(cpu or [0]), 2),
    }


@injector.step(
    "What it costs",
    hints=[
        "Two pods to compare: `plain` without annotations, `costly` with `password_only(lab, "
        "'app')`. `seconds_until_ready(lab, pod)` creates one and takes the time.",
        "Keep `measure(lab)`, with the two times under the key `ready_seconds`, in "
        "`lab.notes['cost']`.",
    ],
)
def what_it_costs(lab: LabContext) -> None:
    """
    The application got rid of all its Vault code. The bill comes per pod: a process of its
    own, a login and a token, and at the start the time of one more container. Memory and
    CPU time are measured here from each agent's cgroup, without the page cache that all
    agents share: some 15 MiB, and hardly any CPU once it has started.

    What is *reserved* counts before anything is used: upstream's agent asks for 250m CPU and
    64Mi, so four of them take a whole core. Here the request for CPU is 20m. The annotations
    `agent-requests-cpu`, `agent-requests-mem` and the limits change it per pod.

    Compare: a CSI provider (lab 02) is one pod on each node, an operator (lab 04) one in the
    cluster. They cost less, and keep less apart.
    """
    annotated = app_pod(lab, "costly", asking(lab, password_only(lab, "app")))
    times = {
        "plain": seconds_until_ready(lab, app_pod(lab, "plain")),
        "costly": seconds_until_ready(lab, annotated),
    }
    lab.notes["cost"] = measure(lab) | {"ready_seconds": times}
    for name, value in lab.notes["cost"].items():
        print(f"{name}: {value}")


@what_it_costs.check
def _(lab: LabContext) -> None:
    expect_running(lab, "plain")
    pod = expect_running(lab, "costly")
    expect(AGENT in names(pod), "the pod costly has a sidecar", found=names(pod))
    agent, app = own_memory(lab, "costly", AGENT), own_memory(lab, "costly", "app")
    expect(
        agent > app,
        "its agent needs more memory than the application that it serves",
        found={"agent": agent, "app": app},
    )
    cost = lab.notes.get("cost", {})
    expect(
        cost.get("agents", 0) >= 1 and 0.5 < cost.get("median_mib", 0) / agent < 2,
        "the noted median is what an agent needs now, within a factor of two",
        found=cost or "no lab.notes['cost']",
        hint="lab.notes['cost'] = measure(lab) | {'ready_seconds': ...}",
    )
    reserved = find_container(pod, AGENT)["resources"]
    expect(
        {"cpu", "memory"} <= set(reserved["requests"]) and agent < LIMIT_MIB,
        f"it has requests for CPU and memory, and keeps below its limit of {LIMIT_MIB} MiB",
        found=reserved,
    )
    used = cpu_seconds(lab, "costly", AGENT)
    expect(used > 0, "it has used processor time, if little", found=used)
    times = cost.get("ready_seconds", {})
    expect(
        all(times.get(name, 0) > 0 for name in ("plain", "costly")),
        "the time until ready was taken of both pods",
        found=times,
    )
