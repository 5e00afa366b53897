"""Upstream's charts: from their publisher's Helm repository, checked and kept like programs.

A Helm repository is an index (`index.yaml`: versions, addresses, SHA-256 sums) and archives.
The pinned version is looked up in it, its archive is downloaded once and checked, and the
sum is remembered in the lock. Helm then installs from that file: no network is asked at
`up`. LAB_CHARTS=folder names charts of a person's own, as archives or unpacked;
LAB_CHARTS=oci://... a registry that has them (harness.supply.online.oci_charts).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import yaml

from harness.base.errors import UsageError
from harness.base.paths import cache_root
from harness.base.statefile import digest_of, file_sha256
from harness.supply.base import Part
from harness.supply.online.downloads import Release, redirected

VARIABLE = "LAB_CHARTS"
# HashiCorp's index has all versions of all its charts: a megabyte.
LARGEST_INDEX = 32 << 20


class ChartRelease(Release):
    """One pinned chart as its publisher's repository has it."""

    largest_sum_file = LARGEST_INDEX
    mode = 0o644

    def __init__(self, part: Part) -> None:
        self.chart = str(part.online["chart"])
        self.version = part.version
        self.name = f"chart {self.chart} {part.version}"
        self.repository = str(part.online["repository"]).rstrip("/") + "/"
        self.checksum = redirected(urljoin(self.repository, "index.yaml"))
        # Where the archive lies is known from the index only.
        self.url = ""
        self.pinned = str(part.online.get("digest", "")).removeprefix("sha256:")
        self.member = ""
        self.folder = cache_root() / "downloads" / self.name.replace(" ", "-")
        self.program = self.folder / f"{self.chart}-{part.version}.tgz"

    def find_sum(self, text: str) -> str:
        """The archive's sum in the text of the index, which also gives its address."""
        try:
            # The C parser: the pure one takes ten seconds for a megabyte.
            index = yaml.load(text, Loader=yaml.CSafeLoader)
            entries = index["entries"][self.chart]
            entry = next(one for one in entries if self._is_wanted(one))
            self.url = redirected(urljoin(self.repository, str(entry["urls"][0])))
            found = str(entry["digest"]).removeprefix("sha256:")
        except (yaml.YAMLError, KeyError, TypeError, IndexError, StopIteration) as error:
            raise UsageError(
                f"the Helm repository has no {self.name} with a SHA-256 sum",
                where=self.checksum,
                hint=f"a proxy's login page, or a version that was taken back; or {VARIABLE}=folder"
                " with the chart",
            ) from error
        if self.pinned not in ("", found):
            raise UsageError(
                f"{self.name} is not the pinned one: the repository has {found}",
                where=f"{self.checksum}; versions.toml has {self.pinned}",
                hint="nothing was taken over: compare the two archives",
            )
        return found

    def _is_wanted(self, entry: Mapping[str, Any]) -> bool:
        return str(entry.get("version", "")).removeprefix("v") == self.version


def named_registry() -> str:
    """The registry of charts that LAB_CHARTS names, as oci://...; "" for a folder or nothing."""
    named = os.environ.get(VARIABLE, "").strip().rstrip("/")
    return named if named.startswith("oci:") else ""


def release(part: Part) -> ChartRelease:
    """The pinned chart where it is to be had: its publisher's repository, or a named registry."""
    if not named_registry():
        return ChartRelease(part)
    from harness.supply.online.oci_charts import OciChart

    return OciChart(part)


def local(part: Part) -> Path | None:
    """Where LAB_CHARTS has the chart: `NAME-VERSION.tgz` or `NAME/`; None without the variable.

    Raises UsageError when the variable is set and the folder has no such chart.
    """
    named = os.environ.get(VARIABLE, "")
    if not named or named_registry():
        return None
    folder, chart = Path(named).expanduser(), str(part.online["chart"])
    for found in (folder / f"{chart}-{part.version}.tgz", folder / chart):
        if found.exists():
            return found.resolve()
    raise UsageError(
        f"{VARIABLE} has no chart {chart} {part.version}",
        where=str(folder),
        hint=f"helm pull {chart} --repo {part.online['repository']} --version {part.version}"
        f" -d {folder}; or unset {VARIABLE}",
    )


def digest(chart: Path) -> str:
    """What tells that a chart is another one: an archive's sum, or that of a folder's files."""
    if chart.is_file():
        return digest_of(chart)
    files = sorted(file for file in chart.rglob("*") if file.is_file())
    lines = (f"{file.relative_to(chart)} {file_sha256(file)}\n" for file in files)
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"
