"""Step 2: the pod that was sent, and the pod that was stored."""

from __future__ import annotations

import difflib
import json
import re
from typing import Any

import yaml

from harness import expect
from harness.lab.api import LabContext, LoginPath, Object
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    AGENT,
    INIT,
    SECRETS,
    STATUS,
    agent_config,
    app_pod,
    asking,
    expect_running,
    find_container,
    given_ca,
    names,
    show,
    status_of,
)
from labs.lab03_injector.trust import way_in

FIELDS = ("containers", "initContainers", "volumes")
WIDTH = 100


def would_store(lab: LabContext, pod: Any) -> Object:
    """What the API server would store for `pod`, after all admission; nothing is created."""
    answer = lab.run(
        f"kubectl create -n {pod['metadata']['namespace']} --dry-run=server -o json -f -",
        stdin=yaml.safe_dump(pod),
    )
    return dict(json.loads(answer))


def difference(before: Object, after: Object) -> list[str]:
    """The lines that differ between two pods, as `diff -u` marks them, cut to a screen's width."""
    sent, stored = (_decided(pod).splitlines() for pod in (before, after))
    lines = difflib.unified_diff(sent, stored, "sent", "stored", n=1)
    return [line[:WIDTH] for line in lines]


def _decided(pod: Object) -> str:
    """Annotations and spec as YAML; the random part of the token volume's name is left out."""
    text = yaml.safe_dump(
        {"annotations": pod["metadata"].get("annotations"), "spec": pod["spec"]}, width=1000
    )
    return re.sub(r"(kube-api-access)-\w+", r"\1", text)


def added(before: Object, after: Object) -> dict[str, list[str]]:
    """The names of the containers, init containers and volumes that only `after` has."""
    return {
        field: sorted(
            name
            for name in set(names(after, field)) - set(names(before, field))
            # The token's volume has another random name in each pod.
            if not name.startswith("kube-api-access-")
        )
        for field in FIELDS
    }


@injector.step(
    "See what the webhook writes into a pod",
    hints=[
        "`app_pod(lab, 'web')` is a plain pod; `asking(lab, {...})` makes the annotations. Ask "
        "for one secret: `agent-inject-secret-app` with the path lab03-kv/data/app.",
        "`would_store(lab, pod)` is `kubectl create --dry-run=server -o json`: compare the plain "
        "pod with the annotated one. Keep `added(before, after)` in `lab.notes['added']`, then "
        "create the annotated pod `web`.",
    ],
)
def see_the_mutation(lab: LabContext) -> None:
    """
    The application's manifest gets three annotations: *inject*, the **role**, and a **path**
    in Vault. On creation, the API server asks the injector's webhook, and the answer is a
    JSON Patch: the pod that is stored is not the pod that was sent. The diff shows it all.

    - an **init container** that logs in, writes the files and ends; the application starts
      after it, so its files are there from the first moment;
    - a **sidecar** that stays and keeps them fresh;
    - **volumes in memory**: one for the secrets, mounted into the application at
      `/vault/secrets`, and a home for each agent's own token;
    - the agent's whole configuration, base64 in one variable, and the CA that it verifies
      Vault with in another. No secret is in them.

    The agent is not root, has no capability and cannot write to its image.
    """
    plain = app_pod(lab, "web")
    secret = {"agent-inject-secret-app": lab.path("kv", "data", "app")}
    annotated = app_pod(lab, "web", asking(lab, secret))
    before, after = would_store(lab, plain), would_store(lab, annotated)
    for line in difference(before, after):
        print(line)
    lab.notes["added"] = added(before, after)
    lab.kube.apply(annotated)
    lab.kube.wait_for_pod("web")


@see_the_mutation.check
def _(lab: LabContext) -> None:
    pod = expect_running(lab, "web")
    wanted = {
        "containers": [AGENT],
        "initContainers": [INIT],
        "volumes": ["home-init", "home-sidecar", "vault-secrets"],
    }
    expect(
        lab.notes.get("added") == wanted,
        "the comparison found two agents and three volumes that nobody had sent",
        found=lab.notes.get("added") or "no lab.notes['added']",
    )
    for field, some in wanted.items():
        expect(
            set(some) <= set(names(pod, field)),
            f"the stored pod has {', '.join(some)} among its {field}",
            found=names(pod, field),
        )
    expect(
        (pod["metadata"].get("annotations") or {}).get(STATUS) == "injected",
        "the webhook has left its mark: agent-inject-status is injected",
    )
    volumes = [v for v in pod["spec"]["volumes"] if v["name"] in wanted["volumes"]]
    expect(
        all((v.get("emptyDir") or {}).get("medium") == "Memory" for v in volumes),
        "all three volumes lie in memory",
        found=volumes,
    )
    method = agent_config(pod, INIT)["auto_auth"]["method"]
    expect(
        method["config"]["role"] == "app"
        and method["mount_path"] == f"auth/{lab.path('kubernetes')}",
        "the agent was told to log in with the role app",
        found=method,
    )
    expect(
        agent_config(pod, INIT)["vault"]["address"] == lab.access.vault_pod_addr
        and given_ca(pod) == lab.access.vault_ca.read_text(encoding="ascii").strip(),
        "and where Vault is, by https, and which CA to verify it with",
        found=agent_config(pod, INIT)["vault"],
    )
    for name in (INIT, AGENT):
        rights = find_container(pod, name)["securityContext"]
        expect(
            rights["runAsNonRoot"]
            and rights["runAsUser"] == 100
            and rights["readOnlyRootFilesystem"]
            and rights["capabilities"]["drop"] == ["ALL"]
            and not rights["allowPrivilegeEscalation"],
            f"{name} is not root and has no capability",
            found=rights,
        )
    ended = status_of(pod, INIT)["state"]["terminated"]
    started = status_of(pod, "app")["state"]["running"]["startedAt"]
    expect(
        ended["exitCode"] == 0 and ended["finishedAt"] <= started,
        "the application started after vault-agent-init had ended well",
        found={"ended": ended["finishedAt"], "started": started},
    )
    text = show(lab, "web", f"cat {SECRETS}/app")
    expect(lab.secret("app") in text, "and found the password of Vault in its file")


@see_the_mutation.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
