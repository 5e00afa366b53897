"""Step 10: handing a secret over so that a theft is noticed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness import expect
from harness.lab.api import Entry, LabContext
from labs.lab01_http_api.evidence import audit_hash
from labs.lab01_http_api.lab import http_api

WRAP = "sys/wrapping"


@http_api.step(
    "Hand a secret over once: response wrapping",
    minutes=6,
    further=True,
    goals=[
        "the secret lab01-kv/data/app was wrapped",
        "lookup told where the wrapped answer came from, without opening it",
        "it could be opened",
        "only once: the second attempt was refused",
        "the receiver noticed a theft: another wrapped answer was opened already",
        "and a forgery: it comes from sys/wrapping/wrap",
    ],
    hints=[
        "What does Vault send when a request has the header X-Vault-Wrap-TTL? Look at the field "
        "`wrap_info` of the answer.",
        "The token in `wrap_info` opens what is behind it: it is the X-Vault-Token of a POST to "
        "sys/wrapping/unwrap. sys/wrapping/lookup takes it as a field `token` and opens nothing.",
        'X-Vault-Wrap-TTL: 60s; .wrap_info.token; sys/wrapping/lookup with {"token": "..."}; '
        "sys/wrapping/unwrap",
    ],
)
def wrap_response(lab: LabContext) -> None:
    """
    How does a deployment tool give a secret to a machine without seeing it, and without
    anybody on the way seeing it unnoticed? It hands over a **wrapped** response: a token
    with one single use, behind which Vault keeps the answer for a minute.

    - The receiver unwraps it **once**. The secret itself was never on the way.
    - If unwrapping fails, somebody was faster: that is the alarm, not a nuisance.
    - Before opening, `lookup` tells **where it came from** (`creation_path`). A thief may
      unwrap it and wrap something else in its place. The path gives the thief away: it is
      `sys/wrapping/wrap` then, not the one that you expected.
    """
    lab.sh(r"""
api() { curl -sS --cacert "$VAULT_CACERT" "$@"; }
wrap() { api -H "X-Vault-Token: $VAULT_TOKEN" -H "X-Vault-Wrap-TTL: 60s" "$@"; }
lookup() { api $VAULT_ADDR/v1/sys/wrapping/lookup -d "{\"token\": \"$1\"}" | jq -c .data; }
unwrap() {
  api -X POST -H "X-Vault-Token: $1" $VAULT_ADDR/v1/sys/wrapping/unwrap |
    jq -c '.errors // {fields: (.data.data | keys)}'
}

echo "As it should be: look where it comes from, open it, and it is gone."
token=$(wrap $VAULT_ADDR/v1/$NAMESPACE-kv/data/app | jq -r .wrap_info.token)  #?(.wrap_info.token)
lookup $token  #?(lookup) look at it without opening it
unwrap $token  #?(unwrap) open it
unwrap $token

echo "Stolen on the way: the thief opens it first, the receiver notices."
token=$(wrap $VAULT_ADDR/v1/$NAMESPACE-kv/data/app | jq -r .wrap_info.token)
unwrap $token > /dev/null
unwrap $token

echo "Something else in its place: its origin betrays it."
token=$(wrap $VAULT_ADDR/v1/sys/wrapping/wrap -d '{"password": "fake"}' | jq -r .wrap_info.token)
lookup $token
""")


@wrap_response.check
def _(lab: LabContext) -> None:
    secret = lab.path("kv", "data", "app")
    wrapped = {_wrapped(entry) for entry in lab.audit.responses(secret)} - {None}
    expect(
        wrapped, f"the secret {secret} was wrapped", hint="with the header X-Vault-Wrap-TTL: 60s"
    )
    lookups = lab.audit.responses(f"{WRAP}/lookup")
    expect(
        _origins(lookups, wrapped) == {audit_hash(lab, secret)},
        "lookup told where the wrapped answer came from, without opening it",
    )
    opened: dict[str, int] = {}
    tries = [
        entry for entry in lab.audit.entries() if entry["request"].get("path") == f"{WRAP}/unwrap"
    ]
    for entry in tries:
        if entry.get("type") == "response" and not entry.get("error"):
            opened[str(entry["request"]["client_token"])] = 0
    expect(opened, "it could be opened")
    for entry in tries:
        token = str(entry["request"].get("client_token", ""))
        if entry.get("error") and token in opened:
            opened[token] += 1
    late = [token for token, refusals in opened.items() if refusals]
    expect(late, "only once: the second attempt was refused", found=lab.audit.refusals(WRAP))
    expect(
        len(late) > 1,
        "the receiver noticed a theft: another wrapped answer was opened already",
        hint="wrap it again, open it twice: once as the thief, once as the receiver",
    )
    forged = {_wrapped(entry) for entry in lab.audit.responses(f"{WRAP}/wrap")} - {None}
    expect(
        forged and _origins(lookups, forged) == {audit_hash(lab, f"{WRAP}/wrap")},
        f"and a forgery: it comes from {WRAP}/wrap",
    )


def _wrapped(entry: Entry) -> Any:
    """The token under which Vault keeps this answer, as the log has it; None for a plain one."""
    return ((entry.get("response") or {}).get("wrap_info") or {}).get("token")


def _origins(lookups: Iterable[Entry], tokens: set[Any]) -> set[Any]:
    """The origins that were told of these tokens."""
    return {
        ((entry.get("response") or {}).get("data") or {}).get("creation_path")
        for entry in lookups
        if (entry["request"].get("data") or {}).get("token") in tokens
    }
