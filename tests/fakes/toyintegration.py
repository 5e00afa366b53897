"""A toy integration, as one file: what adding one takes, for fakes and for a live environment.

It keeps a container beside the cluster and a ConfigMap in it. `add(folder, monkeypatch)` puts the
file into a folder that the package of integrations is extended by.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import integrations

SOURCE = '''
"""A container that waits, and a ConfigMap that says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.base.wait import wait_for
from harness.integrations.base import InstallContext, Integration
from harness.supply.engine import engine


class ToyIntegration(Integration):
    """Keeps its container running."""

    about = "a toy"
    parts = ("app",)
    pod_images = ("app",)

    def apply(self, context: InstallContext) -> str:
        name = f"kube-vault-labs-{context.environment}-toy"
        found = engine.container(name)
        context.folder.mkdir(parents=True, exist_ok=True)
        (context.folder / "name").write_text(name)
        context.kube("default").apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "toy"}}
        )
        if found and found.status == "running":
            return "was running"
        if found:
            found.remove(force=True)
        client = engine.client()
        client.containers.run(
            context.provided["app"].image,
            ["sleep", "3600"],
            name=name,
            labels=dict(context.labels),
            network=context.network,
            detach=True,
        )
        client.close()
        return "started"

    def wait_until_ready(self, context: InstallContext) -> str:
        kube = context.kube("default")
        wait_for("the toy", lambda: kube.get("ConfigMap", "toy", "default"), timeout=20)
        return "ready"

    def client(self, state: Path, on_call: Callable[[str], None] | None = None) -> Any:
        return (state / self.name / "name").read_text()
'''


def add(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the file `toy.py` into `folder`, where integrations are then looked for as well."""
    (folder / "toy.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.setattr(integrations, "__path__", [*integrations.__path__, str(folder)])
