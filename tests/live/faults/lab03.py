"""Faults of lab 03: the annotations, the webhook, and what the agent says."""

from __future__ import annotations

from tests.live.faults.fault import Fault, pod_again

_AUTH = "auth/$NAMESPACE-kubernetes"


def _fault(
    name: str, breaks: str, cause: str, restores: str = pod_again(), *, mends: bool = False
) -> Fault:
    return Fault(name, "03", "see_the_mutation", breaks, restores, cause, mends, solved=True)


def _annotation(name: str, change: str, cause: str) -> Fault:
    return _fault(name, pod_again(change), f"web is not ready: .*{cause}")


def _more(name: str, annotation: str, cause: str) -> Fault:
    return _annotation(name, f"s#^  annotations:#  annotations:\\n    {annotation}#", cause)


FAULTS: tuple[Fault, ...] = (
    _annotation(
        "the role annotation is misspelt",
        "s#hashicorp.com/role: app#hashicorp.com/role: ap#",
        "invalid role name|role",
    ),
    _annotation(
        "the auth path is another",
        "s#hashicorp.com/auth-path: .*#hashicorp.com/auth-path: auth/nobody#",
        "vault-agent-init says",
    ),
    _annotation("the secret's path has a slip", "s#kv/data/app#kv/data/ap#", "vault-agent-init"),
    # A path without data/ is no fault here: the agent asks Vault for the engine's version.
    _annotation(
        "the path names another engine", "s#-kv/data/app#-kw/data/app#", "vault-agent-init says"
    ),
    _more(
        "the address does not resolve",
        "vault.hashicorp.com/service: https://vault.nowhere.svc:8200",
        "no such host|server misbehaving|lookup",
    ),
    _more(
        "the template does not parse",
        'vault.hashicorp.com/agent-inject-template-app: "{{ with secret }}"',
        "vault-agent-init|template",
    ),
    _fault(
        "the injector is scaled to none",
        "kubectl -n vault-injector scale deployment vault-agent-injector --replicas=0\n"
        "kubectl -n vault-injector wait pod --all --for=delete --timeout=60s\n" + pod_again(),
        "integration injector: the Deployment vault-agent-injector in vault-injector wants no pod",
        f"$LAB_UP\n{pod_again()}",
        mends=True,
    ),
    _fault(
        "the webhook's configuration is deleted",
        "kubectl delete mutatingwebhookconfiguration vault-agent-injector-cfg\n" + pod_again(),
        "integration injector: there is no MutatingWebhookConfiguration",
        f"$LAB_UP\n{pod_again()}",
        mends=True,
    ),
    _fault(
        "the role is for another account",
        f"vault write {_AUTH}/role/app bound_service_account_names=web\n{pod_again()}",
        "service account: the role app is for web",
        f"vault write {_AUTH}/role/app bound_service_account_names=app\n{pod_again()}",
        mends=True,
    ),
    _fault(
        "the policy is gone",
        "vault policy read $NAMESPACE-app >$KEPT/policy.hcl\n"
        f"vault policy delete $NAMESPACE-app\n{pod_again()}",
        "policy: missing policy: there is no lab03-app",
        f"vault policy write $NAMESPACE-app $KEPT/policy.hcl\n{pod_again()}",
        mends=True,
    ),
)
