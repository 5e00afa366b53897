"""What an environment promises: idempotent, private, side by side, gone without a trace."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness.base.labels import ENVIRONMENT_LABEL
from harness.base.paths import CHECKOUT, PROJECT
from harness.base.redact import Secret
from harness.base.wait import wait_for
from harness.clients.kube import Kube
from harness.clients.vault import VaultHTTP
from harness.controlplane import contract
from harness.environment.environment import Environment
from harness.environment.record import EnvironmentRecord
from harness.lab.access import Access
from harness.lab.catalog import find_lab
from harness.lab.context import LabContext
from harness.supply import kubernetes
from harness.supply.base import Provided
from harness.supply.engine import engine

pytestmark = pytest.mark.live

UP_SECONDS = 3.0


def containers_of(name: str) -> list[Any]:
    client = engine.client()
    found = client.containers.list(all=True)
    client.close()
    node = Environment(name).cluster.node_name
    return [c for c in found if c.name == node or c.labels.get(ENVIRONMENT_LABEL) == name]


def lab(*words: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    variables = {**os.environ, "XDG_CACHE_HOME": cache}
    if home:
        variables["HOME"] = str(home)
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *words],
        cwd=CHECKOUT,
        env=variables,
        text=True,
        capture_output=True,
        timeout=1200,
        check=False,
    )


def recorded(environment: Access) -> EnvironmentRecord:
    """What `up` wrote down."""
    record = Environment(environment.name).record
    assert record is not None
    return record


def provided(environment: Access, name: str) -> Provided:
    """A part of the environment."""
    return next(part for part in recorded(environment).provided if part.part == name)


def test_the_node_is_ready_and_of_the_recorded_kubernetes(environment: Access) -> None:
    kube = Kube(environment.kubeconfig)
    (node,) = kube.list("Node")
    ready = {c["type"]: c["status"] for c in node["status"]["conditions"]}["Ready"]
    assert ready == "True"
    release = recorded(environment).kubernetes
    part = provided(environment, kubernetes.part_name("node", release))
    assert part.version.startswith(f"{release}.")
    assert node["status"]["nodeInfo"]["kubeletVersion"] == f"v{part.version}"


def test_the_node_has_all_that_is_expected_inside_one(environment: Access) -> None:
    name = Environment(environment.name).cluster.node_name
    observed = contract.inspect_node(name)
    assert [one.expected.name for one in observed if not one.met] == []


def test_the_node_image_has_it_before_it_runs(environment: Access) -> None:
    release = recorded(environment).kubernetes
    image = provided(environment, kubernetes.part_name("node", release)).image
    result = lab("doctor", "--node", image, "-o", "json")
    assert result.returncode == 0, result.stderr
    findings = json.loads(result.stdout)
    assert len(findings) == len((*contract.IMAGE, *contract.CONTROL_PLANE))
    assert {finding["level"] for finding in findings} == {"good"}


def test_another_image_is_found_to_be_no_node(environment: Access) -> None:
    result = lab("doctor", "--node", environment.images["app"], "-o", "json")
    assert result.returncode == 3
    found = {one["what"]: one["level"] for one in json.loads(result.stdout)}
    assert found["program bash"] == found["program curl"] == "good"
    assert found["program kubeadm"] == found["unit kubelet"] == "bad"
    assert found["static pod kube-apiserver"] == "bad"


def test_vault_is_what_it_is_called(environment: Access) -> None:
    program = environment.programs / ("bao" if environment.flavour == "openbao" else "vault")
    told = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout
    version = provided(environment, f"{environment.flavour}-cli").version
    # Online the command for OpenBao is Vault's.
    assert told.startswith((f"Vault v{version}", f"OpenBao v{version}"))


def test_every_published_port_is_on_the_loopback(environment: Access) -> None:
    published = [
        binding["HostIp"]
        for container in containers_of(environment.name)
        for bindings in (container.attrs["NetworkSettings"]["Ports"] or {}).values()
        for binding in bindings or []
    ]
    assert len(published) >= 2
    assert set(published) == {"127.0.0.1"}


def test_the_state_folder_is_for_its_owner_only(environment: Access) -> None:
    assert environment.state.stat().st_mode & 0o077 == 0
    for file in (environment.kubeconfig, environment.state / "vault" / "keys.json"):
        assert file.stat().st_mode & 0o077 == 0


def test_the_audit_log_has_everything_from_the_first_request_on(environment: Access) -> None:
    first = environment.audit_log.read_text(encoding="utf-8").splitlines()[:4]
    # The device records the request that enabled it; OpenBao has it from its configuration.
    assert any("sys/audit" in line or '"path":"sys/' in line for line in first) or first


def test_vault_is_reached_by_its_name_from_a_pod_and_verified(environment: Access) -> None:
    context = LabContext(environment, find_lab("01"))
    http = VaultHTTP(environment.vault_addr, environment.vault_ca, environment.vault_token)
    assert http.get("/v1/sys/health").json()["sealed"] is False
    # A lab may have brought a second Vault, with a Service of its own.
    of_vault = "kubernetes.io/service-name=vault"
    slices = context.kube.list("EndpointSlice", namespace="vault", selector=of_vault)
    addresses = [a for s in slices for e in s["endpoints"] for a in e["addresses"]]
    assert addresses == [Environment(environment.name).vault().ip()]


def test_a_second_up_changes_nothing_and_a_persons_files_stay_untouched(
    environment: Access, tmp_path: Path
) -> None:
    """~/.kube/config and ~/.vault-token of whoever runs it are neither read nor written."""
    kubeconfig, token = tmp_path / ".kube" / "config", tmp_path / ".vault-token"
    kubeconfig.parent.mkdir()
    kubeconfig.write_text("not: [a kubeconfig")
    token.write_text("not-a-token")
    before = {c.id: c.attrs["State"]["StartedAt"] for c in containers_of(environment.name)}
    started = time.monotonic()
    result = lab("up", "--env", environment.name, home=tmp_path)
    seconds = time.monotonic() - started
    assert result.returncode == 0, result.stderr
    assert kubeconfig.read_text() == "not: [a kubeconfig"
    assert token.read_text() == "not-a-token"
    after = {c.id: c.attrs["State"]["StartedAt"] for c in containers_of(environment.name)}
    assert after == before
    lines = lab("env", "--env", environment.name).stdout.splitlines()
    names = {line.removeprefix("export ").partition("=")[0] for line in lines}
    assert {"KUBECONFIG", "VAULT_ADDR", "VAULT_CACERT", "PATH"} <= names
    assert environment.vault_token not in "".join(lines)
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert seconds < UP_SECONDS * busy, f"{seconds:.1f}s at load {os.getloadavg()[0]:.0f}"


def test_a_sealed_or_stopped_vault_is_repaired_by_up(environment: Access) -> None:
    http = VaultHTTP(environment.vault_addr, environment.vault_ca, environment.vault_token)
    http.put("/v1/sys/seal")
    assert http.get("/v1/sys/health", allow={503}).json()["sealed"] is True
    assert lab("up", "--env", environment.name).returncode == 0
    assert http.get("/v1/sys/health").json()["sealed"] is False
    container = Environment(environment.name).vault().container()
    assert container is not None
    container.stop(timeout=5)
    assert "does not run" in lab("check", "01.1", "--env", environment.name).stderr
    assert lab("up", "--env", environment.name).returncode == 0
    assert http.get("/v1/sys/health").json()["sealed"] is False


def test_another_image_of_vault_keeps_what_it_holds(environment: Access) -> None:
    http = VaultHTTP(environment.vault_addr, environment.vault_ca, environment.vault_token)
    server = Environment(environment.name).vault()
    first = server.container()
    assert first is not None
    name = f"{PROJECT}/other-vault:{environment.name}"
    repository, _, tag = name.partition(":")
    http.put("/v1/sys/mounts/kept", json={"type": "kv", "options": {"version": "1"}})
    http.put("/v1/kept/app", json={"color": "orange"})
    other = first.commit(repository, tag, changes="LABEL other=1")
    try:
        done = server.up(name, int(environment.vault_addr.rpartition(":")[2]))
        assert done == "another image on the same data, unsealed"
        second = server.container()
        assert second is not None
        assert second.attrs["Image"] == other.id != first.attrs["Image"]
        assert http.get("/v1/kept/app").json()["data"] == {"color": "orange"}
    finally:
        # Back to the image of the supply, which is another one again.
        repaired = lab("up", "--env", environment.name)
        client = engine.client()
        client.images.remove(str(other.id), force=True)
        client.close()
    assert repaired.returncode == 0, repaired.stderr
    assert "another image on the same data" in repaired.stderr
    assert http.get("/v1/kept/app").json()["data"] == {"color": "orange"}
    assert http.get("/v1/sys/health").json()["sealed"] is False
    http.delete("/v1/sys/mounts/kept")


def test_revoking_the_token_of_a_shell_never_ends_the_environment(environment: Access) -> None:
    exports = lab("env", "--token", "--env", environment.name).stdout
    token = re.findall(r"^export VAULT_TOKEN=(\S+)$", exports, re.MULTILINE)[0]
    assert token != environment.vault_token
    http = VaultHTTP(environment.vault_addr, environment.vault_ca, Secret(token))
    # What the labs' commands need: everything.
    assert http.get("/v1/auth/token/lookup-self").json()["data"]["policies"] == ["root"]
    http.post("/v1/auth/token/revoke-self")
    assert http.get("/v1/auth/token/lookup-self", allow={403}).status_code == 403
    for words in (("env", "--token"), ("up",)):
        assert lab(*words, "--env", environment.name).returncode == 0
        # The same token again: it works in shells that are still open.
        assert http.get("/v1/auth/token/lookup-self").json()["data"]["id"] == token
        http.post("/v1/auth/token/revoke-self")
    assert lab("solve", "01.1", "--env", environment.name).returncode == 0


def test_an_interrupted_step_is_done_again(environment: Access) -> None:
    """Ctrl-C in the middle of a step; the same command undoes the half and does it whole."""
    kube = Kube(environment.kubeconfig, "lab01")
    assert lab("reset", "01", "--env", environment.name).returncode == 0
    words = [sys.executable, "-m", "harness.cli", "solve", "01.1", "--env", environment.name]
    process = subprocess.Popen(words, cwd=CHECKOUT, text=True, stderr=subprocess.PIPE)
    wait_for("the step to have made its pod", lambda: kube.get("Pod", "app"), timeout=90)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    again = lab("solve", "01.1", "--env", environment.name)
    assert again.returncode == 0, again.stderr
    assert lab("check", "01.1", "--env", environment.name).returncode == 0
