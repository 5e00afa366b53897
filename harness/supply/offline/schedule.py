"""Builds what is missing, several recipes at a time, and stops cleanly.

Recipes start in the order they are given as soon as what they need is there. Heavy ones
keep all cores busy: a second one starts only where there is memory for two, at a lower
priority, to fill the gaps that the first one leaves. The first failure and Ctrl-C end all
builds with their programs (harness.base.tasks).
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from harness.base import tasks
from harness.base.errors import EnvironmentLacks, LabError
from harness.base.process import CommandFailed
from harness.base.progress import Progress
from harness.supply.offline import gobuild, host_packages
from harness.supply.offline.cache import Cache
from harness.supply.offline.recipe import Job, Recipe

# Beside the heavy ones: these wait for the network and the disk more than they compute.
LIGHT_AT_A_TIME = 3
RESUME = "the same command again goes on where this stopped"


class Schedule:
    """Builds the entries of `recipes` that the cache lacks.

    `recipes` are in starting order and contain all that they need; `keys` has the key of
    each.
    """

    def __init__(
        self, recipes: Iterable[Recipe], keys: Mapping[str, str], cache: Cache, progress: Progress
    ) -> None:
        self._keys = keys
        self._cache = cache
        self._progress = progress
        self._waiting = {recipe.name: recipe for recipe in recipes}
        self._running: dict[str, Recipe] = {}
        room = gobuild.available_gib() >= gobuild.GIB_FOR_TWO_BUILDS
        self._heavy_at_a_time = 2 if room else 1

    def run(self) -> None:
        """Build all; the first failure ends the others and is raised."""
        try:
            with tasks.Group[None]() as builds:
                while self._waiting or self._running:
                    self._start_what_can(builds)
                    done = builds.next()
                    del self._running[done.name]
                    if done.error:
                        self._progress.fail(_task(done.name), "failed")
                        raise _readable(done.error, done.name, self._cache)
        except BaseException:
            for name in self._running:
                self._progress.fail(_task(name), "stopped")
            raise

    def _start_what_can(self, builds: tasks.Group[None]) -> None:
        for recipe in list(self._waiting.values()):
            busy = [name for name in recipe.needs if name in self._waiting or name in self._running]
            if busy or not self._has_place(recipe):
                continue
            del self._waiting[recipe.name]
            background = not recipe.heavy or any(other.heavy for other in self._running.values())
            self._running[recipe.name] = recipe
            builds.start(recipe.name, partial(self._build, recipe, background))

    def _has_place(self, recipe: Recipe) -> bool:
        same = sum(1 for other in self._running.values() if other.heavy == recipe.heavy)
        return same < (self._heavy_at_a_time if recipe.heavy else LIGHT_AT_A_TIME)

    def _build(self, recipe: Recipe, background: bool) -> None:
        name, key = recipe.name, self._keys[recipe.name]
        task = _task(name)
        note = "done"
        self._progress.start(task, "starting")
        with self._cache.lock(
            name,
            waiting=lambda: self._progress.start(task, "another process builds it: waiting"),
        ):
            damage = self._cache.damage(name, key)
            if damage == "":
                self._progress.done(task, "done by another process")
                return
            if damage:
                note = f"built again, the cached copy was damaged: {damage}"
                self._progress.start(task, f"the cached copy is damaged: {damage}")
            log = self._cache.log(name)
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("", encoding="utf-8")
            with self._cache.making(name, key) as (out, work):
                job = Job(
                    out=out,
                    work=work,
                    shared=self._cache.shared,
                    needs={
                        need: self._cache.entry(need, self._keys[need]) for need in recipe.needs
                    },
                    log=log,
                    say=self._teller(name),
                    background=background,
                )
                host_packages.ensure(recipe.packages, job)
                recipe.build(job)
        self._progress.done(task, note)

    def _teller(self, name: str) -> Callable[[str], None]:
        def say(doing: str) -> None:
            tasks.check()
            self._progress.update(_task(name), doing)

        return say


def _task(name: str) -> str:
    """What the listener calls the build: starting the part later is another task."""
    return f"build {name}"


def _readable(error: BaseException, name: str, cache: Cache) -> BaseException:
    """The error as a person should see it: a full disk by its name, the way to go on."""
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    if isinstance(error, CommandFailed):
        full = full or "no space left on device" in error.output.lower()
    if full:
        free = shutil.disk_usage(_existing(cache.root)).free / 2**30
        return EnvironmentLacks(
            f"the disk is full while building {name}: {free:.1f} GiB are free",
            where=str(cache.root),
            hint=f"make room or name another place with XDG_CACHE_HOME; {RESUME}",
        )
    if isinstance(error, LabError):
        error.where = error.where or str(cache.log(name))
        error.hint = error.hint or RESUME
    return error


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())
