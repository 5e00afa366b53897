"""What the stand-ins' image is made of: their source, their libraries, a program in Go.

Both supplies build that image, the offline one from Debian's packages and the online one on
the publisher's Debian image; this is what they have in common.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.base.paths import CHECKOUT, clusters
from harness.base.statefile import file_sha256

# What runs; manifests and texts for people stay outside.
SUFFIXES = (".py", ".proto")
# The operator's template engine; its source is the committed Go module of this name.
GO_PROGRAM = "gotemplate"


def sources() -> list[Path]:
    """Every file of the stand-ins that goes into the image, in a fixed order."""
    found = (CHECKOUT / "standins").rglob("*")
    return sorted(file for file in found if file.suffix in SUFFIXES)


def digests() -> Iterator[str]:
    """For each of them one line with its path and the sum of its content."""
    for file in sources():
        digest = file_sha256(file)
        yield f"{file.relative_to(CHECKOUT)} {digest}"


def copy(target: Path) -> None:
    """Put them below `target`, as they lie in the checkout."""
    for file in sources():
        place = target / file.relative_to(CHECKOUT)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.read_bytes())


def library_list() -> Path:
    """The committed list of their libraries' names."""
    return clusters() / "offline" / "standins" / "libraries.txt"
