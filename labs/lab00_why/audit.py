"""Step 6: who read it."""

from __future__ import annotations

from typing import Any

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.etcd import etcd_key
from labs.lab00_why.encoding import secret_manifest
from labs.lab00_why.etcd import ask_etcd
from labs.lab00_why.lab import why
from labs.lab00_why.pods import make_pod

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    resources:
      - group: ""
        resources: [secrets]
  - level: None
"""
CLERK, MOUNTER, LEDGER = "clerk", "mounter", "ledger"
OTHER = "kube-system"
_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 # a folder, no token


def may_read_secrets(lab: LabContext) -> str:
    """A service account that may get and list Secrets of this namespace, as YAML."""
    return f"""
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {CLERK}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: {CLERK}}}
rules:
  - apiGroups: [""]
    resources: [secrets]
    verbs: [get, list]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {CLERK}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {CLERK}}}
subjects: [{{kind: ServiceAccount, name: {CLERK}, namespace: {lab.namespace}}}]
"""


def ask(lab: LabContext, namespace: str, name: str = "") -> int:
    """Have the clerk get a Secret, or list all of a namespace: the HTTP status."""
    status = lab.kube.exec(
        CLERK,
        f"""
curl -s -o /dev/null -w '%{{http_code}}' --cacert {_TOKEN}/ca.crt \\
  -H "Authorization: Bearer $(cat {_TOKEN}/token)" \\
  https://kubernetes.default.svc/api/v1/namespaces/{namespace}/secrets/{name}
""",
    )
    return int(status)


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


def kubelet(lab: LabContext) -> str:
    """The node's name as the API server knows it."""
    return f"system:node:{lab.control_plane.node.name}"


@why.step(
    "Who read it?",
    minutes=4,
    hints=[
        "The Secret ledger, a pod clerk with a service account that may get and list Secrets "
        "(`may_read_secrets(lab)`, `make_pod(lab, CLERK, account=CLERK)`). Let it read before "
        "anything is logged: `ask(lab, lab.namespace, LEDGER)`, and count `trace(lab)`.",
        "Then `lab.control_plane.set(audit=POLICY)`, and read in every way: the clerk gets the "
        "ledger, lists the namespace, and is refused in kube-system; the pod mounter mounts the "
        "ledger and reads the file; `ask_etcd(lab, {'key': etcd_key(lab, LEDGER)})` past the API.",
        "Keep in `lab.notes['audit']`: before (rows of the log after the first read), told (the "
        "row of the clerk's get: `found(lab, who=clerk(lab), verb='get', name=LEDGER)[-1]`), list "
        "(the name in the row of its list) and etcd (how many rows reading etcd added).",
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
    lab.kube.apply(secret_manifest(lab, LEDGER, password=lab.secret(LEDGER)))
    lab.kube.apply(may_read_secrets(lab))
    lab.kube.apply(make_pod(lab, CLERK, account=CLERK))
    lab.kube.wait_for_pod(CLERK)
    ask(lab, lab.namespace, LEDGER)
    noted: dict[str, Any] = {"before": len(trace(lab))}
    print("rows about the first read:", noted["before"])

    lab.control_plane.set(audit=POLICY)
    # Two reads and a refusal by the API; a mount; and one past the API.
    for namespace, name in ((lab.namespace, LEDGER), (lab.namespace, ""), (OTHER, "")):
        print(f"clerk: {namespace}/{name or '(list)'}", ask(lab, namespace, name))
    lab.kube.apply(make_pod(lab, MOUNTER, volume=LEDGER))
    lab.kube.wait_for_pod(MOUNTER)
    lab.kube.exec(MOUNTER, "sha256sum /secrets/password; sha256sum /secrets/password")
    rows = len(found(lab, name=LEDGER))
    ask_etcd(lab, {"key": etcd_key(lab, LEDGER)})
    noted["etcd"] = len(found(lab, name=LEDGER)) - rows

    for row in trace(lab):
        if row["who"] in (clerk(lab), kubelet(lab)) and row["namespace"] in (lab.namespace, OTHER):
            print("{when} {who} {verb} {namespace}/{name} {code}".format(**row))
    noted["told"] = found(lab, who=clerk(lab), verb="get", name=LEDGER)[-1]
    noted["list"] = found(lab, who=clerk(lab), verb="list", code=200)[-1]["name"]
    lab.notes["audit"] = noted


@who_read_it.check
def _(lab: LabContext) -> None:
    noted = lab.notes.get("audit", {})
    expect(
        noted.get("before") == 0,
        "by default nobody can tell: the first read left no trace",
        found=noted.get("before", "no lab.notes['audit']"),
    )
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
    gets = found(lab, who=clerk(lab), verb="get", name=LEDGER, code=200)
    expect(
        gets and noted.get("told") in gets,
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
        lists and all(row["name"] == "" for row in lists) and noted.get("list") == "",
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
    rows = len(found(lab, name=LEDGER))
    read = ask_etcd(lab, {"key": etcd_key(lab, LEDGER)})
    expect(
        read and lab.secret(LEDGER).encode() in read[0]["value"],
        "the Secret was just read in etcd, past the API server",
    )
    expect(
        len(found(lab, name=LEDGER)) == rows and noted.get("etcd") == 0,
        "and no row tells of that",
        found=len(found(lab, name=LEDGER)) - rows,
    )
    log = str(lab.control_plane.audit_entries())
    expect(lab.secret(LEDGER) not in log, "the log holds no value")
