"""The integrations, each described by one module of this package.

A lab's `needs` are their names: the module's, with dashes. A module that defines a class of
`Integration` is one; there is no other list, so that a new file is a new integration. The
other modules (base, helm, rollout, csi_health) are what they share. A module is imported
when its integration is asked for: psycopg, say, costs every command time otherwise.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable

from harness.base.errors import UsageError
from harness.integrations.base import InstallContext, Integration
from harness.supply.base import chart_part

__all__ = ["InstallContext", "Integration", "find", "images_for_pods", "names", "parts_of"]


def names() -> list[str]:
    """The names of all integrations."""
    return [name for name in map(_name, _modules()) if _load(name)]


def find(name: str) -> Integration:
    """The integration of this name. Raises UsageError when there is none."""
    found = _load(name) if name in map(_name, _modules()) else None
    if found is None:
        raise UsageError(f"there is no integration {name!r}", hint=", ".join(names()))
    return found


def parts_of(needs: Iterable[str], *, upstream: bool = False) -> list[str]:
    """The parts that these integrations take from the offline (or the online) supply."""
    found: list[str] = []
    for name in needs:
        integration = find(name)
        other = integration.upstream_parts if upstream else None
        found += integration.parts if other is None else other
        if upstream:
            found += map(chart_part, integration.charts)
    return found


def images_for_pods(needs: Iterable[str]) -> frozenset[str]:
    """The parts whose images the pods of these integrations run."""
    return frozenset(part for name in needs for part in find(name).pod_images)


def _modules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__)]


def _name(module: str) -> str:
    return module.replace("_", "-")


def _load(name: str) -> Integration | None:
    """The integration that this module defines, None when it defines none."""
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    for kind in vars(module).values():
        if (
            isinstance(kind, type)
            and issubclass(kind, Integration)
            and not inspect.isabstract(kind)
            and kind.__module__ == module.__name__
        ):
            return kind()
    return None
