"""What is expected inside a node: the list, and the look at an image, at a node, at the sources."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.base import process
from harness.base.errors import LabError
from harness.base.paths import CHECKOUT
from harness.controlplane import contract
from harness.controlplane.contract import CONTROL_PLANE, IMAGE, RUNNING, Expectation

EVERY = (*IMAGE, *CONTROL_PLANE, *RUNNING)
# What the harness itself makes on a node, under folders that are there.
OURS = ("/etc/kubernetes/lab", "/etc/kms", "/run/kms", "/var/log/kubernetes-audit")
ON_A_NODE = re.compile(r"/(?:etc/kubernetes|etc/kms|var/lib/(?:kubelet|etcd)|var/log|kind)[\w./-]*")


def shell(script: str) -> str:
    """What a script of the contract prints on this machine, in place of a node."""
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=30, check=True
    ).stdout


def observed(
    monkeypatch: pytest.MonkeyPatch, *expected: Expectation
) -> dict[str, tuple[bool, str]]:
    """These expectations, looked for on this machine as if it were a node that runs."""

    def in_container(name: str, command: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, 0, shell(command[-1]).encode(), b"")

    monkeypatch.setattr(process, "in_container", in_container)
    monkeypatch.setattr(contract, "IMAGE", expected)
    monkeypatch.setattr(contract, "CONTROL_PLANE", ())
    monkeypatch.setattr(contract, "RUNNING", ())
    return {one.expected.name: (one.met, one.seen) for one in contract.inspect_node("node")}


def test_what_is_there_is_met_and_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("x", encoding="utf-8")
    found = observed(
        monkeypatch,
        contract._program("bash", ""),
        contract._program("no-such-program", ""),
        contract._file(str(there), ""),
        contract._file(f"{there}.not", ""),
        contract._folder(str(tmp_path), ""),
    )
    assert found["bash"][0]
    assert found["bash"][1].endswith("/bash")
    assert [name for name, (met, _) in found.items() if not met] == [
        "no-such-program",
        f"{there}.not",
    ]


def test_a_look_that_breaks_off_meets_nothing_more() -> None:
    one, other = contract._program("bash", ""), contract._program("curl", "")
    output = f"{contract._MARK} 0 yes /bin/bash\n"
    assert [found.met for found in contract._observations((one, other), output)] == [True, False]


def test_lines_of_kubeadm_are_no_answers() -> None:
    one = contract._program("bash", "")
    output = f"[certs] Generating\n{contract._MARK} 0 yes /bin/bash -x\n"
    assert [found.seen for found in contract._observations((one,), output)] == ["/bin/bash -x"]


def test_an_image_of_which_no_container_can_be_made_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(words: Sequence[str], **_: object) -> str:
        assert "no/such:image" in words
        raise process.CommandFailed("docker run ended", status=125, output="pull access denied")

    monkeypatch.setattr(process, "run", run)
    with pytest.raises(LabError, match=r"no/such:image.*pull access denied"):
        contract.inspect_image("no/such:image")


def test_every_expectation_is_one_line_of_bash_with_a_reason() -> None:
    for one in EVERY:
        assert one.why, one
        assert "\n" not in one.check
        subprocess.run(["bash", "-n", "-c", one.check], timeout=10, check=True)
    names = [(one.kind, one.name) for one in (*IMAGE, *CONTROL_PLANE)]
    assert len(set(names)) == len(names)


def test_the_script_that_prepares_an_image_is_bash() -> None:
    script = contract._script((*IMAGE, *CONTROL_PLANE), contract._PREPARE)
    subprocess.run(["bash", "-n", "-c", script], timeout=10, check=True)


def sources() -> Iterator[tuple[Path, str]]:
    for folder in ("harness", "labs"):
        for file in sorted((CHECKOUT / folder).rglob("*.py")):
            if "supply" not in file.parts and file.name != "contract.py":
                yield file, file.read_text(encoding="utf-8")


def test_paths_of_a_node_in_the_sources_are_in_the_list() -> None:
    listed = {one.name for one in EVERY if one.kind in ("file", "folder")}
    listed |= {contract.MANIFESTS, contract.PKI, contract.POD_LOGS}
    unknown = {
        (str(file.relative_to(CHECKOUT)), path)
        for file, text in sources()
        for path in ON_A_NODE.findall(text)
        if not path.startswith(tuple(listed)) and not path.startswith(OURS)
        if not any(name.startswith(path.rstrip("/")) for name in listed)
    }
    assert not unknown
