"""A lab that needs no cluster: its "cluster" is a folder of files in the state folder.

Unit tests of the notebook, the pytest reading and JupyterLab use it in place of a real
lab. `install()` puts it where a kernel finds it; what is replaced is the environment and
the inventory, never the code under test.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from harness.base.redact import Secret
from harness.environment.record import EnvironmentRecord
from harness.lab import catalog
from harness.lab.access import Access
from harness.lab.context import LabContext
from harness.lab.steps import Lab, expect
from harness.notebook import lab as notebook
from harness.snapshot import restore as reset
from harness.snapshot import take as inventory

TOKEN = "hvs.toylabtoylabtoylabtoylab"
GREETING = "hello"
KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: kind-toy, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: kind-toy, user: {}}]
contexts: [{name: kind-toy, context: {cluster: kind-toy, user: kind-toy}}]
current-context: kind-toy
"""

toy = Lab(
    "90",
    "A toy",
    minutes=1,
    goal="Show what a lab looks like without a cluster.",
    remember=("Files are not secrets.",),
)


def shelf(lab: LabContext) -> Path:
    """The folder that stands for the cluster."""
    folder = lab.access.state / "shelf"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@toy.step("Put a book on the shelf", hints=["Look at `shelf(lab)`.", "Write `book`: hello."])
def put_book(lab: LabContext) -> None:
    """A shelf is where books stand.

    You will see a **book** afterwards.
    """
    # A comment that belongs to the code.
    book = shelf(lab) / "book"
    book.write_text(GREETING)
    lab.notes["title"] = json.dumps({"title": GREETING})


@put_book.check
def _(lab: LabContext) -> None:
    book = shelf(lab) / "book"
    expect(
        book.exists(),
        "there is a book on the shelf",
        found=sorted(file.name for file in shelf(lab).iterdir()),
        hint="write one",
    )
    expect(book.read_text() == GREETING, "the book says hello", found=book.read_text())


@toy.step("Look at the shelf", observe=True)
def look(lab: LabContext) -> None:
    """Looking changes nothing."""
    expect((shelf(lab) / "book").exists(), "the book is still there")


@toy.step("Put a letter beside it", hints=["A letter is a file."])
def put_letter(lab: LabContext) -> None:
    """Letters follow books."""
    title = json.loads(lab.notes["title"])["title"]
    (shelf(lab) / "letter").write_text(f"""
      about {title}
    """)


@put_letter.check
def _(lab: LabContext) -> None:
    expect((shelf(lab) / "letter").exists(), "there is a letter on the shelf", hint="write it")


def access(state: Path) -> Access:
    """An access to nothing, whose state folder is `state`; there is a kubeconfig in it."""
    (state / "kubeconfig").write_text(KUBECONFIG)
    return Access(
        name="toy",
        state=state,
        kubeconfig=state / "kubeconfig",
        cluster="toy",
        api_server="",
        flavour="vault",
        vault_addr="https://127.0.0.1:1",
        vault_pod_addr="",
        vault_ca=state / "ca.pem",
        vault_token=Secret(TOKEN),
        learner_token=Secret(TOKEN),
        audit_log=state / "audit.log",
        programs=state / "bin",
        images={},
    )


class ToyInventory:
    """Takes the shelf's files in place of the cluster's objects."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files

    @classmethod
    def take(cls, lab: LabContext) -> ToyInventory:
        """What is on the shelf now."""
        return cls({file.name: file.read_text() for file in shelf(lab).iterdir()})

    def to_json(self) -> dict[str, str]:
        """The files by name."""
        return self.files

    @classmethod
    def from_json(cls, files: dict[str, str]) -> ToyInventory:
        """The reverse of `to_json`."""
        return cls(files)


def difference(before: ToyInventory, after: ToyInventory) -> list[str]:
    """The names of the files that differ."""
    return sorted(dict(before.files.items() ^ after.files.items()))


def restore(lab: LabContext, stored: ToyInventory) -> list[str]:
    """Make the shelf hold what was stored."""
    done = []
    for file in shelf(lab).iterdir():
        if file.name not in stored.files:
            file.unlink()
            done.append(f"removed {file.name}")
    return done


def wipe(lab: LabContext) -> list[str]:
    """Empty the shelf."""
    return restore(lab, ToyInventory({}))


class ToyEnvironment:
    """Stands for harness.environment.environment.Environment; its state folder is TOY_STATE."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.record = EnvironmentRecord("vault", 1, "auto")

    def running(self) -> Access:
        """Where the toy is."""
        return access(Path(os.environ["TOY_STATE"]))


def install(replace: Callable[[object, str, object], None] = setattr) -> None:
    """Replace the environment, the inventory and the list of labs in this process."""
    for place, name, replacement in (
        (inventory, "take", ToyInventory.take),
        (inventory, "Inventory", ToyInventory),
        (inventory, "difference", difference),
        (reset, "restore", restore),
        (reset, "wipe", wipe),
        (notebook, "Environment", ToyEnvironment),
        (catalog, "all_labs", lambda: (toy,)),
        (LabContext, "prepare", lambda self: None),
    ):
        replace(place, name, replacement)
