"""Reset against a real Vault and a real cluster: the state before and after is the same.

One lab is filled with something of every kind, then spoiled in one way after another, by
Vault's API and by kubectl; each time it must come back. A second lab beside it must not
notice. The unit tests (tests/test_reset.py) show the same against Vault and Kubernetes in
memory, and what happens when something goes wrong.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator

import pytest

from harness.lab.access import Access
from harness.lab.context import LabContext
from harness.lab.steps import Lab
from harness.snapshot import restore as reset
from harness.snapshot import take as inventory
from harness.snapshot.model import compare
from harness.snapshot.take import Inventory, Item

pytestmark = pytest.mark.live

P = "lab97"
# design.md section 8, "Budget".
RESET_SECONDS = 3.0

MANIFESTS = """
apiVersion: v1
kind: ServiceAccount
metadata: {{name: app}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: app}}
data: {{a: b}}
---
apiVersion: v1
kind: Secret
metadata: {{name: app}}
stringData: {{password: in-the-cluster}}
---
apiVersion: v1
kind: Secret
metadata:
  name: reviewer
  annotations: {{kubernetes.io/service-account.name: app}}
type: kubernetes.io/service-account-token
---
apiVersion: v1
kind: Service
metadata: {{name: app}}
spec: {{selector: {{app: app}}, ports: [{{port: 80}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: app}}
spec:
  serviceAccountName: app
  containers: [{{name: app, image: "{image}", command: [sleep, infinity]}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers: [{{name: app, image: "{image}", command: [sleep, infinity]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: {lab}-delegator}}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:auth-delegator
subjects: [{{kind: ServiceAccount, name: app, namespace: {lab}}}]
"""


def post(lab: LabContext, path: str, /, **body: object) -> dict[str, object]:
    """Write to Vault; the answer's data."""
    answer = lab.http.request("POST", f"/v1/{path}", json=body)
    return dict(answer.json().get("data") or {}) if answer.content else {}


def delete(lab: LabContext, path: str) -> None:
    lab.http.request("DELETE", f"/v1/{path}")


def fill(lab: LabContext) -> None:
    """Something of every kind, in Vault and in the cluster."""
    name = lab.lab.prefix
    post(lab, f"sys/policies/acl/{name}-app", policy=f'path "{name}-kv/*" {{ capabilities = [] }}')
    for method in ("kubernetes", "jwt", "approle", "userpass"):
        post(lab, f"sys/auth/{name}-{method}", type=method)
    for engine in ("database", "pki", "transit", "ssh"):
        post(lab, f"sys/mounts/{name}-{engine}", type=engine)
    post(lab, f"sys/mounts/{name}-old", type="kv")
    post(lab, f"sys/mounts/{name}-kv", type="kv", options={"version": "2"})
    wait_for_kv2(lab, f"{name}-kv")
    for number in range(3):
        post(lab, f"{name}-kv/data/app", data={"password": f"version-{number}"})
    inventory.take(lab)  # as before every step: now version 2 is known
    post(lab, f"{name}-kv/delete/app", versions=[2])
    post(lab, f"{name}-kv/data/deep/one", data={"a": "b"})
    post(lab, f"{name}-kv/metadata/deep/one", max_versions=2, custom_metadata={"owner": "me"})
    post(lab, f"{name}-old/app", password="old")
    ca = lab.access.vault_ca.read_text(encoding="ascii")
    config = f"auth/{name}-kubernetes/config"
    post(lab, config, kubernetes_host="https://kubernetes.test", kubernetes_ca_cert=ca)
    post(
        lab,
        f"auth/{name}-kubernetes/role/app",
        bound_service_account_names=["app"],
        bound_service_account_namespaces=[name],
        audience="vault",
        token_policies=[f"{name}-app"],
    )
    post(lab, f"auth/{name}-approle/role/app", token_policies=[f"{name}-app"])
    post(lab, f"auth/{name}-userpass/users/ann", password="anns-own", token_ttl="1h")
    post(lab, f"auth/{name}-userpass/login/ann", password="anns-own")
    connection = {
        "plugin_name": "postgresql-database-plugin",
        "connection_url": "postgresql://{{username}}:{{password}}@127.0.0.1:1/none",
        "username": "nobody",
        "password": "nothing",
        "verify_connection": False,
    }
    post(lab, f"{name}-database/config/pg", **connection)
    post(lab, f"{name}-database/roles/app", db_name="pg", creation_statements=["SELECT 1"])
    post(lab, f"{name}-pki/root/generate/internal", common_name="lab", ttl="10h")
    post(lab, f"{name}-pki/roles/app", allow_any_name=True, generate_lease=True, ttl="5m")
    post(lab, f"{name}-pki/issue/app", common_name="a.test")
    post(lab, f"{name}-transit/keys/app")
    post(lab, f"{name}-ssh/config/ca", generate_signing_key=True, key_type="ed25519")
    post(lab, f"{name}-ssh/roles/app", key_type="ca", allow_user_certificates=True)
    lab.kube.apply(MANIFESTS.format(image=lab.image(), lab=name))
    lab.kube.wait_for_pod("app")
    lab.wait_for("the web pods", lambda: len(lab.kube.list("Pod", selector="app=web")) == 2)
    lab.wait_for("the token", lambda: (lab.kube.get("Secret", "reviewer") or {}).get("data"))


def wait_for_kv2(lab: LabContext, mount: str) -> None:
    lab.wait_for(
        "the KV store",
        lambda: lab.http.request("GET", f"/v1/{mount}/config", allow=(400,)).status_code == 200,
    )


# -- ways to spoil it -----------------------------------------------------------------------


def new_version(lab: LabContext) -> None:
    post(lab, f"{P}-kv/data/app", data={"password": "new"})
    for number in range(5):
        post(lab, f"{P}-kv/data/deep/one", data={"number": number})


def destroyed_versions(lab: LabContext) -> None:
    post(lab, f"{P}-kv/destroy/app", versions=[1, 3])
    post(lab, f"{P}-kv/undelete/app", versions=[2])


def deleted_secrets(lab: LabContext) -> None:
    delete(lab, f"{P}-kv/metadata/deep/one")
    delete(lab, f"{P}-old/app")


def secret_settings(lab: LabContext) -> None:
    post(lab, f"{P}-kv/metadata/app", cas_required=True, max_versions=5, custom_metadata={"a": "b"})
    post(lab, f"{P}-kv/config", cas_required=True, max_versions=3)


def unmounted(lab: LabContext) -> None:
    delete(lab, f"sys/mounts/{P}-kv")
    delete(lab, f"sys/mounts/{P}-old")
    delete(lab, f"sys/auth/{P}-kubernetes")


def upgraded_to_version_2(lab: LabContext) -> None:
    post(lab, f"sys/mounts/{P}-old/tune", options={"version": "2"})
    wait_for_kv2(lab, f"{P}-old")


def tuned(lab: LabContext) -> None:
    post(lab, f"sys/mounts/{P}-kv/tune", max_lease_ttl="5m", description="other")
    post(lab, f"sys/auth/{P}-kubernetes/tune", listing_visibility="unauth")


def policies(lab: LabContext) -> None:
    post(lab, f"sys/policies/acl/{P}-app", policy='path "*" { capabilities = ["sudo"] }')
    post(lab, f"sys/policies/acl/{P}-other", policy='path "x" { capabilities = ["read"] }')


def login_roles(lab: LabContext) -> None:
    role = f"auth/{P}-kubernetes/role/app"
    post(lab, role, bound_service_account_names=["*"], token_bound_cidrs=["10.0.0.0/8"])
    post(lab, f"auth/{P}-approle/role/app", token_ttl="1m", role_id="chosen")
    post(lab, f"auth/{P}-userpass/users/ann", token_policies=["default"])


def login_settings(lab: LabContext) -> None:
    ca = lab.access.vault_ca.read_text(encoding="ascii")
    other = {"kubernetes_host": "https://1.2.3.4", "kubernetes_ca_cert": ca}
    post(lab, f"auth/{P}-kubernetes/config", **other)
    post(lab, f"auth/{P}-jwt/role/app", role_type="jwt", bound_audiences="x", user_claim="sub")
    post(lab, f"auth/{P}-jwt/config", jwks_pairs=[], jwt_validation_pubkeys=[public_key()])


def logins(lab: LabContext) -> None:
    post(lab, f"auth/{P}-userpass/login/ann", password="anns-own")
    secret_id = post(lab, f"auth/{P}-approle/role/app/secret-id")["secret_id"]
    role = lab.http.request("GET", f"/v1/auth/{P}-approle/role/app/role-id").json()["data"]
    post(lab, f"auth/{P}-approle/login", role_id=role["role_id"], secret_id=secret_id)
    post(lab, "auth/token/create", policies=[f"{P}-app"], period="1h")


def leases(lab: LabContext) -> None:
    for _ in range(3):
        post(lab, f"{P}-pki/issue/app", common_name="b.test")


def engines(lab: LabContext) -> None:
    post(lab, f"{P}-database/roles/app", db_name="pg", creation_statements=["x"], default_ttl="1m")
    post(lab, f"{P}-database/config/pg", username="somebody", verify_connection=False)
    post(lab, f"{P}-pki/roles/app", allow_any_name=False, allowed_domains="x.test")
    post(lab, f"{P}-pki/root/generate/internal", common_name="second", issuer_name="second")
    post(lab, f"{P}-pki/config/issuers", default="second")
    post(lab, f"{P}-transit/keys/app/config", deletion_allowed=True)
    post(lab, f"{P}-transit/keys/other")
    delete(lab, f"{P}-ssh/roles/app")


def new_things(lab: LabContext) -> None:
    post(lab, f"sys/mounts/{P}-other", type="kv")
    post(lab, f"{P}-other/a", b="c")
    post(lab, f"sys/auth/{P}-other", type="userpass")
    post(lab, f"auth/{P}-other/users/eve", password="eves-own")
    post(lab, f"auth/{P}-other/login/eve", password="eves-own")
    post(lab, "identity/entity", name=f"{P}-entity", policies=[f"{P}-app"])
    post(lab, f"sys/quotas/rate-limit/{P}-limit", rate=100, path=f"{P}-kv/")


def changed_objects(lab: LabContext) -> None:
    for kind, field, value in (
        ("configmap/app", "data", {"a": "changed", "c": "d"}),
        ("secret/app", "stringData", {"password": "changed"}),
        ("service/app", "spec", {"selector": {"app": "other"}}),
        ("pod/app", "spec", {"containers": [{"name": "app", "image": "other"}]}),
        ("deployment/web", "spec", {"replicas": 1}),
    ):
        patch = json.dumps({field: value})
        lab.run(f"kubectl -n {P} patch {kind} --patch '{patch}'")
    lab.run(f"kubectl label namespace {P} pod-security.kubernetes.io/enforce=privileged")


def deleted_objects(lab: LabContext) -> None:
    everything = "configmap/app secret/app secret/reviewer service/app pod/app deployment/web"
    lab.run(f"kubectl -n {P} delete --grace-period=1 {everything} serviceaccount/app")
    lab.run(f"kubectl delete clusterrolebinding {P}-delegator")


def new_objects(lab: LabContext) -> None:
    lab.run(f"kubectl -n {P} create deployment other --image={lab.image()} -- sleep infinity")
    lab.run(f"kubectl -n {P} create job once --image={lab.image()} -- sleep infinity")
    lab.run(f"kubectl -n {P} run more --image={lab.image()} -- sleep infinity")
    lab.run(f"kubectl create clusterrole {P}-reader --verb=get --resource=pods")
    lab.kube.wait_for_pod("more")


def second_namespace(lab: LabContext) -> None:
    lab.run(f"kubectl create namespace {P}-more")
    lab.run(f"kubectl -n {P}-more run more --image={lab.image()} -- sleep infinity")
    lab.kube.wait_for_pod("more", namespace=f"{P}-more")


def public_key() -> str:
    """Some RSA public key, as PEM."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = rsa.generate_private_key(65537, 2048).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


CHANGES = [
    new_version,
    destroyed_versions,
    deleted_secrets,
    secret_settings,
    unmounted,
    upgraded_to_version_2,
    tuned,
    policies,
    login_roles,
    login_settings,
    logins,
    leases,
    engines,
    new_things,
    changed_objects,
    deleted_objects,
    new_objects,
    second_namespace,
]

# -- the tests ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def neighbour(environment: Access) -> Iterator[LabContext]:
    """A second lab in the same environment."""
    yield from _filled(environment, "98")


@pytest.fixture(scope="module")
def lab(environment: Access) -> Iterator[LabContext]:
    """The lab that is spoiled."""
    yield from _filled(environment, "97")


def _filled(environment: Access, number: str) -> Iterator[LabContext]:
    context = LabContext(environment, Lab(number, "Something of everything", 1, "Be reset."))
    reset.wipe(context)
    context.prepare()
    fill(context)
    yield context
    reset.wipe(context)


@pytest.fixture(scope="module")
def before(lab: LabContext) -> Inventory:
    """The state to return to, as it is read from a file."""
    return Inventory.from_json(json.loads(json.dumps(inventory.take(lab).to_json())))


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_it_comes_back(
    lab: LabContext,
    neighbour: LabContext,
    before: Inventory,
    change: Callable[[LabContext], None],
) -> None:
    beside = inventory.take(neighbour)
    change(lab)
    assert changed(before, inventory.take(lab)) != []
    assert reset.restore(lab, before) != []
    assert changed(before, inventory.take(lab)) == []
    assert inventory.difference(beside, inventory.take(neighbour)) == []


def changed(before: Inventory, after: Inventory) -> list[Item]:
    """What differs, every token and lease included: nothing here logs in by itself."""
    found = compare(before, after)
    return [*found.new, *found.gone, *(new for _, new in found.changed)]


def test_secrets_are_the_same_afterwards(lab: LabContext, before: Inventory) -> None:
    new_version(lab)
    changed_objects(lab)
    reset.restore(lab, before)
    read = lab.http.request("GET", f"/v1/{P}-kv/data/app?version=1").json()["data"]["data"]
    assert read == {"password": "version-0"}
    secret = lab.kube.get("Secret", "app")
    assert secret is not None
    assert secret["data"] == {"password": "aW4tdGhlLWNsdXN0ZXI="}


def test_all_of_it_goes_quickly(lab: LabContext, neighbour: LabContext, before: Inventory) -> None:
    beside = inventory.take(neighbour)
    started = time.monotonic()
    reset.wipe(lab)
    seconds = time.monotonic() - started
    nothing = Inventory(before.lab, before.environment)
    assert inventory.difference(nothing, inventory.take(lab)) == []
    assert inventory.difference(beside, inventory.take(neighbour)) == []
    # The budget is that of a machine with nothing else to do.
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert seconds < RESET_SECONDS * busy
