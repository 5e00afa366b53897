"""Faults of lab 01: from the way to Vault to the secret, one for each link and more."""

from __future__ import annotations

from tests.live.faults.fault import Fault, config

_STEP = "pod_reads"
_AUTH = "auth/$NAMESPACE-kubernetes"
_ROLE = f"{_AUTH}/role/app"
_RIGHT_ROLE = (
    f"vault write {_ROLE} bound_service_account_names=app "
    "bound_service_account_namespaces=$NAMESPACE audience=vault token_policies=$NAMESPACE-app "
    "token_ttl=15m token_max_ttl=1h token_type=default token_num_uses=0 token_bound_cidrs="
)
_RIGHT_CONFIG = f"vault write {_AUTH}/config {config()}"
_RIGHT_METHOD = (
    f"vault auth disable $NAMESPACE-kubernetes\n"
    f"vault auth enable -path=$NAMESPACE-kubernetes kubernetes\n{_RIGHT_CONFIG}\n{_RIGHT_ROLE}"
)
_ALLOW = 'path "%s" { capabilities = ["%s"] }'
_SECRET = "$NAMESPACE-kv/data/app"
_TRUST = (
    'kubectl create configmap vault-ca --from-file=ca.crt="$VAULT_CACERT" '
    "--dry-run=client -o yaml | kubectl apply -f -"
)
_AWAY = "vault secrets move $NAMESPACE-kv $NAMESPACE-away"
_BACK = "vault secrets move $NAMESPACE-away $NAMESPACE-kv"
_KEEP = (
    "kubectl delete clusterrolebinding $NAMESPACE-reviewer --ignore-not-found\n"
    "kubectl create clusterrolebinding $NAMESPACE-reviewer --clusterrole=system:auth-delegator "
    "--serviceaccount=$NAMESPACE:reviewer"
)


def _fault(
    name: str, breaks: str, restores: str, cause: str, *, mends: bool = True, step: str = _STEP
) -> Fault:
    return Fault(name, "01", step, breaks, restores, cause, mends)


def _policy(*rules: tuple[str, str]) -> str:
    text = "\n".join(_ALLOW % rule for rule in rules)
    return f"vault policy write $NAMESPACE-app - <<EOF\n{text}\nEOF"


def _allows(name: str, cause: str, *rules: tuple[str, str]) -> Fault:
    return _fault(name, _policy(*rules), _policy((_SECRET, "read")), f"policy path: .*{cause}")


def _role(name: str, change: str, cause: str) -> Fault:
    return _fault(name, f"vault write {_ROLE} {change}", _RIGHT_ROLE, cause)


def _config(name: str, cause: str, **changed: str) -> Fault:
    return _fault(name, f"vault write {_AUTH}/config {config(**changed)}", _RIGHT_CONFIG, cause)


FAULTS: tuple[Fault, ...] = (
    # -- the way to Vault ------------------------------------------------------------------
    _fault(
        "Vault's container is stopped",
        "docker stop -t 5 $VAULT_NAME",
        "$LAB_UP",
        "reachability: nobody answers",
    ),
    _fault("Vault is sealed", "vault operator seal", "$LAB_UP", "seal: Vault is sealed"),
    _fault(
        "Vault's process is frozen",
        "docker pause $VAULT_NAME",
        "docker unpause $VAULT_NAME",
        "takes connections and says nothing",
        mends=False,
    ),
    _fault(
        "pods have the cluster's CA for Vault",
        'kubectl create configmap vault-ca --from-literal=ca.crt="$(kubectl get configmap '
        "kube-root-ca.crt -o jsonpath='{.data.ca\\.crt}')\" --dry-run=client -o yaml "
        "| kubectl apply -f -",
        _TRUST,
        "TLS for pods: wrong CA",
    ),
    _fault(
        "pods have no CA",
        "kubectl delete configmap vault-ca",
        _TRUST,
        "TLS for pods: .*has no ca.crt",
    ),
    _fault(
        "what pods have is no certificate",
        "kubectl create configmap vault-ca --from-literal=ca.crt=nonsense --dry-run=client "
        "-o yaml | kubectl apply -f -",
        _TRUST,
        "no certificate in PEM form",
    ),
    _fault(
        "the Service of Vault is gone",
        "kubectl -n vault delete service vault",
        "$LAB_UP",
        "reachability from pods: there is no Service vault",
    ),
    _fault(
        "the Service of Vault leads nowhere",
        "kubectl -n vault delete endpointslice -l kubernetes.io/service-name=vault",
        "$LAB_UP",
        "leads nowhere: no EndpointSlice",
    ),
    # -- the environment -------------------------------------------------------------------
    _fault(
        "the shell's token was revoked",
        "vault token revoke -self",
        "$LAB_UP",
        "token of the shell: Vault does not know it",
    ),
    Fault(
        "the audit device is disabled",
        "01",
        _STEP,
        "vault audit disable file",
        "$LAB_UP",
        "audit log: no audit device is enabled",
        flavours=("vault",),
    ),
    _fault(
        "the node is cordoned",
        "kubectl cordon $NODE",
        "kubectl uncordon $NODE",
        "node: .* is cordoned",
    ),
    _fault(
        "CoreDNS is scaled to none",
        "kubectl -n kube-system scale deployment coredns --replicas=0\n"
        "kubectl -n kube-system wait pod -l k8s-app=kube-dns --for=delete --timeout=60s",
        "kubectl -n kube-system scale deployment coredns --replicas=1\n"
        "kubectl -n kube-system rollout status deployment coredns --timeout=60s",
        "DNS of the cluster: CoreDNS has no pod",
    ),
    # -- the auth method and its reviewer --------------------------------------------------
    _fault(
        "the auth method is disabled",
        "vault auth disable $NAMESPACE-kubernetes",
        _RIGHT_METHOD,
        "auth method: none is enabled",
    ),
    _fault(
        "an auth method of another type is there",
        "vault auth disable $NAMESPACE-kubernetes\n"
        "vault auth enable -path=$NAMESPACE-kubernetes approle",
        _RIGHT_METHOD,
        "is of type approle, not kubernetes",
    ),
    _fault(
        "the auth method is not configured",
        "vault auth disable $NAMESPACE-kubernetes\n"
        "vault auth enable -path=$NAMESPACE-kubernetes kubernetes",
        _RIGHT_METHOD,
        "enabled but not configured",
    ),
    _config("wrong address", "reviewer: wrong address", kubernetes_host="https://127.0.0.1:6443"),
    _config("wrong port", "reviewer: wrong address", kubernetes_host='"${API_SERVER%:*}:6444"'),
    _config("plain HTTP", "wrong address", kubernetes_host='"http://${API_SERVER#https://}"'),
    _config("another CA", "reviewer: wrong CA", kubernetes_ca_cert='@"$VAULT_CACERT"'),
    _config(
        "no CA",
        "wrong CA: no kubernetes_",
        kubernetes_ca_cert="",
        disable_local_ca_jwt="true",
    ),
    _config(
        "no reviewer's token",
        "reviewer: no token_reviewer_jwt|dead token",
        token_reviewer_jwt="",
        disable_local_ca_jwt="true",
    ),
    _config(
        "wrong issuer",
        "reviewer: wrong issuer: tokens of this cluster say https://",
        issuer="https://elsewhere",
        disable_iss_validation="false",
    ),
    _fault(
        "the reviewer's account is made again",
        f"{_RIGHT_CONFIG}\nkubectl delete serviceaccount reviewer\n"
        "kubectl create serviceaccount reviewer\n"
        "for _ in $(seq 60); do\n"
        f"  vault write {_AUTH}/login role=app "
        'jwt="$(kubectl create token app --audience=vault)" >/dev/null 2>&1 || break\n'
        "  sleep 1\ndone",
        _RIGHT_CONFIG,
        "reviewer: dead token",
    ),
    _fault(
        "the reviewer's account is gone",
        f"{_RIGHT_CONFIG}\nkubectl delete serviceaccount reviewer"
        "\nfor _ in $(seq 60); do\n"
        f"  vault write {_AUTH}/login role=app "
        'jwt="$(kubectl create token app --audience=vault)" >/dev/null 2>&1 || break\n'
        "  sleep 1\ndone",
        "kubectl create serviceaccount reviewer --dry-run=client -o yaml | kubectl apply -f -\n"
        f"{_RIGHT_CONFIG}",
        "the service account reviewer does not exist",
    ),
    _fault(
        "the reviewer may not review",
        "kubectl delete clusterrolebinding $NAMESPACE-reviewer",
        _KEEP,
        "reviewer may not create TokenReviews|none may create TokenReviews",
    ),
    # -- the role --------------------------------------------------------------------------
    _fault(
        "the role is gone",
        f"vault delete {_ROLE}",
        _RIGHT_ROLE,
        "role: there is no role app",
    ),
    _fault(
        "the role has another name",
        f"vault delete {_ROLE}\nvault write {_AUTH}/role/apps bound_service_account_names=app "
        "bound_service_account_namespaces=$NAMESPACE audience=vault",
        f"vault delete {_AUTH}/role/apps\n{_RIGHT_ROLE}",
        "there is no role app .*there are: apps",
    ),
    _role("another account", "bound_service_account_names=web", "the role app is for web"),
    _role("another namespace", "bound_service_account_namespaces=shop", "for the namespace shop"),
    _role("another audience", "audience=bank", "wrong audience: the role app wants bank"),
    _role("no policy", "token_policies=", "policy: the role app grants no policy"),
    _role("a policy that is not there", "token_policies=nobody", "missing policy: there is no nob"),
    _role("batch tokens", "token_type=batch token_max_ttl=0", "grants batch tokens"),
    _role("tokens for one use", "token_num_uses=1", "token_num_uses 1"),
    _role("tokens for a second", "token_ttl=1s", "token_ttl 1"),
    _role("tokens for other addresses", "token_bound_cidrs=10.9.8.0/24", "token_bound_cidrs 10.9"),
    _fault(
        "the account is gone",
        "kubectl delete serviceaccount app",
        "kubectl create serviceaccount app --dry-run=client -o yaml | kubectl apply -f -",
        "service account: there is no service account app",
    ),
    # -- the policy ------------------------------------------------------------------------
    _fault(
        "the policy is gone",
        "vault policy delete $NAMESPACE-app",
        _policy((_SECRET, "read")),
        "missing policy: there is no lab01-app",
    ),
    _allows("without data/", "without data/", ("$NAMESPACE-kv/app", "read")),
    _allows("a neighbour's path", "names only lab01-kv/data/ap", ("$NAMESPACE-kv/data/ap", "read")),
    _allows("metadata alone", "names and versions", ("$NAMESPACE-kv/metadata/app", "read")),
    _allows("another mount", "no engine is mounted at kvs/", ("kvs/data/app", "read")),
    _allows("with the address", "without /v1/", ("/v1/$NAMESPACE-kv/data/app", "read")),
    _allows("list instead of read", "allows list there, not read", (_SECRET, "list")),
    _allows("below the secret", "names only", ("$NAMESPACE-kv/data/app/*", "read")),
    _allows(
        "a denial beside a permission",
        "with deny, which wins over lab01-kv/data/",
        ("$NAMESPACE-kv/data/*", "read"),
        (_SECRET, "deny"),
    ),
    _allows(
        "the exact path allows less",
        "allows list there, not read",
        ("$NAMESPACE-kv/data/*", "read"),
        (_SECRET, "list"),
    ),
    # -- the secret ------------------------------------------------------------------------
    _fault(
        "the version is deleted",
        "vault kv delete -mount=$NAMESPACE-kv app",
        "vault kv undelete -mount=$NAMESPACE-kv -versions=3 app",
        "secret: deleted: version",
    ),
    _fault(
        "the field has another name",
        f"{_AWAY}\nvault secrets enable -path=$NAMESPACE-kv -version=2 kv\n"
        "vault kv put -mount=$NAMESPACE-kv app username=shop pass=any",
        f"vault secrets disable $NAMESPACE-kv\n{_BACK}",
        "has no field password",
        mends=False,
    ),
    _fault(
        "the secret has another name",
        f"{_AWAY}\nvault secrets enable -path=$NAMESPACE-kv -version=2 kv\n"
        "vault kv put -mount=$NAMESPACE-kv apps username=shop password=any",
        f"vault secrets disable $NAMESPACE-kv\n{_BACK}",
        "there is no secret app .*there are: apps",
        mends=False,
    ),
    _fault(
        "the present version is destroyed, an older one is whole",
        f"{_AWAY}\nvault secrets enable -path=$NAMESPACE-kv -version=2 kv\n"
        "vault kv put -mount=$NAMESPACE-kv app username=shop password=any\n"
        "vault kv put -mount=$NAMESPACE-kv app username=shop password=other\n"
        "vault kv destroy -mount=$NAMESPACE-kv -versions=2 app",
        f"vault secrets disable $NAMESPACE-kv\n{_BACK}",
        "version 2 of app .* is destroyed",
    ),
    _fault(
        "the engine is version 1",
        f"{_AWAY}\nvault secrets enable -path=$NAMESPACE-kv -version=1 kv\n"
        "vault kv put -mount=$NAMESPACE-kv app username=shop password=any",
        f"vault secrets disable $NAMESPACE-kv\n{_BACK}",
        "is KV version 1",
    ),
    _fault(
        "the engine is elsewhere",
        _AWAY,
        _BACK,
        "no secrets engine is mounted",
        mends=False,
    ),
)
