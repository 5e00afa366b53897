"""Faults of lab 04: the operator's resources, what they name, and the operator itself."""

from __future__ import annotations

from tests.live.faults.fault import Fault

# The operator's pauses after errors grow to a minute. SecretSynced stays as it was when there is
# nothing to write after an outage, so it does not tell that the outage has ended.
_HEALTHY = "kubectl wait vaultstaticsecret/app --timeout=150s --for=condition=Healthy"
_WAIT_BROKEN, _WAIT = f"{_HEALTHY}=False", f"{_HEALTHY}=True"
_SYSTEM = "kubectl -n vault-secrets-operator-system"


def _fault(name: str, breaks: str, restores: str, cause: str, *, mends: bool = False) -> Fault:
    return Fault(
        name, "04", "first_secret", breaks, f"{restores}\n{_WAIT}", cause, mends, solved=True
    )


def _patched(name: str, what: str, wrong: str, right: str, cause: str) -> Fault:
    patch = f"kubectl patch {what} --type=merge -p "
    return _fault(name, f"{patch}'{wrong}'\n{_WAIT_BROKEN}", f"{patch}'{right}'", cause)


FAULTS: tuple[Fault, ...] = (
    _patched(
        "the path has a slip",
        "vaultstaticsecret app",
        '{"spec": {"path": "shop/ap"}}',
        '{"spec": {"path": "shop/app"}}',
        "VaultStaticSecret: app: ",
    ),
    _patched(
        "the mount has a slip",
        "vaultstaticsecret app",
        '{"spec": {"mount": "nobody"}}',
        '{"spec": {"mount": "lab04-kv"}}',
        "VaultStaticSecret: app: .*(403|permission|nobody)",
    ),
    _patched(
        "the type is version 1",
        "vaultstaticsecret app",
        '{"spec": {"type": "kv-v1"}}',
        '{"spec": {"type": "kv-v2"}}',
        "VaultStaticSecret: app: ",
    ),
    _patched(
        "no such VaultAuth",
        "vaultstaticsecret app",
        '{"spec": {"vaultAuthRef": "nobody"}}',
        '{"spec": {"vaultAuthRef": "shop"}}',
        "VaultStaticSecret: app: .*nobody",
    ),
    _patched(
        "the VaultAuth names no role of Vault",
        "vaultauth shop",
        '{"spec": {"kubernetes": {"role": "shp"}}}',
        '{"spec": {"kubernetes": {"role": "shop"}}}',
        "(VaultAuth|VaultStaticSecret): .*(shp|role)",
    ),
    _patched(
        "the VaultAuth names no account",
        "vaultauth shop",
        '{"spec": {"kubernetes": {"serviceAccount": "nobody"}}}',
        '{"spec": {"kubernetes": {"serviceAccount": "shop"}}}',
        "(VaultAuth|VaultStaticSecret): .*nobody",
    ),
    _patched(
        "the VaultAuth asks for another audience",
        "vaultauth shop",
        '{"spec": {"kubernetes": {"audiences": ["bank"]}}}',
        '{"spec": {"kubernetes": {"audiences": ["vault"]}}}',
        "(VaultAuth|VaultStaticSecret): .*(audience|403|permission)",
    ),
    _patched(
        "the address does not resolve",
        "vaultconnection vault",
        '{"spec": {"address": "https://vault.nowhere.svc:8200"}}',
        '{"spec": {"address": "https://vault.vault.svc:8200"}}',
        "(VaultConnection|VaultAuth|VaultStaticSecret): .*(no such host|resolve|lookup)",
    ),
    _fault(
        "the role is for another account",
        "vault write auth/$NAMESPACE-kubernetes/role/shop bound_service_account_names=web",
        "vault write auth/$NAMESPACE-kubernetes/role/shop bound_service_account_names=shop",
        "service account: the role shop is for web",
        mends=True,
    ),
    _fault(
        "the version in Vault is deleted",
        f"vault kv delete -mount=$NAMESPACE-kv shop/app\n{_WAIT_BROKEN}",
        "vault kv undelete -mount=$NAMESPACE-kv -versions=1 shop/app",
        "VaultStaticSecret: app: ",
    ),
    _fault(
        "the operator is scaled to none",
        f"{_SYSTEM} scale deployment vault-secrets-operator-controller-manager --replicas=0\n"
        f"{_SYSTEM} wait pod --all --for=delete --timeout=60s\nkubectl delete secret app",
        "$LAB_UP",
        "integration operator: the Deployment .* wants no pod",
        mends=True,
    ),
)
