"""How this host's apt reaches Debian: its mirrors for the suite of our images, its proxies.

Third-party repositories and other suites are left out. This module only reads;
harness.supply.offline.debian uses it.
"""

from __future__ import annotations

import re
from pathlib import Path

from harness.base import process

SUITE = "bookworm"
SUITES = (SUITE, f"{SUITE}-updates", f"{SUITE}-security")


def sources(folder: Path = Path("/etc/apt")) -> list[str]:
    """This host's Debian mirrors for SUITE as one-line entries, [] where it has none.

    Third-party repositories and other suites are left out. An empty list makes
    mmdebstrap use its own default.
    """
    found: list[str] = []
    lists = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.list"))]
    for file in lists:
        if file.is_file():
            found += _one_line_entries(file.read_text("utf-8"))
    for file in sorted((folder / "sources.list.d").glob("*.sources")):
        found += _deb822_entries(file.read_text("utf-8"))
    return found


def acquire_settings() -> list[str]:
    """The host's own settings for downloads (proxies, certificates), as apt reads them."""
    dump = process.run(["apt-config", "dump"])
    return [line for line in dump.splitlines() if re.match(r'Acquire::\S+ ".+";$', line)]


def _one_line_entries(text: str) -> list[str]:
    """The entries of a sources.list file that are Debian's, see sources.list(5)."""
    found = []
    for line in text.splitlines():
        match = re.match(r"deb\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)", line.strip())
        if match and match[3] in SUITES and "main" in match[4].split():
            found.append(f"deb {match[1] or ''}{match[2]} {match[3]} main")
    return found


def _deb822_entries(text: str) -> list[str]:
    """The stanzas of a .sources file that are Debian's, as one-line entries."""
    found = []
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", plain):
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in stanza.splitlines())
        }
        if "deb" not in fields.get("types", "").split() or fields.get("enabled") == "no":
            continue
        if "main" not in fields.get("components", "").split():
            continue
        signed = fields.get("signed-by", "")
        option = f"[signed-by={signed}] " if signed.startswith("/") else ""
        found += [
            f"deb {option}{uri} {suite} main"
            for uri in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
            if suite in SUITES
        ]
    return found
