"""Step 2: where Vault is, and in whose name the operator may ask."""

from __future__ import annotations

import base64

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import custom, is_valid, status
from labs.lab04_operator.way_in import way_in


@operator.step(
    "Tell the operator where Vault is, and who asks",
    minutes=5,
    goals=[
        "there is a VaultConnection vault",
        "it verifies Vault with a CA",
        "the CA is the one that signed Vault's certificate",
        "the operator finds VaultConnection vault valid",
        "the operator finds VaultAuth shop valid",
        "consumers that name this VaultAuth log in as the service account shop",
    ],
    hints=[
        "`kubectl explain vaultconnection.spec` and `kubectl explain vaultauth.spec.kubernetes` "
        "describe each field. `kubectl describe vaultauth shop` says what is wrong with yours.",
        "The CA lies in a Secret of the same namespace, under the key `ca.crt`. The mount is the "
        "path of the auth method, without `auth/` in front of it.",
        "caCertSecretRef: vault-ca; vaultConnectionRef: vault; mount: $NAMESPACE-kubernetes; "
        "serviceAccount: shop.",
    ],
)
def connect(lab: LabContext) -> None:
    """
    Two custom resources tell the operator how to reach Vault:

    - a [**VaultConnection**](https://developer.hashicorp.com/vault/docs/platform/k8s/vso/api-reference)
      says where Vault is, and with which CA its certificate is verified;
    - a **VaultAuth** says how to log in: the auth method, the role, the service account.

    Look at what is *not* there: no token, no password. The operator makes a token of the
    service account `shop` when it needs one. Vault sees `shop` of namespace `lab04`, not "the
    operator", and gives what shop may have.

    Keep in mind what that means: the operator can ask for a token of *any* service account.
    Whoever controls the operator's namespace controls every secret that any consumer may read.
    """
    lab.sh("kubectl create secret generic vault-ca --from-file=ca.crt=$VAULT_CACERT")
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultConnection
metadata:
  name: vault
spec:
  address: $VAULT_POD_ADDR
  caCertSecretRef: vault-ca  #? the Secret with the CA
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultAuth
metadata:
  name: shop
spec:
  vaultConnectionRef: vault  #? which VaultConnection?
  method: kubernetes
  mount: $NAMESPACE-kubernetes  #? the path of the auth method
  kubernetes:
    role: shop
    serviceAccount: shop  #? in whose name does the operator log in?
    audiences: [vault]
""")
    lab.sh("""
kubectl wait vaultconnection/vault --for=jsonpath='{.status.valid}'=true --timeout=60s
kubectl wait vaultauth/shop --for=jsonpath='{.status.valid}'=true --timeout=60s
kubectl describe vaultauth shop
""")


@connect.check
def _(lab: LabContext) -> None:
    connection = custom(lab, "VaultConnection", "vault")
    expect(connection, "there is a VaultConnection vault")
    expect(
        connection["spec"].get("caCertSecretRef") and not connection["spec"].get("skipTLSVerify"),
        "it verifies Vault with a CA",
        found=connection["spec"],
    )
    certificate = lab.access.vault_ca.read_text()
    trusted = (lab.kube.get("Secret", connection["spec"]["caCertSecretRef"]) or {}).get("data", {})
    expect(
        base64.b64decode(trusted.get("ca.crt", "")).decode().strip() == certificate.strip(),
        "the CA is the one that signed Vault's certificate",
    )
    for kind, name in (("VaultConnection", "vault"), ("VaultAuth", "shop")):
        expect(
            is_valid(lab, kind, name),
            f"the operator finds {kind} {name} valid",
            found=status(lab, kind, name) or "no status",
            hint=f"kubectl -n {lab.namespace} describe {kind.lower()} {name}",
        )
    spec = custom(lab, "VaultAuth", "shop")["spec"]
    expect(
        spec["method"] == "kubernetes" and spec["kubernetes"].get("serviceAccount") == "shop",
        "consumers that name this VaultAuth log in as the service account shop",
        found=spec,
    )


@connect.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
