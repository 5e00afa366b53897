"""A page of metrics in Prometheus' text form. No label names users' objects."""

from __future__ import annotations

import resource
from collections.abc import Iterable

# (name, labels, value)
Sample = tuple[str, str, float]


def rendered(samples: Iterable[Sample]) -> str:
    """The samples as Prometheus reads them, with the process's own peak memory."""
    lines = [
        f"{name}{{{labels}}} {value:g}" if labels else f"{name} {value:g}"
        for name, labels, value in samples
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    lines.append(f"vso_standin_peak_memory_bytes {peak}")
    return "\n".join(lines) + "\n"
