"""The offline supply: from parts to recipes to what is there, and hosts that cannot build."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.progress import Timings
from harness.supply import images
from harness.supply.base import Part, all_parts
from harness.supply.kubernetes import releases
from harness.supply.offline import supply as offline
from harness.supply.offline.cache import Cache
from harness.supply.offline.recipe import Job, Recipe
from harness.supply.offline.recipes import NAMES, all_recipes
from harness.supply.offline.supply import OfflineSupply
from tests.fakes.progress import Silent


class Toy(Recipe):
    """A recipe that counts its builds."""

    def __init__(self, name: str, needs: tuple[str, ...] = (), file: str = "bin/tool") -> None:
        self.name = name
        self.needs = needs
        self.file = file
        self.input = "1"
        self.builds = 0

    def inputs(self) -> Iterable[str]:
        return [self.input]

    def build(self, job: Job) -> None:
        self.builds += 1
        (job.out / self.file).parent.mkdir(parents=True, exist_ok=True)
        (job.out / self.file).write_text(self.name, encoding="utf-8")


def part(name: str, recipe: str, kind: str = "binary") -> Part:
    given: Mapping[str, object] = {"recipe": recipe} | (
        {"file": "bin/tool"} if kind == "binary" else {}
    )
    return Part(name, "1.0", kind, "MIT", "a toy", offline=given)


class World:
    """A supply over toy recipes, parts and an engine that is a dictionary."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.recipes = {
            "base": Toy("base"),
            "compiler": Toy("compiler"),
            "image": Toy("image", ("base", "compiler"), "rootfs.tar"),
        }
        self.parts = {
            "tool": part("tool", "compiler"),
            "box": part("box", "image", "image"),
            "elsewhere": Part("elsewhere", "1", "binary", "MIT", "online only"),
        }
        self.engine: dict[str, str] = {}
        self.progress = Silent(Timings(folder / "timings.json"))
        self.supply = OfflineSupply(self.recipes, Cache(folder / "cache"))
        monkeypatch.setattr(offline, "find_part", self.parts.__getitem__)
        monkeypatch.setattr(offline, "cannot_build", lambda: "")
        monkeypatch.setattr(images, "ensure", self._ensure)
        monkeypatch.setattr(images, "present", self._present)

    def _ensure(self, entry: Path, reference: str) -> str:
        self.engine[reference] = entry.name
        return "sha256:image"

    def _present(self, entry: Path, reference: str) -> bool:
        return self.engine.get(reference) == entry.name

    @property
    def builds(self) -> dict[str, int]:
        return {name: recipe.builds for name, recipe in self.recipes.items()}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_a_program_is_handed_over_by_path_with_its_sum(world: World) -> None:
    given = world.supply.provide(["tool"], world.progress)["tool"]
    assert given.path is not None
    assert given.path.read_text("utf-8") == "compiler"
    assert given.image == ""
    assert given.digest.startswith("sha256:")
    assert "built on this machine" in given.origin
    assert world.builds == {"base": 0, "compiler": 1, "image": 0}


def test_an_image_is_loaded_under_the_projects_name(world: World) -> None:
    given = world.supply.provide(["box"], world.progress)["box"]
    assert given.image == "kube-vault-labs/box:1.0"
    assert given.path is None
    assert list(world.engine) == ["kube-vault-labs/box:1.0"]
    assert world.builds == {"base": 1, "compiler": 1, "image": 1}


def test_a_second_call_builds_nothing(world: World) -> None:
    assert not world.supply.ready(["box", "tool"])
    world.supply.provide(["box", "tool"], world.progress)
    assert world.supply.ready(["box", "tool"])
    world.supply.provide(["box", "tool"], world.progress)
    assert set(world.builds.values()) == {1}


def test_a_changed_input_rebuilds_what_stands_on_it_and_nothing_else(world: World) -> None:
    world.supply.provide(["box"], world.progress)
    world.recipes["base"].input = "2"
    assert not world.supply.ready(["box"])
    world.supply.provide(["box"], world.progress)
    assert world.builds == {"base": 2, "compiler": 1, "image": 2}


def test_an_ingredient_that_is_gone_is_not_missed_while_its_user_is_there(world: World) -> None:
    world.supply.provide(["box"], world.progress)
    keys = world.supply.keys(world.recipes.values())
    entry = world.supply.cache.entry("base", keys["base"])
    (entry / "bin" / "tool").unlink()
    assert world.supply.ready(["box"])


def test_an_image_that_the_engine_lost_is_loaded_again(world: World) -> None:
    world.supply.provide(["box"], world.progress)
    world.engine.clear()
    assert not world.supply.ready(["box"])
    world.supply.provide(["box"], world.progress)
    assert world.engine
    assert world.builds["image"] == 1


def test_a_host_that_cannot_build_gets_two_other_ways(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline, "cannot_build", lambda: "it needs Debian or Ubuntu, this is macOS")
    with pytest.raises(EnvironmentLacks, match="this is macOS") as caught:
        world.supply.provide(["tool"], world.progress)
    assert "--supply online" in caught.value.hint
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_what_is_built_is_used_on_a_host_that_cannot_build(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.supply.provide(["tool"], world.progress)
    monkeypatch.setattr(offline, "cannot_build", lambda: "it needs root")
    assert world.supply.provide(["tool"], world.progress)["tool"].path


def test_too_little_room_is_said_with_numbers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 2 * 2**30

    monkeypatch.setattr("harness.supply.offline.supply.shutil.disk_usage", lambda path: Usage)
    with pytest.raises(EnvironmentLacks, match=r"about 12 GiB, 2\.0 GiB are free"):
        world.supply.provide(["tool"], world.progress)
    assert world.builds["compiler"] == 0


def test_a_part_without_a_recipe_names_the_other_supply(world: World) -> None:
    assert not world.supply.ready(["elsewhere"])
    with pytest.raises(EnvironmentLacks, match="has no elsewhere"):
        world.supply.provide(["elsewhere"], world.progress)


def test_a_recipe_that_does_not_exist_is_named(world: World) -> None:
    world.parts["tool"] = part("tool", "nothing")
    with pytest.raises(UsageError, match="no recipe 'nothing'"):
        world.supply.provide(["tool"], world.progress)


# -- the real recipes ---------------------------------------------------------------------


def test_every_recipe_is_called_like_its_module() -> None:
    others = [f"{name}-{release}" for release in releases()[1:] for name in ("kubernetes", "node")]
    assert tuple(all_recipes()) == (*NAMES, *others)


def test_needs_name_recipes() -> None:
    known = all_recipes()
    unknown = {need for recipe in known.values() for need in recipe.needs if need not in known}
    assert not unknown


def test_every_part_names_a_recipe_that_exists() -> None:
    named = {entry.offline["recipe"] for entry in all_parts().values() if entry.offline}
    assert named <= set(all_recipes())


def test_every_program_says_which_file_it_is() -> None:
    for entry in all_parts().values():
        if entry.kind == "binary" and entry.offline:
            assert entry.offline["file"].startswith("bin/"), entry.name


def test_real_keys_are_stable_and_different() -> None:
    supply = OfflineSupply()
    keys = supply.keys(all_recipes().values())
    assert keys == supply.keys(all_recipes().values())
    assert len(set(keys.values())) == len(keys)
