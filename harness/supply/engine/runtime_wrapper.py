"""A container runtime for hosts that lack CAP_SYS_RESOURCE: edits the request, then is runc.

`docker run --privileged` asks runc for every capability; where the bounding set of the
host lacks one, runc refuses ("unable to apply caps"). This program takes the missing
ones out of what the engine wrote (config.json on create, the process file on exec),
drops the OOM score that such a host may not lower, and execs runc with the same words.
It runs by itself, copied out of the project: standard library only, no harness import.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

# Not settings: the engine calls this program with runc's own words and nothing else.
RUNC = "runc"
DROPPED = frozenset({"CAP_SYS_RESOURCE"})


def value_of(flags: tuple[str, ...], words: list[str]) -> str | None:
    """The value of a flag in `--flag value` or `--flag=value` form."""
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in flags:
            if equals:
                return value
            return words[index + 1] if index + 1 < len(words) else None
    return None


def soften(process: dict[str, Any]) -> None:
    """Remove from one OCI process (runtime-spec, config.md#process) what this host refuses."""
    capabilities = process.get("capabilities") or {}
    for kind, names in capabilities.items():
        capabilities[kind] = [name for name in names or [] if name not in DROPPED]
    process["oomScoreAdj"] = None


def rewrite(file: Path, *, whole_config: bool) -> None:
    """Soften the process in `file`, which is a config.json or a process by itself."""
    document = json.loads(file.read_text(encoding="utf-8"))
    process = document.get("process") if whole_config else document
    if process:
        soften(process)
    file.write_text(json.dumps(document), encoding="utf-8")


def main(words: list[str]) -> None:
    """Prepare the request in `words`, then become runc."""
    if "create" in words or "run" in words:
        bundle = value_of(("--bundle", "-b"), words) or "."
        rewrite(Path(bundle) / "config.json", whole_config=True)
    elif "exec" in words:
        file = value_of(("--process", "-p"), words)
        if file:
            rewrite(Path(file), whole_config=False)
    os.execvp(RUNC, [RUNC, *words])  # noqa: S606 - becoming runc is what a wrapper is for


if __name__ == "__main__":
    main(sys.argv[1:])
