"""The offline supply: every part is built on this host from package registries alone.

A part names a recipe, a recipe names what it needs; the cache says which results are
there. What is missing is built (harness.supply.offline.schedule) on a Debian or Ubuntu host by
root; what is there is used anywhere. Parts are upstream's own sources, so `origin` says
what was built and not where it was downloaded.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.progress import Progress
from harness.supply import images
from harness.supply.base import Part, Provided, Supply, find_part
from harness.supply.offline.cache import Cache, key_of, recorded_sum
from harness.supply.offline.recipe import Recipe
from harness.supply.offline.recipes import all_recipes
from harness.supply.offline.schedule import Schedule

# What a cold build of everything takes with Go's caches, and what a partial one may.
COLD_GIB, WARM_GIB = 12.0, 4.0
OTHER_WAYS = (
    "two other ways: ./lab up --supply online, or the cache folder of a machine of this kind that "
    "could build (XDG_CACHE_HOME names where it lies)"
)


class OfflineSupply(Supply):
    """Provides parts from the cache, and builds what the cache lacks."""

    name = "offline"

    def __init__(
        self, recipes: Mapping[str, Recipe] | None = None, cache: Cache | None = None
    ) -> None:
        self._recipes = recipes
        self._cache = cache or Cache()

    @property
    def cache(self) -> Cache:
        """Where the results are."""
        return self._cache

    def ready(self, parts: Iterable[str]) -> bool:
        """Whether the cache has all parts and the engine has those that are images."""
        names = tuple(parts)
        if not self.cached(names):
            return False
        chosen = [find_part(name) for name in names]
        keys = self.keys(self._closure(part.offline["recipe"] for part in chosen))
        return all(
            images.present(self._entry(part, keys), images.name_of(part.name, part.version))
            for part in chosen
            if part.kind == "image"
        )

    def cached(self, parts: Iterable[str]) -> bool:
        """Whether nothing has to be built: at most images go from the cache into the engine."""
        chosen = [find_part(name) for name in parts]
        if any("recipe" not in part.offline for part in chosen):
            return False
        asked = {part.offline["recipe"] for part in chosen}
        recipes = self._closure(asked)
        return not self._missing(recipes, self.keys(recipes), asked)

    def provide(self, parts: Iterable[str], progress: Progress) -> dict[str, Provided]:
        """Build what is missing and hand over all parts (see Supply.provide)."""
        chosen = [find_part(name) for name in parts]
        for part in chosen:
            if "recipe" not in part.offline:
                raise EnvironmentLacks(
                    f"the offline supply has no {part.name}", hint="./lab up --supply online"
                )
        asked = {part.offline["recipe"] for part in chosen}
        recipes = self._closure(asked)
        keys = self.keys(recipes)
        missing = self._missing(recipes, keys, asked)
        if missing:
            self._check_host(missing)
            Schedule(missing, keys, self._cache, progress).run()
        return {part.name: self._provided(part, keys, progress) for part in chosen}

    def entries(self, parts: Iterable[str]) -> dict[str, str]:
        """The key of the cache entry behind each of `parts`, by the name of its recipe."""
        asked = {str(find_part(name).offline["recipe"]) for name in parts}
        keys = self.keys(self._closure(asked))
        return {recipe: keys[recipe] for recipe in keys if recipe in asked}

    def all_entries(self, parts: Iterable[str]) -> dict[str, str]:
        """The same, with the entries that those are made of."""
        return self.keys(self._closure({find_part(name).offline["recipe"] for name in parts}))

    def keys(self, recipes: Iterable[Recipe]) -> dict[str, str]:
        """The cache key of every recipe in `recipes`, which contain all they need."""
        by_name = {recipe.name: recipe for recipe in recipes}
        keys: dict[str, str] = {}

        def find(name: str) -> str:
            if name not in keys:
                recipe = by_name[name]
                keys[name] = key_of(recipe, {need: find(need) for need in recipe.needs})
            return keys[name]

        for name in by_name:
            find(name)
        return keys

    def _closure(self, names: Iterable[str]) -> list[Recipe]:
        """The named recipes and all that they need, in starting order."""
        known = all_recipes() if self._recipes is None else self._recipes
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in known:
                raise UsageError(f"there is no recipe {name!r}", hint=", ".join(known))
            if name not in found:
                found.add(name)
                waiting += known[name].needs
        return [recipe for name, recipe in known.items() if name in found]

    def _missing(
        self, recipes: list[Recipe], keys: Mapping[str, str], asked: set[str]
    ) -> list[Recipe]:
        """What must be built for `asked`: an ingredient counts only if its user is missing."""
        by_name = {recipe.name: recipe for recipe in recipes}
        found: set[str] = set()

        def look(name: str) -> None:
            if name in found or self._cache.damage(name, keys[name]) == "":
                return
            found.add(name)
            for need in by_name[name].needs:
                look(need)

        for name in asked:
            look(name)
        return [recipe for recipe in recipes if recipe.name in found]

    def _check_host(self, missing: list[Recipe]) -> None:
        names = ", ".join(recipe.name for recipe in missing)
        obstacle = cannot_build()
        if obstacle:
            raise EnvironmentLacks(
                f"the offline supply cannot build {names} here: {obstacle}", hint=OTHER_WAYS
            )
        root = self._cache.root
        root.mkdir(parents=True, exist_ok=True)
        cold = not (self._cache.shared / "go" / "build").is_dir()
        needed = COLD_GIB if cold else WARM_GIB
        free = shutil.disk_usage(root).free / 2**30
        if free < needed:
            raise EnvironmentLacks(
                f"building {names} needs about {needed:.0f} GiB, {free:.1f} GiB are free",
                where=str(root),
                hint="make room, or name another place with XDG_CACHE_HOME",
            )

    def _entry(self, part: Part, keys: Mapping[str, str]) -> Path:
        recipe = part.offline["recipe"]
        return self._cache.entry(recipe, keys[recipe])

    def _provided(self, part: Part, keys: Mapping[str, str], progress: Progress) -> Provided:
        entry = self._entry(part, keys)
        with contextlib.suppress(OSError):
            # `lab gc` shows when an entry was last used; a cache may be another user's.
            os.utime(entry)
        origin = f"built on this machine (recipe {part.offline['recipe']}, key {entry.name})"
        image, path = "", None
        if part.kind == "image":
            image = images.name_of(part.name, part.version)
            if not images.present(entry, image):
                progress.start(f"image {part.name}", "loading it into the engine")
                digest = images.ensure(entry, image)
                progress.done(f"image {part.name}", "loaded")
            else:
                digest = images.ensure(entry, image)
        else:
            path = entry / part.offline["file"]
            digest = f"sha256:{recorded_sum(entry, path)}"
        return Provided(
            part=part.name,
            version=part.version,
            origin=origin,
            upstream=bool(part.offline.get("upstream", True)),
            digest=digest,
            image=image,
            path=path,
        )


def cannot_build() -> str:
    """Why this host cannot build, "" when it can."""
    if sys.platform != "linux":
        return f"it needs Debian or Ubuntu, this is {platform.system()}"
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return "it needs Debian or Ubuntu, this is an unknown Linux"
    if not {"debian", "ubuntu"} & {release["ID"], *release.get("ID_LIKE", "").split()}:
        return f"it needs Debian or Ubuntu, this is {release['NAME']}"
    if os.geteuid() != 0:
        return "it needs root, for file systems with foreign owners"
    return ""
