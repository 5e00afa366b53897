"""`lab apiserver`: what it hands to the control plane, and what it refuses."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cli import apiserver
from harness.cli import main as cli
from harness.controlplane.settings import Plugin, Settings
from harness.lab.context import LabContext

POLICY = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"
POD = "kind: Pod\nmetadata: {name: vault-kms-plugin}\n"


class Plane:
    """A control plane that keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def set(self, **changes: Any) -> float:
        self.asked.append(("set", changes))
        return 12.4

    def apply(self, settings: Settings, *, ready: str) -> float:
        self.asked.append(("apply", (settings, ready)))
        return 3.0

    def restart(self, *, ready: str) -> float:
        self.asked.append(("restart", ready))
        return 3.0

    def write_encryption(self, source: str) -> None:
        self.asked.append(("write", source))


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> Plane:
    made = Plane()
    monkeypatch.setattr(apiserver, "environment", lambda _: SimpleNamespace(access=lambda: None))
    monkeypatch.setattr(apiserver, "lab_at_work", lambda *_: None)
    monkeypatch.setattr(LabContext, "__init__", lambda *_: None)
    monkeypatch.setattr(LabContext, "control_plane", made)
    return made


def test_a_policy_by_standard_input(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(POLICY))
    assert cli.main(["apiserver", "--audit", "-"]) == 0
    assert plane.asked == [("set", {"audit": POLICY, "ready": "/readyz"})]
    assert capsys.readouterr().out == "the API server is ready again after 12 seconds\n"


def test_a_plugin_with_its_files_and_a_configuration(plane: Plane, tmp_path: Path) -> None:
    pod, configuration, files = tmp_path / "pod.yaml", tmp_path / "enc.yaml", tmp_path / "kms"
    pod.write_text(POD)
    configuration.write_text("kind: EncryptionConfiguration\n")
    files.mkdir()
    (files / "role_id").write_text("r")
    words = ["--encryption", str(configuration), "--no-reload", "--not-ready"]
    words += ["--kms-pod", str(pod), "--kms-files", str(files)]
    assert cli.main(["apiserver", *words]) == 0
    ((_, changes),) = plane.asked
    assert changes["plugin"] == Plugin(
        {"kind": "Pod", "metadata": {"name": "vault-kms-plugin"}}, {"role_id": "r"}
    )
    assert changes["reload"] is False
    assert changes["ready"] == "/livez"
    assert changes["encryption"].startswith("kind: EncryptionConfiguration")


def test_the_file_alone_plain_settings_and_a_restart(plane: Plane, tmp_path: Path) -> None:
    file = tmp_path / "enc.yaml"
    file.write_text("kind: EncryptionConfiguration\n")
    assert cli.main(["apiserver", "--encryption", str(file), "--keep-running"]) == 0
    assert cli.main(["apiserver", "--plain"]) == 0
    assert cli.main(["apiserver", "--not-ready"]) == 0
    assert plane.asked == [
        ("write", "kind: EncryptionConfiguration\n"),
        ("apply", (Settings(), "/readyz")),
        ("restart", "/livez"),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--keep-running"], "which file?"),
        (["--audit", "no/such/file"], "no/such/file cannot be read"),
        (["--kms-pod", "list.yaml"], "list.yaml holds no object"),
        (["--kms-pod", "bad.yaml"], "bad.yaml is no YAML"),
    ],
)
def test_what_cannot_be_read_is_refused(
    plane: Plane,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.yaml").write_text("- a\n")
    (tmp_path / "bad.yaml").write_text("a: [\n")
    assert cli.main(["apiserver", *words]) == 2
    assert said in capsys.readouterr().err
    assert plane.asked == []
