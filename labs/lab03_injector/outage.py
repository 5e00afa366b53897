"""Step 13: the webhook is down, and failurePolicy decides what that means."""

from __future__ import annotations

import json

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.injector import DEPLOYMENT, LABEL, NAMESPACE, WEBHOOK, rolled_out
from labs.lab03_injector.files import password_only
from labs.lab03_injector.lab import injector
from labs.lab03_injector.mutation import would_store
from labs.lab03_injector.pods import (
    AGENT,
    PREFIX,
    SECRETS,
    STATUS,
    app_pod,
    asking,
    expect_running,
    names,
    show,
    wait_quietly,
)
from labs.lab03_injector.refusals import would_be_refused

REPLICAS = 2
SECONDS = 120


def scale(lab: LabContext, replicas: int) -> None:
    """Set the number of the injector's pods and wait until it is true."""
    lab.run(f"kubectl -n {NAMESPACE} scale deployment {DEPLOYMENT} --replicas={replicas}")

    def settled() -> bool:
        pods = lab.kube.list("Pod", NAMESPACE, LABEL)
        found = lab.kube.get("Deployment", DEPLOYMENT, NAMESPACE)
        return not pods if replicas == 0 else rolled_out(found, pods)

    wait_quietly(lab, f"the injector to have {replicas} pods", settled, timeout=SECONDS)


def set_failure_policy(lab: LabContext, policy: str) -> None:
    """Ignore or Fail: what the API server does when the webhook does not answer."""
    change = [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": policy}]
    lab.run(
        f"kubectl patch mutatingwebhookconfiguration {WEBHOOK} --type=json "
        f"-p '{json.dumps(change)}'"
    )


def failure_policy(lab: LabContext) -> str:
    """What the webhook's configuration says now."""
    found = lab.kube.get(
        "MutatingWebhookConfiguration", WEBHOOK, api_version="admissionregistration.k8s.io/v1"
    )
    return str(found["webhooks"][0]["failurePolicy"]) if found else ""


def repair(lab: LabContext) -> None:
    """Bring the injector back as `lab up` had made it."""
    if failure_policy(lab) != "Ignore":
        set_failure_policy(lab, "Ignore")
    found = lab.kube.get("Deployment", DEPLOYMENT, NAMESPACE)
    if not rolled_out(found, lab.kube.list("Pod", NAMESPACE, LABEL)):
        scale(lab, REPLICAS)


def wait_for_webhook(lab: LabContext) -> None:
    """Wait until the webhook is asked again: the API server's way to it follows ready pods."""
    trial = app_pod(lab, "trial", asking(lab, password_only(lab, "app")))
    wait_quietly(
        lab,
        "pods to get their agent again",
        lambda: AGENT in names(would_store(lab, trial)),
        timeout=SECONDS,
    )


@injector.step(
    "The webhook is down",
    hints=[
        "`scale(lab, 0)` takes the injector away. Create the annotated pod `unprotected`: with "
        "failurePolicy Ignore it starts. What does it lack?",
        "`set_failure_policy(lab, 'Fail')`, then `would_be_refused(lab, pod)` with a pod that "
        "asks for nothing at all; keep its answer in `lab.notes['fail']`. `repair(lab)` at the "
        "end.",
    ],
)
def webhook_down(lab: LabContext) -> None:
    """
    A webhook is one more thing that can be down. **failurePolicy** says what the API server
    does then. Both answers are bad, in different ways; you choose which.

    - **Ignore** (the default): pods are created as if nobody had asked. They start *without*
      their secrets, no event tells, and they stay so when the injector is back.
    - **Fail**: nothing is created, annotated or not, until it is back. Only a selector on
      namespaces or objects limits that; the injector's own pods must be left out, or it can
      never come back.

    So run two replicas, watch the webhook, and have the application fail loudly without its
    file. This step takes the injector of this environment away for some seconds.
    """
    pod = app_pod(lab, "unprotected", asking(lab, password_only(lab, "app")))
    innocent = app_pod(lab, "innocent")
    try:
        scale(lab, 0)
        lab.kube.apply(pod)
        lab.kube.wait_for_pod("unprotected")
        set_failure_policy(lab, "Fail")
        lab.notes["fail"] = would_be_refused(lab, innocent)
    finally:
        repair(lab)
    wait_for_webhook(lab)
    print(lab.notes["fail"])


@webhook_down.check
def _(lab: LabContext) -> None:
    pod = expect_running(lab, "unprotected")
    annotations = pod["metadata"].get("annotations") or {}
    expect(
        annotations.get(f"{PREFIX}agent-inject") == "true" and STATUS not in annotations,
        "the pod unprotected asked for an agent, and no webhook has seen it",
        found=annotations,
        hint="create it while the injector has no pods",
    )
    expect(names(pod) == ["app"], f"it runs without {AGENT}", found=names(pod))
    seen = show(lab, "unprotected", f"ls {SECRETS}")
    expect("No such file" in seen, "and without secrets: Ignore", found=seen)
    said = lab.notes.get("fail", "")
    expect(
        "failed calling webhook" in said,
        "with Fail a pod that had asked for nothing was refused as well",
        found=said or "no lab.notes['fail']",
    )
    expect(
        failure_policy(lab) == "Ignore",
        "the webhook's failurePolicy is what it was",
        found=failure_policy(lab),
        hint="repair(lab)",
    )
    found = lab.kube.get("Deployment", DEPLOYMENT, NAMESPACE)
    expect(
        rolled_out(found, lab.kube.list("Pod", NAMESPACE, LABEL)),
        "the injector is back with its two pods",
        found=(found or {}).get("status"),
        hint="repair(lab)",
    )
    again = would_store(lab, app_pod(lab, "trial", asking(lab, password_only(lab, "app"))))
    expect(AGENT in names(again), "and pods get their agent again", found=names(again))


@webhook_down.undo
def _(lab: LabContext) -> None:
    repair(lab)
