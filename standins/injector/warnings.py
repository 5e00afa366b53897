"""What kubectl shows the pod's creator: words that are most often typing errors.

Upstream ignores all of these without a word, and the pod starts without what was meant.
"""

from __future__ import annotations

from standins.injector import agent_config, secrets
from standins.injector.annotations import PREFIX
from standins.injector.plan import Plan

MOST = 8
# What is quoted of a name; the API server cuts a warning at 256 characters.
_LONGEST = 100
# Annotations that change one secret and do not ask for it.
_OF_ONE_SECRET = (
    "agent-inject-file-",
    "agent-inject-perms-",
    "agent-inject-command-",
    "agent-template-left-delim-",
    "agent-template-right-delim-",
    "error-on-missing-key-",
    "secret-volume-path-",
    "preserve-secret-case-",
)


def about(plan: Plan) -> list[str]:
    """The warnings for one pod that gets an agent."""
    notes = plan.notes
    found = [f"unknown annotation {PREFIX}{name[:_LONGEST]}" for name in notes.unknown()]
    names = [each.name for each in plan.pod.containers]
    found += [
        f"{PREFIX}agent-inject-containers names no container of this pod: {name[:_LONGEST]!r}"
        for name in plan.containers
        if name not in names
    ]
    copied = notes.text("agent-copy-volume-mounts")
    if copied and copied not in names + [each.name for each in plan.pod.init_containers]:
        found.append(
            f"{PREFIX}agent-copy-volume-mounts names no container of this pod:"
            f" {copied[:_LONGEST]!r}"
        )
    asked = secrets.names(notes)
    found += [
        f"{PREFIX}{family}{name[:_LONGEST]} is for a secret that this pod does not ask for"
        for family in _OF_ONE_SECRET
        for name in notes.family(family)
        if name not in asked
    ]
    found += agent_config.telemetry_warnings(plan)
    return found[:MOST]
