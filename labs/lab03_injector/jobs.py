"""Step 9: Jobs have an end, and a sidecar has none."""

from __future__ import annotations

from typing import Any

from harness import expect
from harness.lab.api import LabContext, LoginPath, Object
from labs.lab03_injector.database import connection_url
from labs.lab03_injector.files import password_only
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import AGENT, SECRETS, app_pod, asking, names, status_of, wait_quietly
from labs.lab03_injector.trust import way_in

WORK = f"test -s {SECRETS}/app && echo work done"
# The sidecar starts after the application and may not listen yet.
QUIT = (
    "curl -s --retry 30 --retry-connrefused --retry-delay 1 -X POST "
    "http://127.0.0.1:8200/agent/v1/quit"
)

# Asks the database, as the user whose name and password Vault has made for this Job.
REPORT = """
import psycopg
with psycopg.connect(open("/vault/secrets/url").read()) as connection:
    print(*connection.execute("SELECT count(*) FROM lab03_orders").fetchone())
"""

# What each Job asks for beside its secret, and what it runs.
JOBS: dict[str, tuple[dict[str, str], list[str]]] = {
    "job-stuck": ({}, ["sh", "-c", WORK]),
    "job-once": ({"agent-pre-populate-only": "true"}, ["python3", "-c", REPORT]),
    "job-polite": ({"agent-enable-quit": "true"}, ["sh", "-c", f"{WORK} && {QUIT}"]),
}


def job(lab: LabContext, name: str) -> Any:
    """A Job that reads its secret and is done."""
    wishes, command = JOBS[name]
    secrets = password_only(lab, "app") | {
        "agent-inject-template-url": connection_url(lab, "lab03-long")
    }
    pod = app_pod(lab, name, asking(lab, secrets | wishes, role="door"), command=command)
    template = {
        "metadata": {"annotations": pod["metadata"]["annotations"]},
        "spec": {**pod["spec"], "restartPolicy": "Never"},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template},
    }


def pod_of(lab: LabContext, name: str) -> Object:
    """The one pod of a Job; {} while it has none."""
    pods = lab.kube.list("Pod", selector=f"job-name={name}")
    return pods[0] if pods else {}


def succeeded(lab: LabContext, name: str) -> bool:
    """Whether the Job has ended well."""
    found = lab.kube.get("Job", name) or {}
    return bool((found.get("status") or {}).get("succeeded"))


def work_is_done(lab: LabContext, name: str) -> bool:
    """Whether the Job's own container has ended with status 0."""
    ended = (status_of(pod_of(lab, name), "app").get("state") or {}).get("terminated") or {}
    return ended.get("exitCode") == 0


def wait_for_end(lab: LabContext, name: str) -> None:
    """Wait until the Job is complete."""
    wait_quietly(
        lab,
        f"{name} to be complete",
        lambda: succeeded(lab, name),
        explain=lambda: lab.kube.explain_pod(pod_of(lab, name)["metadata"]["name"]),
    )


@injector.step(
    "Jobs that end, and one that does not",
    hints=[
        "Three Jobs from `job(lab, name)`: job-stuck asks for nothing special, job-once for "
        "`agent-pre-populate-only`, job-polite for `agent-enable-quit`.",
        "`kubectl -n lab03 get jobs,pods`: the pod of job-stuck says 1/2 for ever. Leave it so "
        "until you have seen it; `agent/v1/quit` is how job-polite ends its sidecar.",
    ],
)
def jobs_that_end(lab: LabContext) -> None:
    """
    A Job is done when **all** containers of its pod have ended. Its own container ends in a
    second; the sidecar never does. So a Job with the default annotations runs for ever, and
    a CronJob of that kind fills the cluster. (job-once is a real one: it asks the database,
    as a user that Vault made for it.)

    Two ways out. `agent-pre-populate-only` leaves the sidecar away: right for whatever is
    done before its secret expires. With `agent-enable-quit` the sidecar listens on
    127.0.0.1, and the program, when it is done, says so: `POST /agent/v1/quit`. That is for
    long work that needs a secret kept fresh.
    """
    for name in JOBS:
        lab.kube.apply(job(lab, name))
    for name in ("job-once", "job-polite"):
        wait_for_end(lab, name)
    wait_quietly(lab, "the work of job-stuck to be done", lambda: work_is_done(lab, "job-stuck"))
    print(lab.run(f"kubectl -n {lab.namespace} get jobs"))


@jobs_that_end.check
def _(lab: LabContext) -> None:
    for name in JOBS:
        expect(lab.kube.get("Job", name), f"there is a Job {name}")
        expect(
            work_is_done(lab, name),
            f"the work of {name} is done",
            found=(pod_of(lab, name).get("status") or {}).get("phase"),
            hint="wait a few seconds, then check again",
        )
    for name in ("job-once", "job-polite"):
        expect(succeeded(lab, name), f"{name} is complete")
    once = pod_of(lab, "job-once")
    expect(AGENT not in names(once), "job-once has no sidecar")
    said = lab.kube.logs(once["metadata"]["name"], container="app").strip()
    expect(said == "2", "it has asked the database, as a user that Vault made for it", found=said)
    ended = (status_of(pod_of(lab, "job-polite"), AGENT).get("state") or {}).get("terminated")
    expect(
        ended and ended["exitCode"] == 0,
        "the sidecar of job-polite ended well when it was told to quit",
        found=ended,
    )
    stuck = pod_of(lab, "job-stuck")
    state = status_of(stuck, AGENT).get("state") or {}
    expect(
        "running" in state and not succeeded(lab, "job-stuck"),
        "job-stuck is not complete: its sidecar still runs",
        found=state,
    )


@jobs_that_end.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, "door")
