"""Step 2: who can read a Secret, by RBAC."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from labs.lab00_why.lab import why
from labs.lab00_why.people import allowed, read_as, user

ALL_THREE = {"app", "other", "late"}


@why.step(
    "Who can read it",
    minutes=4,
    goals=[
        "get reads any name, also a later one",
        "get alone does not list: 403",
        "list alone does not get: 403",
        "but it hands out every value at once",
        "watch alone does not list: 403",
        "but it brings every value as an event",
        "resourceNames allow to get the Secret app",
        "nor one that came after the role: 403",
        "list is refused although the role has the verb: 403",
        "the name ap* matches nothing: 403",
        "the ClusterRole view reads no Secret: 403",
        "the ClusterRole edit reads all of them",
    ],
    hints=[
        "`kubectl create role --help` and `kubectl create rolebinding --help`. What may an "
        "account do? `kubectl auth can-i --list --as system:serviceaccount:$NAMESPACE:lister`.",
        "RBAC has three verbs for reading. Each of the first three accounts has one of them. "
        "`named` has all three, for one name; two accounts are bound to roles that every cluster "
        "has.",
        "--verb=list; --verb=watch; --resource-name=app; --clusterrole=view; --clusterrole=edit",
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
    lab.sh(r"""
head -c 18 /dev/urandom | base64 | tr -d '\n' |
  kubectl create secret generic other --from-file=password=/dev/stdin
for account in getter lister watcher named pattern viewer editor; do
  kubectl create serviceaccount $account
done

# One account for each verb, with nothing but that.
kubectl create role getter --verb=get --resource=secrets
kubectl create role lister --verb=list --resource=secrets  #?(--verb=list) one verb, another one
kubectl create role watcher --verb=watch --resource=secrets
# All three verbs for one name; one verb for a name with a star.
kubectl create role named --verb=get,list,watch --resource=secrets \
  --resource-name=app  #?(app) the only name that the role holds for
kubectl create role pattern --verb=get --resource=secrets --resource-name='ap*'

bind() { kubectl create rolebinding $1 --serviceaccount=$NAMESPACE:$1 "${@:2}"; }
for account in getter lister watcher named pattern; do bind $account --role=$account; done
bind viewer --clusterrole=view
bind editor --clusterrole=edit  #?(edit) the role that developers usually get

# A Secret that nobody knew of when the roles were written.
head -c 18 /dev/urandom | base64 | tr -d '\n' |
  kubectl create secret generic late --from-file=password=/dev/stdin
# The authorizer learns of a role by a watch of its own: a moment later.
until kubectl auth can-i list secrets -q --as system:serviceaccount:$NAMESPACE:editor; do
  sleep 0.2
done
""")
    lab.sh(r"""
as() { kubectl --as system:serviceaccount:$NAMESPACE:$1 "${@:2}"; }
names() { jq -r '.items // [.] | map(select(.data.password) | .metadata.name) | join(", ")'; }
secrets=/api/v1/namespaces/$NAMESPACE/secrets

echo "getter: get app, list"
as getter get secret app -o json | names
as getter get secrets || true
echo "lister: get app, list"
as lister get secret app || true
as lister get --raw $secrets | names
echo "watcher: watch, for one second"
as watcher get --raw "$secrets?watch=true&timeoutSeconds=1" |
  jq -r '"\(.type) \(.object.metadata.name): \(.object.data.password | length) letters of base64"'
""")
    lab.sh(r"""
as() { kubectl --as system:serviceaccount:$NAMESPACE:$1 "${@:2}"; }
names() { jq -r '.items // [.] | map(select(.data.password) | .metadata.name) | join(", ")'; }

echo "named: get app, get late, list, list with a field selector"
as named get secret app -o json | names
as named get secret late || true
as named get secrets || true
as named get secrets --field-selector metadata.name=app -o json | names
echo "pattern: get app";  as pattern get secret app || true
echo "viewer: get app";   as viewer get secret app || true
echo "editor: list";      as editor get secrets -o json | names
""")


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
