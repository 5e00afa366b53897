"""Links of the environment itself: the shell's token, the audit log, the node, the cluster's DNS.

A learner has administrator's rights on both sides and can break what no lab is about. None of
these is looked at by a step's own check, and each makes checks fail in ways that name something
else.
"""

from __future__ import annotations

from harness.clients.kube_objects import condition
from harness.diagnosis import commands
from harness.diagnosis.chain import Chain, Finding, Link

TOKEN, AUDIT, NODE, DNS = "token of the shell", "audit log", "node", "DNS of the cluster"
# The audit device of OpenBao stands in its configuration; nobody can disable it by the API.
DECLARES_AUDIT = "openbao"


def shell_token_works(chain: Chain) -> Finding:
    """The token in VAULT_TOKEN, which checks use as well, is alive and may do everything."""
    found = chain.lab.http.get("/v1/auth/token/lookup-self", allow={403})
    if found.status_code == 403:
        evidence = "Vault does not know it (any more): was it revoked?"
        hint = "./lab up makes it again; the environment itself is not harmed"
        return Finding(TOKEN, False, evidence, hint, commands.up(chain))
    return Finding(TOKEN, True, "Vault knows it")


def audit_is_on(chain: Chain) -> Finding | None:
    """Vault writes its audit log, from which the checks read who asked for what."""
    if chain.lab.access.flavour == DECLARES_AUDIT:
        return None
    if any(isinstance(one, dict) and one.get("type") for one in chain.read("sys/audit").values()):
        return Finding(AUDIT, True, "an audit device is enabled")
    evidence = "no audit device is enabled: nobody can tell who asked for what"
    hint = "checks read Vault's audit log; ./lab up enables it (vault audit enable file ...)"
    return Finding(AUDIT, False, evidence, hint, commands.up(chain))


def node_takes_pods(chain: Chain) -> Finding | None:
    """The node is Ready and not cordoned."""
    for node in chain.nodes:
        name = node["metadata"]["name"]
        if (node.get("spec") or {}).get("unschedulable"):
            evidence = f"{name} is cordoned: no new pod is placed on it"
            hint = "kubectl cordon and kubectl drain leave a node so"
            return Finding(NODE, False, evidence, hint, f"kubectl uncordon {name}")
        ready = condition(node, "Ready")
        if ready.get("status") != "True":
            evidence = f"{name} is not Ready: {ready.get('reason')}: {ready.get('message')}"
            hint = f"docker exec {name} journalctl -u kubelet -n 20"
            run = f"docker exec {name} systemctl restart kubelet"
            return Finding(NODE, False, evidence, hint, run)
    return Finding(NODE, True, "Ready, takes pods") if chain.nodes else None


def dns_answers(chain: Chain) -> Finding | None:
    """CoreDNS has a pod that is ready: names such as vault.vault.svc resolve in pods."""
    found = chain.lab.kube.get("Deployment", "coredns", "kube-system")
    if not found:
        return None
    if (found.get("status") or {}).get("readyReplicas"):
        return Finding(DNS, True, "CoreDNS is ready")
    wanted = (found.get("spec") or {}).get("replicas")
    evidence = f"CoreDNS has no pod that is ready ({wanted} wanted): no name resolves in pods"
    scale = "kubectl -n kube-system scale deployment coredns --replicas=1"
    run = f"{scale}\nkubectl -n kube-system rollout status deployment coredns --timeout=60s"
    return Finding(DNS, False, evidence, "pods call Vault by its name", run)


# The first two need Vault alone, the others a cluster that answers.
VAULT_LINKS: tuple[Link, ...] = (shell_token_works, audit_is_on)
CLUSTER_LINKS: tuple[Link, ...] = (node_takes_pods, dns_answers)
