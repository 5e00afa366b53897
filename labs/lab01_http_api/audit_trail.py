"""Step 13: who read what, and when: Vault's audit log as a table and as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness import expect
from harness.lab.api import Entry, LabContext
from labs.lab01_http_api.drawing import draw_log
from labs.lab01_http_api.lab import http_api

PNG = b"\x89PNG\r\n\x1a\n"


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


def picture_file(lab: LabContext) -> Path:
    """Where the picture of this step lies."""
    return lab.folder / "login-and-read.png"


def visible_secrets(entries: Iterable[Entry], values: list[str]) -> int:
    """How many of the values stand anywhere in the log as they are."""
    texts = (json.dumps(entry) for entry in entries)
    return len({value for text in texts for value in values if value in text})


@http_api.step(
    "Read the audit log",
    hints=[
        "Let the pod `app` log in and read once more, then look at `lab.audit.entries()`: type, "
        "time, auth.display_name, auth.metadata, request.operation, request.path.",
        "Values are HMACs. POST `/v1/sys/audit-hash/file` with `{input: value}` tells the HMAC of "
        "a value that you know; look for it in the response of the read. Keep the request id of "
        "that entry in `lab.notes['found_by_hash']`.",
        "`draw_log(entries, title, picture_file(lab))` draws one pod's login and read.",
    ],
)
def read_the_audit_log(lab: LabContext) -> None:
    """
    Kubernetes cannot tell who read a Secret, unless somebody switched auditing on before.
    Vault writes every request and every answer into its **audit log**, *before* it answers:
    if the log cannot be written, Vault does not answer at all.

    The log tells **who** (the service account that logged in), **what** (operation and
    path), **when**, from where, and with which token (as an accessor and an HMAC). It does
    not tell the values: they are **HMACs** with a key of the audit device's own. So the log
    is not a second copy of all secrets, and yet it can answer *"who has seen this value?"*:
    if you know the value, `sys/audit-hash` computes its HMAC, and you search for that.

    The picture at the end is drawn from nothing but the log.
    """
    lab.kube.exec(
        "app",
        f"""
set -eu
vault() {{ curl -sS --fail-with-body --cacert /vault-ca/ca.crt "$@"; }}
addr={lab.access.vault_pod_addr}/v1
jq -n --arg jwt "$(cat /identity/token)" '{{role: "app", jwt: $jwt}}' |
  vault -d @- $addr/auth/{lab.path("kubernetes")}/login |
  jq -j .auth.client_token > /memory/audit-token
vault -H "X-Vault-Token: $(cat /memory/audit-token)" $addr/{lab.path("kv", "data", "app")} |
  jq -j .data.data.password > /memory/password
""",
    )
    # Who, what, when: a table from the log.
    entries = lab.audit.entries()
    for row in who_what_when(entries)[-4:]:
        print("{when}  {who:24} {what}".format(**row))

    # Which entry shows the password that we know? Only its HMAC is in the log.
    known = lab.http.get(f"/v1/{lab.path('kv', 'data', 'app')}").json()["data"]["data"]["password"]
    digest = lab.http.post("/v1/sys/audit-hash/file", json={"input": known}).json()["data"]["hash"]
    reads = lab.audit.responses(lab.path("kv", "data", "app"))
    found = [entry["request"]["id"] for entry in reads if digest in json.dumps(entry["response"])]
    lab.notes["found_by_hash"] = found[0]

    # The picture: this pod's login and its read.
    story = [
        entry
        for path in (f"auth/{lab.path('kubernetes')}/login", lab.path("kv", "data", "app"))
        for entry in lab.audit.responses(path)
        if ((entry.get("auth") or {}).get("metadata") or {}).get("service_account_name") == "app"
    ]
    lab.show(draw_log(story, "One pod logs in and reads one secret", picture_file(lab)))


@read_the_audit_log.check
def _(lab: LabContext) -> None:
    reads = lab.audit.responses(lab.path("kv", "data", "app"))
    by_app = [row for row in who_what_when(reads) if row["who"] == "service account app"]
    expect(by_app, "the audit log tells that the service account app read the secret, and when")
    known = lab.http.get(f"/v1/{lab.path('kv', 'data', 'app')}").json()["data"]["data"]
    values = [str(known["password"]), str(lab.access.learner_token)]
    expect(
        visible_secrets(lab.audit.entries(), values) == 0,
        "neither the password nor a token stands in it as it is",
    )
    noted = lab.notes.get("found_by_hash", "")
    by_id: dict[str, Any] = {entry["request"]["id"]: entry for entry in reads}
    expect(
        noted in by_id,
        "the entry that shows the known password was found",
        found=noted or "no lab.notes['found_by_hash']",
        hint="the request id of a read of the secret that this step caused",
    )
    hashed = lab.http.post("/v1/sys/audit-hash/file", json={"input": known["password"]})
    expect(
        hashed.json()["data"]["hash"] in json.dumps(by_id[noted]["response"]),
        "by its HMAC: the value that sys/audit-hash computes stands in that entry",
    )
    file = picture_file(lab)
    drawn = file.read_bytes() if file.exists() else b""
    expect(drawn.startswith(PNG), "a picture of the login and the read was drawn", found=len(drawn))


@read_the_audit_log.undo
def _(lab: LabContext) -> None:
    picture_file(lab).unlink(missing_ok=True)
