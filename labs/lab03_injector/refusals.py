"""Step 12: ways to be refused, at creation or later, each for its own reason."""

from __future__ import annotations

from typing import Any

import yaml

from harness import expect
from harness.lab.api import CommandFailed, LabContext, LoginPath
from labs.lab03_injector.files import password_only
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    AGENT,
    app_pod,
    asking,
    expect_waiting,
    names,
    wait_for_words,
    wait_quietly,
)
from labs.lab03_injector.trust import way_in

# Refused at creation: what the API server's answer says.
DENIED = {
    "no-role": "no Vault role found",
    "no-token": "failed to find service account volume mount",
    "bad-template": "invalid default template type",
    "system-namespace": "cannot inject into system namespaces",
}
# Taken, and then waiting for ever: what the log of vault-agent-init says.
WAITING = {
    "wrong-role": 'invalid role name "no-such-role"',
    "wrong-account": "service account name not authorized",
    "wrong-path": "permission denied",
    "wrong-server": "not elsewhere.example",
}


def denied_pods(lab: LabContext) -> dict[str, Any]:
    """Four pods that are refused at creation, by their reason."""
    secret = password_only(lab, "app")
    pods = {
        "no-role": app_pod(lab, "no-role", asking(lab, secret, role="")),
        "no-token": app_pod(lab, "no-token", asking(lab, secret)),
        "bad-template": app_pod(
            lab, "bad-template", asking(lab, secret | {"agent-inject-default-template": "xml"})
        ),
        # Nobody but Kubernetes itself should put a pod there; this one is never created.
        "system-namespace": app_pod(
            lab, "lab03-trial", asking(lab, secret), namespace="kube-system", account="default"
        ),
    }
    pods["no-token"]["spec"]["automountServiceAccountToken"] = False
    return pods


def waiting_pods(lab: LabContext) -> dict[str, Any]:
    """Four pods that are created and never start, by their reason."""
    secret = password_only(lab, "app")
    # As if somebody had led the agent to another server: its certificate has another name.
    doubtful = secret | {"tls-server-name": "elsewhere.example"}
    elsewhere = {"agent-inject-secret-app": lab.path("kv", "data", "elsewhere")}
    return {
        "wrong-role": app_pod(lab, "wrong-role", asking(lab, secret, role="no-such-role")),
        "wrong-account": app_pod(lab, "wrong-account", asking(lab, secret), account="default"),
        "wrong-path": app_pod(lab, "wrong-path", asking(lab, elsewhere)),
        "wrong-server": app_pod(lab, "wrong-server", asking(lab, doubtful)),
    }


def misplaced(lab: LabContext) -> Any:
    """A Deployment that asks in its own metadata, where nobody looks."""
    pod = app_pod(lab, "misplaced")
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "misplaced",
            "annotations": asking(lab, password_only(lab, "app")),
        },
        "spec": {
            "selector": {"matchLabels": {"app": "misplaced"}},
            "template": {"metadata": {"labels": {"app": "misplaced"}}, "spec": pod["spec"]},
        },
    }


def would_be_refused(lab: LabContext, pod: Any) -> str:
    """What `kubectl create --dry-run=server` says against `pod`; "" when it has nothing."""
    where = pod["metadata"]["namespace"]
    try:
        lab.run(
            f"kubectl create -n {where} --dry-run=server -f -",
            stdin=yaml.safe_dump(pod),
        )
    except CommandFailed as failed:
        return failed.output
    return ""


@injector.step(
    "Be refused, for the right reason",
    hints=[
        "`would_be_refused(lab, pod)` for each of `denied_pods(lab)`; put the answers into "
        "`lab.notes['denied']`, one key a pod.",
        "Create the four `waiting_pods(lab)` and read `agent_log(lab, name)` (kubectl logs NAME "
        "-c vault-agent-init). Create the Deployment `misplaced(lab)` and look at its pod.",
    ],
)
def be_refused(lab: LabContext) -> None:
    """
    Where does a mistake show? It depends on who finds it.

    | mistake | found by | shows in |
    |---|---|---|
    | no role, no token mounted, a wrong value, a system namespace | the webhook | the answer to the creation (for a Deployment: events of its ReplicaSet) |
    | a role that does not exist, another service account, a path the policy does not name | Vault | the log of `vault-agent-init`; the pod stands at `Init:0/1` |
    | a server whose certificate is for another name | the agent, before it sends its token | the same log |
    | annotations on the Deployment instead of its pod template | nobody | the application: it runs, **without** secrets |

    A denial holds whatever failurePolicy says: that is for a webhook that does not answer.
    An agent that is refused at login tries again for ever, so the pod neither starts nor
    fails: `kubectl get pods` shows it waiting, and only the log knows why.
    """  # noqa: E501 - a row of a Markdown table cannot be broken
    lab.notes["denied"] = {
        name: would_be_refused(lab, pod) for name, pod in denied_pods(lab).items()
    }
    for pod in waiting_pods(lab).values():
        lab.kube.apply(pod)
    lab.kube.apply(misplaced(lab))
    for name, reason in WAITING.items():
        wait_for_words(lab, name, reason)
    wait_quietly(
        lab,
        "the pod of the Deployment misplaced to run",
        lambda: (
            (lab.kube.get("Deployment", "misplaced") or {}).get("status", {}).get("readyReplicas")
        ),
    )
    for name, said in lab.notes["denied"].items():
        print(f"{name}: {said.strip().splitlines()[-1][-140:]}")


@be_refused.check
def _(lab: LabContext) -> None:
    denied = lab.notes.get("denied", {})
    for name, reason in DENIED.items():
        expect(
            "denied the request" in denied.get(name, "") and reason in denied[name],
            f"{name}: the webhook denied it, {reason}",
            found=denied.get(name) or "nothing in lab.notes['denied']",
        )
        expect(
            not lab.kube.get("Pod", name) and not lab.kube.get("Pod", "lab03-trial", "kube-system"),
            f"{name}: no such pod came into being",
        )
    for name, reason in WAITING.items():
        expect_waiting(lab, name, reason)
    errors = lab.audit.refusals(f"auth/{lab.path('kubernetes')}/login")
    expect(
        any("service account name not authorized" in error for error in errors),
        "Vault's audit log has the refused login of another service account",
        found=sorted(set(errors)),
    )
    reads = lab.audit.refusals(lab.path("kv", "data", "elsewhere"))
    expect(
        any("permission denied" in error for error in reads),
        "and the refused read of a path that the policy does not name",
        found=sorted(set(reads)),
    )
    pods = lab.kube.list("Pod", selector="app=misplaced")
    expect(
        pods and all(names(pod) == ["app"] for pod in pods),
        f"misplaced: its pod runs without {AGENT}, and nobody complained",
        found=[names(pod) for pod in pods],
    )


@be_refused.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
