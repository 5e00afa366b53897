"""Building several recipes: order, places, failures, and Ctrl-C that leaves nothing behind."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from harness.base import tasks
from harness.base.errors import EnvironmentLacks, LabError
from harness.base.process import run
from harness.base.progress import Plain, Timings
from harness.base.wait import wait_for
from harness.supply.offline import gobuild
from harness.supply.offline.cache import Cache
from harness.supply.offline.recipe import Job, Recipe
from harness.supply.offline.schedule import RESUME, Schedule
from tests.fakes.progress import Silent

WAIT_FOR_A_SIGNAL = "import signal; signal.pause()"


class Toy(Recipe):
    """A recipe that calls `do`."""

    def __init__(
        self,
        name: str,
        needs: tuple[str, ...] = (),
        do: Callable[[Job], None] = lambda job: None,
        heavy: bool = False,
    ) -> None:
        self.name = name
        self.needs = needs
        self.heavy = heavy
        self._do = do

    def inputs(self) -> Iterable[str]:
        return ["1"]

    def build(self, job: Job) -> None:
        self._do(job)
        (job.out / "made").write_text(self.name, encoding="utf-8")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def schedule(cache: Cache, *recipes: Recipe) -> Schedule:
    keys = {recipe.name: "k" for recipe in recipes}
    return Schedule(recipes, keys, cache, Silent(Timings(cache.root / "timings.json")))


def test_what_is_needed_is_there_first(cache: Cache) -> None:
    seen: dict[str, str] = {}

    def look(job: Job) -> None:
        seen["base"] = (job.needs["base"] / "made").read_text("utf-8")

    schedule(cache, Toy("top", ("base",), look), Toy("base")).run()
    assert seen == {"base": "base"}
    assert cache.damage("top", "k") == ""


@pytest.mark.parametrize(("gib", "together"), [(4.0, 1), (64.0, 2)])
def test_heavy_recipes_share_the_machine_only_with_memory(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, gib: float, together: int
) -> None:
    monkeypatch.setattr(gobuild, "available_gib", lambda: gib)
    lock, running, most = threading.Lock(), 0, 0

    def build(job: Job) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        run([sys.executable, "-c", "pass"])
        with lock:
            running -= 1

    schedule(cache, *(Toy(f"heavy{n}", do=build, heavy=True) for n in range(4))).run()
    assert most == together


def test_the_first_heavy_recipe_has_the_processors(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gobuild, "available_gib", lambda: 64.0)
    together = threading.Barrier(3, timeout=10)
    background: dict[str, bool] = {}

    def build(name: str) -> Callable[[Job], None]:
        def note(job: Job) -> None:
            background[name] = job.background
            together.wait()

        return note

    heavy = {"light": False, "first": True, "second": True}
    schedule(cache, *(Toy(name, do=build(name), heavy=it) for name, it in heavy.items())).run()
    assert background == {"light": True, "first": False, "second": True}


def test_the_first_failure_ends_the_others_and_is_raised(cache: Cache) -> None:
    started = threading.Event()

    def forever(job: Job) -> None:
        started.set()
        job.run([sys.executable, "-c", WAIT_FOR_A_SIGNAL])

    def fails(job: Job) -> None:
        assert started.wait(10)
        raise LabError("the source is gone")

    with pytest.raises(LabError, match="the source is gone") as caught:
        schedule(cache, Toy("slow", do=forever), Toy("bad", do=fails), Toy("after", ("bad",))).run()
    assert caught.value.hint == RESUME
    assert caught.value.where.endswith("bad.log")
    for name in ("slow", "bad", "after"):
        assert cache.damage(name, "k") is None


def test_ctrl_c_ends_the_programs_of_all_builds(cache: Cache) -> None:
    pids: dict[str, int] = {}

    def forever(name: str) -> Callable[[Job], None]:
        def build(job: Job) -> None:
            def note(line: str) -> None:
                pids[name] = int(line)

            code = f"import os; print(os.getpid(), flush=True); {WAIT_FOR_A_SIGNAL}"
            job.run([sys.executable, "-c", code], on_line=note)

        return build

    def interrupt() -> None:
        wait_for("both programs", lambda: len(pids) == 2, timeout=20)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        schedule(cache, Toy("one", do=forever("one")), Toy("two", do=forever("two"))).run()
    thread.join()
    for pid in pids.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert cache.verify() == {}


def test_a_full_disk_is_called_by_its_name(cache: Cache) -> None:
    def full(job: Job) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(EnvironmentLacks, match="the disk is full while building toy"):
        schedule(cache, Toy("toy", do=full)).run()


def test_a_full_disk_under_a_compiler_too(cache: Cache) -> None:
    def compile_on_a_full_disk(job: Job) -> None:
        job.run([sys.executable, "-c", "import sys; sys.exit('x: no space left on device')"])

    with pytest.raises(EnvironmentLacks, match="the disk is full"):
        schedule(cache, Toy("toy", do=compile_on_a_full_disk)).run()


def test_a_damaged_entry_is_built_again_and_said_so(cache: Cache) -> None:
    schedule(cache, Toy("toy")).run()
    (cache.entry("toy", "k") / "made").unlink()
    lines: list[str] = []
    plain = Plain(Timings(cache.root / "timings.json"), lines.append)
    Schedule([Toy("toy")], {"toy": "k"}, cache, plain).run()
    plain.close()
    assert cache.damage("toy", "k") == ""
    assert "build toy: the cached copy is damaged: made is missing" in lines


def test_what_another_process_has_built_meanwhile_is_not_built_twice(cache: Cache) -> None:
    schedule(cache, Toy("toy")).run()

    def never(job: Job) -> None:
        raise AssertionError("built twice")

    schedule(cache, Toy("toy", do=never)).run()


def test_a_task_that_has_ended_lets_nothing_run() -> None:
    end = tasks.End()
    end.now()
    with end.entered(), pytest.raises(tasks.Ended):
        run([sys.executable, "-c", WAIT_FOR_A_SIGNAL])
