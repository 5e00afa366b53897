"""The integrations by name. A lab's `needs` are names of this table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.errors import UsageError
from harness.integrations.base import Integration, Site
from harness.integrations.postgres import PostgresIntegration

__all__ = ["INTEGRATIONS", "Integration", "Site", "find", "parts_of"]

INTEGRATIONS: Mapping[str, Integration] = {
    integration.name: integration for integration in (PostgresIntegration(),)
}


def find(name: str) -> Integration:
    """The integration of this name. Raises UsageError when there is none."""
    try:
        return INTEGRATIONS[name]
    except KeyError:
        raise UsageError(
            f"there is no integration {name!r}", hint=", ".join(INTEGRATIONS)
        ) from None


def parts_of(needs: Iterable[str]) -> list[str]:
    """The parts of the supply that these integrations take."""
    return [part for name in needs for part in find(name).parts]
