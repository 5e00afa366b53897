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
CHECKOUT = Path(__file__).resolve().parents[2]


def cache_root() -> Path:
    """The folder for built and downloaded parts (XDG Base Directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / PROJECT


def state_root() -> Path:
    """The folder that holds one sub-folder per environment."""
    named = os.environ.get("LAB_STATE")
    return Path(named).resolve() if named else CHECKOUT / ".lab"


def clusters() -> Path:
    """The committed files that clusters are made of."""
    return CHECKOUT / "clusters"
