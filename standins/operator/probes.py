"""The probes of the pod and a page of metrics in Prometheus' text form.

/healthz answers while the event loop turns; /readyz also on a replica that waits to lead, so
that a rollout of the operator can finish. /metrics has no labels that name users' objects.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable

from aiohttp import web

# (name, labels, value)
Sample = tuple[str, str, float]


async def _ok(_: web.Request) -> web.Response:
    return web.Response(text="ok")


def rendered(samples: Iterable[Sample]) -> str:
    """The samples as Prometheus reads them, with the process's own peak memory."""
    lines = [
        f"{name}{{{labels}}} {value:g}" if labels else f"{name} {value:g}"
        for name, labels, value in samples
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    lines.append(f"vso_standin_peak_memory_bytes {peak}")
    return "\n".join(lines) + "\n"


async def serve(
    probe_port: int, metrics_port: int, samples: Callable[[], Iterable[Sample]]
) -> list[web.AppRunner]:
    """Serve; the caller cleans the runners up. Port 0 serves nothing."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=rendered(samples()))

    runners = []
    pages = {
        probe_port: {"/healthz": _ok, "/readyz": _ok},
        metrics_port: {"/metrics": metrics},
    }
    for port, routes in pages.items():
        if not port:
            continue
        app = web.Application()
        app.add_routes([web.get(path, handler) for path, handler in routes.items()])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        # The kubelet probes the pod's address; inside a pod this is not the host's network.
        await web.TCPSite(runner, None, port).start()
        runners.append(runner)
    return runners
