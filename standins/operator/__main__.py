"""`python -m standins.operator`: reads the flags and runs the operator or the uninstall."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

from standins.operator import options, runtime, uninstall
from standins.operator.kubehttp import HttpKube, from_kubeconfig, in_cluster
from standins.operator.leader import LeadershipLost

log = logging.getLogger("operator")


async def _uninstall(chosen: options.Options) -> None:
    access = from_kubeconfig(Path(chosen.kubeconfig)) if chosen.kubeconfig else in_cluster()
    async with HttpKube(access) as kube:
        await uninstall.remove_finalizers(kube, chosen.namespace)


def main() -> int:
    """The exit code: 0 after a signal, 1 when leadership was lost, 2 for bad flags."""
    try:
        chosen = options.read(sys.argv[1:], os.environ)
    except options.BadOption as error:
        print(f"operator: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(
        level=chosen.log_level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    # One line an event would be most of the log; what goes wrong still shows.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    code = 0
    try:
        asyncio.run(_uninstall(chosen) if chosen.uninstall else runtime.run(chosen))
    except* LeadershipLost as lost:
        log.error("%s", lost.exceptions[0])
        code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
