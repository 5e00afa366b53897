"""Links from the pod's side: what it, its agent and kubelet say, and whether it reaches Vault.

Vault's settings may be right and the pod's own be wrong: another address, another CA, a volume
that names no class. A pod tells in its events, in the state of its containers and in its agent's
log; where it can be asked, it is asked itself. Nothing here reads a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from harness.base.errors import LabError
from harness.clients.kube_objects import condition
from harness.diagnosis import commands
from harness.diagnosis.chain import Chain, Finding, Link

POD, TOKEN, VAULT = "pod", "token of the pod", "Vault from the pod"
AGENTS = frozenset({"vault-agent-init", "vault-agent"})
LOG_LINES = 60
LONGEST = 400

# What kubelet, drivers and agents say, and what it means.
MEANINGS: tuple[tuple[str, str], ...] = (
    (
        r"driver name \S+ not found in the list of registered CSI drivers",
        "spec.volumes[].csi.driver is the name of an installed driver (kubectl get csidriver)",
    ),
    (
        r"failed to get secretproviderclass",
        "the volume's secretProviderClass must exist in the pod's own namespace "
        "(kubectl get secretproviderclass)",
    ),
    (
        r"provider not found|error connecting to provider",
        "spec.provider of the SecretProviderClass is vault; its pods run in the namespace csi",
    ),
    (
        r"MountVolume.SetUp failed .* (configmap|secret) \S+ not found",
        "the volume names a ConfigMap or a Secret that is not in this namespace",
    ),
    (
        r"references non-existent secret key|couldn't find key",
        "the Secret is there, the key is not: names are case-sensitive",
    ),
    (
        r"(secret|configmap) \"?\S+\"? not found",
        "the pod names a Secret or ConfigMap that is not in this namespace",
    ),
    (
        r"ErrImageNeverPull|ImagePullBackOff|ErrImagePull|InvalidImageName",
        "the image is not on the node and cannot be pulled: is its name $APP_IMAGE?",
    ),
    (
        r"runAsNonRoot",
        "the image's user is root, or has a name only: set runAsUser to a number",
    ),
    (
        r"template server: .*|error executing template|function .* not defined|parse template",
        "the annotation vault.hashicorp.com/agent-inject-template-NAME does not render",
    ),
    (
        r"invalid role name|could not load role|role .* could not be found",
        "the role that the pod names is not at this auth method",
    ),
    (
        r"no such host|server misbehaving|lookup \S+ on",
        "the address of Vault that the pod has does not resolve: "
        "https://vault.vault.svc:8200 is right",
    ),
    (
        r"x509: certificate signed by unknown authority|certificate verify failed",
        "the CA that the pod has did not sign Vault's certificate: "
        "the file in $VAULT_CACERT is right",
    ),
    (
        r"x509: certificate is valid for",
        "the name by which the pod calls Vault is not in Vault's certificate",
    ),
    (r"connection refused", "the port is wrong, or Vault does not run (./lab status)"),
    (r"permission denied|Code: 403", "the role or its policy does not allow what is asked for"),
    (
        r"Code: 404|no secret exists|no handler for route",
        "nothing is at the path that is asked for",
    ),
    (r"unschedulable|Insufficient|didn't match Pod", "no node takes the pod: see its requests"),
)

# curl's own statuses (curl(1), EXIT CODES).
CURL: dict[int, tuple[str, str]] = {
    6: ("the name in its VAULT_ADDR does not resolve", "VAULT_ADDR={address}"),
    7: ("nobody listens at its VAULT_ADDR", "VAULT_ADDR={address}"),
    28: ("its VAULT_ADDR does not answer within 5 s", "VAULT_ADDR={address}"),
    35: ("what is at its VAULT_ADDR does not speak TLS", "VAULT_ADDR={address}"),
    60: (
        "it cannot verify Vault: wrong CA, or a name that is not in the certificate",
        "mount the ConfigMap vault-ca, and call Vault {address}",
    ),
    77: (
        "the CA file that its VAULT_CACERT names is not there",
        "mount the ConfigMap vault-ca where VAULT_CACERT says",
    ),
}
_ASK = (
    '[ -n "$VAULT_ADDR" ] && command -v curl >/dev/null || { echo none; exit 0; }\n'
    # Which CA a script names by itself is not known here: then only the way is tried.
    'set -- --insecure; [ -z "$VAULT_CACERT" ] || set -- --cacert "$VAULT_CACERT"\n'
    'curl -sS --max-time 5 -o /dev/null "$@" "$VAULT_ADDR/v1/sys/seal-status" 2>/dev/null\n'
    'echo "$? $VAULT_ADDR"'
)


def token_is_alive(chain: Chain) -> Finding | None:
    """The pod is younger than its account: a token dies with the account that it is for."""
    account = chain.path.service_account
    if not (account and chain.pod):
        return None
    found = chain.lab.kube.get("ServiceAccount", account, chain.namespace) or {}
    born = str((found.get("metadata") or {}).get("creationTimestamp") or "")
    started = str(chain.pod["metadata"].get("creationTimestamp") or "")
    if not (born and started) or born <= started:
        return Finding(TOKEN, True, f"{account} is older than the pod")
    name = chain.path.pod
    return Finding(
        TOKEN,
        False,
        f"dead token: the account {account} was made again at {born}, the pod {name} is from "
        f"{started}: its token is for the account that is gone",
        f"a new pod gets a new token: delete {name} and make it again",
        commands.pod_again(chain),
    )


def pods_start(chain: Chain) -> Finding | None:
    """The pod runs; if not, what kubelet or its agent says. Without a name: any of the lab's."""
    pods = [chain.pod] if chain.pod else chain.lab.kube.list("Pod", chain.namespace)
    for pod in pods:
        name, phase = pod["metadata"]["name"], (pod.get("status") or {}).get("phase")
        if pod["metadata"].get("deletionTimestamp") or _is_ready(pod) or phase == "Succeeded":
            continue
        for said in _complaints(chain, pod):
            describe = commands.kubectl(chain, "describe", "pod", name)
            return Finding(POD, False, f"{name} is not ready: {said}", meaning(said) or describe)
    return None


def pod_reaches_vault(chain: Chain) -> Finding | None:
    """The pod itself, with the address and the CA that it has, reaches Vault."""
    if not (chain.whole and chain.pod and _is_ready(chain.pod)):
        return None
    try:
        said = chain.lab.kube.exec(chain.path.pod, _ASK, namespace=chain.namespace).split()
    except LabError:
        return None  # a pod without a shell
    if not said or not said[0].isdigit():
        return None
    status, address = int(said[0]), said[1] if len(said) > 1 else ""
    if status not in CURL:
        return Finding(VAULT, True, f"the pod reaches {address}")
    problem, hint = CURL[status]
    evidence = f"pod {chain.path.pod}: {problem} (VAULT_ADDR={address}, curl's status {status})"
    return Finding(VAULT, False, evidence, hint.format(address=chain.lab.access.vault_pod_addr))


def meaning(said: str) -> str:
    """What a message of kubelet, a driver or an agent means; "" when it is not known."""
    return next((hint for pattern, hint in MEANINGS if re.search(pattern, said)), "")


def _complaints(chain: Chain, pod: dict[str, Any]) -> Iterator[str]:
    """What the pod's parts say that keeps it from running, the most telling first."""
    kube, name = chain.lab.kube, pod["metadata"]["name"]
    status = pod.get("status") or {}
    states = [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]
    for state in states:
        if state["name"] in AGENTS and not state.get("ready"):
            log = kube.logs(name, chain.namespace, container=state["name"], tail=LOG_LINES)
            error = last_error(log)
            if error:
                yield f"{state['name']} says: {error}"
    events = kube.events(name, chain.namespace, pod["metadata"].get("uid", ""))
    failures = [one for one in events if re.match(r"Failed|ErrImage|Inspect|NetworkNot", one)]
    if failures:
        yield failures[-1]
    for state in states:
        waiting = (state.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            yield f"{state['name']}: {waiting['reason']}: {waiting.get('message', '')}"
        ended = (state.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            yield f"{state['name']} ended with status {ended['exitCode']} ({ended.get('reason')})"
    scheduled = condition(pod, "PodScheduled")
    if scheduled and scheduled["status"] != "True":
        yield f"{scheduled.get('reason')}: {scheduled.get('message')}"


def last_error(log: str) -> str:
    """The last error of an agent's log in one line; "" when there is none.

    Vault's API errors have several lines, each behind a bar; the reason comes last.
    """
    found: list[str] = []
    goes_on = False
    for line in log.splitlines():
        if re.search(r"\[ERROR\]|^Error|\[WARN\].*error=", line):
            found, goes_on = [line.strip()], True
        elif re.match(r"\d{4}-|==>|\[", line):
            goes_on = False
        elif goes_on:
            found.append(line.strip().lstrip("|"))
    words = " ".join(" ".join(found).split())
    return words if len(words) <= LONGEST else "… " + words[-LONGEST:]


def _is_ready(pod: dict[str, Any]) -> bool:
    return condition(pod, "Ready").get("status") == "True"


LINKS: tuple[Link, ...] = (pods_start, pod_reaches_vault)
