"""Step 15: who read what, and when: Vault's audit log as a table and as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from harness import expect
from harness.lab.api import Entry, LabContext
from labs.lab01_http_api.drawing import draw_login, picture_file
from labs.lab01_http_api.evidence import DEVICE, audit_hash
from labs.lab01_http_api.lab import http_api


def who_what_when(entries: Iterable[Entry]) -> list[dict[str, str]]:
    """The response entries as rows: when, who (service account or display name), what."""
    rows = []
    for entry in entries:
        if entry.get("type") != "response":
            continue
        auth = entry.get("auth") or {}
        account = (auth.get("metadata") or {}).get("service_account_name")
        rows.append(
            {
                "when": entry["time"][:19],
                "who": f"service account {account}" if account else auth.get("display_name", ""),
                "what": f"{entry['request']['operation']} {entry['request']['path']}",
                "from": entry["request"].get("remote_address", ""),
            }
        )
    return rows


def visible_secrets(entries: Iterable[Entry], values: list[str]) -> int:
    """How many of the values stand anywhere in the log as they are."""
    texts = (json.dumps(entry) for entry in entries)
    return len({value for text in texts for value in values if value in text})


@http_api.drawing("login")
def login(lab: LabContext) -> Path:
    """How the pod logged in and read."""
    return draw_login(lab)


@http_api.step(
    "Read the audit log",
    minutes=8,
    goals=[
        "the audit log tells that the service account app read the secret, and when",
        "neither the password nor a token stands in it as it is",
        "you asked for the HMAC of the known password",
        "by its HMAC: the value that sys/audit-hash computes stands in the entry of a read",
    ],
    hints=[
        "One line of the log is one JSON object: `tail -n 1 $VAULT_AUDIT_LOG | jq .` shows one. "
        "Each request has two: type `request` and type `response`.",
        "Who is in auth (display_name, and metadata.service_account_name after a login by "
        "kubernetes), what is in request (operation, path). sys/audit-hash/file takes a value as "
        "`input` and answers with its HMAC.",
        '.type == "response"; .request.path; sys/audit-hash/file; .data.hash',
    ],
)
def read_the_audit_log(lab: LabContext) -> None:
    """
    Kubernetes cannot tell who read a Secret, unless somebody switched auditing on before.
    It is the same with Vault: an **audit device** is off by default. This environment has one,
    made by `vault audit enable file file_path=...`. From then on Vault writes every request
    and every answer, *before* it answers: if the log cannot be written, Vault does not answer
    at all.

    The log tells **who** (the service account that logged in), **what** (operation and
    path), **when**, from where, and with which token (as an accessor and an HMAC). It does
    not tell the values: they are **HMACs** with a key of the audit device's own. So the log
    is not a second copy of all secrets, and yet it can answer *"who has seen this value?"*:
    if you know the value, `sys/audit-hash` computes its HMAC, and you search for that.

    The picture at the end is drawn from nothing but the log.
    """
    lab.sh(r"""
curl -sS --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" $VAULT_ADDR/v1/sys/audit |
  jq .data

kubectl exec -i app -- bash -e -o pipefail <<'EOF'
api() { curl -sS --fail-with-body --cacert /vault-ca/ca.crt "$@"; }
token=$(jq -R '{role: "app", jwt: .}' /identity/token |
  api $VAULT_ADDR/v1/auth/$NAMESPACE-kubernetes/login -d @- | jq -r .auth.client_token)
api -H "X-Vault-Token: $token" $VAULT_ADDR/v1/$NAMESPACE-kv/data/app |
  jq -j .data.data.password > /memory/password
EOF

echo "When, who, what:"
tail -n 500 $VAULT_AUDIT_LOG | jq -r 'select(.type == "response") | [  #?(response) one of the two
    .time[:19],
    .auth.metadata.service_account_name // .auth.display_name,
    .request.operation,
    .request.path
  ] | @tsv' | grep $NAMESPACE | tail -n 6
""")
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
# Who has seen the present password? Only its HMAC is in the log.
hash=$(api $VAULT_ADDR/v1/$NAMESPACE-kv/data/app | jq '{input: .data.data.password}' |
  api $VAULT_ADDR/v1/sys/audit-hash/file -d @- | jq -r .data.hash)  #?(audit-hash) of a known value
echo $hash
tail -n 500 $VAULT_AUDIT_LOG | grep -F "$hash" | jq -c 'select(.type == "response") | {
  time, path: .request.path, by: (.auth.metadata.service_account_name // .auth.display_name)}'
""")
    lab.draw("login")


@read_the_audit_log.check
def _(lab: LabContext) -> None:
    path = lab.path("kv", "data", "app")
    reads = lab.audit.responses(path)
    by_app = [row for row in who_what_when(reads) if row["who"] == "service account app"]
    expect(by_app, "the audit log tells that the service account app read the secret, and when")
    # Before this check asks itself: what has the learner asked for?
    asked = {
        (entry["request"].get("data") or {}).get("input")
        for entry in lab.audit.responses(f"sys/audit-hash/{DEVICE}")
    }
    known = lab.http.get(f"/v1/{path}").json()["data"]["data"]["password"]
    values = [str(known), str(lab.access.learner_token)]
    expect(
        visible_secrets(lab.audit.entries(), values) == 0,
        "neither the password nor a token stands in it as it is",
    )
    seen = {
        (((entry.get("response") or {}).get("data") or {}).get("data") or {}).get("password")
        for entry in reads
    }
    expect(
        asked & seen,
        "you asked for the HMAC of the known password",
        hint=f"POST /v1/sys/audit-hash/{DEVICE} with the password as input",
    )
    expect(
        audit_hash(lab, known) in seen,
        "by its HMAC: the value that sys/audit-hash computes stands in the entry of a read",
    )


@read_the_audit_log.undo
def _(lab: LabContext) -> None:
    picture_file(lab).unlink(missing_ok=True)
