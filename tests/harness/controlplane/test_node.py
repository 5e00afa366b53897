"""etcd's gateway through a node's own curl: the body arrives, the answer is read once."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from harness.base import process
from harness.base.errors import LabError
from harness.controlplane.node import Node

# What a node has beside curl: no socat, like kindest/node.
PROGRAMS = ("bash", "cat", "printf")
# It keeps its arguments and its input, and answers like etcd with the status in $STATUS.
CURL = """#!/bin/bash
echo "$@" >"$KEPT/arguments"
cat >"$KEPT/body"
[ "$STATUS" != 0 ] || { echo "curl: (7) Failed to connect" >&2; exit 7; }
printf 'HTTP/1.1 %s X\\r\\nContent-Type: application/json\\r\\n\\r\\n{"kvs": []}' "$STATUS"
"""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "curl").write_text(CURL, encoding="ascii")
    (programs / "curl").chmod(0o755)
    for name in PROGRAMS:
        (programs / name).symlink_to(f"/usr/bin/{name}")

    def in_container(
        name: str, command: Sequence[str], variables: Mapping[str, str]
    ) -> subprocess.CompletedProcess[bytes]:
        own = {"PATH": str(programs), "KEPT": str(tmp_path), "STATUS": os.environ["STATUS"]}
        return subprocess.run(
            command, env={**own, **variables}, capture_output=True, timeout=30, check=False
        )

    monkeypatch.setattr(process, "in_container", in_container)
    return Node("a-node")


def test_a_request_goes_by_curl_alone(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATUS", "200")
    assert node.etcd("kv/range", {"key": "YQ=="}) == {"kvs": []}
    assert (tmp_path / "body").read_text("ascii") == '{"key": "YQ=="}'
    arguments = (tmp_path / "arguments").read_text("ascii").split()
    # etcd's server refuses HTTP/1.0, and an ALPN that offers nothing else.
    assert {"--http1.1", "--no-alpn"} <= set(arguments)
    assert arguments[-1] == "https://127.0.0.1:2379/v3/kv/range"


@pytest.mark.parametrize(
    ("status", "said"), [("503", "etcd answered HTTP/1.1 503"), ("0", "Failed to connect")]
)
def test_an_etcd_that_does_not_answer_is_said(
    node: Node, monkeypatch: pytest.MonkeyPatch, status: str, said: str
) -> None:
    monkeypatch.setenv("STATUS", status)
    with pytest.raises(LabError, match=said):
        node.etcd("kv/range", {"key": "YQ=="})
