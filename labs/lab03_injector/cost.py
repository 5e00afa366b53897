"""Step 14: what an agent in every pod costs."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    AGENT,
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


@injector.step(
    "What it costs",
    minutes=5,
    further=True,
    goals=[
        "the pod costly has a sidecar",
        "its agent needs more memory than the application that it serves",
        f"it has requests for CPU and memory, and keeps below its limit of {LIMIT_MIB} MiB",
        "it asks for 10m CPU, as the annotation says",
        "it has used processor time, if little",
    ],
    hints=[
        "`kubectl get pod costly -o yaml` shows what each container asks for, under `resources`.",
        "Upstream's list of annotations has one that begins with `agent-requests`.",
        'vault.hashicorp.com/agent-requests-cpu: 10m; vault.hashicorp.com/agent-inject: "true".',
    ],
)
def what_it_costs(lab: LabContext) -> None:
    """
    The application got rid of all its Vault code. The bill comes per pod: a process of its
    own, a login and a token, and at the start the time of one more container. Memory is
    measured here from each agent's cgroup, without the page cache that all agents share: some
    15 MiB. (Where a metrics server runs, `kubectl top pods --containers` says it, too.)

    What is *reserved* counts before anything is used: upstream's agent asks for 250m CPU and
    64Mi, so four of them take a whole core. In this environment the injector's default for
    CPU is 20m. The annotations `agent-requests-cpu`, `agent-requests-mem` and the limits
    change it per pod.

    Compare: a CSI provider (lab 02) is one pod on each node, an operator (lab 04) one in the
    cluster. They cost less, and keep less apart.
    """
    lab.sh(r"""
kubectl apply -f - <<END
apiVersion: v1
kind: Pod
metadata:
  name: plain
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext: {runAsUser: 1000, runAsGroup: 1000}
END
time kubectl wait pod/plain --for=condition=Ready --timeout=60s
""")
    lab.sh(r"""
kubectl apply -f - <<END
apiVersion: v1
kind: Pod
metadata:
  name: costly
  annotations:
    vault.hashicorp.com/agent-inject: "true"
    vault.hashicorp.com/role: app
    vault.hashicorp.com/auth-path: auth/$NAMESPACE-kubernetes
    vault.hashicorp.com/agent-inject-secret-app: $NAMESPACE-kv/data/app
    vault.hashicorp.com/agent-requests-cpu: 10m  #?(agent-requests-cpu) reserve less
spec:
  serviceAccountName: app
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext: {runAsUser: 1000, runAsGroup: 1000}
END
time kubectl wait pod/costly --for=condition=Ready --timeout=60s
kubectl get pod costly \
  -o jsonpath='{range .spec.containers[*]}{.name}{" "}{.resources}{"\n"}{end}'
""")
    lab.sh(r"""
# Memory that is the process's own. The cgroup's file has another place and words in v1 and v2.
memory() {
  kubectl exec $1 -c $2 -- sh -c \
    'cat /sys/fs/cgroup/memory/memory.stat /sys/fs/cgroup/memory.stat 2>/dev/null || true' |
    awk '$1 == "total_rss" || $1 == "anon" { printf "%.1f MiB\n", $2 / 1048576 }'
}
echo "the application of costly: $(memory costly app)"
kubectl get pods --field-selector=status.phase=Running \
  -o jsonpath='{range .items[*]}{.metadata.name}{" "}{.spec.containers[*].name}{"\n"}{end}' |
  grep vault-agent |
  while read pod containers; do echo "the agent of $pod: $(memory $pod vault-agent)"; done
""")


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
    reserved = find_container(pod, AGENT)["resources"]
    expect(
        {"cpu", "memory"} <= set(reserved["requests"]) and agent < LIMIT_MIB,
        f"it has requests for CPU and memory, and keeps below its limit of {LIMIT_MIB} MiB",
        found=reserved,
    )
    asks = reserved["requests"]["cpu"]
    expect(asks == "10m", "it asks for 10m CPU, as the annotation says", found=asks)
    used = cpu_seconds(lab, "costly", AGENT)
    expect(used > 0, "it has used processor time, if little", found=used)
