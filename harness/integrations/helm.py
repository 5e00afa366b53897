"""Helm, for the online supply: one of upstream's charts becomes a release of a cluster.

A chart is a local folder or archive when LAB_CHARTS names a folder that has it, otherwise
helm fetches it from its publisher; versions.toml pins both the version and the address.
Health is not helm's business here: an integration waits for what it knows about, and
explains itself. What is offline is installed from this project's own manifests, without
helm.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.base import process
from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.paths import clusters
from harness.integrations.base import InstallContext
from harness.supply.base import VERSIONS_FILE

CHARTS_VARIABLE = "LAB_CHARTS"
INSTALL_SECONDS = 300.0


@dataclass(frozen=True)
class Chart:
    """One pinned chart: an entry `[charts.NAME]` of clusters/versions.toml."""

    name: str
    version: str
    licence: str
    repository: str

    def local(self) -> Path | None:
        """Where LAB_CHARTS has it: `NAME-VERSION.tgz` or `NAME/`; None without the variable.

        Raises UsageError when the variable is set and the folder has no such chart.
        """
        named = os.environ.get(CHARTS_VARIABLE, "")
        if not named:
            return None
        folder = Path(named).expanduser()
        for found in (folder / f"{self.name}-{self.version}.tgz", folder / self.name):
            if found.exists():
                return found.resolve()
        raise UsageError(
            f"{CHARTS_VARIABLE} has no chart {self.name} {self.version}",
            where=str(folder),
            hint=f"helm pull {self.name} --repo {self.repository} --version {self.version}"
            f" -d {folder}; or unset {CHARTS_VARIABLE}",
        )

    def words(self) -> list[str]:
        """How helm is told to take it."""
        local = self.local()
        if local:
            return [str(local)]
        return [self.name, "--repo", self.repository, "--version", self.version]

    def origin(self) -> str:
        """Completes "this chart comes from …"."""
        return str(self.local() or f"{self.repository}, version {self.version}")


@cache
def _charts() -> Mapping[str, Chart]:
    table = tomllib.loads((clusters() / VERSIONS_FILE).read_text(encoding="utf-8"))["charts"]
    return {name: Chart(name=name, **entry) for name, entry in table.items()}


def find_chart(name: str) -> Chart:
    """The pinned chart of this name. Raises UsageError when versions.toml has none."""
    try:
        return _charts()[name]
    except KeyError:
        raise UsageError(
            f"there is no chart {name!r}", where=VERSIONS_FILE, hint=", ".join(_charts())
        ) from None


def install(
    context: InstallContext, chart: str, release: str, namespace: str, values: Mapping[str, Any]
) -> str:
    """Install or upgrade `release`; return where the chart came from.

    The values are kept beside helm's log in the integration's folder. Raises EnvironmentLacks
    when the supply brought no helm or the chart cannot be had; CommandFailed with helm's
    last lines when the cluster refuses it.
    """
    program = context.provided.get("helm")
    if program is None or program.path is None:
        raise EnvironmentLacks(
            f"chart {chart} needs helm, and this supply brought none", hint="--supply online"
        )
    pinned = find_chart(chart)
    context.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = context.folder / f"{release}.values.json"
    file.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    where: list[str | Path] = ["--namespace", namespace, "--kubeconfig", context.kubeconfig]

    def helm(*words: str | Path, hint: str = "") -> str:
        return process.run(
            [program.path or "helm", *words, *where],
            env=_environment(context),
            log=context.folder / "helm.log",
            timeout=INSTALL_SECONDS,
            hint=hint,
        )

    # Helm refuses to touch a release whose last operation was cut off in the middle.
    if _is_pending(helm("list", "--all", "--filter", f"^{release}$", "--output", "json")):
        helm("uninstall", release)
    helm(
        *("upgrade", "--install", release, *pinned.words()),
        *("--create-namespace", "--values", file),
        hint=f"{CHARTS_VARIABLE}=folder with the chart, when {pinned.repository} is out of reach",
    )
    return pinned.origin()


def _is_pending(listed: str) -> bool:
    """Whether `helm list` knows a release in pending-install, -upgrade or -rollback."""
    # Warnings about the kubeconfig's mode come before the answer, in the same stream.
    found = json.loads(listed[listed.index("[") :]) if "[" in listed else []
    return any(str(release["status"]).startswith("pending-") for release in found)


def image(reference: str) -> tuple[str, str]:
    """`registry/path:tag` as charts want it: the repository and the tag."""
    repository, _, tag = reference.rpartition(":")
    return repository, tag


def _environment(context: InstallContext) -> Mapping[str, str]:
    """Helm's folders inside the integration's: a person's own are neither read nor written."""
    return {
        f"HELM_{kind}_HOME": str(context.folder / "helm" / kind.lower())
        for kind in ("CACHE", "CONFIG", "DATA")
    }
