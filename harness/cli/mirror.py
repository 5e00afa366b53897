"""The commands about room mirrors: one machine serves to a room what the labs need.

Imports are inside the commands, so that `lab --help` answers at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.common import (
    FlavourNames,
    KubernetesReleases,
    Labs,
    SupplyName,
    app,
    chosen_labs,
    messages,
    provided_for,
)

mirror = typer.Typer(
    no_args_is_help=True,
    help="Serve a room with what the labs need, from this machine, or join such a mirror.",
)
app.add_typer(mirror, name="mirror")


@mirror.command()
def serve(
    labs: Labs = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS:PORT", help="Where to listen; on this machine alone without it."
        ),
    ] = None,
    supply: SupplyName = "auto",
    vault: FlavourNames = None,
    kubernetes: KubernetesReleases = None,
) -> None:
    """Serve what the named labs need, or all labs, until Ctrl-C; nothing can be written."""
    import sys

    from harness.base.progress import reporting
    from harness.supply.mirror import index, room

    address = room.parse_listen(listen or room.DEFAULT)
    chosen = chosen_labs(labs)
    with reporting() as progress:
        found, provided = provided_for(chosen, supply, vault, kubernetes, progress)
        ready = room.prepare(found.name, provided, [lab.number for lab in chosen], progress)
    joined: set[str] = set()

    def seen(client: str) -> None:
        if client not in joined:
            joined.add(client)
            messages.print(f"{client} asked, the {len(joined)}. machine", markup=False)

    with room.serving(ready.paths, address, seen) as server:
        url = room.url_of((address[0], server.server_address[1]))
        if listen is None:
            messages.print(
                "only this machine reaches it: --listen ADDRESS:PORT names an address of the"
                f" room's network (this machine has {room.own_address()})",
                style="yellow",
                markup=False,
            )
        if own := [str(part["name"]) for part in ready.found.manifest.parts if part["own_use"]]:
            messages.print(
                f"under HashiCorp's BUSL-1.1, for each person's own use: {', '.join(own)}",
                style="yellow",
                markup=False,
            )
        messages.print(
            f"labs {', '.join(ready.found.manifest.labs)}, {ready.size / 1e6:.0f} MB for each"
            f" machine; the clone: {url}{index.REPOSITORY}; Ctrl-C ends it. For the slide:",
            markup=False,
        )
        # Piped, it is what a script waits for.
        sys.stdout.write(f"./lab mirror join {url} --fingerprint SHA256:{room.certificates()}\n")
        sys.stdout.flush()
        server.serve_forever()


@mirror.command()
def join(
    url: Annotated[str, typer.Argument(metavar="URL", help="https://ADDRESS:PORT of the mirror.")],
    fingerprint: Annotated[
        str, typer.Option(metavar="SHA256:...", help="The fingerprint on the slide.")
    ],
) -> None:
    """Fetch from this mirror from now on; its certificate is trusted by this checkout alone."""
    from harness.base.progress import reporting
    from harness.supply.bundle import load
    from harness.supply.mirror import front, index

    with reporting() as progress:
        progress.start("mirror", f"asking {url}")

        def say(doing: str) -> None:
            progress.update("mirror", doing)

        try:
            found, ca, has = front.ask(url, fingerprint, say)
            load.require_same_parts(has.manifest, found.url, front.other_hint(found.url))
            index.remember(found, ca)
        except BaseException:
            progress.fail("mirror", "not joined")
            raise
        progress.done("mirror", f"joined {found.url}")
    words = " ".join(has.manifest.labs)
    messages.print(f"labs {words} come from there: ./lab run", markup=False)


@mirror.command()
def leave() -> None:
    """Fetch from the usual places again; what was fetched stays."""
    from harness.supply.mirror import index

    left = index.forget()
    messages.print("left" if left else "no mirror was joined", markup=False)
