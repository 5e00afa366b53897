"""How long the webhook takes when pods are created at the same time.

    python -m tests.standins.injector.latency [--at-once 50] [--calls 2000]

Starts the injector as a process of its own, keeps so many calls under way over as many
TLS connections, and prints the percentiles of what a caller waits. Caller and injector
share this machine's cores, so the figures are an upper bound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from standins.injector.annotations import PREFIX
from standins.injector.certificates import Authority
from tests.standins.injector.support import ASKING, a_pod, a_review, read_answer

ROOT = Path(__file__).parents[3]
POD = a_pod(
    {PREFIX + key: value for key, value in ASKING.items()}
    | {
        f"{PREFIX}agent-inject-secret-db": "database/creds/app",
        f"{PREFIX}agent-inject-template-db": "{{ with secret }}" * 20,
        f"{PREFIX}agent-inject-secret-api": "secret/data/api",
    }
)


@dataclass
class Figures:
    """Waiting times in milliseconds, sorted, and what the calls cost the injector."""

    waits: list[float]
    per_second: float
    cpu: float
    """Milliseconds of processor time per call, which a busy machine does not change."""

    def percentile(self, share: float) -> float:
        """The wait that this share of the calls did not exceed."""
        return self.waits[min(len(self.waits) - 1, int(share * len(self.waits)))]

    def __str__(self) -> str:
        points = ", ".join(f"p{p} {self.percentile(p / 100):.1f} ms" for p in (50, 90, 99))
        return f"{len(self.waits)} calls: {points}, max {self.waits[-1]:.1f} ms, " + (
            f"{self.per_second:.0f} calls/s, {self.cpu:.2f} ms of CPU each"
        )


@asynccontextmanager
async def injector_process(folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`python -m standins.injector` with certificate files; the process and its URL."""
    authority = Authority()
    pair = authority.issue(["127.0.0.1"])
    for name, content in (("ca", authority.pem), ("crt", pair.cert), ("key", pair.key)):
        (folder / name).write_bytes(content)
    env = {key: value for key, value in os.environ.items() if not key.startswith("AGENT_INJECT")}
    port = _free_port()
    env |= {
        "PYTHONPATH": str(ROOT),
        "AGENT_INJECT_LISTEN": f"127.0.0.1:{port}",
        "AGENT_INJECT_VAULT_ADDR": "https://vault.vault.svc:8200",
        "AGENT_INJECT_TLS_CERT_FILE": str(folder / "crt"),
        "AGENT_INJECT_TLS_KEY_FILE": str(folder / "key"),
        "AGENT_INJECT_LOG_LEVEL": "warn",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "standins.injector", "agent-inject", cwd=folder, env=env
    )
    try:
        async with asyncio.timeout(30):
            while not await _answers(port):
                if process.returncode is not None:
                    raise RuntimeError(f"the injector ended with {process.returncode}")
                await asyncio.sleep(0.1)
        yield process, f"https://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def measure(pid: int, url: str, ca: Path, calls: int, at_once: int) -> Figures:
    """Make `calls` calls, `at_once` of them at any moment. Raises on a wrong answer."""
    body = json.dumps(a_review(POD)).encode()
    headers = {"Content-Type": "application/json"}
    waits: list[float] = []
    trust = ssl.create_default_context(cafile=str(ca))
    connector = aiohttp.TCPConnector(ssl=trust, limit=at_once)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def caller(count: int) -> None:
            for _ in range(count):
                started = time.perf_counter()
                async with session.post(f"{url}/mutate", data=body, headers=headers) as answer:
                    content = await answer.read()
                waits.append((time.perf_counter() - started) * 1000)
                if answer.status != 200:
                    raise RuntimeError(f"answered {answer.status}")
            if not read_answer(content, POD).sidecar:
                raise RuntimeError("answered without a sidecar")

        cpu, started = cpu_seconds(pid), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(caller(max(1, calls // at_once)))
        took = time.perf_counter() - started
    cpu = (cpu_seconds(pid) - cpu) * 1000 / len(waits)
    return Figures(sorted(waits), len(waits) / took, cpu)


def cpu_seconds(pid: int) -> float:
    """Processor time a process has used (Linux; 0 elsewhere)."""
    path = Path(f"/proc/{pid}/stat")
    if not path.exists():
        return 0.0
    # The second field is the program's name in brackets and may hold spaces.
    fields = path.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _main(calls: int, at_once: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        async with injector_process(Path(name)) as (process, url):
            await measure(process.pid, url, Path(name, "ca"), at_once, at_once)
            figures = await measure(process.pid, url, Path(name, "ca"), calls, at_once)
    sys.stdout.write(f"{at_once} at once, {figures}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the injector's webhook.")
    parser.add_argument("--calls", type=int, default=2000, help="calls in all")
    parser.add_argument("--at-once", type=int, default=50, help="calls under way")
    given = parser.parse_args()
    asyncio.run(_main(given.calls, given.at_once))
