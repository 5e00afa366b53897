"""Where things lie. The environment is read at call time, never at import.

    checkout/            the repository; or the folder that the packages are installed in
    WORK/.lab/NAME/      state of one environment (0700): kubeconfig, CA, tokens, progress
    $XDG_CACHE_HOME/kube-vault-labs/   what was built or downloaded, shared by all checkouts

WORK is the checkout. What pip has installed is not written to: there WORK is the current folder,
or the nearest one above it that has a `.lab`. `LAB_STATE` names another folder for `.lab`; the
tests use it to stay away from a learner's environments.
"""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = "kube-vault-labs"
# In the state folder of an environment: what `up` writes down about it.
RECORD_FILE = "environment.json"
STATE = ".lab"
# The folder of the packages harness, labs and standins.
CHECKOUT = Path(__file__).resolve().parents[2]
# What a wheel holds of the repository beside the packages (pyproject.toml: force-include).
_IN_WHEEL = CHECKOUT / "harness" / "files"
INSTALLED = _IN_WHEEL.is_dir()
# The folder of clusters/, notebooks/ and the locks.
FILES = _IN_WHEEL if INSTALLED else CHECKOUT


def cache_root() -> Path:
    """The folder for built and downloaded parts (XDG Base Directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / PROJECT


def state_root() -> Path:
    """The folder that holds one sub-folder per environment."""
    named = os.environ.get("LAB_STATE")
    return Path(named).resolve() if named else work_folder() / STATE


def work_folder() -> Path:
    """Where state, and reports without a folder of their own, are written."""
    if not INSTALLED:
        return CHECKOUT
    here = Path.cwd()
    return next((above for above in (here, *here.parents) if (above / STATE).is_dir()), here)


def keep_out_of_git(state: Path) -> None:
    """Let the state folder, which holds keys and tokens, be committed to no repository."""
    ignored = state / ".gitignore"
    if not ignored.exists():
        ignored.write_text("*\n", encoding="utf-8")


def existing() -> list[str]:
    """The names of all environments that have a state folder."""
    root = state_root()
    if not root.is_dir():
        return []
    return sorted(f.name for f in root.iterdir() if (f / RECORD_FILE).exists())


def clusters() -> Path:
    """The committed files that clusters are made of."""
    return FILES / "clusters"
