"""Lab 03: the Agent injector. The order of the imports is the order of the steps."""

from labs.lab03_injector.lab import injector  # isort: skip
from labs.lab03_injector import (  # isort: skip
    trust,
    mutation,
    agents,
    files,
    templates,
    database,
    agent_cache,
    tls,
    jobs,
    shutdown,
    restricted,
    refusals,
    outage,
    cost,
)

__all__ = [
    "agent_cache",
    "agents",
    "cost",
    "database",
    "files",
    "injector",
    "jobs",
    "mutation",
    "outage",
    "refusals",
    "restricted",
    "shutdown",
    "templates",
    "tls",
    "trust",
]
