"""Step 7: why Vault, as a table made of what was measured."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from labs.lab00_why.lab import why
from labs.lab00_why.measured import measured
from labs.lab00_why.probes import (
    CONTROL,
    FORBIDDEN,
    SHARED,
    TEAMS,
    both_doors,
    exact_paths,
    in_storage,
    one_place,
    password_in,
    things_that_end,
    traces,
)
from labs.lab00_why.verdict import ROWS, Verdict


@why.drawing("table")
def table(lab: LabContext) -> Verdict:
    """The table, with links in a notebook, as text elsewhere."""
    return Verdict(measured(lab))


@why.step(
    "Why Vault",
    minutes=2,
    goals=[
        "the secret lab00-kv/shared/app was written and changed",
        "two readers had the new value after one write",
        "shop may read the secret that it shares",
        "it is refused other/app",
        "it may read what came later into its folder",
        "it lists a name, and no value",
        "the CA has issued one certificate for each reader",
        "the token with a short life was refused when its time was up",
        "the audit log tells that reading lab00-kv/data/other/app was refused",
        "it tells who has read the shared secret: both readers by name",
    ],
    hints=[
        "`vault policy read $NAMESPACE-shop`, `vault token create -help`, `vault list "
        "$NAMESPACE-pki/certs`.",
        "In key/value version 2 the value lies under `data/`, the names under `metadata/`. A "
        "token ends by itself after its `-ttl`.",
        'capabilities = ["read"] on data/shared/app; ["list"] on metadata/$reader/*; -ttl=2s',
    ],
)
def why_vault(lab: LabContext) -> None:
    """
    Each step of this lab showed a weakness of Kubernetes Secrets, or what mends it. This table
    sums it up; the right column asks **Vault** the same questions: one place for all
    namespaces, policies on paths, credentials that end, storage that is always encrypted, and
    a log of who has read what, once an audit device is enabled (`vault audit enable`: it is
    off by default).

    Nothing in it is claimed. The left side is filled in from what the earlier steps have
    measured; a step that was not done leaves its cell empty. The right side is measured
    now, with two readers (*shop* and *billing*) that have a policy each. Every cell names the
    steps that prove it, here or in another lab.

    Vault has a price that no table shows: it is one more system to run, everybody depends
    on it, and its own first secret, the unseal key, has to be kept somewhere else. What
    happens when it is away is a step of its own in lab 02 and in lab 04.
    """
    lab.sh(r"""
vault secrets enable -path=$NAMESPACE-kv -version=2 kv
vault secrets enable -path=$NAMESPACE-pki pki
vault write -field=expiration $NAMESPACE-pki/root/generate/internal \
  common_name="lab 00 root" key_type=ec ttl=24h
vault write $NAMESPACE-pki/roles/web allowed_domains=lab00.svc allow_subdomains=true key_type=ec
for reader in shop billing; do vault policy write $NAMESPACE-$reader - <<EOF
path "$NAMESPACE-kv/data/shared/app" {
  capabilities = ["read"] #?(["read"]) both may have the shared secret
}
path "$NAMESPACE-kv/data/$reader/*" { capabilities = ["read"] }
path "$NAMESPACE-kv/metadata/$reader/*" {
  capabilities = ["list"] #?(["list"]) the names of its own folder
}
path "$NAMESPACE-pki/issue/web" { capabilities = ["update"] }
EOF
done
""")
    lab.sh(r"""
random() { head -c 18 /dev/urandom | base64 | tr -d '\n'; }
put() { random | vault kv put -mount=$NAMESPACE-kv $1 password=- > /dev/null; }
get() { vault read -format=json $NAMESPACE-kv/data/$1 | jq -j .data.data.password | sha256sum; }
token() {
  vault token create -orphan -no-default-policy -field=token -policy=$NAMESPACE-$1 \
    -display-name=$1 -ttl=2m "${@:2}"
}
SHOP=$(token shop) BILLING=$(token billing)

echo "One place: one write, two readers, each write has another SHA-256."
for turn in 1 2; do
  put shared/app
  VAULT_TOKEN=$SHOP get shared/app
  VAULT_TOKEN=$BILLING get shared/app
done

echo "Who may read: a folder, with what comes into it tomorrow, and nothing else."
put shop/tomorrow
put other/app
VAULT_TOKEN=$SHOP get shop/tomorrow
VAULT_TOKEN=$SHOP vault list $NAMESPACE-kv/metadata/shop
VAULT_TOKEN=$SHOP vault read $NAMESPACE-kv/data/other/app || true

echo "An end: certificates of their own, and a token for two seconds."
for name in shop billing; do
  VAULT_TOKEN=$(token $name) vault write -field=serial_number $NAMESPACE-pki/issue/web \
    common_name=$name.lab00.svc ttl=60s
done
MORTAL=$(token shop -display-name=mortal -ttl=2s)  #?(-ttl=2s) two seconds
VAULT_TOKEN=$MORTAL get shared/app
sleep 3
VAULT_TOKEN=$MORTAL vault read $NAMESPACE-kv/data/shared/app || true
""")
    lab.sh(r"""
echo "On the way: Vault without TLS answers"
curl -s -o /dev/null -w '%{http_code}\n' http://${VAULT_ADDR#https://}/v1/sys/health
echo "Who has read it:"
tail -n 500 $VAULT_AUDIT_LOG | jq -r 'select(.type == "response" or .error) | [.time[:19],
    .auth.display_name // "?", .request.operation, .request.path, .error // "ok"] | @tsv' |
  grep -e data/shared/app -e data/other/app | uniq
""")
    # All that this lab has measured, in one table.
    lab.draw("table")


@why_vault.check
def _(lab: LabContext) -> None:
    _check_readers(lab)
    _check_ends(lab)
    doors = both_doors(lab)
    expect(
        doors["api"] and doors["vault"] and doors["wrong_ca"] == ["", ""],
        "Vault and the API server speak TLS, each verified with its own CA only",
        found=doors,
    )
    expect(doors["plain"] == 400, "Vault turns away who comes without TLS", found=doors["plain"])
    expect(
        in_storage(lab, CONTROL) > 0,
        "Vault's storage was looked into: a name that it keeps in the clear is there",
    )
    found = in_storage(lab, password_in(lab, SHARED))
    expect(found == 0, "the value that both readers got is not in it as it is", found=found)
    _check_traces(lab)
    missing = [row.topic for row in ROWS if row.topic in table(lab).missing()]
    expect(not missing, "no answer of Vault is missing in the table", found=missing)


def _check_readers(lab: LabContext) -> None:
    address = f"/v1/{lab.path('kv', 'metadata', SHARED)}"
    stored = lab.http.get(address, allow={404}).json().get("data") or {}
    expect(
        stored.get("current_version", 0) >= 2,
        f"the secret {lab.path('kv')}/shared/app was written and changed",
        found=stored.get("current_version") or "no such secret",
    )
    place = one_place(lab)
    expect(place["readers"] == 2, "two readers had the new value after one write", found=place)
    known = lab.http.list("/v1/sys/policies/acl").json()["data"]["keys"]
    for reader in TEAMS:
        expect(lab.path(reader) in known, f"there is a policy {lab.path(reader)}")
    now = exact_paths(lab)
    expect(now["own"] == 200, "shop may read the secret that it shares", found=now)
    expect(now["other"] == 403, "it is refused other/app", found=now)
    expect(now["later"] == 200, "it may read what came later into its folder", found=now)
    expect(now["names"] == 1 and now["values"] == 0, "it lists a name, and no value", found=now)


def _check_ends(lab: LabContext) -> None:
    facts = things_that_end(lab)
    expect(
        facts["certificates"] >= 2,
        "the CA has issued one certificate for each reader",
        found=facts["certificates"],
    )
    expect(
        "seconds" in facts and facts["ttl"] <= facts["seconds"] + 1,
        "the token with a short life was refused when its time was up",
        found=facts,
        hint="a token with the display name mortal: it reads, waits and reads again",
    )


def _check_traces(lab: LabContext) -> None:
    seen = traces(lab)
    path = lab.path("kv", "data", FORBIDDEN)
    errors = lab.audit.refusals(path)
    expect(
        errors and all("permission denied" in error for error in errors),
        f"the audit log tells that reading {path} was refused",
        found=errors,
    )
    readers = [f"token-{reader}" for reader in TEAMS]
    expect(
        set(readers) <= set(seen["readers"]),
        "it tells who has read the shared secret: both readers by name",
        found=seen["readers"],
    )
    expect(seen["values"] == 0, "it holds none of the values", found=seen["values"])
