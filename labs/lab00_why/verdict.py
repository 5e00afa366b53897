"""The table "Why Vault": what each cell says, and the steps that prove it. No calls in here.

A cell is a sentence with places for what was measured (labs.lab00_why.measured). When the
step that leaves it has not been done, there is nothing to fill in, and the cell says so
instead of claiming. The steps are named, not numbered, so that a step which moves keeps
its links; a test fails when one disappears.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.lab.api import UsageError
from harness.lab.catalog import find_steps
from harness.lab.steps import Step

HERE = "00.why_vault"
WIDTH = 96
HEADINGS = ("", "A Kubernetes Secret", "A secret in Vault")


@dataclass(frozen=True)
class Cell:
    """What was measured (a format string over the figures), and the steps that prove it."""

    says: str
    proof: tuple[str, ...]

    def filled(self, notes: Mapping[str, Any]) -> str:
        """The sentence with the measured values in it; "" when one of them is missing."""
        try:
            return self.says.format_map(notes)
        except (LookupError, TypeError, ValueError):
            return ""

    def steps(self) -> list[Step]:
        """The steps that prove it; those of labs that are still drafts are left out."""
        found = []
        for name in self.proof:
            try:
                found += find_steps(name)[1]
            except UsageError:
                continue
        return found

    def text(self, notes: Mapping[str, Any]) -> str:
        """For a terminal: the sentence and the numbers of the steps."""
        proof = ", ".join(step.id for step in self.steps())
        return f"{self.filled(notes) or self._missing()} ({proof})"

    def markdown(self, notes: Mapping[str, Any]) -> str:
        """For a notebook: the same with links."""
        links = ", ".join(f"[{step.id}]({link(step)})" for step in self.steps())
        said = self.filled(notes) or f"*{self._missing()}*"
        return f"{said} ({links})".replace("|", "\\|")

    def _missing(self) -> str:
        here = [step.id for step in self.steps() if step.lab.number == HERE[:2]]
        return f"Not measured: step {' or '.join(here)} was not done."


@dataclass(frozen=True)
class Row:
    """One question, and both answers."""

    topic: str
    secret: Cell
    vault: Cell


def link(step: Step) -> str:
    """Where a notebook has this step: its heading, in the notebook of its lab."""
    # JupyterLab makes the anchor of a heading from its text.
    anchor = quote(f"Step {step.number}: {step.title}".replace(" ", "-"), safe=":,-")
    notebook = "" if step.lab.number == HERE[:2] else step.lab.notebook
    return f"{notebook}#{anchor}"


ROWS = (
    Row(
        "One place",
        Cell(
            "A Secret belongs to one namespace: {elsewhere[copies]} namespaces that need one "
            "password have {elsewhere[copies]} copies, each with readers of its own; and kubectl "
            "apply keeps one more in an annotation.",
            ("00.read_without_get", "00.decode_it"),
        ),
        Cell(
            "One secret, {vault[place][readers]} readers. After one write both had the new "
            "value within {vault[place][seconds]} s.",
            (HERE, "01.write_secret"),
        ),
    ),
    Row(
        "Who may read",
        Cell(
            "The right to list, without get, gave {readers[list_gave]} values. Names cannot be "
            "patterns. Whoever may create a pod reads all of the namespace.",
            ("00.who_can_read", "00.read_without_get"),
        ),
        Cell(
            "A policy names paths: {vault[policies][own]} for the own one, "
            "{vault[policies][other]} for another, {vault[policies][later]} for one written "
            "later in the own folder. A list gave {vault[policies][names]} name and "
            "{vault[policies][values]} values.",
            (HERE, "01.allow_one_path", "01.be_refused", "02.be_refused"),
        ),
    ),
    Row(
        "A new value",
        Cell(
            "A volume had it after {freshness[volume]:.0f} s; a variable and a subPath never, "
            "without a restart: {freshness[restart]} s without a pod.",
            ("00.env_volume_subpath",),
        ),
        Cell(
            "Whoever asks has it, here after {vault[place][seconds]} s. Volumes, agents and the "
            "operator ask again by themselves; the operator also restarts what needs it.",
            (HERE, "02.rotate", "03.templates", "04.follow_changes"),
        ),
    ),
    Row(
        "An end",
        Cell(
            "None. Each reader has the same value, until somebody changes it everywhere: "
            "after that, {freshness[stale]} of {freshness[places]} places still had the old one.",
            ("00.env_volume_subpath",),
        ),
        Cell(
            "Each reader can get a secret of its own: {vault[dynamic][certificates]} readers, "
            "{vault[dynamic][certificates]} certificates. A token made for "
            "{vault[dynamic][ttl]} s was dead after {vault[dynamic][seconds]} s.",
            (HERE, "01.database_users", "01.token_life", "03.database_user", "04.database_users"),
        ),
    ),
    Row(
        "On the way",
        Cell(
            "The API server speaks {vault[transit][api]}, verified with the cluster's CA: no "
            "difference here.",
            (HERE,),
        ),
        Cell(
            "{vault[transit][vault]}, verified with Vault's CA; without TLS it answers "
            "{vault[transit][plain]}. Besides, an answer can be wrapped so that a theft shows, "
            "and Vault encrypts for others.",
            (HERE, "01.say_hello", "01.wrap_response", "01.certify"),
        ),
    ),
    Row(
        "On the disk",
        Cell(
            "In the clear: etcd gave the value, and the names of {etcd[names]} Secrets, to whoever "
            "has its certificate. You can encrypt there; the API still hands Secrets out "
            "as before.",
            (
                "00.look_into_etcd",
                "06.encrypt_at_rest",
                "06.use_vault_transit",
                "06.what_it_does_not_do",
            ),
        ),
        Cell(
            "Encrypted: in Vault's storage the value was found {vault[rest][found]} times, "
            "a name that is kept there in the clear {vault[rest][control]} times. A file that "
            "Vault fills in a pod is in memory, not in etcd.",
            (HERE, "02.look_into_etcd", "04.follow_the_traces"),
        ),
    ),
    Row(
        "Who has read it",
        Cell(
            "By default nobody can tell: {elsewhere[events]} events, and no log. "
            "With an audit policy it is told who, but not what was in a list, nor which pod has "
            "mounted it; reading etcd left {audit[etcd]} lines.",
            ("00.who_read_it", "00.read_without_get"),
        ),
        Cell(
            "Vault tells, once somebody has enabled its audit log: {vault[audit][who]} was refused "
            "to {vault[audit][operation]} {vault[audit][path]}; {vault[audit][values]} values "
            "stand in the log.",
            (HERE, "01.read_the_audit_log", "02.what_vault_sees", "04.follow_the_traces"),
        ),
    ),
)


class Verdict:
    """The table, filled in. A notebook shows it as Markdown, `print` as text."""

    def __init__(self, notes: Mapping[str, Any], rows: tuple[Row, ...] = ROWS) -> None:
        self.notes = dict(notes)
        self.rows = rows

    def missing(self) -> list[str]:
        """The topics for which what Vault does has not been measured."""
        return [row.topic for row in self.rows if not row.vault.filled(self.notes)]

    def __str__(self) -> str:
        table = Table(*HEADINGS, box=box.SQUARE, show_lines=True)
        for row in self.rows:
            cells = (row.topic, row.secret.text(self.notes), row.vault.text(self.notes))
            # Text, because a string with brackets in it would be taken for markup.
            table.add_row(*(Text(cell) for cell in cells))
        page = io.StringIO()
        # Whatever the terminal or the notebook would like: plain text of one width.
        Console(file=page, width=WIDTH, color_system=None, force_jupyter=False).print(table)
        return page.getvalue()

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        lines = [" | ".join(HEADINGS), "---|---|---"]
        lines += [
            f"**{row.topic}** | {row.secret.markdown(self.notes)} | "
            f"{row.vault.markdown(self.notes)}"
            for row in self.rows
        ]
        return "\n".join(lines)
