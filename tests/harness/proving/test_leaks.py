"""The search for secrets finds every form that a file can hold one in."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from harness.base.redact import register
from harness.proving.leaks import KEEPERS, open_to_others, search

VALUE = "canary-in-a-coal-mine"
KEY = "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (f"first\npassword={VALUE}\n".encode(), "file:2: password=‹secret›"),
        (base64.b64encode(VALUE.encode()), "file:1: ‹secret›"),
        (b"\xff\xfe" + VALUE.encode(), "file:1: "),
        (b"token hvs.abcdefghijklmnopqrstuvwx", "file:1: token ‹secret›"),
        (KEY.encode(), "file: spread over several lines"),
    ],
)
def test_a_secret_is_found_and_not_repeated(tmp_path: Path, content: bytes, finding: str) -> None:
    register(VALUE)
    (tmp_path / "file").write_bytes(content)
    (found,) = search(tmp_path)
    assert found.startswith(finding)
    assert VALUE not in found


def test_what_is_clean_exempt_or_a_link_is_not_reported(tmp_path: Path) -> None:
    register(VALUE)
    (tmp_path / "clean").write_text("nothing to see")
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "keys.json").write_text(VALUE)
    (tmp_path / "link").symlink_to(tmp_path / "vault" / "keys.json")
    assert search(tmp_path, KEEPERS) == []
    assert len(search(tmp_path)) == 1


def test_a_keeper_that_others_may_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text("")
    (tmp_path / "kubeconfig").chmod(0o600)
    assert open_to_others(tmp_path) == []
    (tmp_path / "kubeconfig").chmod(0o640)
    assert open_to_others(tmp_path) == ["kubeconfig has mode 640"]
