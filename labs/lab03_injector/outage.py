"""Step 13: the webhook is down, and failurePolicy decides what that means."""

from __future__ import annotations

import json

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.injector import DEPLOYMENT, LABEL, NAMESPACE, WEBHOOK, rolled_out
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    AGENT,
    PREFIX,
    SECRETS,
    STATUS,
    expect_running,
    manifest,
    names,
    show,
    wait_quietly,
    would_store,
)

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


@injector.step(
    "The webhook is down",
    minutes=8,
    goals=[
        "the pod unprotected asked for an agent, and no webhook has seen it",
        "it runs without vault-agent",
        "and without secrets: Ignore",
        "with Fail the pods of innocent, which asks for nothing, were refused as well",
        "the webhook's failurePolicy is what it was",
        "the injector is back with its two pods",
        "and pods get their agent again",
    ],
    answer="Yes. The ReplicaSet tries again and again; its events tell of the refusals meanwhile.",
    hints=[
        "`kubectl describe replicaset -l app=innocent` shows, as events, what the API server said "
        "about its pods.",
        "`failurePolicy` is a field of each webhook in a MutatingWebhookConfiguration; its values "
        "are Ignore and Fail. The injector has two replicas when all is well.",
        '--replicas=0; "value": "Fail"; at the end "value": "Ignore" and --replicas=2.',
    ],
)
def webhook_down(lab: LabContext) -> None:
    """
    A webhook is one more thing that can be down. **failurePolicy** says what the API server
    does then. Both answers are bad, in different ways; you choose which.

    - **Ignore** (the default): pods are created as if they had not asked. They start *without*
      their secrets, no event tells, and they stay so when the injector is back.
    - **Fail**: nothing is created, annotated or not, until it is back. Selectors on namespaces
      or objects limit that, and so do
      [matchConditions](https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-matchconditions),
      expressions in CEL that can look at the annotation itself:
      `'vault.hashicorp.com/agent-inject' in object.metadata.?annotations.orValue({})`.
      The injector's own pods must be left out, or it can never come back.

    So run two replicas, watch the webhook, and have the application fail loudly without its
    file. This step takes the injector of this environment away for some seconds; the last
    commands bring it back, whatever happens.

    Before you run it: will the Deployment `innocent` get its pod once the webhook is back?
    """
    try:
        lab.sh(r"""
kubectl get mutatingwebhookconfiguration vault-agent-injector-cfg \
  -o jsonpath='{.webhooks[0].failurePolicy}{"\n"}{.webhooks[0].objectSelector}{"\n"}'
kubectl -n vault-injector scale deployment vault-agent-injector \
  --replicas=0  #? none
kubectl -n vault-injector wait pod -l app.kubernetes.io/name=vault-agent-injector \
  --for=delete --timeout=90s
""")
        lab.kubectl_apply("""
apiVersion: v1
kind: Pod
metadata:
  name: unprotected
  annotations:
    vault.hashicorp.com/agent-inject: "true"
    vault.hashicorp.com/role: app
    vault.hashicorp.com/auth-path: auth/$NAMESPACE-kubernetes
    vault.hashicorp.com/agent-inject-secret-app: $NAMESPACE-kv/data/app
spec:
  serviceAccountName: app
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext: {runAsUser: 1000, runAsGroup: 1000}
""")
        lab.sh(r"""
kubectl wait pod/unprotected --for=condition=Ready --timeout=60s
kubectl get pod unprotected
kubectl exec unprotected -- ls /vault/secrets || true
kubectl patch mutatingwebhookconfiguration vault-agent-injector-cfg --type=json \
  -p '[{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"}]'  #?("Fail") or?
""")
        lab.kubectl_apply("""
apiVersion: apps/v1
kind: Deployment
metadata:
  name: innocent
spec:
  selector:
    matchLabels: {app: innocent}
  template:
    metadata:
      labels: {app: innocent}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: $APP_IMAGE
        imagePullPolicy: IfNotPresent
        command: [sleep, infinity]
        securityContext: {runAsUser: 1000, runAsGroup: 1000}
""")
        lab.sh(r"""
said() { kubectl describe replicaset -l app=innocent | grep 'failed calling webhook'; }
until said; do sleep 1; done
""")
    finally:
        lab.sh(r"""
kubectl patch mutatingwebhookconfiguration vault-agent-injector-cfg --type=json \
  -p '[{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]'
kubectl -n vault-injector scale deployment vault-agent-injector --replicas=2
kubectl -n vault-injector rollout status deployment/vault-agent-injector --timeout=90s
""")
    lab.sh(r"""
stored() { kubectl create --dry-run=server -o yaml -f "$LAB/manifests/right.yaml"; }
until stored | grep agent-inject-status; do sleep 1; done
kubectl rollout status deployment/innocent --timeout=90s
kubectl get pods unprotected
""")


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
    said = [
        event
        for found in lab.kube.list("ReplicaSet", selector="app=innocent", api_version="apps/v1")
        for event in lab.kube.events(found["metadata"]["name"], "", found["metadata"]["uid"])
    ]
    expect(
        any("failed calling webhook" in event for event in said),
        "with Fail the pods of innocent, which asks for nothing, were refused as well",
        found=said or "no events of a ReplicaSet of innocent",
    )
    expect(
        failure_policy(lab) == "Ignore",
        "the webhook's failurePolicy is what it was",
        found=failure_policy(lab),
        hint="the last commands of this step bring the injector back",
    )
    found = lab.kube.get("Deployment", DEPLOYMENT, NAMESPACE)
    expect(
        rolled_out(found, lab.kube.list("Pod", NAMESPACE, LABEL)),
        "the injector is back with its two pods",
        found=(found or {}).get("status"),
        hint="the last commands of this step bring the injector back",
    )
    again = would_store(lab, manifest(lab, "right.yaml"))
    expect(AGENT in names(again), "and pods get their agent again", found=names(again))


@webhook_down.undo
def _(lab: LabContext) -> None:
    repair(lab)
