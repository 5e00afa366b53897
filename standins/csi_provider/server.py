"""The provider's two doors: the driver's socket, and /health/ready once that is open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from standins.common.serving import grpc_socket, health, text_pages
from standins.csi_provider.mount import Provider


@asynccontextmanager
async def serving(provider: Provider, endpoint: str, health_address: str) -> AsyncIterator[None]:
    """Serve until the block ends. Raises CannotServe."""
    async with (
        grpc_socket(provider.handlers(), endpoint),
        text_pages(health_address, {"/health/ready": health()}),
    ):
        yield
