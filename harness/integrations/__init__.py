"""The integrations by name. A lab's `needs` are names of this table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.base.errors import UsageError
from harness.integrations.base import Integration, Site
from harness.integrations.control_plane import ControlPlaneIntegration
from harness.integrations.csi import CsiIntegration
from harness.integrations.injector import InjectorIntegration
from harness.integrations.nginx import NginxIntegration
from harness.integrations.operator import OperatorIntegration
from harness.integrations.postgres import PostgresIntegration
from harness.integrations.second_vault import SecondVaultIntegration

__all__ = ["INTEGRATIONS", "Integration", "Site", "find", "parts_of"]

INTEGRATIONS: Mapping[str, Integration] = {
    integration.name: integration
    for integration in (
        PostgresIntegration(),
        CsiIntegration(),
        InjectorIntegration(),
        OperatorIntegration(),
        NginxIntegration(),
        SecondVaultIntegration(),
        ControlPlaneIntegration(),
    )
}


def find(name: str) -> Integration:
    """The integration of this name. Raises UsageError when there is none."""
    try:
        return INTEGRATIONS[name]
    except KeyError:
        raise UsageError(
            f"there is no integration {name!r}", hint=", ".join(INTEGRATIONS)
        ) from None


def parts_of(needs: Iterable[str], *, upstream: bool = False) -> list[str]:
    """The parts that these integrations take from the offline (or the online) supply."""
    found: list[str] = []
    for name in needs:
        integration = find(name)
        other = integration.upstream_parts if upstream else None
        found += integration.parts if other is None else other
    return found
