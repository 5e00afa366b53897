"""What a room mirror says about itself, and which mirror this checkout has joined.

The index is the manifest of a bundle (harness.supply.bundle.format) whose frames are separate
files, with the images that the mirror's registry has. All paths of the mirror are here, so that
both sides agree. Nothing but the standard library is imported: a machine reads the index before
it has any Python packages.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.base import statefile
from harness.base.errors import UsageError
from harness.base.paths import cache_root, state_root
from harness.supply.bundle import format as form

CA, INDEX, FRAMES, WHEELS = "/ca.crt", "/index.json", "/frames/", "/wheels/"
REPOSITORY = "/kube-vault-labs.git"
WAY_OUT = "./lab mirror leave goes back to the other supplies"
# No environment has a name with a dot.
_FOLDER = ".mirror"
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ImageEntry:
    """An image of the mirror: the engine's name for it, its repository and tag at the mirror.

    `digest` is that of its manifest, `part` the part that it is.
    """

    part: str
    reference: str
    repository: str
    tag: str
    digest: str


@dataclass(frozen=True)
class Index:
    """Everything that a mirror has."""

    manifest: form.Manifest
    images: tuple[ImageEntry, ...]

    def encoded(self) -> bytes:
        """The index as the mirror serves it."""
        images = [asdict(image) for image in self.images]
        value = {"manifest": asdict(self.manifest), "images": images}
        return json.dumps(value, sort_keys=True).encode()


@dataclass(frozen=True)
class Joined:
    """The mirror that this checkout has joined: its address and its CA's fingerprint."""

    url: str
    fingerprint: str

    @property
    def ca(self) -> Path:
        """The file with the mirror's CA, which is trusted for this mirror alone."""
        return folder() / "ca.crt"


def parse(content: bytes, where: str) -> Index:
    """The index in `content`. Raises UsageError for what this version does not understand."""
    try:
        stored = json.loads(content)
        manifest = form.parse(statefile.field(stored, "manifest", dict))
        images = tuple(map(_image, statefile.field(stored, "images", list)))
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"the mirror is of another version of the labs: {error}",
            where=where,
            hint=f"take the mirror's own clone: git clone {where}{REPOSITORY}",
        ) from error
    return Index(manifest, images)


def folder() -> Path:
    """Where this checkout keeps what it knows about mirrors."""
    return state_root() / _FOLDER


def downloads() -> Path:
    """Where what is fetched from a mirror lies until it is whole."""
    return cache_root() / "mirror"


def joined() -> Joined | None:
    """The mirror that this checkout has joined. Raises UsageError for a broken record."""

    def parse_record(stored: Mapping[str, Any]) -> Joined:
        return Joined(
            statefile.field(stored, "url", str), statefile.field(stored, "fingerprint", str)
        )

    return statefile.read_record(folder() / "joined.json", parse_record, "./lab mirror leave")


def remember(mirror: Joined, ca: str) -> None:
    """Write down that this checkout has joined `mirror`."""
    folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    statefile.write_atomically(mirror.ca, ca)
    statefile.write_json(folder() / "joined.json", asdict(mirror))


def forget() -> bool:
    """Undo that; returns whether a mirror was joined."""
    record = folder() / "joined.json"
    was = record.exists()
    record.unlink(missing_ok=True)
    (folder() / "ca.crt").unlink(missing_ok=True)
    return was


def fingerprint_of(ca: str) -> str:
    """The fingerprint of a certificate (PEM), as `openssl x509 -fingerprint -sha256` has it."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(ca)).hexdigest()


def parse_fingerprint(text: str) -> str:
    """The 64 digits of a fingerprint as a person types it. Raises UsageError."""
    digits = text.strip().lower().removeprefix("sha256:").replace(":", "").replace("-", "")
    if not _FINGERPRINT.fullmatch(digits):
        raise UsageError(
            "this is not a fingerprint: SHA256: and 64 digits of 0-9 and a-f are one",
            where="--fingerprint",
            hint="copy the whole line that ./lab mirror serve prints",
        )
    return digits


def _image(stored: Any) -> ImageEntry:
    names = ("part", "reference", "repository", "tag", "digest")
    return ImageEntry(*(statefile.field(stored, name, str) for name in names))
