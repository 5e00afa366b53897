"""Step 7: why Vault, as a table made of what was measured."""

from __future__ import annotations

from typing import Any

from harness import expect
from harness.lab.api import LabContext
from labs.lab00_why.lab import why
from labs.lab00_why.probes import (
    CONTROL,
    FORBIDDEN,
    LATER,
    SHORT_SECONDS,
    TEAMS,
    both_doors,
    exact_paths,
    in_storage,
    look_into_storage,
    one_place,
    put_password,
    reader_policy,
    things_that_end,
    traces,
)
from labs.lab00_why.verdict import ROWS, Verdict


def show_table(verdict: Verdict) -> None:
    """Show the table: in a notebook with links, elsewhere as text."""
    # IPython takes a quarter of a second to import, and only this step needs it.
    from IPython.display import display

    show: Any = display
    show(verdict)


@why.step(
    "Why Vault",
    minutes=2,
    hints=[
        "Each answer that Vault gives in the table is tried here. It takes a key/value engine "
        "at `lab00-kv` (version 2), a CA at `lab00-pki` with a role `web`, and a policy for "
        "each of two readers: `lab00-shop` and `lab00-billing`.",
        "`reader_policy(lab, 'shop')` is the text of a policy. The CA: POST to its "
        "`/root/generate/internal`, then `/roles/web` (allowed_domains lab00.svc, "
        "allow_subdomains).",
        "Keep in `lab.notes['vault']`: place, policies, dynamic, transit, rest, audit, from "
        "`one_place`, `exact_paths`, `things_that_end`, `both_doors`, `look_into_storage` and "
        "`traces`. `show_table(Verdict(lab.notes))` shows the table.",
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
    # A key/value engine, a certificate authority, and two readers.
    lab.http.post(
        f"/v1/sys/mounts/{lab.path('kv')}", json={"type": "kv", "options": {"version": "2"}}
    )
    pki = f"/v1/{lab.path('pki')}"
    lab.http.post(f"/v1/sys/mounts/{lab.path('pki')}", json={"type": "pki"})
    root = {"common_name": "lab 00 root", "key_type": "ec", "ttl": "24h"}
    lab.http.post(f"{pki}/root/generate/internal", json=root)
    role = {"allowed_domains": ["lab00.svc"], "allow_subdomains": True, "key_type": "ec"}
    lab.http.post(f"{pki}/roles/web", json=role)
    for reader in TEAMS:
        text = reader_policy(lab, reader)
        lab.http.put(f"/v1/sys/policies/acl/{lab.path(reader)}", json={"policy": text})

    # Two secrets that nobody knew of when the policies were written.
    put_password(lab, LATER, lab.secret("tomorrow"))
    put_password(lab, FORBIDDEN, lab.secret("forbidden"))

    # Six questions, each answered by trying.
    lab.notes["vault"] = {
        "place": one_place(lab),
        "policies": exact_paths(lab),
        "dynamic": things_that_end(lab),
        "transit": both_doors(lab),
        "rest": look_into_storage(lab),
        "audit": traces(lab),
    }
    show_table(Verdict(lab.notes))


@why_vault.check
def _(lab: LabContext) -> None:
    noted = lab.notes.get("vault", {})
    _check_readers(lab, noted)
    _check_ends(lab, noted)
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
    found = in_storage(lab, lab.secret("shared-2"))
    expect(found == 0, "the value that both readers got is not in it as it is", found=found)
    _check_traces(lab)
    missing = [row.topic for row in ROWS if row.topic in Verdict(lab.notes).missing()]
    expect(
        not missing,
        "no answer of Vault is missing in the table",
        found=missing,
        hint="lab.notes['vault'] = {'place': one_place(lab), ...}",
    )


def _check_readers(lab: LabContext, noted: dict[str, Any]) -> None:
    address = f"/v1/{lab.path('kv', 'metadata', 'shared/app')}"
    stored = lab.http.get(address, allow={404}).json().get("data") or {}
    expect(
        stored.get("current_version", 0) >= 2,
        f"the secret {lab.path('kv')}/shared/app was written and changed",
        found=stored.get("current_version") or "no such secret",
    )
    known = lab.http.list("/v1/sys/policies/acl").json()["data"]["keys"]
    for reader in ("shop", "billing"):
        expect(lab.path(reader) in known, f"there is a policy {lab.path(reader)}")
    # With a token of its own, so that the log of the readers stays theirs.
    now = exact_paths(lab, "check")
    expect(now["own"] == 200, "shop may read the secret that it shares", found=now)
    expect(now["other"] == 403, "it is refused other/app", found=now)
    expect(now["later"] == 200, "it may read what came later into its folder", found=now)
    expect(now["names"] == 1 and now["values"] == 0, "it lists a name, and no value", found=now)
    place = noted.get("place", {})
    expect(place.get("readers") == 2, "two readers had the new value after one write", found=place)


def _check_ends(lab: LabContext, noted: dict[str, Any]) -> None:
    certificates = lab.http.list(f"/v1/{lab.path('pki')}/certs", allow={404}).json()
    keys = (certificates.get("data") or {}).get("keys") or []
    expect(len(keys) >= 3, "the CA has issued one certificate for each reader", found=len(keys))
    dynamic = noted.get("dynamic", {})
    gone = lab.http.post(
        "/v1/auth/token/lookup-accessor",
        json={"accessor": dynamic.get("accessor", "")},
        allow={400, 403, 404},
    )
    expect(
        dynamic.get("accessor") and gone.status_code != 200,
        "the token with a short life is dead: its accessor is unknown",
        found=dynamic or "no lab.notes['vault']['dynamic']",
    )
    expect(
        SHORT_SECONDS <= dynamic.get("seconds", 0) + 0.5 <= SHORT_SECONDS + 10,
        "it died when its time was up",
        found=dynamic,
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
