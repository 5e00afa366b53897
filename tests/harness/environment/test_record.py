"""What `up` writes down: it comes back as it was, and a broken or older file is one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UsageError
from harness.base.paths import RECORD_FILE as FILE
from harness.environment.record import EnvironmentRecord
from harness.supply.base import Provided

RECORD = EnvironmentRecord(
    flavour="openbao",
    vault_port=18200,
    supply="auto",
    needs=("csi", "postgres"),
    kubernetes="1.36",
    why="offline: everything is in the cache",
    provided=(
        Provided("app", "1", "the cache", True, "sha256:1", image="kube-vault-labs/app:1"),
        Provided("kubectl", "1.2", "the cache", True, "sha256:2", path=Path("/bin/kubectl")),
        Provided("standins", "1", "this checkout", False, "sha256:3", image="standins:1"),
    ),
    complete=True,
)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    RECORD.write(tmp_path)
    assert EnvironmentRecord.read(tmp_path) == RECORD
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_before_the_first_up_there_is_none(tmp_path: Path) -> None:
    assert EnvironmentRecord.read(tmp_path) is None


def test_what_an_interrupted_up_wrote_is_read(tmp_path: Path) -> None:
    """An `up` of an earlier version wrote the decisions alone, before it had any part."""
    decided = {"flavour": "vault", "needs": ["csi"], "supply": "auto", "vault_port": 1}
    (tmp_path / FILE).write_text(json.dumps(decided))
    record = EnvironmentRecord.read(tmp_path)
    assert record == EnvironmentRecord("vault", 1, "auto", ("csi",))
    assert not record.complete


def without(name: str) -> Callable[[Any], Any]:
    return lambda stored: {key: value for key, value in stored.items() if key != name}


def with_part(**changes: object) -> Callable[[Any], Any]:
    return lambda stored: {**stored, "provided": [{**stored["provided"][0], **changes}]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("flavour"), "flavour is missing"),
        (without("vault_port"), "vault_port is missing"),
        (lambda stored: {**stored, "vault_port": "18200"}, "vault_port is a str, not a int"),
        (lambda stored: {**stored, "vault_port": True}, "vault_port is a bool, not a int"),
        (lambda stored: {**stored, "complete": 1}, "complete is a int, not a bool"),
        (lambda stored: {**stored, "needs": "csi"}, "needs is a str, not a list"),
        (lambda stored: {**stored, "needs": [["csi"]]}, "needs is not a list of names"),
        (lambda stored: {**stored, "flavour": "etcd"}, "there is no flavour 'etcd'"),
        (lambda stored: {**stored, "provided": ["app"]}, "a str where an object should be"),
        (with_part(upstream="yes"), "upstream is a str, not a bool"),
        (with_part(path=None), "path is a NoneType, not a str"),
    ],
)
def test_a_broken_or_older_file_is_one_sentence_with_the_way_out(
    tmp_path: Path, change: Callable[[Any], Any], said: str
) -> None:
    folder = tmp_path / "workshop"
    RECORD.write(folder)
    (folder / FILE).write_text(json.dumps(change(json.loads((folder / FILE).read_text()))))
    with pytest.raises(UsageError, match=said) as caught:
        EnvironmentRecord.read(folder)
    assert caught.value.where == str(folder / FILE)
    assert "./lab down --env workshop" in caught.value.hint


def test_a_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    RECORD.write(tmp_path)
    (tmp_path / FILE).write_text((tmp_path / FILE).read_text()[:100])
    with pytest.raises(UsageError, match="cannot be read") as caught:
        EnvironmentRecord.read(tmp_path)
    assert caught.value.where == str(tmp_path / FILE)
