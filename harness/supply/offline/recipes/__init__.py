"""The recipes of the offline supply, one module each, named like the recipe.

A module's `recipe` is its Recipe. The list is in the order in which their builds start
when several can: first what others wait for longest. Adding a recipe is adding a module
and its name here. Every other release of Kubernetes (harness/supply/kubernetes.py) has the
two recipes of a cluster for itself; they come last.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache

from harness.supply.kubernetes import releases
from harness.supply.offline.recipe import Recipe
from harness.supply.offline.recipes.kubernetes import Kubernetes
from harness.supply.offline.recipes.node import Node

NAMES = (
    "base",
    "kubernetes",
    "app",
    "kind",
    "node_base",
    "node",
    "vault",
    "vault_image",
    "openbao",
    "postgres",
    "nginx",
    "gotemplate",
    "csi_driver",
    "standins",
    "helm",
)


@cache
def all_recipes() -> Mapping[str, Recipe]:
    """Every recipe by its name, in the order in which builds start."""
    modules = (importlib.import_module(f"{__name__}.{name}") for name in NAMES)
    recipes: list[Recipe] = [module.recipe for module in modules]
    for release in releases()[1:]:
        recipes += [Kubernetes(release), Node(release)]
    return {recipe.name: recipe for recipe in recipes}
