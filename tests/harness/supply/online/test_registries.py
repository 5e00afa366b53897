"""Images of the online supply against an engine of memory: digests, mirrors, errors, stops."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import docker
import pytest
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from harness.base import process, tasks
from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.paths import clusters
from harness.supply import golang, libraries, standin_files
from harness.supply.base import Part, Provided, find_part
from harness.supply.engine import engine as engines
from harness.supply.images import KEY_LABEL
from harness.supply.lock import Lock
from harness.supply.offline.recipes import standins
from harness.supply.online import built_image, registries
from harness.supply.online import supply as online
from harness.supply.online.registries import Reference
from harness.supply.online.supply import OnlineSupply

VAULT = Reference.parse(find_part("vault").online["image"])
ONE = "sha256:" + "1" * 64
TWO = "sha256:" + "2" * 64


@dataclass
class Engine:
    """As much of a docker client as the online supply uses, with registries of memory."""

    platform: str = "linux/amd64"
    registry: dict[str, str] = field(default_factory=dict)
    offers: list[str] = field(default_factory=lambda: ["linux/amd64", "linux/arm64"])
    images_by_name: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    pulled: list[str] = field(default_factory=list)
    builds: list[dict[str, Any]] = field(default_factory=list)
    pruned: list[dict[str, Any]] = field(default_factory=list)
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.images = self
        self.api = self

    def close(self) -> None:
        """The SDK's client has one."""

    def version(self) -> dict[str, str]:
        system, arch = self.platform.split("/")
        return {"Os": system, "Arch": arch}

    def get(self, name: str) -> Any:
        if name not in self.images_by_name:
            raise ImageNotFound(name)
        attributes = self.images_by_name[name]

        def tag(repository: str, tag: str) -> bool:
            self.images_by_name[f"{repository}:{tag}"] = attributes
            return True

        return SimpleNamespace(attrs=attributes, tag=tag)

    def get_registry_data(self, name: str) -> Any:
        if self.error:
            raise self.error
        if name not in self.registry:
            raise NotFound("manifest unknown: manifest unknown")
        platforms = [
            dict(zip(("os", "architecture"), p.split("/"), strict=True)) for p in self.offers
        ]
        return SimpleNamespace(id=self.registry[name], attrs={"Platforms": platforms})

    def pull(self, repository: str, tag: str, platform: str, **_: object) -> Iterator[Any]:
        yield from self.events
        self.pulled.append(f"{repository}@{tag}")
        self.add(f"{repository}@{tag}", digests=[f"{repository}@{tag}"])

    def build(self, **words: Any) -> Iterator[Any]:
        self.builds.append(
            words | {"context": sorted(p.name for p in Path(words["path"]).iterdir())}
        )
        yield from self.events
        self.add(words["tag"], labels=words["labels"], id=f"built-{len(self.builds)}")

    def prune(self, filters: dict[str, Any]) -> None:
        self.pruned.append(filters)

    def remove(self, id: str) -> None:
        gone = [name for name, entry in self.images_by_name.items() if entry["Id"] == id]
        for name in gone:
            del self.images_by_name[name]

    def add(
        self,
        name: str,
        *,
        digests: list[str] | None = None,
        labels: dict[str, str] | None = None,
        arch: str = "amd64",
        id: str = "sha256:" + "f" * 64,
    ) -> None:
        self.images_by_name[name] = {
            "Id": id,
            "Architecture": arch,
            "RepoDigests": digests or [],
            "Config": {"Labels": labels},
        }

    @property
    def client(self) -> docker.DockerClient:
        return cast(docker.DockerClient, self)


class Quiet:
    """A progress listener that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str]] = []

    def start(self, name: str, doing: str) -> None:
        self.heard.append(("start", name, doing))

    def update(self, name: str, doing: str) -> None:
        self.heard.append(("update", name, doing))

    def done(self, name: str, note: str) -> None:
        self.heard.append(("done", name, note))

    def fail(self, name: str, note: str) -> None:
        self.heard.append(("fail", name, note))


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine(registry={str(VAULT): ONE})
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LAB_MIRROR", raising=False)
    monkeypatch.setattr(engines, "client", lambda *_: made.client)
    monkeypatch.setattr(engines, "find", lambda: made)
    pin(monkeypatch, {"image": str(VAULT)})
    return made


def pin(monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]) -> None:
    """Let the part `vault` be this image, whatever versions.toml pins at the moment."""
    part = Part("vault", VAULT.tag, "image", "BUSL-1.1", "a test", online=how)
    monkeypatch.setattr(
        online, "find_part", lambda name: part if name == "vault" else find_part(name)
    )


def pull(engine: Engine, said: list[str] | None = None) -> registries.LocalImage:
    heard = said if said is not None else []
    image, moved = registries.pull(engine.client, VAULT, Lock(), heard.append)
    assert moved is None
    return image


def test_an_image_is_pulled_by_the_digest_of_its_tag(engine: Engine) -> None:
    image = pull(engine)
    assert engine.pulled == [f"docker.io/hashicorp/vault@{ONE}"]
    assert image.digests == (ONE,)
    assert str(VAULT) in engine.images_by_name
    seen = Lock().seen(str(VAULT))
    assert seen is not None
    assert seen.digest == ONE


def test_a_moved_tag_is_refused_before_anything_is_pulled(engine: Engine) -> None:
    pull(engine)
    engine.images_by_name.clear()
    engine.pulled.clear()
    engine.registry[str(VAULT)] = TWO
    with pytest.raises(UsageError, match=r"has changed: .* now gives sha256:2"):
        pull(engine)
    assert engine.pulled == []
    assert engine.images_by_name == {}


@pytest.mark.parametrize(
    ("mirror", "asked"),
    [
        ("127.0.0.1:5000", "127.0.0.1:5000/hashicorp/vault"),
        ("registry.example/hub/", "registry.example/hub/hashicorp/vault"),
    ],
)
def test_a_mirror_is_asked_in_place_of_the_registry(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, mirror: str, asked: str
) -> None:
    monkeypatch.setenv("LAB_MIRROR", mirror)
    engine.registry = {f"{asked}:{VAULT.tag}": ONE}
    pull(engine)
    assert engine.pulled == [f"{asked}@{ONE}"]
    assert str(VAULT) in engine.images_by_name
    provided = OnlineSupply().provide(["vault"], Quiet())["vault"]
    assert provided.image == str(VAULT)
    assert provided.origin == f"{VAULT}, from {asked}:{VAULT.tag}"


def test_a_mirror_without_the_image_is_not_bypassed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_MIRROR", "127.0.0.1:5000")
    with pytest.raises(EnvironmentLacks, match=r"127\.0\.0\.1:5000 has no image"):
        pull(engine)
    assert engine.pulled == []


@pytest.mark.parametrize("value", ["https://host:5000", "host:port", "a b", "host/Upper", "@"])
def test_a_mirror_that_is_no_registry_is_refused(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("LAB_MIRROR", value)
    with pytest.raises(UsageError, match="is not a registry"):
        OnlineSupply().provide(["vault"], Quiet())


@pytest.mark.parametrize("text", ["debian:12", "docker.io/library/debian", "quay.io/a/b:latest"])
def test_only_full_references_with_a_fixed_tag_are_taken(text: str) -> None:
    with pytest.raises(UsageError, match="not a full image reference"):
        Reference.parse(text)


@pytest.mark.parametrize("name", ["node", "vault", "openbao", "app", "standins", "postgres"])
def test_the_pinned_images_are_full_references(name: str) -> None:
    text = find_part(name).online["image"]
    assert str(Reference.parse(text)) == text


def test_progress_counts_bytes_and_layers(engine: Engine) -> None:
    engine.events = [
        {"status": "Pulling from hashicorp/vault", "id": ONE},
        {"status": "Pulling fs layer", "id": "a"},
        {"status": "Already exists", "id": "b"},
        {"status": "Downloading", "id": "a", "progressDetail": {"current": 1e6, "total": 4e6}},
        {"status": "Download complete", "id": "a"},
        {"status": "Pull complete", "id": "a"},
    ]
    said: list[str] = []
    pull(engine, said)
    assert "pulling, 1 of 4 MB, 1 of 2 layers" in said
    assert said[-1] == "pulling, 4 of 4 MB, 2 of 2 layers"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("write /var/lib/docker/tmp/x: no space left on device", "the engine's disk is full"),
        ("toomanyrequests: You have reached your pull rate limit", "allows no more pulls"),
        (
            "no matching manifest for linux/arm64/v8 in the manifest list",
            "no image for linux/amd64",
        ),
        ("http: server gave HTTP response to HTTPS client", "speaks plain http"),
        ("pull access denied for x, repository does not exist", "a login is needed"),
        ("x509: certificate signed by unknown authority", "does not trust the certificate"),
        ("dial tcp: lookup registry-1.docker.io: no such host", "cannot resolve the name"),
        ("dial tcp 127.0.0.1:5000: connect: connection refused", "does not answer the engine"),
        ("unexpected EOF", "does not answer the engine"),
        ("docker-credential-desktop not installed or not available in PATH", "credential helper"),
        ("filesystem layer verification failed for digest x", "not what its digest says"),
        ("something never seen", "cannot be pulled: something never seen"),
    ],
)
def test_what_the_engine_says_becomes_one_sentence(engine: Engine, text: str, words: str) -> None:
    engine.events = [{"status": "Downloading", "id": "a"}, {"error": text}]
    with pytest.raises(EnvironmentLacks, match=words):
        pull(engine)
    assert engine.images_by_name == {}
    assert Lock().seen(str(VAULT)) is None
    engine.error = DockerException(text)
    with pytest.raises(EnvironmentLacks, match=words):
        pull(engine)


def test_a_platform_that_is_not_offered_is_said(engine: Engine) -> None:
    engine.offers = ["linux/s390x"]
    with pytest.raises(EnvironmentLacks, match="no image for linux/amd64, only for linux/s390x"):
        pull(engine)


def test_a_local_image_is_used_without_a_registry(engine: Engine) -> None:
    engine.error = AssertionError("a registry was asked")
    engine.add(str(VAULT))
    supply = OnlineSupply()
    assert supply.ready(["vault"])
    provided = supply.provide(["vault"], Quiet())["vault"]
    assert provided.origin == f"{VAULT}, local, digest not checked"
    assert Lock().seen(str(VAULT)) is None


def test_a_local_image_with_a_digest_is_held_to_it(engine: Engine) -> None:
    engine.add(str(VAULT), digests=[f"hashicorp/vault@{ONE}"])
    assert OnlineSupply().provide(["vault"], Quiet())["vault"].image == str(VAULT)
    engine.add(str(VAULT), digests=[f"hashicorp/vault@{TWO}"])
    with pytest.raises(UsageError, match="has changed: the image in the engine now gives"):
        OnlineSupply().provide(["vault"], Quiet())


def test_a_tag_that_its_publisher_moves_is_followed_with_a_word(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`up` after `docker system prune` once ended with status 2 for this."""
    pin(monkeypatch, {"image": str(VAULT), "moves": True})
    OnlineSupply().provide(["vault"], Quiet())
    engine.images_by_name.clear()
    engine.registry[str(VAULT)] = TWO
    heard = Quiet()
    provided = OnlineSupply().provide(["vault"], heard)["vault"]
    assert "its publisher moved the tag since 20" in provided.note
    assert heard.heard[-1] == ("done", "vault", f"fetched; {provided.note}")
    seen = Lock().seen(str(VAULT))
    assert seen is not None
    assert seen.digest == TWO
    assert OnlineSupply().provide(["vault"], Quiet())["vault"].note == ""


def test_a_pinned_image_is_pulled_by_its_digest_whatever_the_tag_says(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(monkeypatch, {"image": str(VAULT), "digest": TWO})
    engine.registry[f"{VAULT.repository}@{TWO}"] = TWO
    provided = OnlineSupply().provide(["vault"], Quiet())["vault"]
    assert engine.pulled == [f"{VAULT.repository}@{TWO}"]
    assert provided.image == str(VAULT)
    assert provided.note == ""
    engine.error = AssertionError("a registry was asked")
    assert OnlineSupply().provide(["vault"], Quiet())["vault"] == provided


def test_an_older_image_of_that_name_makes_room_for_the_pinned_one(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(monkeypatch, {"image": str(VAULT), "digest": TWO})
    engine.registry[f"{VAULT.repository}@{TWO}"] = TWO
    engine.add(str(VAULT), digests=[f"hashicorp/vault@{ONE}"])
    assert OnlineSupply().provide(["vault"], Quiet())["vault"].note == ""
    assert engine.pulled == [f"{VAULT.repository}@{TWO}"]


def test_a_local_image_serves_where_the_pinned_one_is_out_of_reach(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With containerd's image store an image has a digest although no registry gave it one."""
    pin(monkeypatch, {"image": str(VAULT), "digest": TWO})
    engine.add(str(VAULT), digests=[f"hashicorp/vault@{ONE}"])
    engine.error = DockerException("dial tcp: lookup registry-1.docker.io: no such host")
    provided = OnlineSupply().provide(["vault"], Quiet())["vault"]
    assert provided.note == "the local image is not the pinned one"


def test_a_mirror_may_have_one_platform_of_a_pinned_image(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(monkeypatch, {"image": str(VAULT), "digest": TWO})
    with pytest.raises(EnvironmentLacks, match="has no image"):
        OnlineSupply().provide(["vault"], Quiet())
    monkeypatch.setenv("LAB_MIRROR", "127.0.0.1:5000")
    engine.registry = {f"127.0.0.1:5000/hashicorp/vault:{VAULT.tag}": ONE}
    provided = OnlineSupply().provide(["vault"], Quiet())["vault"]
    assert provided.note == "127.0.0.1:5000 has another image than the pinned one"
    assert engine.pulled == [f"127.0.0.1:5000/hashicorp/vault@{ONE}"]
    again = OnlineSupply().provide(["vault"], Quiet())["vault"]
    assert again.origin == provided.origin
    assert len(engine.pulled) == 1, "it is on record and not asked for at every `up`"


def test_a_local_image_for_another_machine_is_said(engine: Engine) -> None:
    engine.add(str(VAULT), arch="arm64")
    with pytest.raises(EnvironmentLacks, match="is for arm64, the engine is linux/amd64"):
        OnlineSupply().provide(["vault"], Quiet())


def test_ready_is_no_when_something_is_missing(engine: Engine) -> None:
    supply = OnlineSupply()
    assert not supply.ready(["vault"])
    assert [part.name for part in supply.missing(["vault", "kubectl"])] == ["kubectl", "vault"]


def test_an_ingredient_is_not_supplied() -> None:
    with pytest.raises(UsageError, match="never supplied by itself"):
        OnlineSupply().provide(["etcd"], Quiet())


# -- the images that are built -----------------------------------------------------------

DEBIAN = "docker.io/library/debian:bookworm-slim"
BUILT = ("app", "standins")


@pytest.fixture
def fetched(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> dict[Path | None, str]:
    """A registry with the base, and libraries that cost nothing; which lists were fetched."""
    lists: dict[Path | None, str] = {}

    def fetch(site: Path, architecture: str, listed: Path | None = None) -> None:
        lists[listed] = architecture
        site.mkdir()

    def program(name: str, target: Path, architecture: str, say: object) -> None:
        assert (name, architecture) == ("gotemplate", "amd64")
        target.touch(0o755)

    engine.registry[DEBIAN] = TWO
    monkeypatch.setattr(libraries, "fetch", fetch)
    monkeypatch.setattr(golang, "program", program)
    return lists


@pytest.mark.parametrize(
    ("name", "context", "upstream"),
    [
        ("app", ["Dockerfile", "site"], True),
        ("standins", ["Dockerfile", "gotemplate", "site", "standins"], False),
    ],
)
def test_an_image_is_built_once(
    engine: Engine,
    fetched: dict[Path | None, str],
    tmp_path: Path,
    name: str,
    context: list[str],
    upstream: bool,
) -> None:
    supply = OnlineSupply()
    provided = supply.provide([name], Quiet())[name]
    assert provided.origin == f"built here from {DEBIAN}"
    assert provided.image == f"kube-vault-labs/{name}:1"
    assert provided.upstream is upstream
    (build,) = engine.builds
    assert build["context"] == context
    assert build["buildargs"] == {"BASE": DEBIAN}
    assert supply.provide([name], Quiet())[name] == provided
    assert len(engine.builds) == 1
    assert list((tmp_path / "cache").rglob(f"{name}-*")) == []
    # The stage that only compiles is taken out of the engine again.
    stage = f"{built_image.STAGE_LABEL}={name}"
    assert engine.pruned == [{"dangling": True, "label": stage}]


def test_each_image_has_libraries_of_its_own(
    engine: Engine, fetched: dict[Path | None, str]
) -> None:
    OnlineSupply().provide(BUILT, Quiet())
    assert fetched == {libraries.list_file(): "amd64", standin_files.library_list(): "amd64"}
    assert len({build["labels"][KEY_LABEL] for build in engine.builds}) == 2
    # Both are built at the same time on one base, which is pulled once.
    assert engine.pulled == [f"docker.io/library/debian@{TWO}"]


@pytest.mark.parametrize("name", BUILT)
def test_an_outdated_image_is_replaced_and_removed(
    engine: Engine, fetched: dict[Path | None, str], name: str
) -> None:
    engine.add(built_image.name_of(find_part(name)), labels={KEY_LABEL: "old"}, id="old")
    assert not OnlineSupply().ready([name])
    OnlineSupply().provide([name], Quiet())
    assert {entry["Id"] for entry in engine.images_by_name.values()} == {
        "built-1",
        "sha256:" + "f" * 64,
    }


def test_the_stand_ins_are_built_anew_when_their_source_changes(
    engine: Engine,
    fetched: dict[Path | None, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = tmp_path / "standins" / "one" / "server.py"
    source.parent.mkdir(parents=True)
    source.write_text("a", encoding="utf-8")
    monkeypatch.setattr(standin_files, "CHECKOUT", tmp_path)
    OnlineSupply().provide(BUILT, Quiet())
    assert OnlineSupply().ready(BUILT)
    source.write_text("b", encoding="utf-8")
    assert not OnlineSupply().ready(["standins"])
    assert OnlineSupply().ready(["app"])


def test_the_stand_ins_are_built_anew_when_their_program_in_go_changes(
    engine: Engine,
    fetched: dict[Path | None, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    OnlineSupply().provide(BUILT, Quiet())
    monkeypatch.setattr(golang, "text_of", lambda name: [f"{name}/main.go", "another source"])
    assert not OnlineSupply().ready(["standins"])
    assert OnlineSupply().ready(["app"])


@pytest.mark.parametrize("name", BUILT)
def test_an_image_that_somebody_loaded_is_used(engine: Engine, name: str) -> None:
    engine.add(built_image.name_of(find_part(name)))
    provided = OnlineSupply().provide([name], Quiet())[name]
    assert provided.origin.endswith("local, not built here")
    assert provided.upstream is (name == "app")
    assert engine.builds == []


@pytest.mark.parametrize("name", BUILT)
def test_a_failed_build_shows_its_last_lines(
    engine: Engine, fetched: dict[Path | None, str], tmp_path: Path, name: str
) -> None:
    engine.events = []
    OnlineSupply().provide([name], Quiet())
    engine.remove("built-1")
    engine.events = [
        {"stream": "Step 1/6 : FROM debian\n"},
        {"stream": "E: Unable to locate package jq\n"},
        {"error": "The command returned a non-zero code: 100"},
    ]
    with pytest.raises(EnvironmentLacks, match="Unable to locate package jq") as caught:
        OnlineSupply().provide([name], Quiet())
    assert f"the image {name} cannot be built" in str(caught.value)
    assert "non-zero code: 100" in str(caught.value)
    assert list((tmp_path / "cache").rglob(f"{name}-*")) == []


def test_both_supplies_make_the_same_of_the_stand_ins() -> None:
    """The user, the paths and the bytecode of the recipe are those of the Dockerfile."""
    text = (clusters() / "online" / "standins" / "Dockerfile").read_text(encoding="utf-8")
    assert f"USER {standins.USER}:{standins.USER}\n" in text
    assert f"PYTHONPATH=/{standins.HOME} " in text
    assert f"COPY standins /{standins.HOME}/standins\n" in text
    assert f"LABEL {built_image.STAGE_LABEL}=standins\n" in text
    for word in (*standins.PACKAGES, *standins._COMPILE[1:]):
        assert word in text
    site = f"/usr/local/lib/python{libraries.PYTHON}/dist-packages"
    assert f"COPY --from=compiled {site} {site}\n" in text
    program = standin_files.GO_PROGRAM
    assert f"COPY {program} /usr/local/bin/{program}\n" in text
    assert program in standins.recipe.needs


def test_libraries_carry_their_hashes_from_the_lock() -> None:
    wanted = "bb==2 ; x != 'y' \\\n    --hash=sha256:2 \\\n    --hash=sha256:3\n"
    lock = f"a==1 \\\n    --hash=sha256:1\n{wanted}c==3\n"
    assert libraries.requirements(lock, ["bb"]) == wanted
    with pytest.raises(UsageError, match=r"requirements\.lock has no zz"):
        libraries.requirements(lock, ["a", "zz"])


def test_every_library_of_the_app_image_is_in_the_lock() -> None:
    text = libraries.wanted()
    for name in ("hvac", "requests", "psycopg", "psycopg-binary"):
        assert f"\n{name}==" in f"\n{text}"
    assert text.count("--hash=sha256:") >= text.count("==")


# -- side by side ------------------------------------------------------------------------


def _given(name: str) -> Provided:
    return Provided(name, "1", "a test", True, ONE, image=name)


def side_by_side(work: Mapping[str, online.Work], progress: Quiet) -> dict[str, Provided]:
    """The supply's way of getting parts, with work of the test's own."""
    return tasks.side_by_side(
        {name: partial(online._reported, name, do, progress) for name, do in work.items()}, 4
    )


def test_results_come_in_the_order_that_was_asked_for() -> None:
    names = [f"part{number}" for number in range(9)]
    work = {name: (lambda say, name=name: _given(name)) for name in names}
    progress = Quiet()
    assert list(side_by_side(work, progress)) == names
    assert [event for event, *_ in progress.heard].count("done") == 9


def test_the_first_failure_stops_the_others() -> None:
    running, stopped = threading.Event(), threading.Event()

    def endless(say: Any) -> Provided:
        running.set()
        try:
            while True:
                say("working")
        except tasks.Ended:
            stopped.set()
            raise

    def failing(say: Any) -> Provided:
        running.wait(5)
        raise EnvironmentLacks("no such thing")

    progress = Quiet()
    with pytest.raises(EnvironmentLacks, match="no such thing"):
        side_by_side({"endless": endless, "failing": failing}, progress)
    assert stopped.wait(5)
    assert ("fail", "failing", "no such thing") in progress.heard
    assert ("fail", "endless", "stopped") in progress.heard


def test_ctrl_c_stops_the_work_and_ends_its_programs() -> None:
    ended: list[BaseException] = []

    def endless(say: Any) -> Provided:
        _thread.interrupt_main()
        try:
            process.run(["sleep", "60"])
        except BaseException as error:
            ended.append(error)
            raise
        return _given("endless")

    progress = Quiet()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        side_by_side({"endless": endless}, progress)
    assert time.monotonic() - start < 3
    assert isinstance(ended[0], tasks.Ended)
    assert ("fail", "endless", "stopped") in progress.heard


def test_an_engine_error_in_a_worker_reaches_the_caller(engine: Engine) -> None:
    engine.error = APIError("boom")
    with pytest.raises(EnvironmentLacks, match="cannot be pulled: boom"):
        OnlineSupply().provide(["vault"], Quiet())


def test_a_port_with_the_digits_of_a_status_is_none() -> None:
    asked = Reference("127.0.0.1:42985", "team/tiny", "1")
    said = "Get https://127.0.0.1:42985/v2/team/tiny/manifests/1: no basic auth credentials"
    assert "a login is needed" in registries._failure(said, asked, "linux/amd64").what
