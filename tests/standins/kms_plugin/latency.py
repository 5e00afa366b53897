"""How long Encrypt and Decrypt of the plugin take, without the time of a real Vault.

    python -m tests.standins.kms_plugin.latency [--at-once 1] [--calls 1000]

Starts the plugin as a process of its own with the fake Vault of the tests behind it, over
TLS as in a cluster, and prints the percentiles of what a caller waits. Caller, plugin and
fake share this machine's cores, so the figures are an upper bound.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import grpc.aio

from tests.fakes.certificates import Authority
from tests.standins.injector.latency import Figures, cpu_seconds
from tests.standins.kms_plugin.fakevault import APPROLE, MOUNT, NAME, FakeVault
from tests.standins.kms_plugin.world import SEED, Client, id_files

ROOT = Path(__file__).parents[3]


async def measure(pid: int, call: Callable[[], Awaitable[object]], calls: int, at_once: int) -> str:
    """Make `calls` calls, `at_once` of them at any moment."""
    waits: list[float] = []

    async def caller(count: int) -> None:
        for _ in range(count):
            started = time.perf_counter()
            await call()
            waits.append((time.perf_counter() - started) * 1000)

    cpu, started = cpu_seconds(pid), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(caller(max(1, calls // at_once)))
    took = time.perf_counter() - started
    cpu = (cpu_seconds(pid) - cpu) * 1000 / len(waits)
    return str(Figures(sorted(waits), len(waits) / took, cpu))


async def _main(calls: int, at_once: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, fake = Path(name), FakeVault()
        authority = Authority(folder, "ca")
        role, secret = id_files(folder)
        async with (
            fake.served(authority.server("vault.test")) as address,
            grpc.aio.insecure_channel(f"unix:{folder}/kms.sock") as channel,
        ):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "standins.kms_plugin"),
                *("--listen", f"unix://{folder}/kms.sock", "--vault-addr", address),
                *("--vault-ca-file", str(authority.file), "--vault-server-name", "vault.test"),
                *("--transit-mount", MOUNT, "--key-name", NAME, "--approle-mount", APPROLE),
                *("--role-id-file", str(role), "--secret-id-file", str(secret)),
                *("--log-level", "warn"),
                cwd=ROOT,
            )
            try:
                client = Client(channel)
                await client.status(timeout=30)
                stored = await client.encrypt()
                if await client.decrypt(stored) != SEED:
                    raise RuntimeError("decrypted to something else")
                for said, call in (
                    ("Encrypt", client.encrypt),
                    ("Decrypt", lambda: client.decrypt(stored)),
                    ("Status ", client.status),
                ):
                    figures = await measure(process.pid, call, calls, at_once)
                    sys.stdout.write(f"{said} {at_once} at once, {figures}\n")
                sys.stdout.write(f"resident memory: {resident(process.pid)}\n")
            finally:
                process.terminate()
                await process.wait()


def resident(pid: int) -> str:
    """What the process holds in memory (Linux)."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    kib = next((line.split()[1] for line in lines if line.startswith("VmRSS:")), "0")
    return f"{int(kib) // 1024} MiB"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the KMS plugin.")
    parser.add_argument("--calls", type=int, default=1000, help="calls of each kind")
    parser.add_argument("--at-once", type=int, default=1, help="calls under way")
    given = parser.parse_args()
    asyncio.run(_main(given.calls, given.at_once))
