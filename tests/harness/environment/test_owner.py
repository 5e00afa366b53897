"""Two clones on one machine: the second one says whose environment it is, and leaves it alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import NotFound

from harness.base.errors import UsageError
from harness.base.paths import RECORD_FILE
from harness.environment import owner
from harness.environment.environment import Environment
from harness.environment.layout import EnvironmentLayout
from harness.supply.engine import engine


def engine_with(labels: Mapping[str, str] | None) -> Any:
    """An engine that has the network with these labels, or no network."""

    def get(name: str) -> SimpleNamespace:
        if labels is None:
            raise NotFound("no such network")
        assert name == "kube-vault-labs-lab"
        return SimpleNamespace(attrs={"Labels": dict(labels)})

    return SimpleNamespace(networks=SimpleNamespace(get=get), close=lambda: None)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The state folder of an environment that another checkout made."""
    folder = tmp_path / "other" / ".lab" / "lab"
    folder.mkdir(parents=True)
    (folder / RECORD_FILE).write_text("{}", encoding="utf-8")
    return folder


@pytest.mark.parametrize("command", ["up", "down"])
def test_what_another_checkout_made_is_left_alone(
    tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "mine"))
    mine = Environment("lab")
    mine.folder.mkdir(parents=True)
    monkeypatch.setattr(engine, "find", lambda: "an engine")
    monkeypatch.setattr(engine, "client", lambda: engine_with(owner.label(other)))
    with pytest.raises(UsageError, match="belongs to another checkout") as refused:
        mine.down() if command == "down" else mine.up(Any, Any)  # type: ignore[arg-type] # not used
    assert refused.value.where == str(other)
    assert "--env lab-2" in refused.value.hint


def test_what_is_nobodys_or_my_own_is_taken(
    tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "mine"))
    layout = EnvironmentLayout("lab")
    (other / RECORD_FILE).unlink()
    # No network; one of an earlier version; this checkout's; one of a checkout that is gone.
    for labels in (None, {}, owner.label(layout.folder), owner.label(other)):
        owner.require_own(engine_with(labels), layout.network, layout.folder)
