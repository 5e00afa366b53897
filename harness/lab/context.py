"""What a step gets as `lab`: the ways to act on one environment, for one lab.

`lab.sh` and `lab.kubectl_apply` do what a person would type in `./lab shell` and show what
comes back; `lab.http` is plain HTTP to Vault, `lab.vault` is hvac, `lab.kube` speaks kubectl's
verbs. All of them report each call to a listener first, which is how the tour shows the calls.
Names come from `lab.namespace` and `lab.path`, so that two labs never collide. What is about
commands is in harness.lab.terminal.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import hvac

from harness.base.errors import NotUp
from harness.base.labels import LAB_LABEL, STEP_LABEL, labels_of
from harness.base.paths import CHECKOUT
from harness.base.redact import Secret, redact
from harness.base.statefile import read_json
from harness.base.wait import pause, wait_for
from harness.clients.kube import Kube
from harness.clients.vault import VaultHTTP
from harness.clients.vault_audit import AuditLog
from harness.lab.access import Access
from harness.lab.notes import Notes
from harness.lab.terminal import Listener, Terminal

if TYPE_CHECKING:
    from harness.controlplane.change import ControlPlane
    from harness.integrations.postgres import Postgres
    from harness.lab.kit.orders import Orders
    from harness.lab.steps import Lab, Step

T = TypeVar("T")


class LabContext(Terminal):
    """One lab in one environment. `step` is the step that runs now, for the labels.

    `on_call` gets each call before it is made, `on_output` what a command printed.
    """

    def __init__(
        self,
        access: Access,
        lab: Lab,
        on_call: Listener | None = None,
        on_output: Listener | None = print,
    ) -> None:
        super().__init__(access, lab.prefix, on_call, on_output)
        self.lab = lab
        self.step: Step | None = None
        # Steps that measure have a short version for the tour, and a full one.
        self.full = False
        # Steps that make many of a kind make few without it.
        self.scale = False

    def __repr__(self) -> str:
        return f"<lab {self.lab.number} in environment {self.access.name}>"

    # -- names --------------------------------------------------------------------------

    def path(self, word: str, *more: str) -> str:
        """A name of this lab's own in Vault, with what follows it.

        `lab.path("kv")` is `lab01-kv`; `lab.path("kv", "data", "app")` is
        `lab01-kv/data/app`. Mounts, policies and auth methods that are named so are
        found again by `reset`.
        """
        return "/".join([f"{self.lab.prefix}-{word}", *more])

    def image(self, part: str = "app") -> str:
        """The image reference that a pod of this environment names for `part`."""
        return self.access.image(part)

    def secret(self, name: str) -> Secret:
        """A random-looking value of this environment and lab, the same on every call.

        Derived from the environment's root token (HMAC-SHA256), so it is never stored
        and two environments never share it; it is masked wherever text is printed.
        """
        key = self.access.vault_token.encode()
        digest = hmac.new(key, f"{self.lab.number}/{name}".encode(), hashlib.sha256)
        return Secret(digest.hexdigest()[:24])

    def fingerprint(self, value: str) -> str:
        """SHA-256 of `value`, to compare a secret with what a pod got, without showing it."""
        return hashlib.sha256(value.encode()).hexdigest()

    def shell_variables(self) -> dict[str, str]:
        """The variables of this lab's shell, with those of the integrations that it needs."""
        images = {
            f"{name.upper()}_IMAGE": self.access.images[name]
            for name in self.lab.needs
            if name in self.access.images
        }
        found = {k: v for k, v in self._from_integrations.items() if not isinstance(v, Secret)}
        return {**super().shell_variables(), **images, **found}

    def secret_variables(self) -> dict[str, Secret]:
        """VAULT_TOKEN, and what the integrations of this lab have of that kind."""
        found = {k: v for k, v in self._from_integrations.items() if isinstance(v, Secret)}
        return {**super().secret_variables(), **found}

    @cached_property
    def _from_integrations(self) -> dict[str, str]:
        from harness import integrations

        found: dict[str, str] = {}
        for name in self.lab.needs:
            # A shell may be opened before the lab's needs are installed.
            with suppress(NotUp):
                found |= integrations.find(name).variables(self.access.state)
        return found

    # -- ways to act --------------------------------------------------------------------

    @cached_property
    def http(self) -> VaultHTTP:
        """Plain HTTP to Vault as the environment's administrator (lab 01 teaches it)."""
        return VaultHTTP(
            self.access.vault_addr, self.access.vault_ca, self.access.learner_token, self.say
        )

    @cached_property
    def vault(self) -> Any:
        """An hvac client as the environment's administrator."""
        client: Any = hvac.Client(
            url=self.access.vault_addr,
            token=str(self.access.learner_token),
            verify=str(self.access.vault_ca),
        )
        # A person's proxies and CA variables must not change what a lab does.
        client.session.trust_env = False
        return client

    @cached_property
    def kube(self) -> Kube:
        """The cluster, with this lab's namespace as the default."""
        return Kube(self.access.kubeconfig, self.namespace, self.labels, self.say)

    def wait_for(self, what: str, probe: Callable[[], T], **options: Any) -> T:
        """Wait until `probe` is true and report no call of it (harness.base.wait.wait_for)."""
        with self.quiet():
            return wait_for(what, probe, **options)

    pause = staticmethod(pause)

    def client(self, integration: str) -> Any:
        """The client of an integration, as its module describes it. Raises NotUp without it."""
        from harness import integrations

        return integrations.find(integration).client(self.access.state, self.say)

    @cached_property
    def postgres(self) -> Postgres:
        """The database server of the environment. Raises NotUp when no lab needed it."""
        server: Postgres = self.client("postgres")
        return server

    @cached_property
    def orders(self) -> Orders:
        """This lab's table in that database, and what Vault needs to make users for it."""
        from harness.lab.kit.orders import Orders

        return Orders(self)

    @cached_property
    def control_plane(self) -> ControlPlane:
        """The API server's settings, and what etcd holds (labs 00 and 06)."""
        from harness.controlplane.change import ControlPlane

        return ControlPlane(
            f"{self.access.cluster}-control-plane",
            self.access.kubeconfig,
            self.access.state / "control-plane",
            self.say,
        )

    def show(self, picture: object) -> None:
        """Show a picture or a table: in a notebook as it is, elsewhere a file name or text."""
        if isinstance(picture, Path):
            self.say(f"# picture: {picture.name} in the lab's state folder")
        elif self.on_output:
            self.on_output(redact(str(picture)))

    def draw(self, name: str) -> None:
        """Show one of the lab's own drawings: a picture or a table of what has happened."""
        self.show(self.lab.drawings[name](self))

    # -- memory -------------------------------------------------------------------------

    @property
    def source(self) -> Path:
        """The folder of this lab's own files: its steps, its manifests."""
        if not self.lab.steps:
            return CHECKOUT / "labs"  # one that is only begun has none
        return self.lab.source

    @property
    def folder(self) -> Path:
        """This lab's folder in the environment's state: notes, progress, baselines."""
        return self.access.state / "labs" / self.lab.number

    @property
    def notes(self) -> Notes:
        """What one step leaves for the next (JSON, no secrets); survives restarts."""
        return Notes(self.folder / "notes.json")

    @property
    def audit(self) -> AuditLog:
        """Vault's audit log since the running step began.

        So a check can ask "did this happen?", and an undone step has not happened.
        """
        return self.audit_since(self.step.number if self.step else 1)

    def audit_since(self, number: int) -> AuditLog:
        """Vault's audit log from the beginning of the step with this number.

        Without one, from that of the nearest step before it, or from the last reset.
        """
        begun = (self.folder / f"before-{n}.json" for n in range(number, 0, -1))
        file = next((file for file in begun if file.exists()), self.last_reset)
        return AuditLog(self.access.audit_log, int(read_json(file).get("audit", 0)))

    def baseline(self, step: Step) -> Path:
        """The file that holds the state before a step (harness.session.runner)."""
        return self.folder / f"before-{step.number}.json"

    @property
    def last_reset(self) -> Path:
        """The file that says where the audit log ended when the lab was last reset."""
        return self.folder / "last-reset.json"

    # -- for the engine -----------------------------------------------------------------

    def labels(self) -> Mapping[str, str]:
        """The labels that every object of the running step bears."""
        step = {STEP_LABEL: str(self.step.number)} if self.step else {}
        return {**labels_of(self.access.name), LAB_LABEL: self.lab.number, **step}

    def prepare(self) -> None:
        """Make the lab's namespace, after an earlier one of that name has ended.

        It holds a ConfigMap `vault-ca` with the certificate that pods verify Vault
        with, as `kube-root-ca.crt` does for the API server.
        """
        with self.quiet():
            found = self.kube.get("Namespace", self.namespace)
            if found and found["metadata"].get("deletionTimestamp"):
                wait_for(
                    f"the old namespace {self.namespace} to be gone",
                    lambda: self.kube.get("Namespace", self.namespace) is None,
                    timeout=90,
                    hint=f"kubectl get all -n {self.namespace}; which finalizer holds it?",
                )
                found = None
            if not found:
                self.kube.apply(_object("Namespace", self.namespace))
            if not found or not self.kube.get("ConfigMap", "vault-ca"):
                certificate = self.access.vault_ca.read_text(encoding="ascii")
                self.kube.apply(
                    _object("ConfigMap", "vault-ca") | {"data": {"ca.crt": certificate}}
                )


def _object(kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
