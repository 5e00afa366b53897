"""Step 6: who read it."""

from __future__ import annotations

import base64
from typing import Any

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.etcd import etcd_key
from labs.lab00_why.encoding import password_of
from labs.lab00_why.etcd import ask_etcd
from labs.lab00_why.lab import why

CLERK, MOUNTER, LEDGER = "clerk", "mounter", "ledger"
OTHER = "kube-system"


def trace(lab: LabContext) -> list[dict[str, Any]]:
    """The API server's audit log as rows: when, who, what, which Secret, with which answer."""
    return [
        {
            "when": entry["stageTimestamp"][:19],
            "who": entry["user"]["username"],
            "verb": entry["verb"],
            "namespace": entry["objectRef"].get("namespace", ""),
            "name": entry["objectRef"].get("name", ""),
            "code": (entry.get("responseStatus") or {}).get("code"),
        }
        for entry in lab.control_plane.audit_entries()
    ]


def found(lab: LabContext, **wanted: object) -> list[dict[str, Any]]:
    """The rows of the audit log that fit."""
    return [row for row in trace(lab) if wanted.items() <= row.items()]


def clerk(lab: LabContext) -> str:
    """The clerk's name as the API server knows it."""
    return f"system:serviceaccount:{lab.namespace}:{CLERK}"


def older_than_log(lab: LabContext) -> bool:
    """Whether the pod clerk ran before the first row of the log was written."""
    rows = trace(lab)
    started = ((lab.kube.get("Pod", CLERK) or {}).get("status") or {}).get("startTime")
    return bool(rows and started and started[:19] < rows[0]["when"])


def rows_about_etcd(lab: LabContext) -> int:
    """How many rows the log gets when the Secret ledger is read in etcd."""
    before = len(found(lab, name=LEDGER))
    ask_etcd(lab, {"key": etcd_key(lab, LEDGER)})
    return len(found(lab, name=LEDGER)) - before


def kubelet(lab: LabContext) -> str:
    """The node's name as the API server knows it."""
    return f"system:node:{lab.control_plane.node.name}"


@why.step(
    "Who read it?",
    minutes=4,
    goals=[
        "the API server has an audit policy: Secrets at level Metadata",
        "the pod clerk was there before the log: nobody can tell what it read until then",
        "now the log tells who got the Secret ledger, and when",
        "and who was refused: the clerk, in kube-system",
        "a list is told, but not what was in it",
        "what a pod mounts is read by its node; the pod is not told",
        "the log holds no value",
    ],
    hints=[
        "`kubectl explain` does not know the audit Policy: it is a file on the node, no object in "
        "the cluster. Its levels are None, Metadata, Request and RequestResponse.",
        "Who, what, when, but no value: which of the levels? The resources of a rule are named "
        "as in a Role. `lab apiserver --help` shows the way to the API server.",
        "level: Metadata; resources: [secrets]; verbs: [get, list]; secretName: ledger",
    ],
)
def who_read_it(lab: LabContext) -> None:
    """
    A password has leaked. Who has read it? Kubernetes does not know: by default the API server
    writes **no audit log**. Nothing can be found out later about what was read before.

    So we give it an **audit policy**: for Secrets at level *Metadata*, that is who, what, when,
    from where, and the answer's status, but not the values (the levels *Request* and
    *RequestResponse* would copy them into the log). Everything else is left out. In a real
    cluster the log leaves the node at once, because root on the node can edit it.

    Now the log tells who got a Secret, and who was refused. It still does not tell everything:

    - a **list** names no Secret: whoever lists has read *all* of them, and that is all one knows;
    - a **mounted** Secret was read by *kubelet*, in the node's name. Which pod, which process,
      how often: nobody knows. A file is opened without a trace;
    - a reader of **etcd** or of a backup is in no log of the API server;
    - it tells *that* the Secret was read, not *what it was worth*: the same password may lie in
      ten Secrets.

    Vault has no log by default, either: somebody runs `vault audit enable`. From then on Vault
    writes *before* it answers, with the identity of the pod, and can find an answer by its
    content (lab 01).
    """
    lab.kubectl_apply("""
apiVersion: v1
kind: ServiceAccount
metadata: {name: clerk}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: clerk}
rules:
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list]  #? the clerk reads one Secret, and all of them
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: clerk}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: clerk}
subjects: [{kind: ServiceAccount, name: clerk, namespace: $NAMESPACE}]
---
apiVersion: v1
kind: Pod
metadata: {name: clerk}
spec:
  serviceAccountName: clerk
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
""")
    lab.sh(r"""
head -c 18 /dev/urandom | base64 | tr -d '\n' |
  kubectl create secret generic ledger --from-file=password=/dev/stdin
kubectl wait --for=condition=Ready pod/clerk --timeout=60s
# A pod asks the API server with the token of its service account.
ask() {
  kubectl exec clerk -- sh -c 'cd /var/run/secrets/kubernetes.io/serviceaccount
    curl -s -o /dev/null -w "%{http_code}\n" --cacert ca.crt \
      -H "Authorization: Bearer $(cat token)" https://kubernetes.default.svc/api/v1/'$1
}
ask namespaces/$NAMESPACE/secrets/ledger
docker exec $NODE sh -c 'cat /var/log/kubernetes-audit/audit.log 2>/dev/null | wc -l'
""")
    lab.sh(r"""
# The flags --audit-policy-file and --audit-log-path of the API server, and a restart.
lab apiserver --audit - <<EOF
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata #? who, what, when; no value
  resources:
  - group: ""
    resources: [secrets] #?([secrets]) what is logged?
- level: None
EOF
""")
    lab.sh(r"""
ask() {
  kubectl exec clerk -- sh -c 'cd /var/run/secrets/kubernetes.io/serviceaccount
    curl -s -o /dev/null -w "%{http_code}\n" --cacert ca.crt \
      -H "Authorization: Bearer $(cat token)" https://kubernetes.default.svc/api/v1/'$1
}
# Two reads and a refusal by the API; and a mount.
ask namespaces/$NAMESPACE/secrets/ledger
ask namespaces/$NAMESPACE/secrets
ask namespaces/kube-system/secrets
kubectl apply -f - <<EOF
apiVersion: v1
kind: Pod
metadata: {name: mounter}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    volumeMounts: [{name: secret, mountPath: /secrets, readOnly: true}]
  volumes:
  - name: secret
    secret:
      secretName: ledger #? the Secret that the pod mounts
EOF
kubectl wait --for=condition=Ready pod/mounter --timeout=60s
kubectl exec mounter -- sh -c 'sha256sum < /secrets/password'
""")
    lab.sh(r"""
# When, who, what, which Secret, with which answer.
log() {
  docker exec $NODE cat /var/log/kubernetes-audit/audit.log | jq -r 'select(
      .user.username | test("clerk|system:node")) | [.stageTimestamp[:19], .user.username, .verb,
    .objectRef.namespace, .objectRef.name // "(all)", .responseStatus.code] | @tsv' |
    grep -e $NAMESPACE -e kube-system
}
log
# Past the API server: etcd hands it out, and the log stays as it is.
before=$(log | wc -l)
printf '{"key": "%s"}' $(printf %s /registry/secrets/$NAMESPACE/ledger | base64) |
  kubectl exec -i etcd-reader -- curl -sS --fail-with-body --cacert /pki/etcd/ca.crt \
    --cert /pki/etcd/server.crt --key /pki/etcd/server.key \
    https://127.0.0.1:2379/v3/kv/range -d @- | jq -r '.kvs[0].value' | base64 -d | wc -c
echo "lines in the log before and after: $before, $(log | wc -l)"
""")


@who_read_it.check
def _(lab: LabContext) -> None:
    policy = lab.control_plane.current().audit or {}
    levels = [
        rule.get("level")
        for rule in policy.get("rules") or []
        if any("secrets" in (of.get("resources") or []) for of in rule.get("resources") or [])
    ]
    expect(
        levels == ["Metadata"],
        "the API server has an audit policy: Secrets at level Metadata",
        found=levels or "no policy",
    )
    expect(
        older_than_log(lab),
        "the pod clerk was there before the log: nobody can tell what it read until then",
        hint="the pod clerk comes first, and reads once; then the policy",
    )
    gets = found(lab, who=clerk(lab), verb="get", name=LEDGER, code=200)
    expect(
        gets,
        "now the log tells who got the Secret ledger, and when",
        found=gets[-1:] or "no such row",
        hint="the pod clerk must read it after the policy is there",
    )
    expect(
        found(lab, who=clerk(lab), verb="list", namespace=OTHER, code=403),
        "and who was refused: the clerk, in kube-system",
    )
    lists = found(lab, who=clerk(lab), verb="list", namespace=lab.namespace, code=200)
    expect(
        lists and all(row["name"] == "" for row in lists),
        "a list is told, but not what was in it",
        found=lists,
    )
    running = (lab.kube.get("Pod", MOUNTER) or {}).get("status", {}).get("phase")
    expect(running == "Running", "a pod mounts the Secret", found=running or "no such pod")
    readers = {row["who"] for row in found(lab, name=LEDGER)} - {clerk(lab)}
    expect(
        kubelet(lab) in readers and not any(MOUNTER in who for who in readers),
        "what a pod mounts is read by its node; the pod is not told",
        found=sorted(readers),
    )
    password = password_of(lab, LEDGER)
    read = ask_etcd(lab, {"key": etcd_key(lab, LEDGER)})
    expect(
        password and read and password.encode() in read[0]["value"],
        "the Secret was just read in etcd, past the API server",
    )
    rows = rows_about_etcd(lab)
    expect(rows == 0, "and no row tells of that", found=rows)
    log = str(lab.control_plane.audit_entries())
    encoded = base64.b64encode(password.encode()).decode()
    expect(password not in log and encoded not in log, "the log holds no value")
