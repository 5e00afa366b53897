"""Step 3: who may use which VaultAuth, and how a refusal tells its reason."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.kubernetes_auth import make_role
from harness.lab.kit.pods import service_account
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import (
    custom,
    is_synced,
    kv,
    reads_of,
    refused,
    secret,
    static_secret,
    values,
    wait_synced,
)

# What each attempt must be refused with.
REASONS = {
    "foreign-namespace": "is not allowed by kind=VaultAuth",
    "foreign-account": "service account name not authorized",
    "outside-the-policy": "permission denied",
    "bad-reference": "invalid name",
    "untrusted-vault": "certificate",
}


def team(lab: LabContext) -> str:
    """The namespace of another team."""
    return lab.path("team")


def auth(lab: LabContext, name: str, account: str, allowed: str = "") -> str:
    """A VaultAuth as YAML; `allowed` are the namespaces that may use it."""
    return f"""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultAuth
metadata: {{name: {name}}}
spec:
  vaultConnectionRef: vault
  method: kubernetes
  mount: {lab.path("kubernetes")}
  kubernetes: {{role: {account}, serviceAccount: {account}, audiences: [vault]}}
  allowedNamespaces: [{allowed}]
"""


@operator.step(
    "Be refused, and read why",
    hints=[
        "Five attempts; keep what each event says in `lab.notes['refusals']` under the names in "
        "REASONS. `refused(lab, manifest, reason)` applies one, waits for its event and takes it "
        "away. The reasons are VaultClientConfigError, VaultClientError, InvalidConfiguration.",
        "The other team: namespace lab04-team with a service account `team`, a login role `team` "
        "bound to both with policy lab04-team (read lab04-kv/data/team/*), a secret `team/app`.",
        "Then a VaultAuth `shared` in lab04 with allowedNamespaces [lab04-team], role and account "
        "`team`, and a VaultStaticSecret `team` in lab04-team with vaultAuthRef lab04/shared.",
    ],
)
def be_refused(lab: LabContext) -> None:
    """
    A VaultAuth can be shared: a consumer in another namespace writes `namespace/name`. But
    only a namespace in its `allowedNamespaces` may; left out, nobody but its own.

    That is the first of *two* walls. The second is Vault: even where a VaultAuth may be
    used, the log-in is that of a service account **in the consumer's namespace**, and
    Vault's role must know it. Then Vault's policy must name the path.

    A refusal is an **event** of the resource, and its text tells which wall it was. Five
    attempts, five texts. At the end another team gets its own secret through a VaultAuth
    of ours, and in Vault's log it is still that team.
    """
    # Vault knows another team: account, role, policy, secret.
    lab.kube.apply(f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {team(lab)}}}}}")
    lab.kube.apply(service_account("team", team(lab)))
    lab.kube.apply(service_account("stranger"))
    lab.http.post(
        f"/v1/{lab.path('kv')}/data/team/app",
        json={"data": {"username": "team", "password": lab.secret("team")}},
    )
    policy = f"""
path "{lab.path("kv")}/data/team/*"    {{ capabilities = ["read"] }}
path "auth/token/revoke-accessor" {{ capabilities = ["update"] }}
"""
    lab.http.put(f"/v1/sys/policies/acl/{team(lab)}", json={"policy": policy})
    make_role(
        lab,
        "team",
        policies=[team(lab)],
        account="team",
        namespaces=[team(lab)],
        ttl="1h",
    )
    lab.kube.apply(auth(lab, "shared", "team", allowed=team(lab)))
    said = {}

    # The VaultAuth of step 1 allows no other namespace.
    attempt = static_secret(
        lab, "attempt", namespace=team(lab), vaultAuthRef=f"{lab.namespace}/shop"
    )
    said["foreign-namespace"] = refused(lab, attempt, "VaultClientConfigError", team(lab))

    # A service account that the role does not know.
    stranger = auth(lab, "stranger", "shop").replace(
        "serviceAccount: shop", "serviceAccount: stranger"
    )
    lab.kube.apply(stranger)
    attempt = static_secret(lab, "attempt", vaultAuthRef="stranger")
    said["foreign-account"] = refused(lab, attempt, "VaultClientConfigError")
    lab.kube.delete("VaultAuth", "stranger")

    # The team may log in, but not read the shop's secret.
    attempt = static_secret(
        lab, "attempt", namespace=team(lab), vaultAuthRef=f"{lab.namespace}/shared"
    )
    said["outside-the-policy"] = refused(lab, attempt, "VaultClientError", team(lab))

    # A reference that names nothing.
    attempt = static_secret(lab, "attempt", vaultAuthRef="too/many/parts")
    said["bad-reference"] = refused(lab, attempt, "VaultClientConfigError")

    # A Vault whose certificate nobody vouches for: never answer with skipTLSVerify.
    connection = f"""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultConnection
metadata: {{name: attempt}}
spec: {{address: {lab.access.vault_pod_addr}}}
"""
    said["untrusted-vault"] = refused(lab, connection, "VaultClientError")
    lab.notes["refusals"] = said

    # And what is allowed: our VaultAuth, their account, their secret.
    shared = f"{lab.namespace}/shared"
    lab.kube.apply(static_secret(lab, "team", "team/app", namespace=team(lab), vaultAuthRef=shared))
    wait_synced(lab, "VaultStaticSecret", "team", team(lab))


@be_refused.check
def _(lab: LabContext) -> None:
    said = lab.notes.get("refusals", {})
    for attempt, reason in REASONS.items():
        expect(
            reason in said.get(attempt, ""),
            f"{attempt}: {reason}",
            found=said.get(attempt) or f"nothing in lab.notes['refusals'] for {attempt}",
            hint="another text is another mistake",
        )
    login = f"auth/{lab.path('kubernetes')}/login"
    expect(
        any("service account name not authorized" in text for text in lab.audit.refusals(login)),
        "Vault's audit log has the refusal of the stranger, too",
        found=sorted(set(lab.audit.refusals(login))),
    )
    shared = custom(lab, "VaultAuth", "shared")
    expect(
        (shared.get("spec") or {}).get("allowedNamespaces") == [team(lab)],
        f"the VaultAuth shared allows {team(lab)} and nobody else",
        found=(shared.get("spec") or {}).get("allowedNamespaces"),
    )
    expect(
        not custom(lab, "VaultAuth", "shop")["spec"].get("allowedNamespaces"),
        "the VaultAuth shop still allows no other namespace",
    )
    expect(
        is_synced(lab, "VaultStaticSecret", "team", team(lab)),
        "the other team's secret is synced through it",
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
    left = [place for place in (lab.namespace, team(lab)) if secret(lab, "attempt", place)]
    expect(not left, "no attempt left a Secret", found=left)
