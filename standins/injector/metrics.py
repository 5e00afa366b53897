"""The injector's metrics in Prometheus text form, without a metrics library.

Four series with upstream's names: requests being handled, how long they took, pods
injected by namespace and kind, pods refused by namespace. Served only where a
telemetry path is set. The number of namespaces counted is bounded, for a caller can
make names up.
"""

from __future__ import annotations

from collections import Counter

from standins.common import gojson

PREFIX = "vault_agent_injector"
BUCKETS = (5, 10, 25, 50, 75, 100, 250, 500, 1000, 2500, 5000, 7500, 10000)
"""Upper bounds in milliseconds."""
MAX_SERIES = 1000


class Metrics:
    """Counters of one process."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._buckets: Counter[float] = Counter()
        self._sum = 0.0
        self._injected: Counter[tuple[str, str]] = Counter()
        self._failed: Counter[str] = Counter()

    def took(self, milliseconds: float) -> None:
        """Count one request that has been handled."""
        bound = next((each for each in BUCKETS if milliseconds <= each), float("inf"))
        self._buckets[bound] += 1
        self._sum += milliseconds

    def injected(self, namespace: str, kind: str) -> None:
        """Count one injected pod; `kind` is init_and_sidecar, init_only or sidecar_only."""
        if len(self._injected) < MAX_SERIES:
            self._injected[namespace, kind] += 1

    def failed(self, namespace: str) -> None:
        """Count one refused pod."""
        if len(self._failed) < MAX_SERIES:
            self._failed[namespace] += 1

    def text(self) -> str:
        """Everything counted, in Prometheus text form."""
        lines = _head("request_queue_length", "gauge", "Requests being handled.")
        lines.append(f"{PREFIX}_request_queue_length {self.in_flight}")
        lines += _head("request_processing_duration_ms", "histogram", "Handling time in ms.")
        total = 0
        for bound in (*BUCKETS, float("inf")):
            total += self._buckets[bound]
            label = "+Inf" if bound == float("inf") else f"{bound}"
            lines.append(f'{PREFIX}_request_processing_duration_ms_bucket{{le="{label}"}} {total}')
        lines.append(f"{PREFIX}_request_processing_duration_ms_sum {self._sum:.3f}")
        lines.append(f"{PREFIX}_request_processing_duration_ms_count {total}")
        lines += _head("injections_by_namespace_total", "counter", "Pods injected.")
        for (namespace, kind), count in sorted(self._injected.items()):
            labels = f"injection_type={_quoted(kind)},namespace={_quoted(namespace)}"
            lines.append(f"{PREFIX}_injections_by_namespace_total{{{labels}}} {count}")
        lines += _head("failed_injections_by_namespace_total", "counter", "Pods refused.")
        for namespace, count in sorted(self._failed.items()):
            labels = f"namespace={_quoted(namespace)}"
            lines.append(f"{PREFIX}_failed_injections_by_namespace_total{{{labels}}} {count}")
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, about: str) -> list[str]:
    return [f"# HELP {PREFIX}_{name} {about}", f"# TYPE {PREFIX}_{name} {kind}"]


def _quoted(text: str) -> str:
    # Escaping of backslash, quote and newline is the same in JSON.
    return gojson.dumps(text, escape=False)
