"""Where things lie. The environment is read at call time, never at import.

    checkout/            the repository
      .lab/NAME/         state of one environment (0700): kubeconfig, CA, tokens, progress
    $XDG_CACHE_HOME/kube-vault-labs/   what was built or downloaded, shared by all checkouts

`LAB_STATE` names another folder for `.lab`; the tests use it to stay away from a
learner's environments.
"""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = "kube-vault-labs"
# In the state folder of an environment: what `up` writes down about it.
RECORD_FILE = "environment.json"
CHECKOUT = Path(__file__).resolve().parents[2]


def cache_root() -> Path:
    """The folder for built and downloaded parts (XDG Base Directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / PROJECT


def state_root() -> Path:
    """The folder that holds one sub-folder per environment."""
    named = os.environ.get("LAB_STATE")
    return Path(named).resolve() if named else CHECKOUT / ".lab"


def existing() -> list[str]:
    """The names of all environments that have a state folder."""
    root = state_root()
    if not root.is_dir():
        return []
    return sorted(f.name for f in root.iterdir() if (f / RECORD_FILE).exists())


def clusters() -> Path:
    """The committed files that clusters are made of."""
    return CHECKOUT / "clusters"
