"""The five ways as data, and what the checks of all five ask.

Each way is one Deployment of the shop, of the same name. What a check compares is the SHA-256
of the secret, computed in the pod: no value passes through it.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from harness import expect
from harness.lab.api import Entry, GaveUp, KubeRefused, LabContext, LoginPath, Object
from harness.lab.kit.kv import stored
from harness.lab.kit.pods import file_sum

SOON_SECONDS = 15.0
REFUSED = "service account name not authorized"
# The SHA-256 of an empty file.
NOTHING = hashlib.sha256(b"").hexdigest()
# The comments around the lines for Vault in the script of the shop.
BEGIN, END = "# From here: for Vault.", "# To here."


@dataclass(frozen=True)
class Way:
    """One way into the pod: its Deployment and the file in which the shop finds the password.

    `variable` is the environment variable with the same value, "" without one.
    """

    name: str
    title: str
    file: str
    variable: str = ""
    in_vault: bool = True


PLAIN = Way("plain", "plain Secret", "/secrets/password", "PASSWORD", in_vault=False)
HTTP = Way("http", "HTTP API", "/memory/password")
CSI = Way("csi", "CSI", "/secrets/password")
INJECTOR = Way("injector", "injector", "/vault/secrets/password")
OPERATOR = Way("operator", "operator", "/secrets/password", "PASSWORD")
WAYS = (PLAIN, HTTP, CSI, INJECTOR, OPERATOR)


def secret_path(lab: LabContext, way: Way) -> str:
    """The request path of the shop's secret for one way."""
    return lab.path("kv", "data", f"shop/{way.name}")


def login_path(lab: LabContext) -> str:
    """Where the shop logs in."""
    return f"auth/{lab.path('kubernetes')}/login"


def wanted_sum(lab: LabContext, way: Way) -> str:
    """The SHA-256 of the password as it is stored for this way; "" when it is not there."""
    if way.in_vault:
        value: str = stored(lab, f"shop/{way.name}")
    else:
        value = secret_value(lab, way.name)
    return lab.fingerprint(value) if value else ""


def secret_value(lab: LabContext, name: str, key: str = "password") -> str:
    """One value of a Kubernetes Secret; "" without it. It is for comparing, never to be shown."""
    data = (lab.kube.get("Secret", name) or {}).get("data") or {}
    return base64.b64decode(data.get(key) or "").decode()


def pods_of(lab: LabContext, way: Way, account: str = "shop") -> list[Object]:
    """The running pods of a way that were started for this service account, oldest first."""
    found = [
        pod
        for pod in lab.kube.list("Pod", selector=f"app={way.name}")
        if (pod.get("status") or {}).get("phase") == "Running"
        and not pod["metadata"].get("deletionTimestamp")
        and pod["spec"].get("serviceAccountName") == account
    ]
    return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def pod_name(lab: LabContext, way: Way) -> str:
    """The newest running pod of a way, "" without one."""
    found = pods_of(lab, way)
    return str(found[-1]["metadata"]["name"]) if found else ""


def readers(lab: LabContext, way: Way) -> set[str]:
    """Who has read the secret of a way since the step began: `namespace/account`."""
    return {identity(entry) for entry in lab.audit.responses(secret_path(lab, way))} - {""}


def identity(entry: Entry) -> str:
    """The service account of an entry of the audit log; "" for anybody else."""
    said = (entry.get("auth") or {}).get("metadata") or {}
    name = said.get("service_account_name")
    return f"{said.get('service_account_namespace')}/{name}" if name else ""


def expect_open(lab: LabContext, way: Way) -> None:
    """State that the shop of a way runs and has the password in its file."""
    expect(lab.kube.get("Deployment", way.name), f"there is a Deployment {way.name}")
    wanted = wanted_sum(lab, way)
    expect(wanted, f"there is a password for the way {way.name}")
    arrived = _soon(lab, way, wanted)
    name = pod_name(lab, way)
    expect(
        arrived,
        f"{way.title}: {way.file} in the pod holds the password (compared by SHA-256)",
        found=lab.kube.explain_pod(name) if name else "no pod of it runs",
        hint=f"kubectl -n {lab.namespace} describe pod -l app={way.name}",
    )


def expect_seen(lab: LabContext, way: Way) -> None:
    """State whose name stands in Vault's audit log: that of the shop, and no other."""
    seen = readers(lab, way)
    expect(
        seen == {f"{lab.namespace}/shop"},
        f"{way.title}: Vault's audit log names the pod's own account {lab.namespace}/shop",
        found=sorted(seen),
    )


def expect_turned_away(lab: LabContext) -> None:
    """State that Vault refused a login since the step began: that of guest, see the step."""
    refusals = lab.audit.refusals(login_path(lab))
    expect(
        any(REFUSED in reason for reason in refusals),
        "Vault refused the login of the account guest",
        found=sorted(set(refusals)),
    )


def expect_guest_refused(lab: LabContext, way: Way) -> None:
    """State that a revision of the Deployment with the account guest was refused by Vault."""
    expect_turned_away(lab)
    revisions = lab.kube.list("ReplicaSet", selector=f"app={way.name}", api_version="apps/v1")
    accounts = {one["spec"]["template"]["spec"].get("serviceAccountName") for one in revisions}
    expect(
        "guest" in accounts,
        f"the Deployment {way.name} has had a revision with the account guest",
        found=sorted(map(str, accounts)),
    )


def events_with(lab: LabContext, reason: str = "", name: str = "") -> list[str]:
    """The messages of events in the lab's namespace: with a reason, about an object, or all."""
    return [
        str(event.get("message"))
        for event in lab.kube.list("Event")
        if (not reason or event.get("reason") == reason)
        and (not name or event["involvedObject"].get("name") == name)
    ]


def lines_for_vault(lab: LabContext, way: Way) -> int:
    """How many lines the shop has for Vault: those between the two comments of its script."""
    container = _shop_of(lab.kube.get("Deployment", way.name))
    script = "\n".join([*(container.get("command") or []), *(container.get("args") or [])])
    _, opened, rest = script.partition(f"{BEGIN}\n")
    lines = rest.partition(END)[0].splitlines() if opened else []
    return sum(1 for line in lines if line.strip())


def _shop_of(deployment: Object | None) -> dict[str, Any]:
    spec = (((deployment or {}).get("spec") or {}).get("template") or {}).get("spec") or {}
    return next((dict(one) for one in spec.get("containers") or [] if one["name"] == "shop"), {})


def way_in(lab: LabContext, way: Way) -> LoginPath:
    """How the shop gets to its secret, for the diagnosis of a step."""
    return LoginPath(
        mount=lab.path("kubernetes"),
        role="shop",
        service_account="shop",
        reviewer="reviewer",
        secret=secret_path(lab, way),
        fields=("password",),
    )


def holds_the_password(lab: LabContext, way: Way, wanted: str = "", pod: str = "") -> bool:
    """Whether the newest pod, or `pod`, has a password in its file: any, or that with this sum."""
    name = pod or pod_name(lab, way)
    try:
        found = file_sum(lab, name, way.file, "shop") if name else ""
    except KubeRefused:
        return False  # its container has ended, or is about to start
    return found == wanted if wanted else found not in ("", NOTHING)


def _soon(lab: LabContext, way: Way, wanted: str) -> bool:
    """A check may come a moment before the shop has opened."""

    def arrived() -> bool:
        return holds_the_password(lab, way, wanted)

    try:
        return lab.wait_for(f"the shop of {way.name}", arrived, timeout=SOON_SECONDS)
    except GaveUp:
        return False
