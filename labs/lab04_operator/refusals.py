"""Steps 5 and 6: what is refused stays in the cluster, and its events say which wall it met."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import complaint, custom, secret, soon
from labs.lab04_operator.sharing import team


def expect_refused(
    lab: LabContext, kind: str, name: str, reason: str, text: str, namespace: str = ""
) -> None:
    """State that the operator refuses this resource, in an event with this reason and text."""
    expect(custom(lab, kind, name, namespace), f"there is a {kind} {name}")
    expect(
        soon(lab, lambda: text in complaint(lab, kind, name, reason, namespace)),
        f"{name} is refused: {text}",
        found=lab.kube.events(name, namespace)[-3:],
        hint="another text is another mistake; events are kept for an hour",
    )


@operator.step(
    "Be refused, and read why",
    minutes=7,
    goals=[
        "foreign-namespace is refused: is not allowed by kind=VaultAuth",
        "foreign-account is refused: service account name not authorized",
        "outside-the-policy is refused: permission denied",
        "Vault's audit log has the refusal of the stranger, too",
        "none of the three has a Secret",
    ],
    hints=[
        "`kubectl events --for vaultstaticsecret/NAME` shows what the operator said. In the "
        "team's namespace it needs `-n lab04-team`.",
        "The first attempt uses the VaultAuth of the shop from the team's namespace. The second "
        "logs in with an account that Vault's role does not name. The third uses the shared "
        "VaultAuth, and asks for a secret of the shop.",
        "vaultAuthRef: $NAMESPACE/shop; serviceAccount: stranger; path: shop/app.",
    ],
)
def be_refused(lab: LabContext) -> None:
    """
    Three walls stand between a consumer and a secret. Run into each of them, and learn to
    read the answer:

    1. the **VaultAuth** must allow the consumer's namespace: the operator refuses;
    2. the **role** in Vault must name the service account: the log-in fails;
    3. the **policy** must name the path: the log-in works, reading fails.

    A refusal is an **event** of the resource. The operator keeps trying, with longer and
    longer pauses, so the resources stay as they are: when somebody mends the role or the
    policy, the Secret appears without another `kubectl apply`.
    """
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata:
  name: foreign-namespace
  namespace: $NAMESPACE-team
spec:
  vaultAuthRef: $NAMESPACE/shop  #? a VaultAuth that does not allow this namespace
  type: kv-v2
  mount: $NAMESPACE-kv
  path: shop/app
  destination:
    name: attempt
    create: true
""")
    lab.kubectl_apply("""
apiVersion: v1
kind: ServiceAccount
metadata:
  name: stranger
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultAuth
metadata:
  name: stranger
spec:
  vaultConnectionRef: vault
  method: kubernetes
  mount: $NAMESPACE-kubernetes
  kubernetes:
    role: shop
    serviceAccount: stranger  #? an account that the role does not name
    audiences: [vault]
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata:
  name: foreign-account
spec:
  vaultAuthRef: stranger
  type: kv-v2
  mount: $NAMESPACE-kv
  path: shop/app
  destination:
    name: attempt
    create: true
""")
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata:
  name: outside-the-policy
  namespace: $NAMESPACE-team
spec:
  vaultAuthRef: $NAMESPACE/shared
  type: kv-v2
  mount: $NAMESPACE-kv
  path: shop/app  #? a secret that the policy of the team does not name
  destination:
    name: attempt
    create: true
""")
    lab.sh("""
until kubectl events -n $NAMESPACE-team --for vaultstaticsecret/foreign-namespace 2>/dev/null |
  grep VaultClientConfigError; do sleep 1; done
until kubectl events --for vaultstaticsecret/foreign-account 2>/dev/null |
  grep VaultClientConfigError; do sleep 1; done
until kubectl events -n $NAMESPACE-team --for vaultstaticsecret/outside-the-policy 2>/dev/null |
  grep VaultClientError; do sleep 1; done
""")


@be_refused.check
def _(lab: LabContext) -> None:
    kind, config = "VaultStaticSecret", "VaultClientConfigError"
    expect_refused(
        lab, kind, "foreign-namespace", config, "is not allowed by kind=VaultAuth", team(lab)
    )
    expect_refused(lab, kind, "foreign-account", config, "service account name not authorized")
    expect_refused(
        lab, kind, "outside-the-policy", "VaultClientError", "permission denied", team(lab)
    )
    login = f"auth/{lab.path('kubernetes')}/login"
    expect(
        any("service account name not authorized" in text for text in lab.audit.refusals(login)),
        "Vault's audit log has the refusal of the stranger, too",
        found=sorted(set(lab.audit.refusals(login))),
    )
    left = [place for place in (lab.namespace, team(lab)) if secret(lab, "attempt", place)]
    expect(not left, "none of the three has a Secret", found=left)


@operator.step(
    "Trust no Vault without a CA",
    minutes=3,
    further=True,
    goals=[
        "untrusted-vault is refused: certificate",
        "bad-reference is refused: invalid name",
    ],
    hints=[
        "`kubectl describe vaultconnection untrusted-vault` shows what the operator found.",
        "A VaultConnection without a CA leaves only the CAs of the operator's image, and none of "
        "them signed this Vault's certificate. The address is that of the VaultConnection vault.",
        "address: $VAULT_POD_ADDR",
    ],
)
def trust_no_stranger(lab: LabContext) -> None:
    """
    Two more mistakes that everybody makes once. A VaultConnection without `caCertSecretRef`
    meets a certificate that nobody vouches for. Many answers on the net then say
    `skipTLSVerify: true`. That sends the log-ins of all your consumers to whoever answers at
    this address. Name the CA.

    And a reference has one slash at most: `namespace/name`.
    """
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultConnection
metadata:
  name: untrusted-vault
spec:
  address: $VAULT_POD_ADDR  #? the same Vault, and no CA
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata:
  name: bad-reference
spec:
  vaultAuthRef: too/many/parts
  type: kv-v2
  mount: $NAMESPACE-kv
  path: shop/app
  destination:
    name: attempt
    create: true
""")
    lab.sh("""
until kubectl events --for vaultconnection/untrusted-vault 2>/dev/null |
  grep VaultClientError; do sleep 1; done
until kubectl events --for vaultstaticsecret/bad-reference 2>/dev/null |
  grep VaultClientConfigError; do sleep 1; done
""")


@trust_no_stranger.check
def _(lab: LabContext) -> None:
    expect_refused(lab, "VaultConnection", "untrusted-vault", "VaultClientError", "certificate")
    expect_refused(
        lab, "VaultStaticSecret", "bad-reference", "VaultClientConfigError", "invalid name"
    )
