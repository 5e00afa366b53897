"""Step 3: who reads a Secret without any right to get it."""

from __future__ import annotations

from typing import Any

import yaml

from harness import expect
from harness.lab.api import CommandFailed, LabContext
from harness.lab.kit.pods import expect_running, from_secret
from labs.lab00_why.encoding import decoded, password_of, secret_manifest
from labs.lab00_why.lab import why
from labs.lab00_why.people import allowed, as_account, ask_as, may, secrets_path
from labs.lab00_why.pods import make_pod, node_reader

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete")
# The variable of a pod that is filled from the Secret app.
APP_PASSWORD = from_secret("PASSWORD", "app", "password")
PRINT = ("sh", "-c", 'printf %s "$PASSWORD" | sha256sum')
# The variables that the first process of the container was started with.
ENVIRON = "tr '\\0' '\\n' < /proc/1/environ | sed -n 's/^PASSWORD=//p' | tr -d '\\n' | sha256sum"


def neighbours(lab: LabContext) -> str:
    """A namespace in which none of the people has any right."""
    return f"{lab.namespace}-other"


def guarded_namespace(lab: LabContext) -> None:
    """That namespace, under Pod Security `baseline`, with a copy of the Secret app."""
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    namespace = {"name": neighbours(lab), "labels": labels}
    lab.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": namespace})
    lab.kube.apply(secret_manifest(lab, "app", neighbours(lab), password=password_of(lab, "app")))


def copies(lab: LabContext) -> int:
    """How many namespaces hold a Secret app with the same password."""
    found = (lab.kube.get("Secret", "app", where) for where in (lab.namespace, neighbours(lab)))
    wanted = lab.fingerprint(password_of(lab, "app"))
    return sum(lab.fingerprint(decoded(secret)) == wanted for secret in found)


def create_as(lab: LabContext, account: str, manifest: Any) -> str:
    """Let an account create an object; what kubectl says to that."""
    return as_account(lab, account, "create -f -", stdin=yaml.safe_dump(manifest))


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


def describe_shows(lab: LabContext, name: str, value: str) -> bool:
    """Whether an account with the ClusterRole view sees `value` in `kubectl describe pod`."""
    return value in as_account(lab, "viewer", f"describe pod {name}")


def from_node(lab: LabContext) -> str:
    """The sum of the neighbour's password, as the pod node-reader found it on the node."""
    neighbour = lab.kube.get("Pod", "neighbour", neighbours(lab)) or {"metadata": {"uid": "none"}}
    lines = log_as(lab, "deployer", "node-reader").splitlines()
    return next((line[:64] for line in lines if neighbour["metadata"]["uid"] in line), "")


def would_be_created(lab: LabContext, manifest: Any) -> str:
    """What the namespace under Pod Security says to a pod; nothing is stored."""
    try:
        return lab.run(
            f"kubectl -n {neighbours(lab)} create --dry-run=server -f -",
            stdin=yaml.safe_dump(manifest),
        )
    except CommandFailed as refused:
        return refused.output.strip()


@why.step(
    "Read it without the right to",
    minutes=5,
    hints=[
        "Kubelet fetches a Secret for a pod, and nobody asks whether the author of the pod may "
        "read it. Give an account create and get on pods, and get on pods/log, nothing else; then "
        "let a pod print what it got.",
        "deployer (pods: create get; pods/log: get) creates the pod thief, `command=PRINT`, and "
        "later node-reader. oncall (pods: get; pods/exec: create get) looks into the pod "
        "careful. `create_as(lab, 'deployer', make_pod(lab, 'thief', ...))`.",
        "careful has `env=[APP_PASSWORD]`, from the Secret; careless has lab.secret('literal') as "
        "the value in its manifest. `guarded_namespace(lab)`, then the pod neighbour in "
        "lab00-other with `volume='app'`; when it runs, `node_reader(lab, 'node-reader')`. Keep "
        "in `lab.notes['elsewhere']`: copies (`copies(lab)`), events (about the Secret app).",
    ],
)
def read_without_get(lab: LabContext) -> None:
    """
    Nobody here gets a right on Secrets. Five ways to have the value all the same:

    1. **Create a pod** that names the Secret, and let it print it. Kubernetes does not ask
       whether the author of a pod may read what the pod uses. So `create pods` *is* `get
       secrets`, for the whole namespace; and so is the right to create what creates pods:
       Deployments, Jobs, CronJobs.
    2. **exec** into a pod that has it.
    3. **/proc/1/environ**: an environment variable can be read by every process of the same
       user, and each child process inherits it.
    4. **describe pod**, where the value was written into the manifest instead of a Secret.
       The ClusterRole *view* is enough: it leaves out Secrets, not pods.
    5. **The node.** A Secret volume is a file system in the node's memory. Root there reads
       those of *every* pod on it, whatever the namespace; and a pod with a `hostPath` volume
       reads as root there. So the deployer has a password of a namespace that is shut to it.

    **Pod Security** shuts the fifth way: a namespace that enforces `baseline` takes no
    hostPath. It does not shut the first: a pod that uses a Secret is a pod like any other.

    None of these ways leaves a trace on the Secret: there is no event about it.
    """
    may(lab, "deployer", {"pods": "create get", "pods/log": "get"})
    may(lab, "oncall", {"pods": "get", "pods/exec": "create get"})
    guarded_namespace(lab)
    password, literal = password_of(lab, "app"), str(lab.secret("literal"))
    lab.kube.apply(make_pod(lab, "neighbour", neighbours(lab), volume="app"))
    lab.kube.apply(make_pod(lab, "careful", env=[APP_PASSWORD]))
    lab.kube.apply(make_pod(lab, "careless", env=[{"name": "PASSWORD", "value": literal}]))

    # 1. The deployer may not get the Secret. It creates a pod that gets it.
    print(asks_for_secret(lab))
    create_as(lab, "deployer", make_pod(lab, "thief", env=[APP_PASSWORD], command=PRINT))

    # 5. And a pod that looks at a folder of the node, once the neighbour's volume is there.
    lab.kube.wait_for_pod("neighbour", namespace=neighbours(lab))
    create_as(lab, "deployer", node_reader(lab, "node-reader"))
    print(would_be_created(lab, node_reader(lab, "node-reader")))
    for name, state in (("thief", "Succeeded"), ("careful", "Ready"), ("node-reader", "Succeeded")):
        lab.kube.wait_for_pod(name, state)

    print("the password           ", lab.fingerprint(password)[:16])
    print("log of the pod thief   ", from_pod(lab)[:16])
    print("/proc/1/environ by exec", from_environ(lab)[:16])
    print("file on the node       ", from_node(lab)[:16])
    print("describe shows the value of careful:", describe_shows(lab, "careful", password))
    print("describe shows the value of careless:", describe_shows(lab, "careless", literal))
    # What does the Secret itself tell of all that?
    lab.notes["elsewhere"] = {"copies": copies(lab), "events": len(lab.kube.events("app"))}
    print(lab.notes["elsewhere"])


@read_without_get.check
def _(lab: LabContext) -> None:
    password = lab.fingerprint(password_of(lab, "app"))
    _check_rights(lab)
    expect(
        from_pod(lab) == password,
        "the pod thief printed the password: its author could read the log, not the Secret",
        found=from_pod(lab),
        hint="its command prints the SHA-256 of $PASSWORD: command=PRINT",
    )
    expect_running(lab, "careful")
    expect(
        from_environ(lab) == password,
        "by exec the password of careful can be read in /proc/1/environ",
        found=from_environ(lab),
        hint="env=[APP_PASSWORD]: its value comes from the Secret app",
    )
    expect_running(lab, "careless")
    expect(
        describe_shows(lab, "careless", lab.secret("literal")),
        "describe pod shows the value that was written into the manifest of careless",
        hint="the variable PASSWORD of careless has a value, lab.secret('literal')",
    )
    expect(
        not describe_shows(lab, "careful", password_of(lab, "app")),
        "and of careful only where the value comes from",
    )
    _check_node(lab)
    noted = lab.notes.get("elsewhere", {})
    expect(
        noted.get("copies") == copies(lab) == 2,
        "two namespaces that need one password have two copies of it",
        found=noted or "no lab.notes['elsewhere']",
        hint="lab.notes['elsewhere'] = {'copies': copies(lab), 'events': number}",
    )
    events = lab.kube.events("app")
    expect(
        noted.get("events") == len(events) == 0,
        "no event tells that somebody has read the Secret",
        found={"noted": noted.get("events"), "events": events},
    )


def _check_rights(lab: LabContext) -> None:
    for account in ("deployer", "oncall"):
        expect(lab.kube.get("ServiceAccount", account), f"there is a service account {account}")
        rights = [verb for verb in VERBS if allowed(lab, account, verb, "secrets")]
        expect(not rights, f"{account} has no right on Secrets", found=rights)
    expect(allowed(lab, "deployer", "create", "pods"), "the deployer may create pods")
    refused = asks_for_secret(lab)
    expect(
        refused.startswith("403") and 'cannot get resource "secrets"' in refused,
        "and is refused when it asks for the Secret: 403",
        found=refused,
    )


def _check_node(lab: LabContext) -> None:
    where = neighbours(lab)
    rights = [verb for verb in VERBS if allowed(lab, "deployer", verb, "pods", namespace=where)]
    expect(not rights, "in the namespace of the neighbour the deployer has no right", found=rights)
    expect_running(lab, "neighbour", neighbours(lab))
    expect(
        from_node(lab) == lab.fingerprint(password_of(lab, "app")),
        "the pod node-reader found the neighbour's password on the node",
        found=from_node(lab) or "no file of that pod in the log of node-reader",
        hint="node-reader has to be created when neighbour runs already",
    )
    refused = would_be_created(lab, node_reader(lab, "node-reader"))
    expect(
        'violates PodSecurity "baseline:latest": hostPath' in refused,
        "Pod Security refuses such a pod, for its hostPath volume",
        found=refused,
    )
    taken = would_be_created(lab, make_pod(lab, "thief", env=[APP_PASSWORD], command=PRINT))
    expect("created" in taken, "and takes one that prints a Secret", found=taken)
