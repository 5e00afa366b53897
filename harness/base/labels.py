"""The labels and names by which the labs know what is theirs: in the engine and in the cluster."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from harness.base.paths import PROJECT

MANAGED_BY = "app.kubernetes.io/managed-by"
ENVIRONMENT_LABEL = f"{PROJECT}/environment"
LAB_LABEL = f"{PROJECT}/lab"
STEP_LABEL = f"{PROJECT}/step"
# kind's own label on its nodes, which take no others.
KIND_LABEL = "io.x-k8s.kind.cluster"
CLUSTER_PREFIX = "kvl-"


def network_of(environment: str) -> str:
    """The engine's network of an environment."""
    return f"{PROJECT}-{environment}"


def labels_of(environment: str) -> dict[str, str]:
    """The labels that every container, volume and object of an environment bears."""
    return {MANAGED_BY: PROJECT, ENVIRONMENT_LABEL: environment}


def is_of_an_environment(labels: Mapping[str, str], networks: Collection[str]) -> bool:
    """Whether a container with these labels, on these networks, belongs to some environment.

    A kind node does by its cluster's name together with the environment's network: people
    have clusters of their own, and other programs label what they manage.
    """
    if labels.get(MANAGED_BY) == PROJECT and ENVIRONMENT_LABEL in labels:
        return True
    cluster = labels.get(KIND_LABEL, "")
    environment = cluster.removeprefix(CLUSTER_PREFIX)
    return environment != cluster and network_of(environment) in networks
