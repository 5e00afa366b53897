"""What `up` writes down about an environment: environment.json in its state folder.

The decisions (flavour, release, port, integrations) are written before they are acted upon, so
that an interrupted `up` is completed by the next one. `complete` says that one ran to its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.paths import RECORD_FILE
from harness.base.statefile import field, read_record, write_json
from harness.servers.flavours import FLAVOURS
from harness.supply.base import Provided


@dataclass(frozen=True)
class EnvironmentRecord:
    """One environment as `up` made it, or was about to make it.

    `supply` is what was asked for ("auto", say), `why` which one was taken and for what
    reason. `needs` are the names of its integrations, `kubernetes` is a release ("1.36"),
    `provided` are the parts that it got.
    """

    flavour: str
    vault_port: int
    supply: str
    needs: tuple[str, ...] = ()
    kubernetes: str = ""
    why: str = ""
    provided: tuple[Provided, ...] = ()
    complete: bool = False

    @classmethod
    def read(cls, folder: Path) -> EnvironmentRecord | None:
        """The record in this state folder, None before the first `up`.

        Raises UsageError when it is broken, or was written by another version of the labs.
        """
        return read_record(folder / RECORD_FILE, cls.from_json, f"./lab down --env {folder.name}")

    def write(self, folder: Path) -> None:
        """Replace the record in this state folder."""
        write_json(folder / RECORD_FILE, self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The record as it is stored."""
        return {
            "flavour": self.flavour,
            "vault_port": self.vault_port,
            "supply": self.supply,
            "kubernetes": self.kubernetes,
            "needs": list(self.needs),
            "why": self.why,
            "provided": [part.to_json() for part in self.provided],
            "complete": self.complete,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> EnvironmentRecord:
        """The reverse of `to_json`. Raises ValueError naming the first field that is wrong."""
        needs = field(stored, "needs", list)
        if not all(isinstance(need, str) for need in needs):
            raise ValueError("needs is not a list of names")
        flavour = field(stored, "flavour", str)
        if flavour not in FLAVOURS:
            raise ValueError(f"there is no flavour {flavour!r}")
        return cls(
            flavour=flavour,
            vault_port=field(stored, "vault_port", int),
            supply=field(stored, "supply", str),
            needs=tuple(needs),
            # What an `up` that was interrupted early, or of an earlier version, has not written.
            kubernetes=field(stored, "kubernetes", str, ""),
            why=field(stored, "why", str, ""),
            provided=tuple(map(Provided.from_json, field(stored, "provided", list, []))),
            complete=field(stored, "complete", bool, False),
        )
