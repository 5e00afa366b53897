"""A cluster that is brought along: which one it is, what is refused, what of it is removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from kubernetes import client as api

from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.labels import CLUSTER_PREFIX, KIND_LABEL, labels_of, network_of
from harness.environment import brought
from harness.environment.bringup import BringUp, Options
from harness.environment.brought import Brought
from harness.environment.environment import Environment
from harness.environment.layout import EnvironmentLayout
from harness.environment.record import EnvironmentRecord
from tests.fakes.progress import Silent

Found = Callable[[str], list[dict[str, Any]]]


def node(cluster: str, role: str, number: str = "", port: str = "") -> Any:
    published = {"6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]} if port else {}
    return SimpleNamespace(
        name=f"{cluster}-{role}{number}",
        labels={KIND_LABEL: cluster, brought.ROLE_LABEL: role},
        attrs={"NetworkSettings": {"Ports": published, "Networks": {"kind": {}}}},
    )


NODES = [
    node("other", "control-plane", port="1"),
    node("team", "external-load-balancer", port="4711"),
    node("team", "control-plane"),
    node("team", "worker"),
    node("team", "worker", "2"),
]


class FakeKube:
    """The API of the cluster: what it lists, and whether its user may do everything."""

    objects: dict[str, list[dict[str, Any]]]

    def __init__(self, kubeconfig: Path) -> None:
        self.api = kubeconfig

    def list(self, kind: str, **_: Any) -> list[dict[str, Any]]:
        return self.objects.get(kind, [])

    def get(self, kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        return next((o for o in self.list(kind) if o["metadata"]["name"] == name), None)


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kubeconfig of a kind cluster that the engine has, empty and for its administrator."""
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))
    containers = SimpleNamespace(list=lambda filters: NODES)
    engine = SimpleNamespace(containers=containers, close=lambda: None)
    monkeypatch.setattr("harness.environment.brought.engine.client", lambda: engine)
    monkeypatch.setattr(FakeKube, "objects", {}, raising=False)
    monkeypatch.setattr(brought, "Kube", FakeKube)
    allow(monkeypatch, True)
    file = tmp_path / "config"
    file.write_text(
        yaml.safe_dump(
            {
                "current-context": "team",
                "contexts": [{"name": "team", "context": {"cluster": "team", "user": "me"}}],
                "clusters": [{"name": "team", "cluster": {"server": "https://127.0.0.1:4711"}}],
                "users": [{"name": "me", "user": {"token": "x"}}],
            }
        )
    )
    return file


def allow(monkeypatch: pytest.MonkeyPatch, answer: bool | Exception) -> None:
    def review(self: Any, body: Any, **_: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(status=SimpleNamespace(allowed=answer))

    name = "create_self_subject_access_review"
    monkeypatch.setattr(
        api, "AuthorizationV1Api", type("Api", (), {"__init__": init, name: review})
    )


def init(self: Any, client: Any) -> None:
    """Takes the client as the generated class does."""


def named(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}}


def test_the_cluster_is_found_by_its_port_with_all_its_nodes(team: Path, tmp_path: Path) -> None:
    before = team.read_bytes()
    found = brought.adopt(team, tmp_path / "state" / "toy", "toy", ("csi",))
    assert found == Brought("team", "kind", ("team-control-plane", "team-worker", "team-worker2"))
    layout = EnvironmentLayout("toy")
    assert layout.brought == found
    assert (layout.network, layout.cluster.name) == ("kind", "team")
    assert [images.node for images in layout.cluster.images()] == list(found.nodes)
    assert layout.cluster.kubeconfig.stat().st_mode & 0o077 == 0
    assert team.read_bytes() == before


def test_an_environment_without_it_has_its_own_cluster(team: Path) -> None:
    layout = EnvironmentLayout("toy")
    assert layout.brought is None
    assert (layout.network, layout.cluster.name) == (network_of("toy"), f"{CLUSTER_PREFIX}toy")


def test_a_cluster_that_is_elsewhere_is_refused(team: Path, tmp_path: Path) -> None:
    team.write_text(team.read_text().replace("127.0.0.1:4711", "10.0.0.1:4711"))
    with pytest.raises(UsageError, match="no kind cluster that runs on this machine's engine"):
        brought.adopt(team, tmp_path / "toy", "toy", ())
    assert not (tmp_path / "toy").exists()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (False, "may not do everything"),
        (api.ApiException(status=401, reason="Unauthorized"), "refuses this kubeconfig: Unauth"),
        (OSError("connection refused"), "does not answer"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_refused_and_nothing_is_kept(
    team: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: bool | Exception,
    sentence: str,
) -> None:
    allow(monkeypatch, answer)
    with pytest.raises(UsageError, match=sentence):
        brought.adopt(team, tmp_path / "toy", "toy", ())
    assert list((tmp_path / "toy").iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "theirs", "complaint"),
    [
        ("Namespace", named("vault"), "namespace vault"),
        ("Namespace", named("lab03"), "namespace lab03"),
        ("CSIDriver", named("secrets-store.csi.k8s.io"), "CSIDriver secrets-store.csi.k8s.io"),
    ],
)
def test_what_is_there_and_not_ours_is_never_taken_over(
    team: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    theirs: dict[str, Any],
    complaint: str,
) -> None:
    monkeypatch.setattr(FakeKube, "objects", {kind: [theirs, named("laboratory")]})
    with pytest.raises(UsageError, match=f"would take for theirs: {complaint}\n"):
        brought.adopt(team, tmp_path / "toy", "toy", ("csi",))
    ours = named(theirs["metadata"]["name"], labels=labels_of("toy"))
    monkeypatch.setattr(FakeKube, "objects", {kind: [ours]})
    assert brought.adopt(team, tmp_path / "toy", "toy", ("csi",)).cluster == "team"


def test_what_a_release_of_ours_has_made_is_ours(
    team: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = {
        "meta.helm.sh/release-name": "driver",
        "meta.helm.sh/release-namespace": "kube-system",
    }
    driver = named("secrets-store.csi.k8s.io", annotations=notes)
    monkeypatch.setattr(FakeKube, "objects", {"CSIDriver": [driver]})
    with pytest.raises(UsageError, match="CSIDriver"):
        brought.adopt(team, tmp_path / "toy", "toy", ("csi",))
    kept = named("sh.helm.release.v1.driver.v1", namespace="kube-system", labels={"name": "driver"})
    monkeypatch.setattr(FakeKube, "objects", {"CSIDriver": [driver], "Secret": [kept]})
    assert brought.adopt(team, tmp_path / "toy", "toy", ("csi",)).cluster == "team"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"needs": ("postgres", "control-plane")}, "labs 00 and 06"),
        ({"kubernetes": "1.37"}, "has its Kubernetes already"),
    ],
)
def test_what_such_a_cluster_cannot_do_is_said_before_anything_starts(
    team: Path, options: dict[str, Any], sentence: str
) -> None:
    up = BringUp(EnvironmentLayout("toy"), Options(kubeconfig=team, **options), Silent())
    with pytest.raises(UsageError, match=sentence):
        up.run()
    assert EnvironmentLayout("toy").record is None


def test_an_environment_keeps_the_kind_of_cluster_that_it_has(team: Path, tmp_path: Path) -> None:
    layout = EnvironmentLayout("toy")
    EnvironmentRecord("vault", 1, "auto").write(layout.folder)
    up = BringUp(layout, Options(kubeconfig=team), Silent())
    with pytest.raises(UsageError, match="has a cluster of its own"):
        up.run()
    Brought("first", "kind", ("first-control-plane",)).write(layout.folder)
    with pytest.raises(UsageError, match="uses the cluster first, not team"):
        brought.adopt(team, layout.folder, "toy", ())


def test_the_engine_of_such_a_cluster_is_not_started(team: Path) -> None:
    up = BringUp(EnvironmentLayout("toy"), Options(kubeconfig=team), Silent(), None)
    with pytest.raises(EnvironmentLacks, match="no container engine answers"):
        up.run()


def test_down_leaves_the_cluster_and_its_network(
    team: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = EnvironmentLayout("toy")
    brought.adopt(team, layout.folder, "toy", ())
    commands: list[str] = []
    kept = named("sh.helm.release.v1.driver.v1", namespace="csi", labels={"name": "driver"})
    monkeypatch.setattr(FakeKube, "objects", {"Secret": [kept]})

    def run(argv: Sequence[str | Path], **_: Any) -> str:
        commands.append(" ".join(map(str, argv[1:])))
        if "api-resources" in argv:
            return "pods\nsecrets\na warning\nmutatingwebhookconfigurations.admissionregistration\n"
        return 'namespace "vault" deleted\npod "a" deleted\n'

    monkeypatch.setattr("harness.environment.brought.process.run", run)
    environment = Environment("toy")
    monkeypatch.setattr("harness.environment.environment.engine.find", lambda: True)
    volumes = SimpleNamespace(list=lambda filters: [])
    containers = SimpleNamespace(list=lambda all=False, filters=None: [])
    # It has no networks: to ask for one would be an error.
    engine = SimpleNamespace(containers=containers, volumes=volumes, close=lambda: None)
    monkeypatch.setattr("harness.environment.environment.engine.client", lambda: engine)
    monkeypatch.setattr(Environment, "_require_own", lambda self: None)
    removed = environment.down()
    assert removed == ["2 objects from the cluster team, which stays", "state folder toy"]
    assert commands[0].startswith("uninstall driver --namespace csi")
    assert "delete mutatingwebhookconfigurations.admissionregistration,pods,secrets " in commands[2]
    assert "--selector kube-vault-labs/environment=toy " in commands[2]
    assert not layout.folder.exists()
