"""`python -m standins.operator`: reads the flags and runs the operator or the uninstall."""

from __future__ import annotations

import asyncio
import os
import sys

from standins.common.account import NoAccount
from standins.common.election import LeadershipLost
from standins.common.flags import BadFlag
from standins.common.logs import Log, configure
from standins.common.serving import CannotServe
from standins.operator import options, runtime, uninstall, watching

log = Log("standins.operator")


async def _uninstall(chosen: options.Options) -> None:
    async with runtime.open_kube(watching.access(chosen.kubeconfig)) as kube:
        await uninstall.remove_finalizers(kube, chosen.namespace)


def main() -> int:
    """The exit code: 0 after a signal, 1 when leadership was lost, 2 for bad flags."""
    try:
        chosen = options.read(sys.argv[1:], os.environ)
    except BadFlag as error:
        print(f"operator: {error}", file=sys.stderr)
        return 2
    configure(chosen.log_level)
    code = 0
    try:
        asyncio.run(_uninstall(chosen) if chosen.uninstall else runtime.run(chosen))
    except* (LeadershipLost, NoAccount, CannotServe) as ended:
        log.error(str(ended.exceptions[0]))
        code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
