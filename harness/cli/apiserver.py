"""The command that gives the API server other settings: what a step of labs 00 and 06 types.

On a cluster of one's own one edits the API server's static pod on the node, puts the files that
its flags name beside it, and waits. This command does the same, quickly, and puts the settings
before back when the API server does not come up with the new ones.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.base.errors import UsageError
from harness.cli.common import EnvName, app, environment, lab_at_work

FROM = "A file, - for standard input."


@app.command()
def apiserver(
    encryption: Annotated[
        str, typer.Option(metavar="FILE", help=f"An EncryptionConfiguration. {FROM}")
    ] = "",
    audit: Annotated[str, typer.Option(metavar="FILE", help=f"An audit Policy. {FROM}")] = "",
    kms_pod: Annotated[
        str, typer.Option(metavar="FILE", help=f"The static pod of a KMS plugin. {FROM}")
    ] = "",
    kms_files: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The files that the plugin reads in /etc/kms."),
    ] = None,
    reload: Annotated[
        bool | None,
        typer.Option(
            "--reload/--no-reload", help="Whether it takes a changed encryption file over itself."
        ),
    ] = None,
    keep_running: Annotated[
        bool,
        typer.Option("--keep-running", help="Only write the encryption file; restart nothing."),
    ] = False,
    not_ready: Annotated[
        bool, typer.Option("--not-ready", help="Wait until it serves, ready or not.")
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Kubeadm's own settings, without a plugin.")
    ] = False,
    env: EnvName = "lab",
) -> None:
    """Restart the API server, with other settings: encryption, audit policy, KMS plugin."""
    from harness.controlplane.change import READY, SERVES, Plugin, Settings
    from harness.lab.context import LabContext

    plane = LabContext(environment(env).access(), lab_at_work("", env)).control_plane
    ready = SERVES if not_ready else READY
    if keep_running:
        plane.write_encryption(_read(encryption))
        typer.echo("the file is written, the API server runs on")
        return
    changes: dict[str, Any] = {}
    for name, file in (("encryption", encryption), ("audit", audit)):
        if file:
            changes[name] = _read(file)
    if reload is not None:
        changes["reload"] = reload
    if kms_pod:
        changes["plugin"] = Plugin(_document(kms_pod), _files(kms_files))
    if plain:
        seconds = plane.apply(Settings(), ready=ready)
    elif changes:
        seconds = plane.set(**changes, ready=ready)
    else:
        seconds = plane.restart(ready=ready)
    state = "serves" if not_ready else "is ready"
    typer.echo(f"the API server {state} again after {seconds:.0f} seconds")


def _read(file: str) -> str:
    if not file:
        raise UsageError("which file?", hint="--encryption FILE --keep-running")
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", hint="name a file") from error


def _document(file: str) -> dict[str, Any]:
    """The YAML object in a file. Raises UsageError when it holds none."""
    import yaml

    try:
        found = yaml.safe_load(_read(file))
    except yaml.YAMLError as error:
        raise UsageError(
            f"{file} is no YAML: {error}", hint="mend the line that it names"
        ) from error
    if not isinstance(found, dict):
        raise UsageError(f"{file} holds no object", hint="a Pod, as YAML")
    return found


def _files(folder: Path | None) -> dict[str, str]:
    """The files of a folder by name."""
    if folder is None:
        return {}
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(folder.iterdir())}
