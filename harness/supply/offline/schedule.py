"""Builds what is missing, several recipes at a time, and stops cleanly.

Recipes start in the order they are given as soon as what they need is there. Heavy ones
keep all cores busy: a second one starts only where there is memory for two, at a lower
priority, to fill the gaps that the first one leaves. One thread per running build; the
caller's thread waits, so that Ctrl-C arrives there, and ends the programs of all builds.
"""

from __future__ import annotations

import errno
import queue
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from harness.base.errors import EnvironmentLacks, LabError
from harness.base.process import CommandFailed, Scope
from harness.base.progress import Progress
from harness.supply.offline import gobuild, host_packages
from harness.supply.offline.cache import Cache
from harness.supply.offline.recipe import Job, Recipe

# Beside the heavy ones: these wait for the network and the disk more than they compute.
LIGHT_AT_A_TIME = 3
# Python code of a recipe (packing an image) ends at its next report; a disk may be slow.
JOIN_SECONDS = 15.0
RESUME = "the same command again goes on where this stopped"


class Stopped(Exception):
    """A build is to end because another one failed or the user interrupted."""


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
        self._scope = Scope()
        self._waiting = {recipe.name: recipe for recipe in recipes}
        self._running: dict[str, tuple[Recipe, threading.Thread]] = {}
        self._finished: queue.Queue[tuple[str, BaseException | None]] = queue.Queue()
        room = gobuild.available_gib() >= gobuild.GIB_FOR_TWO_BUILDS
        self._heavy_at_a_time = 2 if room else 1

    def run(self) -> None:
        """Build all; the first failure ends the others and is raised."""
        try:
            while self._waiting or self._running:
                self._start_what_can()
                name, error = self._finished.get()
                del self._running[name]
                if error:
                    self._progress.fail(_task(name), "failed")
                    raise _readable(error, name, self._cache)
        except BaseException:
            self._stop()
            raise

    def _start_what_can(self) -> None:
        for recipe in list(self._waiting.values()):
            busy = [name for name in recipe.needs if name in self._waiting or name in self._running]
            if busy or not self._has_place(recipe):
                continue
            del self._waiting[recipe.name]
            ahead = any(other.heavy for other, _ in self._running.values())
            thread = threading.Thread(
                target=self._work, args=(recipe, ahead or not recipe.heavy), name=recipe.name
            )
            # A thread that does not end after Ctrl-C must not keep the prompt away.
            thread.daemon = True
            self._running[recipe.name] = (recipe, thread)
            thread.start()

    def _has_place(self, recipe: Recipe) -> bool:
        same = sum(1 for other, _ in self._running.values() if other.heavy == recipe.heavy)
        return same < (self._heavy_at_a_time if recipe.heavy else LIGHT_AT_A_TIME)

    def _stop(self) -> None:
        self._scope.end()
        for name, (_, thread) in self._running.items():
            thread.join(JOIN_SECONDS)
            self._progress.fail(_task(name), "stopped")

    def _work(self, recipe: Recipe, background: bool) -> None:
        error: BaseException | None = None
        try:
            with self._scope:
                self._build(recipe, background)
        except BaseException as caught:  # raised again in the caller's thread
            error = caught
        self._finished.put((recipe.name, error))

    def _build(self, recipe: Recipe, background: bool) -> None:
        name, key = recipe.name, self._keys[recipe.name]
        task = _task(name)
        note = "done"
        self._progress.start(task, "starting")
        with self._cache.lock(
            name,
            waiting=lambda: self._progress.start(task, "another process builds it: waiting"),
            stopped=lambda: self._scope.ended,
        ) as mine:
            if not mine:
                raise Stopped
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
            if self._scope.ended:
                raise Stopped
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
