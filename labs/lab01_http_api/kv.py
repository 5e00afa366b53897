"""Step 2: the key/value engine, version 2, and its versions."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from labs.lab01_http_api.evidence import refused
from labs.lab01_http_api.lab import http_api

STALE = "check-and-set parameter did not match the current version"


@http_api.step(
    "Write a secret, and keep its past",
    minutes=8,
    goals=[
        "a secrets engine is mounted at lab01-kv/",
        "it is the key/value engine, version 2",
        "there is a secret lab01-kv/app",
        "it demands check-and-set, and its metadata names an owner",
        "it has three versions",
        "the bytes of version 1 are destroyed",
        "version 2 was deleted and brought back",
        "a write with an old number was refused",
        "the present version has a username and a password",
    ],
    hints=[
        "Vault says what it does not like: read the body of the answer, not only the status. What "
        "is there so far? `vault secrets list`, `vault kv metadata get $NAMESPACE-kv/app`.",
        "`cas` is the number of the version that you have read; 0 means that there must be none "
        "yet. Fields of yours are inside `data`, everything else is beside it.",
        '"version": "2"; "cas_required": true; "cas": $((version - 1)), "data": {...}; '
        "destroy for version 1, undelete for version 2",
    ],
)
def write_secret(lab: LabContext) -> None:
    """
    Vault keeps secrets in **engines** that are mounted at a path, like file systems. The
    key/value engine, version 2, keeps what was there before: every write makes a version.

    - **Check-and-set** (`cas`) writes only if the present version is the one you read;
      two people who edit at once no longer overwrite each other. `cas: 0` means "only if
      it does not exist". With `cas_required` nobody can leave it out.
    - **Delete** hides a version and can be undone. **Destroy** removes the bytes for good.
    - **Metadata** is not secret; record the owner there.

    Note `data/` in the path, and the fields inside an object called `data`: version 2
    wraps your fields in `data` and adds `metadata`.

    Every request to Vault is like these: an address that begins with `/v1/`, a token in the
    header `X-Vault-Token`, JSON. `api` is a shell function that saves typing. A new engine
    needs a moment before it answers: that is why one request has `--retry`. The passwords
    come by standard input (`-d @-`): anybody on the machine can see a command line.
    """
    lab.sh(r"""
curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" \
  $VAULT_ADDR/v1/sys/mounts/$NAMESPACE-kv -d '{"type": "kv", "options": {"version": "2"}}' #?(2)
curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" \
  $VAULT_ADDR/v1/sys/mounts/$NAMESPACE-kv | jq .data
""")
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
api --retry 9 --retry-all-errors --retry-delay 1 $VAULT_ADDR/v1/$NAMESPACE-kv/metadata/app -d '{
  "cas_required": true, #?(true)
  "custom_metadata": {"owner": "shop-team"}
}'
for version in 1 2 3; do
  api $VAULT_ADDR/v1/$NAMESPACE-kv/data/app -d @- <<EOF | jq -c .data
{"options": {"cas": $((version - 1))}, #?($((version - 1)))
 "data": {"username": "shop", "password": "$(head -c 12 /dev/urandom | base64)"}}
EOF
done
""")
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
# Somebody who read version 1 writes now.
api $VAULT_ADDR/v1/$NAMESPACE-kv/data/app \
  -d '{"options": {"cas": 1}, "data": {"username": "late"}}' ||
  echo "refused: read it again, then write"
""")
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
api $VAULT_ADDR/v1/$NAMESPACE-kv/delete/app -d '{"versions": [2]}'
api "$VAULT_ADDR/v1/$NAMESPACE-kv/data/app?version=2" | jq -c .data || echo "hidden, not gone"
api $VAULT_ADDR/v1/$NAMESPACE-kv/undelete/app -d '{"versions": [2]}'  #?(undelete) bring it back
api -X PUT $VAULT_ADDR/v1/$NAMESPACE-kv/destroy/app -d '{"versions": [1]}'  #?(destroy) for good
api $VAULT_ADDR/v1/$NAMESPACE-kv/metadata/app | jq .data
""")


@write_secret.check
def _(lab: LabContext) -> None:
    mounts = lab.http.get("/v1/sys/mounts").json()["data"]
    mount = mounts.get(f"{lab.path('kv')}/") or {}
    expect(
        mount,
        f"a secrets engine is mounted at {lab.path('kv')}/",
        found=sorted(name for name in mounts if name.startswith("lab")),
    )
    version = (mount["options"] or {}).get("version")
    expect(
        mount["type"] == "kv" and version == "2",
        "it is the key/value engine, version 2",
        found=f"{mount['type']} version {version}",
        hint='"options": {"version": "2"} when it is mounted',
    )
    answer = lab.http.get(f"/v1/{lab.path('kv', 'metadata', 'app')}", allow={404})
    metadata = answer.json().get("data") or {}
    expect(metadata, f"there is a secret {lab.path('kv')}/app", hint="write to .../data/app")
    expect(
        metadata["cas_required"] and metadata["custom_metadata"] == {"owner": "shop-team"},
        "it demands check-and-set, and its metadata names an owner",
        found={key: metadata[key] for key in ("cas_required", "custom_metadata")},
    )
    versions = metadata["versions"]
    expect(metadata["current_version"] == 3, "it has three versions", found=sorted(versions))
    expect(versions["1"]["destroyed"], "the bytes of version 1 are destroyed", found=versions["1"])
    requests = [entry["request"] for entry in lab.audit.entries() if entry["type"] == "response"]
    deleted = [r["path"] for r in requests if r.get("path") == lab.path("kv", "delete", "app")]
    expect(
        deleted and not versions["2"]["destroyed"] and not versions["2"]["deletion_time"],
        "version 2 was deleted and brought back",
        found={**versions["2"], "delete requests in the audit log": len(deleted)},
    )
    expect(
        refused(lab, lab.path("kv", "data", "app"), STALE),
        "a write with an old number was refused",
        hint="cas is the number of a version that is no longer the present one",
    )
    fields = lab.http.get(f"/v1/{lab.path('kv', 'data', 'app')}").json()["data"]["data"]
    expect(
        {"username", "password"} <= set(fields),
        "the present version has a username and a password",
        found=sorted(fields),
    )
