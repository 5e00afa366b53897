"""Looking for secrets where none may be: in files that a run leaves behind.

What counts as a secret is what `redact` would mask: every value that was registered in
this process, its base64 form, and whatever looks like a token, a JWT or a private key.
So a search is only as good as what the process knows: search from the process that made
the secrets. Symbolic links are not followed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.base.redact import redact

# Files of a state folder that exist to hold a credential. Each must be its owner's alone.
KEEPERS = (
    "kubeconfig",
    "*/keys.json",
    "*/ca.key",
    "*/config/tls.key",
    "*/server.json",
    "control-plane/settings-*.json",
    "jupyter/config/jupyter_server_config.json",
    "jupyter/runtime/*",
)
SHOWN = 160


def search(folder: Path, but_not: Iterable[str] = ()) -> list[str]:
    """Where in `folder` a secret stands: `path:line: the line, masked`, none when clean.

    `but_not` are patterns of relative paths (pathlib's `match`) that are left out.
    """
    patterns = tuple(but_not)
    findings = []
    for file in sorted(folder.rglob("*")):
        relative = file.relative_to(folder)
        if file.is_symlink() or not file.is_file() or _is_among(relative, patterns):
            continue
        text = file.read_bytes().decode("utf-8", errors="replace")
        if redact(text) == text:
            continue
        lines = [
            f"{relative}:{number}: {redact(line).strip()[:SHOWN]}"
            for number, line in enumerate(text.splitlines(), start=1)
            if redact(line) != line
        ]
        # A private key spans lines, so no single one of them need look like a secret.
        findings += lines or [f"{relative}: spread over several lines"]
    return findings


def open_to_others(folder: Path, patterns: Iterable[str] = KEEPERS) -> list[str]:
    """The files among `patterns` that others than their owner may read."""
    chosen = tuple(patterns)
    return [
        f"{file.relative_to(folder)} has mode {file.stat().st_mode & 0o777:o}"
        for file in sorted(folder.rglob("*"))
        if file.is_file()
        and not file.is_symlink()
        and _is_among(file.relative_to(folder), chosen)
        and file.stat().st_mode & 0o077
    ]


def _is_among(path: Path, patterns: tuple[str, ...]) -> bool:
    return any(path.match(pattern) for pattern in patterns)
