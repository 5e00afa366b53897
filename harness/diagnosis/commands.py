"""The commands that mend a link: whole, as one types them in `./lab shell`.

A hint says what is wrong with a setting; these say what to type. What a person has to decide (a
secret's value) is not here. A test of tests/live/faults runs each of them.
"""

from __future__ import annotations

import shlex

from harness.clients.kube_objects import here_document
from harness.diagnosis.chain import Chain

DELEGATOR = "system:auth-delegator"
DEFAULT_ENVIRONMENT = "lab"


def up(chain: Chain) -> str:
    """The environment repaired: what does not run is started, what is sealed is unsealed."""
    name = chain.lab.access.name
    return "./lab up" + ("" if name == DEFAULT_ENVIRONMENT else f" --env {name}")


def kubectl(chain: Chain, *words: str) -> str:
    """A kubectl command in the namespace of the path."""
    return shlex.join(["kubectl", "-n", chain.namespace, *words])


def role(chain: Chain, **fields: object) -> str:
    """These fields written into the role; Vault keeps the others."""
    words = [f"{name}={_value(value)}" for name, value in fields.items()]
    return shlex.join(["vault", "write", f"auth/{chain.path.mount}/role/{chain.path.role}", *words])


def whole_role(chain: Chain) -> str:
    """The role as the path needs it."""
    path = chain.path
    return role(
        chain,
        bound_service_account_names=path.service_account,
        bound_service_account_namespaces=chain.namespace,
        audience=path.audience,
        token_policies=policies(chain),
    )


def policies(chain: Chain) -> list[str]:
    """What the role should grant: as the path says, else the lab's policy of the role's name."""
    if chain.path.policies:
        return list(chain.path.policies)
    own = [name for name in chain.names("sys/policies/acl") if name.startswith(chain.lab.path(""))]
    same = chain.lab.path(chain.path.role)
    return [same] if same in own else own


def method(chain: Chain) -> str:
    """The auth method enabled and configured."""
    enable = shlex.join(["vault", "auth", "enable", f"-path={chain.path.mount}", "kubernetes"])
    return f"{enable}\n{config(chain)}"


def config(chain: Chain) -> str:
    """The auth method's configuration, with a new token of the reviewer."""
    namespace = shlex.quote(chain.namespace)
    get = f"kubectl -n {namespace} get configmap kube-root-ca.crt"
    token = f"kubectl -n {namespace} create token {shlex.quote(reviewer(chain))} --duration=24h"
    return (
        f"vault write {shlex.quote(f'auth/{chain.path.mount}/config')} \\\n"
        f"  kubernetes_host={shlex.quote(chain.lab.access.api_server)} \\\n"
        f"  kubernetes_ca_cert=\"$({get} -o jsonpath='{{.data.ca\\.crt}}')\" \\\n"
        f'  token_reviewer_jwt="$({token})"'
    )


def reviewer(chain: Chain) -> str:
    """The account whose token Vault reviews others with."""
    return chain.path.reviewer or "reviewer"


def may_review(chain: Chain) -> str:
    """The reviewer bound to the cluster role that may create TokenReviews."""
    account = f"--serviceaccount={chain.namespace}:{reviewer(chain)}"
    name = f"{chain.namespace}-{reviewer(chain)}"
    return shlex.join(
        ["kubectl", "create", "clusterrolebinding", name, f"--clusterrole={DELEGATOR}", account]
    )


def policy(name: str, text: str) -> str:
    """The policy with this text."""
    return here_document(shlex.join(["vault", "policy", "write", name, "-"]), text.strip())


def trust(chain: Chain) -> str:
    """The ConfigMap vault-ca with Vault's CA."""
    make = kubectl(chain, "create", "configmap", "vault-ca", "--from-file=ca.crt=$VAULT_CACERT")
    make = make.replace("'--from-file=ca.crt=$VAULT_CACERT'", '--from-file=ca.crt="$VAULT_CACERT"')
    return f"{make} --dry-run=client -o yaml | kubectl apply -f -"


def pod_again(chain: Chain) -> str:
    """The pod deleted and made again as it was."""
    get = kubectl(chain, "get", "pod", chain.path.pod, "-o", "yaml")
    return f"{get} | kubectl replace --force --grace-period=0 -f -"


def _value(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
