"""Queues, events, leadership, durations, options: what carries the reconcilers."""

from __future__ import annotations

import asyncio
import time

import pytest

from standins.common import values
from standins.common.flags import BadFlag
from standins.operator import conditions, metrics, model, options, timing, triggers
from standins.operator.events import KubeRecorder
from standins.operator.model import Key
from standins.operator.queueing import Controller
from standins.operator.store import Store
from standins.operator.uninstall import remove_finalizers
from tests.fakes.kube import MemoryKube
from tests.standins.operator.world import HOME, play, world

KEY = Key(model.STATIC, "apps", "one")


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [("90s", 90, "1m30s"), ("1h30m", 5400, "1h30m0s"), ("0.5s", 0.5, "500ms"), ("0s", 0, "0s")],
)
def test_durations(text: str, seconds: float, shown: str) -> None:
    assert values.parse_duration(text) == seconds
    assert timing.format_duration(seconds) == shown


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "1d"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        values.parse_duration(text)


@pytest.mark.parametrize("draw", [0.0, 0.999999])
def test_horizons_keep_their_bounds(draw: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "uniform", lambda: draw)
    assert 80 <= timing.horizon(100) <= 90
    assert 67 <= timing.lease_horizon(100, 67) <= 77
    assert 90 <= timing.lease_horizon(100, 99) <= 100
    assert 4 <= timing.error_retry() <= 4.5
    backoff = timing.Backoff()
    waits = [backoff.next("k") for _ in range(12)]
    assert 2.5 <= waits[0] <= 7.5
    assert 30 <= waits[-1] <= 60
    backoff.forget("k")
    assert backoff.next("k") == waits[0]


def test_conditions_merge() -> None:
    obj = {"kind": "X", "metadata": {"generation": 2}}
    old = conditions.health(obj, True)
    for entry in old:
        entry["lastTransitionTime"] = "2020-01-01T00:00:00Z"
    kept = conditions.merged(old, conditions.health(obj, True))
    assert {entry["lastTransitionTime"] for entry in kept} == {"2020-01-01T00:00:00Z"}
    turned = conditions.merged(old, conditions.health(obj, False))
    assert all(entry["lastTransitionTime"] > "2020-01-01T00:00:00Z" for entry in turned)
    other = conditions.merged(old, [conditions.synced(obj, True, "x")])
    assert [entry["type"] for entry in other] == ["Healthy", "Ready", "SecretSynced"]


async def _for(controller: Controller, seconds: float = 0.2) -> None:
    task = asyncio.create_task(controller.run())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_a_key_never_runs_twice_at_once_and_runs_again_when_asked() -> None:
    async def scene() -> None:
        running, most, runs = 0, 0, 0

        async def work(key: Key) -> float | None:
            nonlocal running, most, runs
            running += 1
            most = max(most, running)
            runs += 1
            if runs == 1:
                controller.add(key)
                controller.add(key)
            await asyncio.sleep(0.02)
            running -= 1
            return None

        controller = Controller(model.STATIC, work, workers=4)
        controller.add(KEY)
        controller.add(KEY)
        await _for(controller)
        assert (most, runs) == (1, 2)

    play(scene)


def test_a_failing_key_comes_back_and_harms_nobody() -> None:
    async def scene() -> None:
        good = Key(model.STATIC, "apps", "good")
        seen: list[Key] = []

        async def work(key: Key) -> float | None:
            seen.append(key)
            if key == KEY:
                raise RuntimeError("defect")
            return 0.05

        controller = Controller(model.STATIC, work, workers=1)
        controller.add(KEY)
        controller.add(good)
        await _for(controller)
        assert seen.count(good) >= 2
        assert controller.failures == 1
        assert KEY in controller._timers
        controller.forget(KEY)
        assert KEY not in controller._timers

    play(scene)


def test_the_earlier_moment_wins() -> None:
    async def scene() -> None:
        async def work(_: Key) -> float | None:
            return None

        controller = Controller(model.STATIC, work, workers=1)
        controller.add_after(KEY, 50)
        controller.add_after(KEY, 5)
        early = controller._timers[KEY].when()
        controller.add_after(KEY, 500)
        assert controller._timers[KEY].when() == early
        controller.forget(KEY)

    play(scene)


def test_draining_lets_a_running_reconcile_end() -> None:
    async def scene() -> None:
        ended = False
        started = asyncio.Event()

        async def work(_: Key) -> float | None:
            nonlocal ended
            started.set()
            await asyncio.sleep(0.05)
            ended = True
            return None

        controller = Controller(model.STATIC, work, workers=1)
        controller.add(KEY)
        controller.add(Key(model.STATIC, "apps", "later"))
        task = asyncio.create_task(controller.run())
        await started.wait()
        await controller.drain()
        assert ended
        assert controller.runs == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    play(scene)


def test_events_are_counted_and_limited() -> None:
    async def scene() -> None:
        kube = MemoryKube(model.RESOURCES)
        recorder = KubeRecorder(kube)
        task = asyncio.create_task(recorder.run())
        obj = {"kind": model.STATIC, "metadata": {"name": "one", "namespace": "apps", "uid": "u"}}
        for _ in range(3):
            recorder.event(obj, "SecretSynced", "Secret synced")
        for number in range(50):
            recorder.event(obj, "Loud", f"message {number}", warning=True)
        await asyncio.sleep(0.1)
        events = await kube.list_all("Event", "apps")
        first = next(event for event in events if event["reason"] == "SecretSynced")
        assert (first["count"], first["type"]) == (3, "Normal")
        assert first["involvedObject"]["uid"] == "u"
        loud = [event for event in events if event["reason"] == "Loud"]
        assert len(loud) == 22
        assert loud[0]["type"] == "Warning"
        task.cancel()

    play(scene)


def test_status_changes_and_old_news_run_nothing() -> None:
    class Queue:
        def __init__(self) -> None:
            self.added: list[Key] = []

        def add(self, key: Key) -> None:
            self.added.append(key)

        def add_after(self, key: Key, seconds: float) -> None:
            self.added.append(key)

        def forget(self, key: Key) -> None:
            self.added = [entry for entry in self.added if entry != key]

    queue = Queue()
    store, forced = Store(), set[Key]()
    found = triggers.Triggers(store, dict.fromkeys(model.KINDS, queue), forced, lambda _: None)
    meta = {"namespace": "apps", "name": "one", "uid": "u", "generation": 1, "resourceVersion": "5"}
    found.seen(model.STATIC, "ADDED", {"metadata": meta})
    found.seen(model.STATIC, "MODIFIED", {"metadata": {**meta, "resourceVersion": "6"}})
    assert queue.added == [KEY]
    found.seen(model.STATIC, "MODIFIED", {"metadata": {**meta, "resourceVersion": "4"}, "old": 1})
    assert "old" not in (store.get(*KEY) or {})
    found.seen(model.STATIC, "DELETED", {"metadata": {**meta, "uid": "another"}})
    assert store.get(*KEY) is not None
    found.seen(model.STATIC, "DELETED", {"metadata": meta})
    assert store.get(*KEY) is None
    assert queue.added == []


def test_options_and_their_variables() -> None:
    environ = {
        "OPERATOR_NAMESPACE": "x",
        "VSO_GLOBAL_TRANSFORMATION_OPTIONS": "exclude-raw",
        "VSO_BACKOFF_MAX_INTERVAL": "30s",
    }
    found = options.read(["--leader-elect", "--metrics-bind-address=0"], environ)
    assert (found.namespace, found.exclude_raw, found.backoff_most) == ("x", True, 30)
    assert (found.leader_elect, found.probe_port, found.metrics_port) == (True, 8081, 0)
    assert not options.read(["--leader-elect=false"], {}).leader_elect


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("--client-cache-persistence-model=direct-encrypted", "keeps tokens in memory only"),
        (
            "--global-transformation-options=nonsense",
            "it is not known .only exclude-raw",
        ),
        ("--backoff-max-interval=soon", "'soon' is not a duration"),
        ("--metrics-bind-address=:http", "ends in no port"),
    ],
)
def test_bad_options_are_told(argument: str, text: str) -> None:
    with pytest.raises(BadFlag, match=text):
        options.read([argument], {})


def test_metrics_are_prometheus_text() -> None:
    text = metrics.rendered([("a_total", "", 3), ("b", 'kind="X"', 0)])
    assert text.startswith('a_total 3\nb{kind="X"} 0\nvso_standin_peak_memory_bytes ')


def test_uninstall_frees_what_would_be_stuck() -> None:
    async def scene() -> None:
        kube = MemoryKube(model.RESOURCES)
        own = model.FINALIZERS[model.AUTH]
        meta = {"name": "default", "finalizers": [own, "somebody/else"]}
        kube.add(model.AUTH, HOME, {"metadata": meta})
        kube.add(model.AUTH, "apps", {"metadata": meta})
        assert await remove_finalizers(kube, HOME) == 1
        assert kube.objects[model.AUTH, HOME, "default"]["metadata"]["finalizers"] == [
            "somebody/else"
        ]
        assert own in kube.objects[model.AUTH, "apps", "default"]["metadata"]["finalizers"]

    play(scene)


def test_kinds_that_are_not_ready_are_listed_again_together_and_soon() -> None:
    async def scene() -> None:
        async with world() as w:
            for kind in model.KINDS:
                w.kube.failures["list", kind] = (429, "storage is (re)initializing")
            started = time.monotonic()
            await w.operator.prime()
            # As long as the API server asks for, once: not once for each kind.
            assert time.monotonic() - started < 2
            assert w.operator.store.all(model.CONNECTION)

    play(scene)
