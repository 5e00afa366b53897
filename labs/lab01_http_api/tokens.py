"""Step 9: how a token lives and how it ends."""

from __future__ import annotations

from typing import Any

from harness import expect
from harness.lab.api import Entry, LabContext
from labs.lab01_http_api.lab import http_api

TOKEN = "auth/token"  # noqa: S105 # the path of the token store


@http_api.step(
    "A token's life: renew, limit, revoke, children",
    minutes=8,
    further=True,
    goals=[
        "there is a policy lab01-parent",
        "a token was born with a minute to live",
        "asked for an hour, it got what its maximum allows: two minutes from birth",
        "it was revoked by its accessor, and refused afterwards",
        "a child was refused after its parent was revoked",
        "a periodic token was renewed: it has no maximum",
    ],
    answer="Two minutes at the very most, less what has gone by: no token outlives its "
    "`explicit_max_ttl`, whatever it asks for. Vault says so in `warnings`.",
    hints=[
        "What has a token left? Ask auth/token/lookup-self with that token in the header. The "
        "answer to renew-self has `warnings` when you asked for too much.",
        "A maximum that nobody can renew away is explicit_max_ttl; a period is a life that each "
        "renewal gives again. An accessor names a token without being one. The parent of a token "
        "is the token that created it.",
        '"explicit_max_ttl": "2m"; renew-self; revoke-accessor with {"accessor": "..."}; '
        'revoke-self by the parent; "period": "1m"',
    ],
)
def token_life(lab: LabContext) -> None:
    """
    Most tokens end. A **TTL** counts down; a *renewable* token may ask for more, until its
    **maximum** is reached: then only a new login helps. An application that forgets to renew
    loses its token.

    Two kinds have no such end. A **periodic** token can be renewed for ever, one period at a
    time: it dies when nobody renews it. A **root token** does not expire at all; that is why
    one revokes it after the first set-up.

    Ending early is as important. Three ways:

    - the holder revokes itself (`revoke-self`), as a Job should when it is done;
    - an administrator revokes by **accessor**: a handle that can look up and revoke, but
      not read secrets. Audit logs show accessors, so a leak can be stopped from the log;
    - revoking a token revokes its **children** too. Whatever a compromised token created
      goes down with it.

    *Before you run it: the first token asks for an hour. How long will it get?*
    """
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
own() {
  curl -sS --cacert "$VAULT_CACERT" -H "X-Vault-Token: $1" $VAULT_ADDR/v1/auth/token/$2 "${@:3}"
}

# A minute at birth, two at the very most.
made=$(api $VAULT_ADDR/v1/auth/token/create -d @- <<EOF
{"policies": ["$NAMESPACE-app"], "ttl": "1m",
 "explicit_max_ttl": "2m"} #?(2m)
EOF
)
token=$(jq -r .auth.client_token <<< "$made")
jq '.auth | {policies, lease_duration, renewable, accessor}' <<< "$made"

echo "Ask for an hour:"
own $token renew-self -d '{"increment": "1h"}' |
  jq '{warnings, lease_duration: .auth.lease_duration}'

echo "End it by its accessor; the administrator does not need the token:"
jq '{accessor: .auth.accessor}' <<< "$made" |
  api $VAULT_ADDR/v1/auth/token/revoke-accessor -d @-  #?(revoke-accessor) end it by that handle
own $token lookup-self | jq -c .
""")
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
own() {
  curl -sS --cacert "$VAULT_CACERT" -H "X-Vault-Token: $1" $VAULT_ADDR/v1/auth/token/$2 "${@:3}"
}

# A token may create others when a policy of its own says so.
api -X PUT $VAULT_ADDR/v1/sys/policies/acl/$NAMESPACE-parent -d '{
  "policy": "path \"auth/token/create\" { capabilities = [\"update\"] }"
}'
parent=$(api $VAULT_ADDR/v1/auth/token/create -d @- <<EOF | jq -r .auth.client_token
{"policies": ["$NAMESPACE-parent", "$NAMESPACE-app"], "ttl": "5m"}
EOF
)
child=$(own $parent create -d @- <<EOF | jq -r .auth.client_token
{"policies": ["$NAMESPACE-app"], "ttl": "5m"}
EOF
)
echo "The child lives, then its parent ends:"
own $child lookup-self | jq -c '.data | {policies, ttl, orphan}'
own $parent revoke-self -X POST  #?($parent) which of the two?
own $child lookup-self | jq -c .
""")
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
own() {
  curl -sS --cacert "$VAULT_CACERT" -H "X-Vault-Token: $1" $VAULT_ADDR/v1/auth/token/$2 "${@:3}"
}
token=$(api $VAULT_ADDR/v1/auth/token/create -d @- <<EOF | jq -r .auth.client_token
{"policies": ["$NAMESPACE-app"],
 "period": "1m"} #?(period)
EOF
)
own $token renew-self -X POST | jq -c '{renewed_for: .auth.lease_duration}'
own $token lookup-self | jq -c '.data | {period, ttl, explicit_max_ttl}'
own $token revoke-self -X POST
""")


@token_life.check
def _(lab: LabContext) -> None:
    policies = lab.http.list("/v1/sys/policies/acl").json()["data"]["keys"]
    expect(lab.path("parent") in policies, f"there is a policy {lab.path('parent')}")
    entries = [entry for entry in lab.audit.entries() if _path(entry).startswith(f"{TOKEN}/")]
    answers = [entry for entry in entries if entry.get("type") == "response"]
    born = {
        _made(entry)["accessor"]: _made(entry)["token_ttl"]
        for entry in answers
        if _path(entry) == f"{TOKEN}/create" and _made(entry)
    }
    expect(
        any(0 < ttl <= 60 for ttl in born.values()),
        "a token was born with a minute to live",
        found=sorted(born.values()),
    )
    renewed = {
        _made(entry)["accessor"]: _made(entry)["token_ttl"]
        for entry in answers
        if _path(entry) == f"{TOKEN}/renew-self" and _made(entry)
    }
    limited = {a for a, ttl in renewed.items() if born.get(a, 61) <= 60 and 60 < ttl <= 120}
    expect(
        limited,
        "asked for an hour, it got what its maximum allows: two minutes from birth",
        found=sorted(renewed.values()),
        hint='"explicit_max_ttl": "2m" when it is created, "increment": "1h" when it is renewed',
    )
    late = _used_after_the_end(entries)
    named = {
        (entry["request"].get("data") or {}).get("accessor")
        for entry in answers
        if _path(entry) == f"{TOKEN}/revoke-accessor"
    }
    expect(
        limited & named & late,
        "it was revoked by its accessor, and refused afterwards",
        hint="ask for lookup-self with the token once more",
    )
    parents = {
        _made(entry)["accessor"]: (entry.get("auth") or {}).get("accessor")
        for entry in answers
        if _path(entry) == f"{TOKEN}/create" and _made(entry)
    }
    left = {
        entry["request"].get("client_token_accessor")
        for entry in answers
        if _path(entry) == f"{TOKEN}/revoke-self"
    }
    expect(
        any(parents.get(accessor) in left for accessor in late),
        "a child was refused after its parent was revoked",
        hint="the parent creates the child: its own token in the header; then it revokes itself",
    )
    periodic = {
        entry["request"].get("client_token_accessor")
        for entry in answers
        if _path(entry) == f"{TOKEN}/lookup-self"
        and ((entry.get("response") or {}).get("data") or {}).get("period")
    }
    expect(
        periodic & set(renewed),
        "a periodic token was renewed: it has no maximum",
        hint='"period": "1m" instead of a ttl; renew-self, then lookup-self',
    )


def _path(entry: Entry) -> str:
    return str((entry.get("request") or {}).get("path", ""))


def _made(entry: Entry) -> dict[str, Any]:
    """The token in an answer, as the log has it: {} when there is none."""
    return dict((entry.get("response") or {}).get("auth") or {})


def _used_after_the_end(entries: list[Entry]) -> set[str]:
    """The accessors of tokens that were good once and were refused later."""
    good: dict[str, str] = {}
    late = set()
    for entry in entries:
        request = entry["request"]
        token = str(request.get("client_token", ""))
        if request.get("client_token_accessor"):
            good[token] = request["client_token_accessor"]
        elif entry.get("error") and token in good:
            late.add(good[token])
    return late
