"""`--supply auto`: what is picked, and the one line that says why."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from harness.base.errors import EnvironmentLacks, UsageError
from harness.supply import choose as choosing
from harness.supply.base import Part, find_part
from harness.supply.choose import choose, survey
from harness.supply.online import web


class Quiet:
    """A progress listener that forgets."""

    def start(self, name: str, doing: str) -> None: ...
    def update(self, name: str, doing: str) -> None: ...
    def done(self, name: str, note: str) -> None: ...
    def fail(self, name: str, note: str) -> None: ...


class Offline:
    """An offline supply with or without a complete cache."""

    name = "offline"
    why = ""
    complete = False

    def cached(self, parts: Iterable[str]) -> bool:
        return self.complete


class Online:
    """An online supply that misses what it is told to."""

    name = "online"
    why = ""
    lacks: tuple[str, ...] = ()

    def missing(self, parts: Iterable[str]) -> list[Part]:
        return [find_part(name) for name in self.lacks]


class World:
    """What the outside answers: a status, an exception or, by name, nothing at all."""

    def __init__(self) -> None:
        self.answers: dict[str, int | Exception | threading.Event] = {}
        self.asked: list[str] = []

    def status(self, url: str, seconds: float) -> int:
        self.asked.append(url)
        answer = self.answers.get(url.split("/")[2], 200)
        if isinstance(answer, threading.Event):
            answer.wait(10)
            return 200
        if isinstance(answer, Exception):
            raise answer
        return answer


def broken(text: str) -> Exception:
    return requests.ConnectionError(text)


UNKNOWN = broken("NameResolutionError: Failed to resolve")


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """No network, an empty engine, a Debian host and root; each test changes some of it."""
    made = World()
    monkeypatch.setattr(web, "status", made.status)
    monkeypatch.setattr(choosing, "OfflineSupply", Offline)
    monkeypatch.setattr(choosing, "OnlineSupply", Online)
    monkeypatch.setattr(Offline, "complete", False)
    monkeypatch.setattr(Online, "lacks", ("vault", "kubectl"))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    on_host(monkeypatch, "debian")
    for name in ("LAB_MIRROR", "LAB_DOWNLOADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("harness.supply.mirror.index.joined", lambda: None)
    return made


def on_host(monkeypatch: pytest.MonkeyPatch, name: str, like: str = "") -> None:
    release = {"ID": name, "ID_LIKE": like, "NAME": f"The {name} system"}
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: release)


def pick() -> tuple[str, str]:
    supply = choose("auto", ["vault", "kubectl"], Quiet())
    return supply.name, supply.why


def test_a_complete_cache_wins_without_a_question(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Offline, "complete", True)
    assert pick() == ("offline", "everything is in the cache, built here earlier")
    assert world.asked == []


def test_nothing_to_fetch_is_online_without_a_question(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Online, "lacks", ())
    assert pick() == ("online", "everything is on this machine already")
    assert world.asked == []


def test_online_when_every_place_answers(world: World) -> None:
    world.answers = {"registry-1.docker.io": 401, "dl.k8s.io": 302}
    assert pick() == ("online", "docker.io and dl.k8s.io answered in 0.0s")
    assert "https://registry-1.docker.io/v2/" in world.asked


@pytest.mark.parametrize("status", [403, 404, 502])
def test_a_registry_that_refuses_is_none(world: World, status: int) -> None:
    world.answers = {"registry-1.docker.io": status}
    name, why = pick()
    assert name == "offline"
    assert f"(docker.io: it answers {status})" in why


def test_offline_when_no_registry_answers(world: World) -> None:
    world.answers = {"registry-1.docker.io": UNKNOWN, "dl.k8s.io": UNKNOWN}
    name, why = pick()
    assert name == "offline"
    assert why == (
        "no container registry answers (docker.io: name not resolved), "
        "this is a Debian host and you are root"
    )


def test_a_publisher_that_does_not_answer_is_named(world: World) -> None:
    world.answers = {"registry-1.docker.io": 401, "dl.k8s.io": broken("Connection refused")}
    name, why = pick()
    assert name == "offline"
    assert why.startswith(
        "not every place that holds a part answers (dl.k8s.io: connection refused), "
    )


def test_a_name_look_up_that_hangs_is_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = threading.Event()
    world.answers = {"registry-1.docker.io": hanging}
    monkeypatch.setattr(choosing, "ASK_SECONDS", 0.2)
    start = time.monotonic()
    name, why = pick()
    hanging.set()
    assert time.monotonic() - start < 2
    assert name == "offline"
    assert "docker.io: no answer in 0s" in why


@pytest.mark.parametrize(
    ("system", "like", "root", "words"),
    [
        ("debian", "", False, "as for building, it needs root"),
        ("fedora", "", True, "building, it needs Debian or Ubuntu, this is The fedora system"),
    ],
)
def test_neither_way_is_one_sentence_with_two_ways_out(
    world: World, monkeypatch: pytest.MonkeyPatch, system: str, like: str, root: bool, words: str
) -> None:
    world.answers = {"registry-1.docker.io": UNKNOWN}
    on_host(monkeypatch, system, like)
    monkeypatch.setattr("os.geteuid", lambda: 0 if root else 1000)
    with pytest.raises(EnvironmentLacks, match=words) as caught:
        pick()
    assert "docker.io: name not resolved" in caught.value.what
    assert "LAB_MIRROR" in caught.value.hint
    assert "root on Debian or Ubuntu" in caught.value.hint


@pytest.mark.parametrize(
    ("system", "like", "named"),
    [
        ("ubuntu", "debian", "Ubuntu"),
        ("linuxmint", "ubuntu debian", "Ubuntu"),
        ("devuan", "debian", "Debian"),
    ],
)
def test_what_derives_from_debian_can_build(
    world: World, monkeypatch: pytest.MonkeyPatch, system: str, like: str, named: str
) -> None:
    world.answers = {"registry-1.docker.io": UNKNOWN}
    on_host(monkeypatch, system, like)
    assert pick()[1].endswith(f"this is a {named} host and you are root")


def test_equal_reasons_are_said_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Online, "lacks", ("vault", "openbao", "kubectl"))
    world.answers = {"registry-1.docker.io": UNKNOWN, "quay.io": UNKNOWN}
    assert "answers (docker.io and quay.io: name not resolved), this" in pick()[1]


def test_a_mirror_is_asked_in_place_of_the_registries(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Online, "lacks", ("vault", "openbao"))
    monkeypatch.setenv("LAB_MIRROR", "127.0.0.1:5000/hub")
    refuses_tls = broken("SSLError: WRONG_VERSION_NUMBER")

    def status(url: str, seconds: float) -> int:
        world.asked.append(url)
        if url.startswith("https"):
            raise refuses_tls
        return 200

    monkeypatch.setattr(web, "status", status)
    assert pick() == ("online", "the mirror 127.0.0.1:5000 answered in 0.0s")
    assert world.asked == ["https://127.0.0.1:5000/v2/", "http://127.0.0.1:5000/v2/"]


def test_a_portal_that_redirects_plain_http_is_no_mirror(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_MIRROR", "mirror.example")
    monkeypatch.setattr(Online, "lacks", ("vault",))
    monkeypatch.setattr(web, "status", lambda url, _: 404 if url.startswith("https") else 302)
    assert "the mirror mirror.example: it answers 302" in pick()[1]


@pytest.mark.parametrize("name", ["online", "offline"])
def test_what_is_asked_for_by_name_is_taken_without_a_question(world: World, name: str) -> None:
    supply = choose(name, ["vault"], Quiet())
    assert (supply.name, supply.why) == (name, "it was asked for")
    assert world.asked == []


def test_an_unknown_supply_is_refused() -> None:
    with pytest.raises(UsageError, match="no supply 'oline'"):
        choose("oline", ["vault"], Quiet())


def test_a_survey_asks_everything_once(world: World) -> None:
    world.answers = {"github.com": UNKNOWN}
    lines = [str(answer) for answer in survey(["vault", "node", "kind", "etcd"])]
    assert lines == ["docker.io answered in 0.0s", "github.com: name not resolved"]


@pytest.fixture
def real_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An HTTP server that answers as a registry that wants a login does."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(401)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test output quiet."""

    monkeypatch.undo()  # what `world` replaced
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_real_answer_and_a_real_refusal(
    real_registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_MIRROR", real_registry)
    (answer,) = survey(["vault"])
    assert str(answer).startswith(f"the mirror {real_registry} answered in ")
    monkeypatch.setenv("LAB_MIRROR", "127.0.0.1:1")
    (answer,) = survey(["vault"])
    assert answer.refused == "connection refused"
