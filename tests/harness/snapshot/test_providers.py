"""The places of a snapshot: a lab asks for the control plane; a kind that fails is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import LabError
from harness.clients.kube import KubeRefused
from harness.controlplane.settings import Settings
from harness.lab.context import LabContext
from harness.snapshot import restore as reset
from harness.snapshot import take as inventory
from harness.snapshot.take import Inventory
from tests.fakes.control_plane import FakePlane, plane, provider
from tests.fakes.lab import World, make_world

__all__ = ["plane"]

THINGS = "/apis/example.test/v1/things"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(tmp_path, monkeypatch)


@pytest.fixture
def why(world: World, plane: FakePlane) -> LabContext:
    """A lab that asks for the control plane."""
    context = world.lab("00")
    context.lab.snapshots = ("control_plane",)
    context.__dict__["control_plane"] = plane
    world.cluster.put("Namespace", "lab00")
    return context


def encrypt(plane: FakePlane, *names: str) -> None:
    plane.use(*(provider("aescbc", name) for name in names), provider("identity"))


# -- the control plane ----------------------------------------------------------------------


def test_plain_settings_are_no_item(why: LabContext) -> None:
    assert set(inventory.take(why).items) == {"/api/v1/namespaces/lab00"}


def test_other_settings_are_a_difference_without_a_key_in_it(
    why: LabContext, plane: FakePlane
) -> None:
    before = inventory.take(why)
    encrypt(plane, "one")
    after = inventory.take(why)
    assert inventory.difference(before, after) == ["settings of the API server is new"]
    text = str(after.to_json())
    assert [key for key in _keys(plane) if key in text] == []


def _keys(plane: FakePlane) -> list[str]:
    return [
        key["secret"]
        for entry in (plane.current().encryption or {})["resources"]
        for one in entry["providers"]
        for options in one.values()
        for key in (options or {}).get("keys") or []
    ]


def test_it_returns_to_earlier_settings_and_every_value_stays_readable(
    why: LabContext, plane: FakePlane
) -> None:
    encrypt(plane, "one")
    key = plane.create("app", "elsewhere")
    before = Inventory.from_json(inventory.take(why).to_json())
    settings = plane.current()
    encrypt(plane, "two", "one")
    plane.node.write_object(key, {"metadata": {"name": "app"}})
    assert "returned the API server to its earlier settings" in reset.restore(why, before)
    assert plane.current() == settings
    assert plane.node.unreadable() == []


def test_settings_change_back_before_anything_else_is_looked_at(
    why: LabContext, plane: FakePlane, world: World
) -> None:
    before = inventory.take(why)
    encrypt(plane, "one")
    settings: list[bool] = []
    call = world.cluster.call_api

    def watched(*request: Any, **options: Any) -> Any:
        settings.append(plane.current().plain)
        return call(*request, **options)

    world.cluster.call_api = watched  # type: ignore[method-assign] # it only looks on
    reset.restore(why, before)
    assert set(settings) == {True}


def test_a_wipe_leads_to_the_plain_settings_and_forgets_the_keys(
    why: LabContext, plane: FakePlane
) -> None:
    encrypt(plane, "one")
    assert plane.memory.all()
    assert "returned the API server to its plain settings" in reset.wipe(why)
    assert plane.current() == Settings()
    assert plane.memory.all() == []


def test_a_return_to_plain_settings_keeps_the_keys_of_earlier_states(
    why: LabContext, plane: FakePlane
) -> None:
    encrypt(plane, "one")
    first = inventory.take(why)
    plane.apply(Settings())
    second = inventory.take(why)
    encrypt(plane, "two")
    reset.restore(why, second)
    reset.restore(why, first)
    assert "aescbc" in str(plane.current().encryption)


def test_a_sealed_vault_leaves_the_control_plane_alone(
    why: LabContext, plane: FakePlane, world: World
) -> None:
    before = inventory.take(why)
    encrypt(plane, "one")
    starts = len(plane.node.starts)
    world.vault.sealed = True
    with pytest.raises(LabError, match="sealed"):
        reset.restore(why, before)
    assert len(plane.node.starts) == starts


def test_a_lab_that_does_not_ask_leaves_the_control_plane_alone(
    world: World, plane: FakePlane
) -> None:
    context = world.lab("01")
    context.__dict__["control_plane"] = plane
    encrypt(plane, "one")
    assert inventory.take(context).items == {}
    reset.wipe(context)
    assert not plane.current().plain


def test_a_provider_that_does_not_exist_is_named(world: World) -> None:
    context = world.lab()
    context.lab.snapshots = ("control-plane",)
    with pytest.raises(LabError, match="asks for the snapshot of control-plane") as caught:
        inventory.take(context)
    assert "control_plane" in caught.value.hint


# -- kinds that cannot be listed ------------------------------------------------------------


@pytest.fixture
def things(world: World) -> LabContext:
    """A lab with a custom resource."""
    world.cluster.put("Namespace", "lab01")
    world.cluster.put("Thing", "old", "lab01")
    return world.lab()


@pytest.mark.parametrize("status", [500, 503])
def test_a_webhook_that_fails_costs_its_own_kind_only(
    things: LabContext, world: World, status: int
) -> None:
    before = inventory.take(things)
    world.cluster.broken[THINGS] = status
    world.cluster.put("ConfigMap", "new", "lab01")
    after = inventory.take(things)
    assert inventory.difference(before, after) == ["ConfigMap lab01/new is new"]
    assert list(after.unreadable) == [THINGS]


def test_a_reset_says_what_it_left_out(things: LabContext, world: World) -> None:
    before = Inventory.from_json(inventory.take(things).to_json())
    world.cluster.broken[THINGS] = 500
    world.cluster.put("ConfigMap", "new", "lab01")
    done = reset.restore(things, before)
    assert "removed ConfigMap lab01/new" in done
    assert f"left out {THINGS}: conversion webhook failed" in done


def test_what_was_not_known_before_is_not_removed_as_new(things: LabContext, world: World) -> None:
    world.cluster.broken[THINGS] = 500
    before = Inventory.from_json(inventory.take(things).to_json())
    world.cluster.broken.clear()
    assert reset.restore(things, before) == []
    assert ("Thing", "lab01", "old") in world.cluster.objects


def test_a_built_in_kind_that_cannot_be_listed_is_an_error(
    things: LabContext, world: World
) -> None:
    world.cluster.broken["/api/v1/secrets"] = 500
    with pytest.raises(KubeRefused):
        inventory.take(things)
