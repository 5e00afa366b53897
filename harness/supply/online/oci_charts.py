"""Charts from an OCI registry: LAB_CHARTS=oci://HOST[:PORT][/PREFIX], where `helm push` puts them.

A chart NAME of version V is the artifact PREFIX/NAME:V. Its archive is a layer, and the layer's
digest is the archive's SHA-256 sum: it is checked, pinned and kept as a publisher's download is.
"""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

import requests

from harness.base import proxies
from harness.base.errors import EnvironmentLacks, UsageError
from harness.supply.base import Part
from harness.supply.online import web
from harness.supply.online.charts import VARIABLE, ChartRelease, named_registry

ARCHIVE = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PLACE = re.compile(r"oci://([A-Za-z0-9.-]+|\[[0-9a-f:]+\])(:\d{1,5})?(/[a-z0-9._/-]*[a-z0-9])?")
_LARGEST_MANIFEST = 4 << 20


class OciChart(ChartRelease):
    """One pinned chart as the registry that LAB_CHARTS names has it."""

    def __init__(self, part: Part) -> None:
        super().__init__(part)
        place = named_registry()
        if not _PLACE.fullmatch(place):
            raise UsageError(
                f"{VARIABLE}={place} is not the address of charts in a registry",
                where=f"environment variable {VARIABLE}",
                hint="name it as oci://host:port/prefix, or a folder",
            )
        host, _, prefix = place.removeprefix("oci://").partition("/")
        repository = f"{prefix}/{self.chart}" if prefix else self.chart
        self.source = f"oci://{host}/{repository}:{part.version}"
        # The engine takes plain http from the loopback, and so does this.
        self._schemes = ("https", "http") if proxies.is_loopback(_name(host)) else ("https",)
        self.bases = tuple(f"{scheme}://{host}/v2/" for scheme in self._schemes)
        self.checksum = self.bases[0]
        # A tag has no plus sign: helm writes an underscore.
        self._manifest = f"{repository}/manifests/{part.version.replace('+', '_')}"
        self._blobs = f"{repository}/blobs/"

    def _published(self) -> str:
        """The digest of the archive in the artifact's manifest; its address is known then."""
        base, manifest = self._ask()
        layers = manifest.get("layers") or [] if isinstance(manifest, dict) else []
        found = [
            str(layer.get("digest"))
            for layer in layers
            if isinstance(layer, dict) and layer.get("mediaType") == ARCHIVE
        ]
        if len(found) != 1 or not _DIGEST.fullmatch(found[0]):
            raise UsageError(
                f"what the registry has as {self.name} is no chart",
                where=self.source,
                hint=f"helm push {self.chart}-{self.version}.tgz {named_registry()}",
            )
        if self.pinned not in ("", found[0].removeprefix("sha256:")):
            raise UsageError(
                f"{self.name} is not the pinned one: the registry has {found[0]}",
                where=f"{self.source}; versions.toml has {self.pinned}",
                hint="nothing was taken over: push the publisher's own archive, unpacked by nobody",
            )
        self.url = f"{base}{self._blobs}{found[0]}"
        return found[0]

    def _ask(self) -> tuple[str, object]:
        failure: BaseException | None = None
        for base in self.bases:
            try:
                with web.opened(base + self._manifest, {"Accept": MANIFEST}) as response:
                    self._require(response)
                    content = response.raw.read(_LARGEST_MANIFEST, decode_content=True)
                    return base, json.loads(content)
            except web.BROKEN as error:
                # What is no TLS at all is the reason to try plain http; a certificate is not.
                failure = failure or error
                if web.reason(error) != web.NO_TLS:
                    break
            except ValueError as error:
                raise UsageError(
                    f"what the registry has as {self.name} is no manifest", where=self.source
                ) from error
        assert failure is not None
        raise EnvironmentLacks(
            f"the chart registry does not give {self.name}: {web.reason(failure)}",
            where=self.source,
            hint="LAB_CA=FILE names your company's CA; or unset LAB_CHARTS",
        ) from failure

    def _require(self, response: requests.Response) -> None:
        code, host = response.status_code, urlsplit(response.url).netloc
        if code == requests.codes.ok:
            return
        if code in (requests.codes.unauthorized, requests.codes.forbidden):
            raise EnvironmentLacks(
                f"{host} refuses {self.name}: a login is needed, or the one there is not enough",
                where=self.source,
                hint=f"docker login {host}, or helm registry login {host}",
            )
        if code == requests.codes.not_found:
            raise EnvironmentLacks(
                f"{host} has no {self.name}",
                where=self.source,
                hint=f"helm pull {self.chart} --repo {self.repository} --version {self.version},"
                f" then helm push {self.chart}-{self.version}.tgz {named_registry()}",
            )
        response.raise_for_status()


def _name(host: str) -> str:
    return urlsplit(f"//{host}").hostname or ""
