"""Run the plugin: `python -m standins.kms_plugin --listen unix:///run/kms/vault.sock …`."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from standins.common.flags import BadFlag, read
from standins.common.logs import Log, configure
from standins.common.serving import CannotServe, grpc_socket, health, stop_signal, text_pages
from standins.kms_plugin.api import HEALTHY, LARGEST_REQUEST
from standins.kms_plugin.flags import PROGRAM, Flags
from standins.kms_plugin.login import Session
from standins.kms_plugin.service import KeyService, healthz
from standins.kms_plugin.transit import Transit
from standins.kms_plugin.vault import Vault
from standins.kms_plugin.watch import Watch

log = Log("standins.kms_plugin")

# kube-apiserver runs as root, this does not: the folder decides who gets to the socket.
SOCKET_MODE = 0o666
UNAVAILABLE = 503


async def run(flags: Flags, stop: asyncio.Event) -> None:
    """Serve until `stop`; calls under way are answered. Raises CannotServe."""
    vault = Vault(
        flags.vault_addr,
        flags.vault_ca_file,
        server_name=flags.vault_server_name,
        timeout=flags.timeout,
    )
    session = Session(vault, flags.approle_mount, flags.role_id_file, flags.secret_id_file)
    transit = Transit(vault, session, flags.transit_mount, flags.key_name)
    watch = Watch(vault, transit)

    async def unhealthy() -> str:
        found = healthz(await watch.look(flags.timeout))
        return "" if found == HEALTHY else found

    async with AsyncExitStack() as stack:
        stack.push_async_callback(vault.close)
        stack.push_async_callback(session.revoke)
        _look_at_folder(Path(flags.socket).parent)
        handlers = KeyService(vault, transit, watch).handlers()
        options = (("grpc.max_receive_message_length", LARGEST_REQUEST),)
        await stack.enter_async_context(
            grpc_socket(handlers, flags.socket, mode=SOCKET_MODE, options=options)
        )
        if flags.health_listen:
            pages = {"/healthz": health(unhealthy, UNAVAILABLE), "/livez": health()}
            await stack.enter_async_context(text_pages(flags.health_listen, pages))
        await stop.wait()


def _look_at_folder(folder: Path) -> None:
    """Warn when the socket's folder lets everybody in: whoever can connect can decrypt."""
    try:
        mode = folder.stat().st_mode
    except OSError:
        return  # opening the socket says what is wrong
    if mode & 0o007:
        log.warn(
            "the socket's folder is open to everybody", folder=folder, mode=f"{mode & 0o777:o}"
        )


async def _until_signal(flags: Flags) -> None:
    await run(flags, stop_signal())


def main() -> int:
    """The exit code: 0 after a signal, 1 when it cannot serve, 2 for wrong flags."""
    try:
        flags = read(Flags, f"python -m standins.{PROGRAM}", sys.argv[1:])
    except BadFlag as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    configure(flags.log_level)
    try:
        asyncio.run(_until_signal(flags))
    except CannotServe as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
