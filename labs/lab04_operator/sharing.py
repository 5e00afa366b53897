"""Step 4: another team uses our VaultAuth, and stays itself."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.kubernetes_auth import expect_role
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import custom, is_synced, kv, reads_of, soon, values


def team(lab: LabContext) -> str:
    """The namespace of another team."""
    return lab.path("team")


@operator.step(
    "Share a VaultAuth with another team",
    minutes=6,
    goals=[
        "the auth method lab04-kubernetes has a role team",
        "the VaultAuth shared allows lab04-team and no other namespace",
        "the VaultAuth shop still allows no other namespace",
        "the other team's secret is synced through it",
        "and holds what Vault holds",
        "for Vault it was the account team of their namespace that read it",
    ],
    answer="That of the account in the consumer's namespace, `lab04-team/team`. The VaultAuth is "
    "shared, the identity is not.",
    hints=[
        "`kubectl explain vaultauth.spec.allowedNamespaces`. `kubectl -n lab04-team describe "
        "vaultstaticsecret team` says what is missing.",
        "The log-in is that of a service account in the *consumer's* namespace: Vault's role must "
        "name the namespace lab04-team. A consumer names a VaultAuth of another namespace as "
        "`namespace/name`.",
        "bound_service_account_namespaces=$NAMESPACE-team; allowedNamespaces: [$NAMESPACE-team]; "
        "vaultAuthRef: $NAMESPACE/shared.",
    ],
)
def share_an_auth(lab: LabContext) -> None:
    """
    A VaultAuth can be shared. A consumer in another namespace names it `namespace/name`, and
    the VaultAuth lists that namespace in `allowedNamespaces`. Left out, only two namespaces may
    use it: its own, and the operator's.

    That is the first of *two* walls. The second is Vault. The log-in is that of a service
    account **in the consumer's namespace**, so Vault's role must know that account, and the
    policy must name the path.

    *Before you run the cell: two teams share one VaultAuth. Whose name will Vault's log show?*
    """
    lab.sh(r"""
head -c 12 /dev/urandom | base64 | tr -d '\n' |
  vault kv put -mount=$NAMESPACE-kv team/app username=team password=-
vault policy write $NAMESPACE-team - <<EOF
path "$NAMESPACE-kv/data/team/*"  { capabilities = ["read"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
EOF
vault write auth/$NAMESPACE-kubernetes/role/team \
  bound_service_account_names=team \
  bound_service_account_namespaces=$NAMESPACE-team \  #? where does the account live?
  audience=vault token_policies=$NAMESPACE-team token_ttl=1h
""")
    lab.kubectl_apply("""
apiVersion: v1
kind: Namespace
metadata:
  name: $NAMESPACE-team
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: team
  namespace: $NAMESPACE-team
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultAuth
metadata:
  name: shared
spec:
  vaultConnectionRef: vault
  method: kubernetes
  mount: $NAMESPACE-kubernetes
  kubernetes:
    role: team
    serviceAccount: team
    audiences: [vault]
  allowedNamespaces: [$NAMESPACE-team]  #? who else may use this VaultAuth?
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata:
  name: team
  namespace: $NAMESPACE-team
spec:
  vaultAuthRef: $NAMESPACE/shared  #? the VaultAuth of another namespace
  type: kv-v2
  mount: $NAMESPACE-kv
  path: team/app
  refreshAfter: 5s
  destination:
    name: team
    create: true
""")
    lab.sh("""
kubectl wait vaultstaticsecret/team -n $NAMESPACE-team --for=condition=SecretSynced --timeout=60s
kubectl get vaultauth,vaultstaticsecret --all-namespaces
""")


@share_an_auth.check
def _(lab: LabContext) -> None:
    expect_role(lab, "team", policies=[team(lab)], account="team", namespaces=[team(lab)])
    shared = custom(lab, "VaultAuth", "shared").get("spec") or {}
    expect(
        shared.get("allowedNamespaces") == [team(lab)],
        f"the VaultAuth shared allows {team(lab)} and no other namespace",
        found=shared.get("allowedNamespaces"),
    )
    expect(
        not custom(lab, "VaultAuth", "shop")["spec"].get("allowedNamespaces"),
        "the VaultAuth shop still allows no other namespace",
    )
    expect(
        soon(lab, lambda: is_synced(lab, "VaultStaticSecret", "team", team(lab))),
        "the other team's secret is synced through it",
        found=lab.kube.events("team", team(lab))[-3:],
        hint=f"kubectl -n {team(lab)} describe vaultstaticsecret team",
    )
    found = values(lab, "team", team(lab)).get("password", "")
    expect(
        lab.fingerprint(found) == lab.fingerprint(kv(lab, "team/app")["password"]),
        "and holds what Vault holds",
    )
    readers = reads_of(lab.audit.entries(), lab.path("kv", "data", "team/app"))
    expect(
        readers == {f"{team(lab)}/team"},
        "for Vault it was the account team of their namespace that read it",
        found=readers,
    )
