"""Step 8: how long a Vault token lives, and the ways to end it."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from labs.lab01_http_api.lab import http_api


@http_api.step(
    "A token's life: renew, limit, revoke, children",
    hints=[
        "POST `/v1/auth/token/create` with policies, ttl and explicit_max_ttl gives a token; "
        "`renew-self` asks for more, never beyond the limit. Keep the numbers in "
        "`lab.notes['life']`: ttl_at_birth, ttl_after_renewal, warning.",
        "A token that calls `/v1/auth/token/create` is the parent of what it makes: it needs a "
        "policy with update on `auth/token/create`. Revoke the parent, then look at the child.",
        "An accessor names a token without being one: POST `/v1/auth/token/revoke-accessor`. "
        "Keep in `lab.notes['ended']` the status of lookup-self for by_accessor and child.",
    ],
)
def token_life(lab: LabContext) -> None:
    """
    Every Vault token ends. Its **TTL** counts down; a *renewable* token may ask for more,
    until its **maximum** is reached: then only a new login helps. An application that
    forgets to renew loses its token; one that renews a token for years cannot exist.

    Ending early is as important. Three ways:

    - the holder revokes itself (`revoke-self`), as a Job should when it is done;
    - an administrator revokes by **accessor**: a handle that can look up and revoke, but
      not read secrets. Audit logs show accessors, so a leak can be stopped from the log;
    - revoking a token revokes its **children** too. Whatever a compromised token created
      goes down with it.
    """
    policy = 'path "auth/token/create" { capabilities = ["update"] }'
    lab.http.put(f"/v1/sys/policies/acl/{lab.path('parent')}", json={"policy": policy})
    create, own = "/v1/auth/token/create", "/v1/auth/token/lookup-self"

    # A minute at birth, two at the very most. Renewal asks for an hour.
    wish = {"policies": [lab.path("app")], "ttl": "1m", "explicit_max_ttl": "2m"}
    mortal = lab.http.post(create, json=wish).json()["auth"]
    renewed = lab.http.post(
        "/v1/auth/token/renew-self", json={"increment": "1h"}, token=mortal["client_token"]
    ).json()
    lab.notes["life"] = {
        "ttl_at_birth": mortal["lease_duration"],
        "ttl_after_renewal": renewed["auth"]["lease_duration"],
        "warning": " ".join(renewed["warnings"] or []),
    }

    # Ended by its accessor: the token itself was never needed.
    lab.http.post("/v1/auth/token/revoke-accessor", json={"accessor": mortal["accessor"]})
    after = lab.http.get(own, token=mortal["client_token"], allow={403})

    # A child goes down with its parent.
    wish = {"policies": [lab.path("parent"), lab.path("app")], "ttl": "5m"}
    parent = lab.http.post(create, json=wish).json()["auth"]["client_token"]
    wish = {"policies": [lab.path("app")], "ttl": "5m"}
    child = lab.http.post(create, json=wish, token=parent).json()["auth"]["client_token"]
    lab.http.get(own, token=child)
    lab.http.post("/v1/auth/token/revoke-self", token=parent)
    orphaned = lab.http.get(own, token=child, allow={403})
    lab.notes["ended"] = {"by_accessor": after.status_code, "child": orphaned.status_code}


@token_life.check
def _(lab: LabContext) -> None:
    policies = lab.http.list("/v1/sys/policies/acl").json()["data"]["keys"]
    expect(lab.path("parent") in policies, f"there is a policy {lab.path('parent')}")
    life = lab.notes.get("life", {})
    expect(
        0 < life.get("ttl_at_birth", 0) <= 60,
        "a token was born with a minute to live",
        found=life or "no lab.notes['life']",
    )
    expect(
        60 < life.get("ttl_after_renewal", 0) <= 120,
        "asked for an hour, it got what its maximum allows: two minutes from birth",
        found=life,
        hint="explicit_max_ttl=2m when it is created, increment=1h when it is renewed",
    )
    ended = lab.notes.get("ended", {})
    expect(
        ended.get("by_accessor") == 403,
        "revoked by its accessor, it was refused",
        found=ended or "no lab.notes['ended']",
    )
    expect(
        ended.get("child") == 403, "a child was refused after its parent was revoked", found=ended
    )
    # The audit log must agree: notes can be written without having been there.
    paths = [entry["request"].get("path") for entry in lab.audit.entries() if "request" in entry]
    for path in ("renew-self", "revoke-accessor", "revoke-self"):
        expect(f"auth/token/{path}" in paths, f"Vault's audit log has the request {path}")
