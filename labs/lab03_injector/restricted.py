"""Step 11: Pod Security "restricted", and a token that is good for Vault alone."""

from __future__ import annotations

import base64
import json
from typing import Any

from harness import expect
from harness.lab.api import KubeRefused, LabContext, LoginPath
from harness.lab.kit.kv import stored_sum
from harness.lab.kit.pods import service_account
from labs.lab03_injector.files import password_only
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    AGENT,
    INIT,
    SECRETS,
    app_pod,
    asking,
    expect_running,
    find_container,
)
from labs.lab03_injector.trust import make_role

LEVEL = "pod-security.kubernetes.io/enforce"
IDENTITY = "/var/run/secrets/vault.hashicorp.com/serviceaccount/token"


def strict_namespace(lab: LabContext) -> str:
    """A namespace of this lab that is held to the level restricted."""
    return lab.path("restricted")


def careless_pod(lab: LabContext) -> Any:
    """A pod whose own container is exemplary; what the injector adds is not said anything of."""
    wishes = asking(lab, password_only(lab, "app"), role="strict")
    return app_pod(lab, "careless", wishes, namespace=strict_namespace(lab))


def strict_pod(lab: LabContext) -> Any:
    """The same with a seccomp profile for all of the pod, and a token for Vault alone."""
    identity = {"agent-service-account-token-volume-name": "identity"}
    pod = app_pod(
        lab,
        "strict",
        asking(lab, password_only(lab, "app") | identity, role="strict"),
        namespace=strict_namespace(lab),
    )
    pod["spec"]["securityContext"] = {"seccompProfile": {"type": "RuntimeDefault"}}
    pod["spec"]["automountServiceAccountToken"] = False
    projected = {"path": "token", "audience": "vault", "expirationSeconds": 600}
    pod["spec"]["volumes"].append(
        {"name": "identity", "projected": {"sources": [{"serviceAccountToken": projected}]}}
    )
    return pod


def refusal(lab: LabContext, pod: Any) -> str:
    """What the API server says when it refuses to create `pod`; "" when it takes it."""
    try:
        lab.kube.apply(pod)
    except KubeRefused as refused:
        return refused.message
    lab.kube.delete("Pod", pod["metadata"]["name"], pod["metadata"]["namespace"], grace=0)
    return ""


def claims(token: str) -> dict[str, Any]:
    """What a JWT says about itself; nothing is verified here."""
    part = token.split(".")[1] if token.count(".") == 2 else ""
    text = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) or b"{}"
    return dict(json.loads(text))


@injector.step(
    "Pod Security restricted, and a token for Vault alone",
    hints=[
        "Namespace lab03-restricted with the label `pod-security.kubernetes.io/enforce: "
        "restricted`, a service account app in it, and a role `strict`: `make_role(lab, "
        "'strict', [...], namespace=..., audience='vault')`.",
        "`refusal(lab, careless_pod(lab))` tells what is wrong; keep it in "
        "`lab.notes['careless']`. `strict_pod(lab)` does it right.",
    ],
)
def restricted_namespace(lab: LabContext) -> None:
    """
    A namespace that enforces **Pod Security "restricted"** looks at the pod *after* the
    webhook has changed it. The injected agents are nearly good enough: not root, no
    capability, no privilege escalation. But they name no **seccomp profile**, and the pod
    is refused, though your own container is exemplary. The cure is one line for the whole
    pod: `securityContext.seccompProfile`.

    While we are strict: the ordinary service-account token in the pod is good for the **API
    server**. Vault does not need that, and who steals it can talk to the cluster. So this pod
    mounts none (`automountServiceAccountToken: false`) and projects a token whose audience is
    `vault`, for ten minutes. `agent-service-account-token-volume-name` leads the agent to
    it; only the agents mount it. The role demands that audience.
    """
    namespace = strict_namespace(lab)
    lab.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {LEVEL: "restricted"}},
        }
    )
    lab.kube.apply(service_account("app", namespace))
    make_role(lab, "strict", [lab.path("app")], namespace=namespace, audience="vault")
    lab.notes["careless"] = refusal(lab, careless_pod(lab))
    print(lab.notes["careless"])
    lab.kube.apply(strict_pod(lab))
    lab.kube.wait_for_pod("strict", namespace=namespace)


@restricted_namespace.check
def _(lab: LabContext) -> None:
    namespace = strict_namespace(lab)
    found = lab.kube.get("Namespace", namespace) or {"metadata": {}}
    level = (found["metadata"].get("labels") or {}).get(LEVEL)
    expect(level == "restricted", f"{namespace} enforces the level restricted", found=level)
    said = lab.notes.get("careless", "")
    expect(
        "violates PodSecurity" in said and "seccompProfile" in said and INIT in said,
        "the careless pod was refused, because its agents name no seccomp profile",
        found=said or "no lab.notes['careless']",
    )
    pod = expect_running(lab, "strict", namespace)
    for name in (INIT, AGENT):
        expect(find_container(pod, name), f"the pod strict has a {name}")
    mounts = [m["mountPath"] for m in find_container(pod, "app")["volumeMounts"]]
    expect(
        not any("serviceaccount" in mount for mount in mounts),
        "its application has no service-account token at all",
        found=mounts,
    )
    token = lab.kube.exec("strict", f"cat {IDENTITY} || true", namespace, AGENT)
    expect(
        claims(token).get("aud") == ["vault"],
        "the agent's token is good for Vault alone: its audience is vault",
        found=claims(token).get("aud"),
    )
    summed = lab.kube.exec("strict", f"sha256sum {SECRETS}/app", namespace, "app")
    expect(
        summed.partition(" ")[0] == stored_sum(lab, "app"),
        "with it the agent has got the password",
    )


@restricted_namespace.diagnosis
def _(lab: LabContext) -> LoginPath:
    return LoginPath(
        mount=lab.path("kubernetes"),
        role="strict",
        service_account="app",
        namespace=strict_namespace(lab),
        audience="vault",
        reviewer="reviewer",
        secret=lab.path("kv", "data", "app"),
        fields=("password",),
        ca=lab.access.vault_ca.read_text(encoding="ascii"),
    )
