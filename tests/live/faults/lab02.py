"""Faults of lab 02: the class, the volume, the driver and the provider."""

from __future__ import annotations

from tests.live.faults.fault import Fault, pod_again, pod_gone

_AUTH = "auth/$NAMESPACE-kubernetes"
# The class as it was applied, kept before anything is changed.
_KEEP = (
    '[ -s "$KEPT/class.yaml" ] || '
    'kubectl apply view-last-applied secretproviderclass app >"$KEPT/class.yaml"'
)
_CLASS = f'{_KEEP}\nsed "%s" "$KEPT/class.yaml" | kubectl apply -f -'
_RIGHT = f'kubectl apply -f "$KEPT/class.yaml"\n{pod_again()}'


def _fault(name: str, breaks: str, cause: str, restores: str, *, mends: bool = False) -> Fault:
    return Fault(name, "02", "mount_secret", breaks, restores, cause, mends, solved=True)


def _class(name: str, change: str, cause: str) -> Fault:
    """The class is changed, and the pod is made again."""
    return _fault(name, f"{_CLASS % change}\n{pod_again()}", f"web is not ready: .*{cause}", _RIGHT)


def _integration(name: str, breaks: str, cause: str) -> Fault:
    restores = f"$LAB_UP\n{pod_again()}"
    # Without its driver a volume is not unmounted, so that the pod would not go away.
    return _fault(
        name,
        f"{pod_gone()}\n{breaks}\n{pod_again()}",
        f"integration csi: .*{cause}",
        restores,
        mends=True,
    )


FAULTS: tuple[Fault, ...] = (
    _fault(
        "the class is gone",
        f"{_KEEP}\nkubectl delete secretproviderclass app\n{pod_again()}",
        # The check looks for the class first; the pod may not have tried yet.
        "there is a SecretProviderClass app|web is not ready: FailedMount: .*secretproviderclass",
        _RIGHT,
    ),
    _class("the class names no role of Vault", "s/roleName: app/roleName: ap/", "role"),
    _class(
        "the class names another auth method",
        "s/vaultAuthMountPath: .*/vaultAuthMountPath: nobody/",
        "nobody|permission denied|403",
    ),
    _class("a path has a slip", "s#kv/data/app#kv/data/ap#", "FailedMount"),
    _class("a path lacks data/", "s#kv/data/app#kv/app#", "FailedMount"),
    _class("a key is not in the secret", "s/secretKey: password/secretKey: pass/", "pass"),
    _class(
        "the address does not resolve",
        "s#^  parameters:#  parameters:\\n    vaultAddress: https://vault.nowhere.svc:8200#",
        "no such host|lookup|resolve",
    ),
    _class("the provider has another name", "s/provider: vault/provider: vaults/", "provider"),
    _fault(
        "the volume names another driver",
        pod_again("s/driver: secrets-store.csi.k8s.io/driver: secrets-store/"),
        "driver name secrets-store not found",
        pod_again(),
    ),
    _fault(
        "the volume names another class",
        pod_again("s/secretProviderClass: app/secretProviderClass: ap/"),
        "web is not ready: FailedMount: .*secretproviderclass",
        pod_again(),
    ),
    _fault(
        "the image is not there",
        pod_again("s#image: .*#image: localhost/nobody/nothing:1#"),
        "web is not ready: .*(ErrImage|ImagePull|image)",
        pod_again(),
    ),
    _fault(
        "the pod wants more memory than there is",
        pod_again("s#^    name: app#    name: app\\n    resources: {requests: {memory: 900Gi}}#"),
        "web is not ready: .*[Ii]nsufficient memory",
        pod_again(),
    ),
    _integration(
        "the provider's pods are gone",
        "kubectl -n csi patch daemonset vault-csi-provider --type=json -p "
        '\'[{"op": "add", "path": "/spec/template/spec/nodeSelector/nobody", "value": "here"}]\'\n'
        "kubectl -n csi wait pod --all --for=delete --timeout=60s",
        "vault-csi-provider in csi wants no pod",
    ),
    _integration(
        "the driver's DaemonSet is deleted",
        "kubectl -n kube-system delete daemonset csi-secrets-store",
        "there is no DaemonSet csi-secrets-store",
    ),
    _integration(
        "the CSIDriver is deleted",
        "kubectl delete csidriver secrets-store.csi.k8s.io",
        "there is no CSIDriver",
    ),
    _fault(
        "the role is for another account",
        f"vault write {_AUTH}/role/app bound_service_account_names=web\n{pod_again()}",
        "service account: the role app is for web",
        f"vault write {_AUTH}/role/app bound_service_account_names=app\n{pod_again()}",
        mends=True,
    ),
    _fault(
        "the role is for another audience",
        f"vault write {_AUTH}/role/app audience=bank\n{pod_again()}",
        "audience: wrong audience: the role app wants bank",
        f"vault write {_AUTH}/role/app audience=vault\n{pod_again()}",
        mends=True,
    ),
)
