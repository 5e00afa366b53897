"""The control plane of a real cluster: restarted ten times, broken in several ways, repaired.

What happens to values and keys is shown in memory (tests/test_controlplane_keys.py); here that
kubelet, etcd and API server behave as those tests take them to.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from harness.base.errors import LabError
from harness.base.wait import wait_for
from harness.clients.kube import Kube
from harness.controlplane.apiserver import MANIFEST
from harness.controlplane.change import ControlPlane, Settings
from harness.controlplane.encryption import migrate_to, restore_readability, survey, writer_of
from harness.environment.environment import Environment
from harness.lab.access import Access
from harness.supply.engine import engine

pytestmark = pytest.mark.live

NAMESPACE = "control-plane-test"
SECRET = f"/registry/secrets/{NAMESPACE}/app"
PATH = f"/api/v1/namespaces/{NAMESPACE}/secrets"
POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "None"}]}
IDENTITY: dict[str, Any] = {"identity": {}}
# A goal and a limit: the machine may be busy.
RESTART_SECONDS, BUSY = 10.0, 3


def cipher(kind: str, name: str, letter: str = "") -> dict[str, Any]:
    """A provider with one key, for this test only."""
    secret = base64.b64encode((letter or name[0]).encode() * 32).decode()
    return {kind: {"keys": [{"name": name, "secret": secret}]}}


def encryption(*providers: dict[str, Any]) -> dict[str, Any]:
    """An EncryptionConfiguration for Secrets."""
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": list(providers)}],
    }


@pytest.fixture(scope="module")
def kube(environment: Access) -> Iterator[Kube]:
    """A namespace of this test's own, with a Secret `app`."""
    kube = Kube(environment.kubeconfig, NAMESPACE)
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    yield kube
    kube.delete("Namespace", NAMESPACE)


@pytest.fixture
def plane(environment: Access, kube: Kube) -> Iterator[ControlPlane]:
    """The control plane, with plain settings before and after."""
    found = ControlPlane(
        f"{environment.cluster}-control-plane",
        environment.kubeconfig,
        environment.state / "control-plane",
    )
    migrate_to(found, Settings())
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "app"},
            "stringData": {"password": "known-to-this-test"},
        }
    )
    yield found
    migrate_to(found, Settings(), discardable_namespaces=[NAMESPACE])
    assert set(survey(found, "/registry/secrets/").values()) == {""}


def pods_not_running(kube: Kube) -> list[str]:
    """The containers of kube-system that wait for their next try."""
    return [
        f"{pod['metadata']['name']}: {entry['state']}"
        for pod in kube.list("Pod", "kube-system")
        for entry in pod["status"].get("containerStatuses") or []
        if "waiting" in entry["state"]
    ]


def test_ten_restarts_in_a_row_leave_a_cluster_that_works(
    plane: ControlPlane, kube: Kube, environment: Access
) -> None:
    plain = plane.node.read(MANIFEST)[MANIFEST]
    seen = {tuple(plane.node.processes())}
    took = []
    for number in range(10):
        took.append(plane.set(audit=POLICY if number % 2 == 0 else None))
        seen.add(tuple(plane.node.processes()))
    print("seconds:", *(f"{seconds:.1f}" for seconds in took))
    assert len(seen) == 11, "each of them is another process"
    assert sorted(took)[5] < RESTART_SECONDS * BUSY
    assert plane.node.read(MANIFEST)[MANIFEST] == plain, "byte for byte"
    wait_for(
        "controller manager and scheduler to run", lambda: not pods_not_running(kube), timeout=30
    )
    # Such a pod needs all of them: API server, scheduler, controller manager, kubelet, DNS.
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "new"},
            "spec": {"ports": [{"port": 80}]},
        }
    )
    app = {
        "name": "app",
        "image": environment.images["app"],
        "imagePullPolicy": "Never",
        "command": ["getent", "hosts", f"new.{NAMESPACE}.svc"],
    }
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "after"},
            "spec": {"containers": [app], "restartPolicy": "Never"},
        }
    )
    kube.wait_for_pod("after", "Succeeded", timeout=40)
    nodes = kube.list("Node")
    ready = [c["status"] for c in nodes[0]["status"]["conditions"] if c["type"] == "Ready"]
    assert ready == ["True"]


def test_a_configuration_with_a_mistake_is_taken_back(plane: ControlPlane) -> None:
    bad = {"aescbc": {"keys": [{"name": "short", "secret": "c2hvcnQ="}]}}
    with pytest.raises(LabError) as caught:
        plane.set(encryption(bad, IDENTITY))
    assert "secret is not of the expected length, got 5" in str(caught.value)
    assert "the settings before it were put back" in str(caught.value)
    assert plane.health()[0] == 200
    assert plane.current().plain


@pytest.mark.parametrize("how", ["gone", "with a flag that does not exist", "no YAML"])
def test_a_manifest_that_somebody_broke_is_repaired(plane: ControlPlane, how: str) -> None:
    plane.set(audit=POLICY)
    good = plane.node.read(MANIFEST)[MANIFEST]
    if how == "gone":
        plane.node.remove(MANIFEST)
    else:
        flag = good.replace("--secure-port=6443", "--no-such-flag=1")
        plane.node.write(MANIFEST, "no yaml: [" if how == "no YAML" else flag)
    plane.node.run("pkill -KILL -x kube-apiserver")
    wait_for("the API server to be down", lambda: not plane.server.answers(), timeout=30)
    assert "put the last good settings" in plane.repair()
    assert plane.current().audit == POLICY
    assert plane.health()[0] == 200


def test_keys_that_were_dropped_are_given_back(plane: ControlPlane) -> None:
    one, two = cipher("aescbc", "one"), cipher("secretbox", "two")
    plane.set(encryption(one, IDENTITY))
    status, found = plane.call("GET", f"{PATH}/app")
    assert plane.call("PUT", f"{PATH}/app", found)[0] == 200
    assert writer_of(plane.raw(SECRET)) == "aescbc:v1:one"
    plane.set(encryption(two, IDENTITY), ready="/livez")
    status, found = plane.call("GET", f"{PATH}/app")
    assert status == 500
    assert "no matching prefix" in found["message"]
    assert "gave the API server the keys" in restore_readability(plane)
    assert plane.call("GET", f"{PATH}/app")[0] == 200
    # It serves before its health says so: that looks at all Secrets, and takes a moment.
    wait_for("the API server to be well", lambda: plane.health()[0] == 200, timeout=60)


def test_a_value_whose_key_is_lost_is_told_or_deleted(plane: ControlPlane) -> None:
    plane.set(encryption(cipher("aescbc", "lost"), IDENTITY))
    _, found = plane.call("GET", f"{PATH}/app")
    plane.call("PUT", f"{PATH}/app", found)
    plane.set(encryption(cipher("aescbc", "lost", "x"), IDENTITY), ready="/livez")
    plane.memory.forget()
    with pytest.raises(LabError, match=SECRET):
        migrate_to(plane, Settings())
    migrate_to(plane, Settings(), discardable_namespaces=[NAMESPACE])
    assert plane.call("GET", f"{PATH}/app")[0] == 404
    assert plane.call("GET", "/api/v1/secrets")[0] == 200


def test_a_node_that_restarts_keeps_its_settings(plane: ControlPlane, environment: Access) -> None:
    plane.set(encryption(cipher("aescbc", "one"), IDENTITY), audit=POLICY)
    _, found = plane.call("GET", f"{PATH}/app")
    assert plane.call("PUT", f"{PATH}/app", found)[0] == 200
    settings = plane.current()
    client = engine.client()
    client.containers.get(plane.node.name).restart(timeout=30)
    client.close()
    assert restore_readability(plane) == "", "it was waited for, and nothing had to be repaired"
    Environment(environment.name).cluster.wait_ready()
    assert plane.current() == settings
    assert writer_of(plane.raw(SECRET)) == "aescbc:v1:one"
    assert plane.call("GET", f"{PATH}/app")[0] == 200
