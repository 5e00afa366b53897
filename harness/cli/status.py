"""What `lab status` shows: what runs, where every part comes from, how far the labs are.

`status` gathers plain data (for `-o json`), `tables` lays the same data out for a
person. Looking changes nothing and needs nothing to be up.
"""

from __future__ import annotations

import tomllib
from importlib import metadata
from typing import Any

from rich.table import Table

from harness.base.paths import CHECKOUT, INSTALLED, PROJECT
from harness.clients.vault import VaultHTTP, VaultUnreachable
from harness.environment.environment import Environment
from harness.environment.record import EnvironmentRecord
from harness.lab import catalog
from harness.servers.vault import VaultServer
from harness.session.progress import DONE, SKIPPED, Progress
from harness.supply.base import SUPPLIES, Provided, all_parts, is_past
from harness.supply.engine import engine
from harness.supply.mirror import index

Data = dict[str, Any]
# Enough of a digest to tell two apart; `-o json` has all of it.
SHOWN_DIGITS = 12


def project_version() -> str:
    """The version in pyproject.toml, or that of the installed package."""
    if INSTALLED:
        return metadata.version(PROJECT)
    text = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    return str(tomllib.loads(text)["project"]["version"])


def status(environment: Environment) -> Data:
    """The state of one environment, its parts and the progress in every lab."""
    record = environment.record
    found = engine.find()
    services = [
        {"name": "container engine", "state": "runs" if found else "none", "at": str(found or "")}
    ]
    if found and record:
        node = environment.cluster.node()
        vault = environment.vault()
        services += [
            {
                "name": "cluster",
                "state": node.status if node else "absent",
                "at": f"{environment.cluster.name}, kubeconfig in the state folder",
            },
            {
                "name": record.flavour,
                "state": _vault_state(vault, record.vault_port),
                "at": vault.address(record.vault_port),
            },
        ]
    if mirror := index.joined():
        services.append({"name": "room mirror", "state": "joined", "at": mirror.url})
    return {
        "environment": environment.name,
        "up": record is not None and record.complete,
        "supply": record.why if record else "",
        "services": services,
        "parts": parts_of(record) if record else [],
        "labs": status_of_labs(environment),
    }


def parts_of(record: EnvironmentRecord) -> list[Data]:
    """Where each part of an environment comes from, and what is known about it."""
    supply = record.why.partition(":")[0]
    return [
        {
            "part": part.part,
            "version": part.version,
            "origin": part.origin,
            "kind": "upstream" if part.upstream else "stand-in",
            "digest": part.digest,
            **_about(part, supply),
        }
        for part in record.provided
    ]


def tables(data: Data) -> list[Table]:
    """The same for people."""
    title = f"environment {data['environment']}: {'up' if data['up'] else 'not up (./lab up)'}"
    services = Table("service", "state", "at", title=title, title_justify="left")
    for entry in data["services"]:
        services.add_row(entry["name"], entry["state"], entry["at"])
    progress = Table("lab", "title", "done", "next step", title="progress", title_justify="left")
    for lab in data["labs"]:
        done = f"{lab['done']}/{lab['steps']}"
        done += f", {lab['skipped']} skipped" if lab["skipped"] else ""
        progress.add_row(lab["lab"], lab["title"], done, lab["next"])
    shown = [services]
    if data["parts"]:
        parts = Table(
            "part",
            "version",
            "origin",
            "kind",
            "digest",
            "licence",
            "end of life",
            title=f"supply {data['supply']}",
            title_justify="left",
        )
        for part in data["parts"]:
            words = (part["part"], part["version"], part["origin"], part["kind"])
            digest = part["digest"].removeprefix("sha256:")[:SHOWN_DIGITS]
            parts.add_row(*words, digest, part["licence"], _shown_end(part["eol"]))
        shown.append(parts)
    return [*shown, progress]


def _about(provided: Provided, supply: str) -> dict[str, str]:
    """The licence and the end of life of a provided part, as far as its pin is still there."""
    part = all_parts().get(provided.part)
    if part is None or supply not in SUPPLIES or part.at(supply).version != provided.version:
        return {"licence": "", "eol": ""}
    return {"licence": part.licence, "eol": part.at(supply).eol}


def _shown_end(eol: str) -> str:
    return f"[yellow]{eol}, past[/]" if is_past(eol) else eol


def first_open(environment: Environment) -> str:
    """The number of the first lab with a step that is neither done nor skipped.

    The last lab's when there is none.
    """
    numbers = [lab.number for lab in catalog.all_labs()]
    still = [lab["lab"] for lab in status_of_labs(environment) if lab["next"]]
    return str((still or numbers[-1:])[0])


def status_of_labs(environment: Environment) -> list[Data]:
    """How far a person has got in each lab; read from files alone."""
    return [_lab_progress(environment, lab) for lab in catalog.all_labs()]


def _lab_progress(environment: Environment, lab: Any) -> Data:
    progress = Progress.of(environment.folder, lab)
    states = {step: progress.state(step) for step in lab.steps}
    first = progress.first_open(lab)
    return {
        "lab": lab.number,
        "title": lab.title,
        "steps": len(lab.steps),
        "done": sum(1 for state in states.values() if state in DONE),
        "skipped": sum(1 for state in states.values() if state == SKIPPED),
        "next": f"{first.id} {first.title}" if first else "",
        "states": {step.name: state for step, state in states.items()},
    }


def _vault_state(vault: VaultServer, port: int) -> str:
    container = vault.container()
    if container is None:
        return "absent"
    if container.status != "running":
        return str(container.status)
    try:
        http = VaultHTTP(vault.address(port), vault.ca, None)
        sealed = http.get("/v1/sys/seal-status", timeout=3).json()["sealed"]
    except (VaultUnreachable, OSError):
        return "does not answer"
    return "sealed" if sealed else "running, unsealed"
