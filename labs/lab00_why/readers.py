"""Step 2: who can read a Secret, by RBAC."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from labs.lab00_why.encoding import secret_manifest
from labs.lab00_why.lab import why
from labs.lab00_why.people import allowed, is_bound_to, may, read_as, user

ALL_THREE = {"app", "other", "late"}


def try_reading(lab: LabContext, account: str, *ways: str) -> None:
    """Print what each way of reading brings an account."""
    for way in ways:
        values, refused = read_as(lab, account, way)
        got = f"the value of {', '.join(sorted(values))}" if values else "no value"
        print(f"{account:8} {way:10} {refused or got}")


@why.step(
    "Who can read it",
    minutes=4,
    hints=[
        "RBAC has three verbs for reading: get, list, watch. Give each to a service account of "
        "its own (getter, lister, watcher) and see what `kubectl --as "
        "system:serviceaccount:lab00:lister get secrets -o json` brings.",
        "named has all three verbs, for the Secret app only (resourceNames); pattern has get "
        "for the name `ap*`; viewer and editor are bound to the ClusterRoles view and edit.",
        "`may(lab, 'named', {'secrets': 'get list watch'}, names=['app'])`; "
        "`is_bound_to(lab, 'viewer', 'view')`. Two more Secrets with the key password: other, "
        "and late, made after all roles; the values are lab.secret('other') and ('late').",
    ],
)
def who_can_read(lab: LabContext) -> None:
    """
    Who may read a Secret is up to **RBAC**, and RBAC knows three verbs for reading.

    - **get** reads one object, by its name.
    - **list** reads all of them, *with their values*. A list is not just names: an account
      with `list` but not `get` is refused `get secret app`, yet sees its value in the list.
    - **watch** gets every object that is there as an event at once, and then each one that
      is created or changed, until somebody ends it.

    A role may be limited to names (`resourceNames`). For get that is the finest that RBAC
    has. For list and watch it does nearly nothing: such a request names no object, so it is
    refused, unless it asks for exactly one name by a field selector. Names are compared as
    they are: `ap*` is a name like any other, and a Secret created tomorrow is on no existing
    list. So operators and controllers, which must list and watch, get *all* of a namespace.

    Among the roles that every cluster has, **view** leaves Secrets out on purpose. **edit**,
    which developers usually get, reads all of them.
    """
    lab.kube.apply(secret_manifest(lab, "other", password=lab.secret("other")))
    # One account for each verb, with nothing but that.
    may(lab, "getter", {"secrets": "get"})
    may(lab, "lister", {"secrets": "list"})
    may(lab, "watcher", {"secrets": "watch"})
    # All three verbs for one name; one verb for a name with a star.
    may(lab, "named", {"secrets": "get list watch"}, names=["app"])
    may(lab, "pattern", {"secrets": "get"}, names=["ap*"])
    is_bound_to(lab, "viewer", "view")
    is_bound_to(lab, "editor", "edit")
    # A Secret that nobody knew of when the roles were written.
    lab.kube.apply(secret_manifest(lab, "late", password=lab.secret("late")))

    try_reading(lab, "getter", "get app", "list")
    try_reading(lab, "lister", "get app", "list")
    try_reading(lab, "watcher", "get app", "watch")
    try_reading(lab, "named", "get app", "get late", "list", "list app")
    try_reading(lab, "pattern", "get app")
    try_reading(lab, "viewer", "get app")
    try_reading(lab, "editor", "list")
    lab.notes["readers"] = {"list_gave": len(read_as(lab, "lister", "list")[0])}


def expect_values(lab: LabContext, account: str, way: str, wanted: set[str], what: str) -> None:
    """State that reading in this way brings an account exactly the values `wanted`, of three."""
    values, refused = read_as(lab, account, way)
    expect(values & ALL_THREE == wanted, what, found=refused or sorted(values))


def expect_refused(lab: LabContext, account: str, way: str, what: str) -> None:
    """State that an account is refused, because of the verb, as itself."""
    values, refused = read_as(lab, account, way)
    verb = way.split()[0]
    reason = f'User "{user(lab, account)}" cannot {verb} resource "secrets"'
    expect(
        not values and refused.startswith("403") and reason in refused,
        what,
        found=refused or f"the value of {sorted(values)}",
        hint=f"kubectl auth can-i --list --as {user(lab, account)} -n {lab.namespace}",
    )


@who_can_read.check
def _(lab: LabContext) -> None:
    for name in ("app", "other", "late"):
        expect(lab.kube.get("Secret", name), f"there is a Secret {name}")
    for account in ("getter", "lister", "watcher", "named", "pattern", "viewer", "editor"):
        expect(lab.kube.get("ServiceAccount", account), f"there is a service account {account}")
    expect_values(lab, "getter", "get late", {"late"}, "get reads any name, also a later one")
    expect_refused(lab, "getter", "list", "get alone does not list: 403")
    expect_refused(lab, "lister", "get app", "list alone does not get: 403")
    expect_values(lab, "lister", "list", ALL_THREE, "but it hands out every value at once")
    expect_refused(lab, "watcher", "list", "watch alone does not list: 403")
    expect_values(lab, "watcher", "watch", ALL_THREE, "but it brings every value as an event")
    expect_values(lab, "named", "get app", {"app"}, "resourceNames allow to get the Secret app")
    expect_refused(lab, "named", "get other", "and not the Secret other: 403")
    expect_refused(lab, "named", "get late", "nor one that came after the role: 403")
    expect_refused(lab, "named", "list", "list is refused although the role has the verb: 403")
    expect_values(
        lab, "named", "list app", {"app"}, "unless a field selector asks for that one name"
    )
    expect_refused(lab, "pattern", "get app", "the name ap* matches nothing: 403")
    expect_refused(lab, "viewer", "get app", "the ClusterRole view reads no Secret: 403")
    expect(allowed(lab, "viewer", "get", "pods"), "although it reads pods")
    expect_values(lab, "editor", "list", ALL_THREE, "the ClusterRole edit reads all of them")
    given = lab.notes.get("readers", {})
    expect(
        given.get("list_gave", 0) >= len(ALL_THREE),
        "it was noted how many values list handed out",
        found=given or "no lab.notes['readers']",
        hint="lab.notes['readers'] = {'list_gave': number}",
    )
