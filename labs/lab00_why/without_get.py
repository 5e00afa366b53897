"""What the people of step 3 got of a Secret that none of them may get."""

from __future__ import annotations

import yaml

from harness.lab.api import CommandFailed, LabContext
from labs.lab00_why.encoding import decoded, password_of
from labs.lab00_why.people import as_account, ask_as, secrets_path

# The variables that the first process of the container was started with.
ENVIRON = "tr '\\0' '\\n' < /proc/1/environ | sed -n 's/^PASSWORD=//p' | tr -d '\\n' | sha256sum"


def neighbours(lab: LabContext) -> str:
    """A namespace in which none of the people has any right."""
    return f"{lab.namespace}-other"


def copies(lab: LabContext) -> int:
    """How many namespaces hold a Secret app with the same password."""
    found = (lab.kube.get("Secret", "app", where) for where in (lab.namespace, neighbours(lab)))
    wanted = lab.fingerprint(password_of(lab, "app"))
    return sum(lab.fingerprint(decoded(secret)) == wanted for secret in found)


def log_as(lab: LabContext, account: str, name: str) -> str:
    """The log of a pod, read by an account; "" when it is refused or there is none."""
    path = f"/api/v1/namespaces/{lab.namespace}/pods/{name}/log"
    status, text = ask_as(lab, account, f"logs {name}", path)
    return text if status == 200 else ""


def asks_for_secret(lab: LabContext) -> str:
    """What the deployer is told when it asks for the Secret."""
    status, text = ask_as(lab, "deployer", "get secret app", f"{secrets_path(lab)}/app")
    return f"{status}: {text}"


def from_pod(lab: LabContext) -> str:
    """The sum that the pod thief printed, read by its author."""
    return log_as(lab, "deployer", "thief")[:64]


def from_environ(lab: LabContext) -> str:
    """The sum of the password in /proc/1/environ of the pod careful, by exec."""
    return as_account(lab, "oncall", f'exec careful -- sh -c "{ENVIRON}"')[:64]


def literal_of(lab: LabContext, name: str) -> str:
    """The value of a pod's variable PASSWORD, as its manifest has it; "" without one."""
    spec = (lab.kube.get("Pod", name) or {}).get("spec") or {"containers": [{}]}
    values = {one["name"]: one.get("value", "") for one in spec["containers"][0].get("env") or []}
    return str(values.get("PASSWORD", ""))


def describe_shows(lab: LabContext, name: str, value: str) -> bool:
    """Whether an account with the ClusterRole view sees `value` in `kubectl describe pod`."""
    return value in as_account(lab, "viewer", f"describe pod {name}")


def from_node(lab: LabContext) -> str:
    """The sum of the neighbour's password, as the pod node-reader found it on the node."""
    neighbour = lab.kube.get("Pod", "neighbour", neighbours(lab)) or {"metadata": {"uid": "none"}}
    lines = log_as(lab, "deployer", "node-reader").splitlines()
    return next((line[:64] for line in lines if neighbour["metadata"]["uid"] in line), "")


def would_be_created(lab: LabContext, name: str) -> str:
    """What the namespace under Pod Security says to a pod like this one; nothing is stored."""
    pod = lab.kube.get("Pod", name) or {"spec": {}}
    # Another name: a pod of the same one would be there already.
    like = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"{name}-again"}}
    like["spec"] = {key: pod["spec"].get(key) for key in ("containers", "volumes", "restartPolicy")}
    try:
        return lab.run(
            f"kubectl -n {neighbours(lab)} create --dry-run=server -f -",
            stdin=yaml.safe_dump(like),
        )
    except CommandFailed as refused:
        return refused.output.strip()
