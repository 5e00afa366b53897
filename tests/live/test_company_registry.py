"""A company's registry with TLS and a password: a real one on the loopback, and a real engine."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
import requests

from harness.base.errors import EnvironmentLacks
from harness.supply import choose
from harness.supply.base import Part
from harness.supply.offline.supply import OfflineSupply
from harness.supply.online import oci_charts
from harness.supply.online import supply as online
from harness.supply.online.supply import OnlineSupply
from tests.fakes.progress import Silent
from tests.live import registry as registries
from tests.live.registry import PASSWORD, USER, Registry

PREFIX = "/team/hub"


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The registry, named in every variable, with the login in a docker config of the test's."""
    for name, folder in (("XDG_CACHE_HOME", "cache"), ("LAB_STATE", "state")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.delenv("LAB_DOWNLOADS", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with registries.running(tmp_path / "registry", guarded=True) as found:
        log_in(tmp_path, found.address)
        monkeypatch.setenv("LAB_MIRROR", found.address + PREFIX)
        monkeypatch.setenv("LAB_CHARTS", f"oci://{found.address}/charts")
        monkeypatch.setenv("LAB_CA", str(tmp_path / "registry" / "ca.crt"))
        yield found


def log_in(folder: Path, address: str) -> None:
    """What `docker login` writes."""
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {address: {"auth": pair}}}))


def named(monkeypatch: pytest.MonkeyPatch, *parts: Part) -> None:
    known = {part.name: part for part in parts}
    for module in (online, choose):
        monkeypatch.setattr(module, "find_part", known.__getitem__)


def push_chart(company: Registry, ca: str, archive: bytes) -> str:
    """What `helm push` does; returns the archive's digest."""
    base = f"https://{company.address}/v2/charts/thing"
    digests = []
    with requests.Session() as session:
        session.verify, session.auth = ca, (USER, PASSWORD)
        session.trust_env = False
        for blob in (b"{}", archive):
            digests.append(f"sha256:{hashlib.sha256(blob).hexdigest()}")
            where = session.post(f"{base}/blobs/uploads/").headers["Location"]
            session.put(where, params={"digest": digests[-1]}, data=blob).raise_for_status()
        config = "application/vnd.cncf.helm.config.v1+json"
        kinds = ((config, digests[0], 2), (oci_charts.ARCHIVE, digests[1], len(archive)))
        first, layer = ({"mediaType": k, "digest": d, "size": size} for k, d, size in kinds)
        manifest = {
            "schemaVersion": 2,
            "mediaType": oci_charts.MANIFEST,
            "config": first,
            "layers": [layer],
        }
        session.put(
            f"{base}/manifests/1.2",
            data=json.dumps(manifest),
            headers={"Content-Type": oci_charts.MANIFEST},
        ).raise_for_status()
    return digests[1]


def test_images_and_charts_come_from_a_registry_with_tls_and_a_password(
    docker_client: docker.DockerClient,
    company: Registry,
    tiny_image: Callable[..., str],
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream, archive = f"{namespace}/tiny:1", os.urandom(50_000)
    made = tiny_image("a")
    company.put(upstream, made, PREFIX)
    docker_client.images.remove(made)
    digest = push_chart(company, str(tmp_path / "registry" / "ca.crt"), archive)
    source = {"chart": "thing", "repository": "https://charts.example", "digest": digest}
    named(
        monkeypatch,
        Part("tiny", "1", "image", "none", "a test", online={"image": upstream}),
        Part("thing-chart", "1.2", "chart", "none", "a test", online=source),
    )
    monkeypatch.setattr(OfflineSupply, "cached", lambda *_: False)
    parts = ["tiny", "thing-chart"]

    supply = choose.choose("auto", parts, Silent())
    assert isinstance(supply, OnlineSupply)
    assert f"the mirror {company.address}" in supply.why
    provided = supply.provide(parts, Silent())

    assert docker_client.images.get(upstream).id == provided["tiny"].digest
    assert f"{company.address}{PREFIX}/" in provided["tiny"].origin
    chart = provided["thing-chart"]
    assert chart.path is not None
    assert (chart.path.read_bytes(), chart.digest) == (archive, digest)
    assert supply.ready(parts)


def test_without_the_login_both_say_so(
    company: Registry, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    source = {"chart": "thing", "repository": "https://charts.example"}
    named(
        monkeypatch,
        Part("tiny", "1", "image", "none", "a test", online={"image": f"{namespace}/tiny:1"}),
        Part("thing-chart", "1.2", "chart", "none", "a test", online=source),
    )
    for part in ("tiny", "thing-chart"):
        with pytest.raises(EnvironmentLacks, match="a login is needed") as caught:
            OnlineSupply().provide([part], Silent())
        assert f"docker login {company.address}" in caught.value.hint
