"""The blocks of a VaultAuth's methods: which fields they must have, and how two are merged.

The texts are upstream's, with one difference: upstream names only the last of several missing
fields of the methods kubernetes and gcp.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

METHODS = ("kubernetes", "jwt", "appRole", "aws", "gcp")
_LARGEST_FILE = 1 << 20

# Fields that may not be empty, by method, with the words for them.
_REQUIRED = {
    "kubernetes": {"role": "empty role", "serviceAccount": "empty serviceAccount"},
    "jwt": {"role": "empty role"},
    "appRole": {"roleId": "empty roleID"},
    "aws": {"role": "empty role"},
    "gcp": {
        "role": "empty role",
        "workloadIdentityServiceAccount": "empty workloadIdentityServiceAccount",
    },
}


def faults(method: str, block: Mapping[str, Any]) -> list[str]:
    """What is wrong with the block of `method`, field by field."""
    found = [text for field, text in _REQUIRED[method].items() if not block.get(field)]
    if method == "appRole":
        found += _of_secret_id(block)
    return found


def _of_secret_id(block: Mapping[str, Any]) -> list[str]:
    reference, path = block.get("secretRef"), block.get("secretIDPath")
    if not reference and not path:
        return ["either secretRef or secretIDPath must be specified"]
    if reference and path:
        return ["secretRef and secretIDPath are mutually exclusive, only one should be specified"]
    try:
        if path:
            check_path(str(path))
    except ValueError as error:
        return [f"invalid SecretIDPath: {error}"]
    return []


def check_path(text: str) -> None:
    """ValueError unless `text` names a regular file of at most 1 MiB by an absolute path.

    A symbolic link is followed: the files of a mounted Secret are links.
    """
    if ".." in text:
        raise ValueError("invalid path: path traversal detected")
    path = Path(text)
    if not path.is_absolute():
        raise ValueError("invalid path: must be an absolute path")
    try:
        facts = path.stat()
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise ValueError(f"failed to access file {path}: stat {path}: {reason}") from error
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError("path must be a regular file, not a directory or special file")
    if facts.st_size > _LARGEST_FILE:
        raise ValueError(f"file too large: {facts.st_size} bytes (max: {_LARGEST_FILE})")


def merged(own: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """`own` with its empty fields filled from `shared`.

    A default that the API server wrote into `own` is no empty field: a VaultAuth with the
    block `kubernetes` has tokenExpirationSeconds 600 and keeps it.
    """
    return dict(shared) | {field: value for field, value in own.items() if value}
