"""What was first seen of everything that is downloaded, and the refusal when it changes.

Upstream's digests are not in the repository. The first
download of a part is checked against what its publisher says, and the digest is written
to `supply.lock.json` in the state folder. From then on the same name must bring the same
content: a tag that was moved or a release file that was replaced is an error that a
person has to accept by hand. The file protects against change, not against a first
download that was bad already.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.paths import state_root
from harness.base.statefile import exclusively, write_atomically

LOCK_FILE = "supply.lock.json"
_ABOUT = "digests as first seen by this checkout; delete an entry to accept another digest"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Seen:
    """One entry: the digest ("sha256:…"), where it was seen and when (UTC, ISO 8601)."""

    digest: str
    source: str
    on: str


class Lock:
    """The digests that this checkout has seen, by the name of what was downloaded.

    Safe to use from several threads and processes: each change reads, merges and
    replaces the file while it holds a lock on the state folder.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file

    @property
    def file(self) -> Path:
        """Where the entries are kept (the state folder is looked up at each call)."""
        return self._file or state_root() / LOCK_FILE

    def seen(self, name: str) -> Seen | None:
        """What was recorded for `name`. Raises UsageError when the file is damaged."""
        return self._read().get(name)

    def check(self, name: str, digest: str, source: str) -> None:
        """Raise UsageError when `name` was seen with a digest other than `digest`."""
        self._compare(self._read(), name, digest, source)

    def record(self, name: str, digest: str, source: str, *, moves: bool = False) -> Seen | None:
        """Check `name`, then remember `digest` when this is the first time it is seen.

        A name that `moves`, as its publisher says, may come with another digest: that one is
        remembered from then on, and what was seen before is returned.
        """
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"not a SHA-256 digest: {digest!r}")
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with exclusively(self.file.parent):
                entries = self._read()
                before = entries.get(name)
                if not moves:
                    self._compare(entries, name, digest, source)
                if before is None or before.digest != digest:
                    today = datetime.now(UTC).isoformat(timespec="seconds")
                    entries[name] = Seen(digest, source, today)
                    self._write(entries)
                    return before
                return None
        except OSError as error:
            raise EnvironmentLacks(
                f"the digest of {name} cannot be recorded: {error.strerror or error}",
                where=str(self.file),
                hint="make the folder writable, or name another with LAB_STATE",
            ) from error

    def _compare(self, entries: dict[str, Seen], name: str, digest: str, source: str) -> None:
        before = entries.get(name)
        if before is None or before.digest == digest:
            return
        raise UsageError(
            f"{name} has changed: {source} now gives {digest},"
            f" on {before.on[:10]} {before.source} gave {before.digest}",
            where=str(self.file),
            hint=f"nothing was taken over; if the change is meant, delete the entry "
            f'"{name}" from that file and run the same command again',
        )

    def _read(self) -> dict[str, Seen]:
        try:
            table = json.loads(self.file.read_text(encoding="utf-8"))["seen"]
            entries = {name: Seen(**entry) for name, entry in table.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"the record of seen digests cannot be read: {type(error).__name__}: {error}",
                where=str(self.file),
                hint="repair it, or delete it to trust the next downloads afresh",
            ) from error
        for name, entry in entries.items():
            if not isinstance(entry.digest, str) or not _DIGEST.fullmatch(entry.digest):
                raise UsageError(
                    f"the record of seen digests holds no SHA-256 digest for {name}",
                    where=str(self.file),
                    hint=f'delete the entry "{name}" to trust the next download afresh',
                )
        return entries

    def _write(self, entries: dict[str, Seen]) -> None:
        table = {name: asdict(entries[name]) for name in sorted(entries)}
        text = json.dumps({"about": _ABOUT, "seen": table}, indent=2) + "\n"
        write_atomically(self.file, text)
