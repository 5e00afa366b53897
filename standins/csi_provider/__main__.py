"""Run the provider: `python -m standins.csi_provider -endpoint=/provider/vault.sock`."""

from __future__ import annotations

import asyncio
import os
import sys

import yaml

from standins.common import gojson
from standins.common.account import Access, NoAccount, in_cluster
from standins.common.flags import BadFlag, read
from standins.common.kube import Kube
from standins.common.logs import Log, configure
from standins.common.serving import CannotServe, stop_signal
from standins.csi_provider import RUNTIME_NAME, VERSION
from standins.csi_provider.cluster import Cluster
from standins.csi_provider.connection import from_environment, overlay
from standins.csi_provider.errors import ConfigError
from standins.csi_provider.flags import Flags
from standins.csi_provider.mount import Provider
from standins.csi_provider.server import serving
from standins.csi_provider.transport import Transport, patience_from
from standins.csi_provider.vault import ClientCache

log = Log("standins.csi_provider")

PROGRAM = "vault-csi-provider (stand-in)"


async def run(flags: Flags, access: Access) -> None:
    """Serve until SIGTERM or SIGINT. Raises CannotServe and ConfigError."""
    stop = stop_signal()
    environment = from_environment(os.environ)
    overlay(environment, flags.connection)
    transport = Transport(patience_from(os.environ))
    clients = ClientCache(
        transport,
        flags.cache_size,
        environment=environment,
        flags=flags.connection,
        default_mount=flags.mount,
    )
    try:
        async with Kube(access) as kube:
            provider = Provider(clients, Cluster(kube, flags.hmac_secret))
            async with serving(provider, flags.endpoint, flags.health_address):
                await stop.wait()
    finally:
        await transport.close()


def describe(output: str) -> str:
    """What -version prints."""
    about = {"runtimeName": RUNTIME_NAME, "gitVersion": VERSION, "standIn": True}
    if output == "yaml":
        return str(yaml.safe_dump(about, sort_keys=False)).rstrip()
    return gojson.dumps(about, indent=2 if output == "json-pretty" else 0)


def main() -> int:
    """The exit code: 0 after a signal, 1 when it cannot serve, 2 for wrong flags."""
    try:
        flags = read(Flags, "python -m standins.csi_provider", sys.argv[1:])
    except BadFlag as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    if flags.version:
        print(describe(flags.output))
        return 0
    configure(flags.log_level)
    try:
        asyncio.run(run(flags, in_cluster(os.environ)))
    except (CannotServe, ConfigError, NoAccount) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
