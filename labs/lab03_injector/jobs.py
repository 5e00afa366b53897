"""Step 9: Jobs have an end, and a sidecar has none."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath, Object
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import AGENT, names, status_of
from labs.lab03_injector.trust import way_in

JOBS = ("job-stuck", "job-once", "job-polite")


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


@injector.step(
    "Jobs that end, and one that does not",
    minutes=7,
    goals=[
        "the work of job-stuck is done",
        "the work of job-once is done",
        "the work of job-polite is done",
        "job-once is complete",
        "job-polite is complete",
        "job-once has no sidecar",
        "it has asked the database, as a user that Vault made for it",
        "the sidecar of job-polite ended well when it was told to quit",
        "job-stuck is not complete: its sidecar still runs",
    ],
    hints=[
        "`kubectl get jobs,pods`: the pod of job-stuck says 1/2 and stays so. Leave it until you "
        "have checked.",
        "Step 3 has the annotation that leaves out the sidecar. `agent-enable-quit` opens a path "
        "of the agent's own on its listener, 127.0.0.1:8200.",
        'agent-pre-populate-only: "true"; agent-enable-quit: "true"; '
        "http://127.0.0.1:8200/agent/v1/quit.",
    ],
)
def jobs_that_end(lab: LabContext) -> None:
    """
    A Job is done when **all** containers of its pod have ended. Its own container ends in a
    second; the sidecar never does. So a Job with the default annotations runs for ever, and
    a CronJob of that kind fills the cluster. (job-once is a real one: it asks the database,
    as a user that Vault made for it.)

    Two ways out. `agent-pre-populate-only` leaves out the sidecar: right for all work that is
    done before its secret expires. With `agent-enable-quit` the sidecar listens on 127.0.0.1,
    and the program says when it is done: `POST /agent/v1/quit`. That is for long work that
    needs a secret kept fresh.

    There is a third way in Kubernetes: **native sidecars** (init containers with
    `restartPolicy: Always`, stable since 1.33) end with their Job. The injector does not use
    them yet: [vault-k8s issue 620](https://github.com/hashicorp/vault-k8s/issues/620).
    """
    lab.kubectl_apply("""
apiVersion: batch/v1
kind: Job
metadata:
  name: job-stuck
spec:
  backoffLimit: 0
  template:
    metadata:
      annotations:
        vault.hashicorp.com/agent-inject: "true"
        vault.hashicorp.com/role: app
        vault.hashicorp.com/auth-path: auth/$NAMESPACE-kubernetes
        vault.hashicorp.com/agent-inject-secret-app: $NAMESPACE-kv/data/app
    spec:
      serviceAccountName: app
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: $APP_IMAGE
        imagePullPolicy: IfNotPresent
        command: [sh, -c, test -s /vault/secrets/app && echo work done]
        securityContext: {runAsUser: 1000, runAsGroup: 1000}
""")
    lab.kubectl_apply("""
apiVersion: batch/v1
kind: Job
metadata:
  name: job-once
spec:
  backoffLimit: 0
  template:
    metadata:
      annotations:
        vault.hashicorp.com/agent-inject: "true"
        vault.hashicorp.com/role: door
        vault.hashicorp.com/auth-path: auth/$NAMESPACE-kubernetes
        vault.hashicorp.com/agent-pre-populate-only: "true"  #?(agent-pre-populate-only) no sidecar
        vault.hashicorp.com/agent-inject-template-url: |-
          {{- with secret "$NAMESPACE-db/creds/lab03-long" -}}
          postgresql://
          {{- .Data.username }}:{{ .Data.password }}
          {{- "@postgres.database.svc:5432/shop" }}
          {{- end -}}
    spec:
      serviceAccountName: app
      restartPolicy: Never
      containers:
      - name: app
        image: $APP_IMAGE
        imagePullPolicy: IfNotPresent
        command:
        - python3
        - -c
        - |
          import psycopg
          with psycopg.connect(open("/vault/secrets/url").read()) as connection:
              print(*connection.execute("SELECT count(*) FROM lab03_orders").fetchone())
        securityContext: {runAsUser: 1000, runAsGroup: 1000}
""")
    lab.kubectl_apply("""
apiVersion: batch/v1
kind: Job
metadata:
  name: job-polite
spec:
  backoffLimit: 0
  template:
    metadata:
      annotations:
        vault.hashicorp.com/agent-inject: "true"
        vault.hashicorp.com/role: app
        vault.hashicorp.com/auth-path: auth/$NAMESPACE-kubernetes
        vault.hashicorp.com/agent-inject-secret-app: $NAMESPACE-kv/data/app
        vault.hashicorp.com/agent-enable-quit: "true"  #?(agent-enable-quit) can be told to end
    spec:
      serviceAccountName: app
      restartPolicy: Never
      containers:
      - name: app
        image: $APP_IMAGE
        imagePullPolicy: IfNotPresent
        # The sidecar starts after the application and may not listen yet: curl tries again.
        command:
        - sh
        - -c
        - >-
          test -s /vault/secrets/app && echo work done &&
          curl -s --retry 30 --retry-connrefused --retry-delay 1
          -X POST http://127.0.0.1:8200/agent/v1/quit
        securityContext: {runAsUser: 1000, runAsGroup: 1000}
""")
    lab.sh(r"""
kubectl wait job/job-once job/job-polite --for=condition=Complete --timeout=90s
until kubectl logs job/job-stuck -c app | grep 'work done'; do sleep 1; done
kubectl logs job/job-once -c app
kubectl get jobs
kubectl get pods -l job-name
""")


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
