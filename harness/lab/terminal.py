"""Commands of a step as a person types them in `./lab shell`: variables, kubectl apply, bash.

The same text stands in a notebook's cell, is shown by the tour and can be pasted into
`./lab shell`. There kubectl uses the lab's namespace without being asked, because the
lab has a kubeconfig of its own. A manifest that is applied from here may name the variables,
as in a here-document of a shell: `$NAMESPACE`, `${APP_IMAGE}`.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from harness.base import process
from harness.base.paths import CHECKOUT, INSTALLED
from harness.base.process import CommandFailed
from harness.base.redact import Secret, redact
from harness.base.statefile import write_atomically
from harness.clients.kube import here_document
from harness.lab.access import Access
from harness.lab.gaps import require_filled, solved

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")

Listener = Callable[[str], None]


class Terminal:
    """A shell for one lab. `folder` holds the lab's state: notes, progress, baselines.

    `on_call` gets each call before it is made, `on_output` what a command printed.
    """

    def __init__(
        self,
        access: Access,
        namespace: str,
        on_call: Listener | None = None,
        on_output: Listener | None = print,
    ) -> None:
        self.access = access
        self.namespace = namespace
        self.on_call = on_call
        self.on_output = on_output

    @property
    def folder(self) -> Path:
        """This lab's folder in the environment's state."""
        raise NotImplementedError

    @property
    def source(self) -> Path:
        """The folder of this lab's own files: its steps, its manifests."""
        raise NotImplementedError

    def kubectl_apply(self, manifest: str = "", *, file: str = "", timeout: float = 60) -> str:
        """Apply YAML in the lab's namespace, show and return what `kubectl apply` prints.

        The text may name the variables of `./lab shell` (`$NAMESPACE`). Instead of it, `file`
        names one in the lab's source folder ("manifests/web.yaml"): that is shown first.
        Raises CommandFailed with kubectl's own words.
        """
        if file:
            manifest = (self.source / file).read_text(encoding="utf-8")
        text = expanded(typed(manifest), self.shell_variables())
        if file and not self.on_call:
            self._show(text)
        return self._show(self.run("kubectl apply -f -", stdin=f"{text}\n", timeout=timeout))

    def sh(self, command: str, *, timeout: float = 120, fails: bool = False) -> str:
        """Run what a person would paste into `./lab shell`; show and return what it prints.

        `command` is one command or several lines, here-documents too. bash stops at the first
        command that fails and CommandFailed is raised; with `fails` it is raised when none
        failed, because the step shows a refusal.
        """
        text = typed(command)
        self.say(text)
        try:
            output = self._execute(["bash", "-e", "-o", "pipefail", "-c", text], timeout)
        except CommandFailed as error:
            # A status below 0 is the end by a signal: the time was up.
            if fails and error.status > 0:
                return self._show(error.output)
            raise
        self._show(output)
        if fails:
            raise CommandFailed(
                "the command went well, and should have been refused",
                status=0,
                output=redact(output),
                where=redact(text.splitlines()[0]),
            )
        return output

    def run(self, command: str, *, timeout: float = 60, stdin: str | None = None) -> str:
        """Run one command and return its output, for Python to work on; nothing is shown of it.

        It finds the environment's programs and the variables of `./lab shell`. Raises
        CommandFailed with the last lines when its status is not 0.
        """
        self.say(command if stdin is None else here_document(command, stdin))
        return self._execute(shlex.split(command), timeout, stdin)

    def shell_variables(self) -> dict[str, str]:
        """The variables that `./lab shell` sets for this lab, without the token.

        NAMESPACE is the lab's namespace and the beginning of its names in Vault, NODE the
        container that is the cluster's node, API_SERVER the address at which Vault reaches the
        cluster, VAULT_POD_ADDR that at which pods reach Vault, VAULT_AUDIT_LOG the file with
        Vault's audit log, APP_IMAGE an image with a shell, curl and jq, STANDINS_IMAGE the one
        with this project's own components, LAB the folder of the lab's own files, LAB_ENV the
        environment that the command `lab` works on.
        """
        kubeconfig = _kubeconfig(self.access.kubeconfig, self.folder / "kubeconfig", self.namespace)
        return {
            **self.access.shell_variables(),
            "KUBECONFIG": str(kubeconfig),
            "NAMESPACE": self.namespace,
            "NODE": f"{self.access.cluster}-control-plane",
            "API_SERVER": self.access.api_server,
            "VAULT_POD_ADDR": self.access.vault_pod_addr,
            "VAULT_AUDIT_LOG": str(self.access.audit_log),
            "APP_IMAGE": self.access.images.get("app", ""),
            "STANDINS_IMAGE": self.access.images.get("standins", ""),
            "LAB": str(self.source),
            "LAB_ENV": self.access.name,
        }

    def secret_variables(self) -> dict[str, Secret]:
        """The variables of `./lab shell` that nobody else may read.

        VAULT_TOKEN is the learner's token, VAULT_UNSEAL_KEY what opens Vault after
        `vault operator seal`.
        """
        return {
            "VAULT_TOKEN": self.access.learner_token,
            "VAULT_UNSEAL_KEY": self.access.unseal_key,
        }

    def shell_environment(self) -> dict[str, str]:
        """All variables of `./lab shell`, and a PATH with the environment's programs and `lab`."""
        # The command `lab` is in the checkout, or beside the Python of an installed package.
        own = Path(sys.executable).parent if INSTALLED else CHECKOUT
        places = (str(self.access.programs), str(own), os.environ.get("PATH", ""))
        return {
            **self.shell_variables(),
            **self.secret_variables(),
            "PATH": os.pathsep.join(places),
        }

    def say(self, line: str) -> None:
        """Report a call to the listener, before it is made."""
        if self.on_call:
            self.on_call(redact(line))

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Report no call and show no output while the block runs."""
        listeners = self.on_call, self.on_output
        self.on_call = self.on_output = None
        try:
            yield
        finally:
            self.on_call, self.on_output = listeners

    def _execute(self, argv: Sequence[str], timeout: float, stdin: str | None = None) -> str:
        return process.run(argv, env=self.shell_environment(), timeout=timeout, stdin=stdin)

    def _show(self, output: str) -> str:
        if self.on_output and output.strip():
            self.on_output(redact(output).rstrip("\n"))
        return output


def typed(text: str) -> str:
    """A step's text as a person would type it: at the left margin, without the marks of gaps.

    Raises UsageError when a gap of an exercise is still open.
    """
    require_filled(text)
    return solved(textwrap.dedent(text).strip("\n"))


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """The text with the values of these variables; any other `$` stays as it is."""
    return _VARIABLE.sub(lambda match: variables.get(match[1] or match[2], match[0]), text)


def _kubeconfig(source: Path, target: Path, namespace: str) -> Path:
    """A copy of the environment's kubeconfig whose default namespace is the lab's."""
    config = yaml.safe_load(source.read_text(encoding="utf-8"))
    for entry in config["contexts"]:
        entry["context"]["namespace"] = namespace
    text = yaml.safe_dump(config)
    if not target.is_file() or target.read_text(encoding="utf-8") != text:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(target, text, mode=0o600)
    return target
