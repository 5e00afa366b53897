"""An environment: one kind cluster, one dev Vault, what is installed on them, a state folder.

`up` brings it from whatever state it is in to a working one and leaves alone what works
already (harness.environment.bringup); `down` removes every container, network, volume and file that
belongs to it and nothing else. Where all that lies: harness.environment.layout.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound
from docker.models.containers import Container

from harness.base.errors import EnvironmentLacks, LabError, NotUp, UsageError
from harness.base.labels import ENVIRONMENT_LABEL
from harness.base.paths import existing, keep_out_of_git, state_root
from harness.base.progress import Progress
from harness.clients.vault import VaultUnreachable
from harness.environment import brought, owner
from harness.environment.bringup import VAULT_POD_ADDR, BringUp, Options
from harness.environment.layout import DEFAULT, EnvironmentLayout
from harness.lab.access import Access
from harness.supply.engine import engine

__all__ = ["DEFAULT", "Environment", "Options", "existing"]


class Environment(EnvironmentLayout):
    """The environment `name`, running or not."""

    def __repr__(self) -> str:
        return f"<environment {self.name}>"

    # -- what is there ------------------------------------------------------------------

    def access(self) -> Access:
        """How to reach it. Raises NotUp unless `up` has finished before."""
        record = self.record
        if not record or not record.complete:
            raise self._not_up("is not up" if not record else "was not brought up completely")
        vault = self.vault()
        keys = vault.keys
        return Access(
            name=self.name,
            state=self.folder,
            kubeconfig=self.cluster.kubeconfig,
            cluster=self.cluster.name,
            api_server=self.cluster.api_server,
            flavour=record.flavour,
            vault_addr=vault.address(record.vault_port),
            vault_pod_addr=VAULT_POD_ADDR,
            vault_ca=vault.ca,
            vault_token=keys.root_token,
            learner_token=keys.learner_token,
            audit_log=vault.audit_log,
            programs=self.folder / "bin",
            images={part.part: part.image for part in record.provided if part.image},
            unseal_key=keys.unseal_key,
        )

    def running(self) -> Access:
        """Like `access`, but its containers run and its token is good. Raises NotUp."""
        access, vault = self.access(), self.vault()
        for container in (self.cluster.node(), vault.container()):
            if container is None or container.status != "running":
                raise self._not_up("does not run any more")
        # A Vault that does not answer is explained by the step or command that asks it.
        with contextlib.suppress(VaultUnreachable):
            vault.ensure_learner_token(access.vault_addr)
        return access

    def _not_up(self, how: str) -> NotUp:
        option = "" if self.name == DEFAULT else f" --env {self.name}"
        return NotUp(f"environment {self.name} {how}", hint=f"./lab up{option}")

    # -- up -----------------------------------------------------------------------------

    def up(self, options: Options, progress: Progress) -> Access:
        """Bring the environment up, or repair it; return how to reach it.

        Raises UsageError when the options contradict what is there, or when another checkout
        made it (so does `down`), EnvironmentLacks
        when the machine cannot, GaveUp when a part does not become ready.
        """
        found = engine.find()
        if found is not None:
            self._require_own()
        with self._locked():
            BringUp(self, options, progress, found).run()
        return self.access()

    # -- down ---------------------------------------------------------------------------

    def down(self) -> list[str]:
        """Remove everything of this environment; return what was removed, in words.

        Goes by label and by name, so that it also removes what an interrupted `up` left. Fine
        when all is gone already. Raises UsageError for a name that no `up` was ever run for,
        EnvironmentLacks when there is something to remove and no engine answers.
        """
        found = engine.find()
        there = self.folder.exists() or (found is not None and self._is_in_engine())
        if not there and not self._lock_file.exists():
            raise UsageError(f"there is no environment {self.name!r}", hint=_listed(existing()))
        if not there:
            return []
        if found is None:
            raise EnvironmentLacks(
                f"no container engine answers, so environment {self.name} stays as it is",
                where=engine.address(),
                hint="start the engine that it was made on, then the same command again",
            )
        self._require_own()
        removed: list[str] = []
        with self._locked(), contextlib.closing(engine.client()) as client:
            network = None if self.brought else self.network
            if self.brought:
                programs = self.folder / "bin"
                removed += brought.remove_from(self.cluster, self.name, programs)
            for container in self._containers(client):
                container.remove(force=True, v=True)
                removed.append(f"container {container.name}")
            for volume in client.volumes.list(filters=self._mine):
                volume.remove(force=True)
                removed.append(f"volume {volume.name}")
            if network:
                with contextlib.suppress(NotFound):
                    client.networks.get(network).remove()
                    removed.append(f"network {network}")
            shutil.rmtree(self.folder)
            removed.append(f"state folder {self.folder.name}")
        return removed

    def _require_own(self) -> None:
        with contextlib.closing(engine.client()) as client:
            owner.require_own(client, self.network, self.folder)

    @property
    def _mine(self) -> dict[str, Any]:
        return {"label": f"{ENVIRONMENT_LABEL}={self.name}"}

    def _containers(self, client: docker.DockerClient) -> list[Container]:
        node = None if self.brought else self.cluster.node()
        return client.containers.list(all=True, filters=self._mine) + ([node] if node else [])

    def _is_in_engine(self) -> bool:
        """Whether the engine has anything of it, though its state folder is gone."""
        with contextlib.closing(engine.client()) as client:
            return bool(
                self._containers(client)
                or client.volumes.list(filters=self._mine)
                or (not self.brought and client.networks.list(names=[self.network]))
            )

    @property
    def _lock_file(self) -> Path:
        """It stays when the environment is removed: so its name is known to have been one."""
        return state_root() / f".{self.name}.lock"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One `up` or `down` at a time; the lock ends with the process."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)
            keep_out_of_git(state_root())
            lock = self._lock_file.open("w")
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


def _listed(names: list[str]) -> str:
    return f"there are: {', '.join(names)}" if names else "there is none: ./lab up makes one"
