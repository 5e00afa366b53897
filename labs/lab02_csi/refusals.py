"""Step 8: volumes that must not be mounted, each for its own reason."""

from __future__ import annotations

from typing import Any

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.kubernetes_auth import make_role
from harness.lab.kit.pods import pod_events, service_account
from labs.lab02_csi.lab import csi
from labs.lab02_csi.volumes import pod, secret_class

# Pod: what its FailedMount event must say. The first six are Vault's own words, the next
# ones the provider's, the last three the driver's (interfaces.md 2.6, 5.3).
REASONS = {
    "wrong-account": "service account name not authorized",
    "wrong-namespace": "namespace not authorized",
    "wrong-audience": "invalid audience",
    "unknown-role": "invalid role name",
    "no-policy": "permission denied",
    "no-secret": "Code: 404",
    "no-key": 'key "passwd" does not exist',
    "no-role": "missing 'roleName'",
    "no-vault": "connection refused",
    "no-class": "not found",
    "no-provider": 'provider "nobody"',
    "writable": "Readonly is not true",
}


def mount_refused(lab: LabContext, name: str, **parameters: Any) -> None:
    """A class and a pod of this name, for a mount that fails."""
    account = parameters.pop("account", "app")
    key = parameters.pop("key", "password")
    path = lab.path("kv", "data", parameters.pop("reads", "app"))
    entry = f"- {{objectName: password, secretPath: {path}, secretKey: {key}}}"
    lab.kube.apply(secret_class(lab, name, entry, **parameters))
    lab.kube.apply(pod(lab, name, {"/secrets": name}, account=account))


def refused_for(lab: LabContext, name: str) -> str:
    """The last FailedMount event of a pod, "" when there is none."""
    failed = [event for event in pod_events(lab, name) if event.startswith("FailedMount")]
    return failed[-1] if failed else ""


def wait_for_refusal(lab: LabContext, name: str, reason: str) -> None:
    """Wait until the pod's last FailedMount event says `reason`."""
    lab.wait_for(
        f"pod {name} to be refused: {reason}",
        lambda: reason in refused_for(lab, name),
        explain=lambda: lab.kube.explain_pod(name),
    )


@csi.step(
    "Be refused, for the right reason",
    hints=[
        "Twelve pods, named wrong-account, wrong-namespace, wrong-audience, unknown-role, "
        "no-policy, no-secret, no-key, no-role, no-vault, no-class, no-provider, writable. "
        "`mount_refused(lab, name, ...)` makes class and pod of one name; `make_role` the roles.",
        "no-policy reads with a role that has no policies; no-key asks for passwd; no-role has "
        "role=''; no-vault has vaultAddress='https://127.0.0.1:1'; no-provider has "
        "provider='nobody'; writable is `pod(..., read_only=False)`.",
        "no-class: the class lives in the namespace lab02-elsewhere, the pod in lab02.",
    ],
)
def be_refused(lab: LabContext) -> None:
    """
    When a volume cannot be filled, the container does not start: the pod stays in
    *ContainerCreating*, and its **events** say why. Twelve ways to get there.

    | refused by | when | the event says |
    |---|---|---|
    | Vault, at login | account, namespace, audience, role | which of them |
    | Vault, at the read | the policy does not name the path; no such secret | 403; 404 |
    | the provider | no such key; no role in the class; Vault does not answer | the key; the field |
    | the driver | no class of that name *in the pod's namespace*; no provider; not read-only | it |

    A class cannot be shared across namespaces: the class and the pod live in one.
    Kubelet tries again and again, with growing pauses; repair the cause, and the pod
    starts without being touched.
    """
    lab.kube.apply(service_account("intruder"))
    mount_refused(lab, "wrong-account", account="intruder")
    make_role(lab, "elsewhere", policies=[], namespaces=["elsewhere"])
    mount_refused(lab, "wrong-namespace", role="elsewhere")
    make_role(lab, "other-audience", policies=[], audience="other")
    mount_refused(lab, "wrong-audience", role="other-audience")
    mount_refused(lab, "unknown-role", role="nobody")
    make_role(lab, "powerless", policies=[])
    mount_refused(lab, "no-policy", role="powerless")
    mount_refused(lab, "no-role", role="")
    mount_refused(lab, "no-key", key="passwd")
    # A policy may name a path that holds nothing.
    policy = f'path "{lab.path("kv", "data", "nothing")}" {{ capabilities = ["read"] }}'
    lab.http.put(f"/v1/sys/policies/acl/{lab.path('nothing')}", json={"policy": policy})
    make_role(lab, "nothing", policies=[lab.path("nothing")])
    mount_refused(lab, "no-secret", role="nothing", reads="nothing")
    # Inside the provider's pod, nobody listens there.
    mount_refused(lab, "no-vault", vaultAddress="https://127.0.0.1:1")
    mount_refused(lab, "no-provider", provider="nobody")

    other = f"{lab.namespace}-elsewhere"
    lab.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    lab.kube.apply(secret_class(lab, "no-class", "[]"), namespace=other)
    lab.kube.apply(pod(lab, "no-class", {"/secrets": "no-class"}))
    lab.kube.apply(pod(lab, "writable", {"/secrets": "app"}, read_only=False))

    for name, reason in REASONS.items():
        wait_for_refusal(lab, name, reason)
        print(f"{name}: {refused_for(lab, name)[-150:]}")


@be_refused.check
def _(lab: LabContext) -> None:
    for name, reason in REASONS.items():
        found = lab.kube.get("Pod", name)
        expect(found, f"there is a pod {name}")
        event = refused_for(lab, name)
        expect(
            reason in event,
            f"{name} is refused: {reason}",
            found=event or "no FailedMount event",
            hint="another reason is another mistake",
        )
        phase = (found or {})["status"]["phase"]
        expect(phase == "Pending", f"and pod {name} does not run", found=phase)
    other = f"{lab.namespace}-elsewhere"
    expect(
        lab.kube.get("SecretProviderClass", "no-class", other, "secrets-store.csi.x-k8s.io/v1"),
        f"although the class no-class is there, in {other}",
    )
    refused = lab.audit.refusals(f"auth/{lab.path('kubernetes')}/login")
    for reason in ("service account name not authorized", "namespace not authorized"):
        expect(
            any(reason in error for error in refused),
            f"Vault's audit log has it, too: {reason}",
            found=sorted(set(refused)),
        )
