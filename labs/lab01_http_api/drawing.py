"""A sequence drawing of a pod, Vault and the cluster, made from Vault's audit log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from harness.lab.api import Entry, LabContext
from harness.lab.kit.drawing import ALARM, Arrow, draw_sequence

POD, VAULT, CLUSTER = range(3)
NAMES = ("pod", "Vault", "Kubernetes API")


def picture_file(lab: LabContext) -> Path:
    """Where the picture of one pod's login lies."""
    return lab.folder / "login-and-read.png"


def draw_login(lab: LabContext, account: str = "app") -> Path:
    """Draw how a service account logged in and read the secret, from the audit log alone."""
    story = [
        entry
        for path in (f"auth/{lab.path('kubernetes')}/login", lab.path("kv", "data", "app"))
        for entry in lab.audit.responses(path)
        if ((entry.get("auth") or {}).get("metadata") or {}).get("service_account_name") == account
    ]
    return draw_log(story, "One pod logs in and reads one secret", picture_file(lab))


def draw_log(entries: Sequence[Entry], title: str, file: Path) -> Path:
    """Write a PNG: one arrow a request and one an answer, in the order of the log.

    `entries` are response entries, or request entries that were refused. A login by the
    kubernetes method shows the TokenReview too: Vault makes it before it answers.
    """
    arrows = [arrow for entry in entries for arrow in _arrows(entry)]
    return draw_sequence(NAMES, arrows, title, file)


def _arrows(entry: Entry) -> list[Arrow]:
    request = entry["request"]
    path, operation = request["path"], request["operation"]
    at = datetime.fromisoformat(entry["time"]).strftime("%H:%M:%S.%f")[:-3]
    arrows = [Arrow(POD, VAULT, f"{at}  {operation} {path}")]
    error = entry.get("error")
    if path.endswith("/login") and "kubernetes" in path:
        arrows.append(Arrow(VAULT, CLUSTER, "TokenReview: whose token is this?"))
        if not error:
            account = (entry["auth"].get("metadata") or {}).get("service_account_name", "")
            arrows.append(Arrow(CLUSTER, VAULT, f"service account {account}"))
    if error:
        reason = str(error).strip().splitlines()[-1][:60]
        arrows.append(Arrow(VAULT, POD, f"refused: {reason}", ALARM))
    else:
        policies = ", ".join((entry.get("auth") or {}).get("policies") or [])
        arrows.append(Arrow(VAULT, POD, f"answer (policies: {policies})"))
    return arrows
