"""HashiCorp Vault from its own Go module: server, agent and client in one program.

Vault's module cannot be required as it is: it points at parts of its own repository. So
it is copied, its replace lines are dropped, and the published SDK that fits this release
best takes their place; the lines that do not fit it are changed. Built without the cloud
plug-ins; clusters/offline/go/vault says what is added and what is left out. Licence
BUSL-1.1: built where it is used, never shipped.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from harness.base.errors import LabError
from harness.supply import golang, oci
from harness.supply.base import find_part
from harness.supply.offline import gobuild
from harness.supply.offline.recipe import Job, Recipe

# Ours in place of Vault's, by file.
REPLACED = {
    "builtinplugins_registry_min.go": "helper/builtinplugins/registry_min.go",
    "command_commands_min.go": "command/commands_min.go",
}
# What differs between Vault's own copy of the SDK and the published one: an activation function
# takes a third word there, and restoring a key does not tell its name.
# Line by line: the file, the text that must be there once, what takes its place.
CHANGED = (
    (
        "vault/identity_store.go",
        "ActivationFunc: iStore.activateDeduplication,",
        "ActivationFunc: func(ctx context.Context, req *logical.Request, _ string) error {"
        " return iStore.activateDeduplication(ctx, req) },",
    ),
    (
        "vault/logical_system_activation_flags.go",
        "b.idStoreBackend.ActivationFunc(ctx, nil)",
        'b.idStoreBackend.ActivationFunc(ctx, nil, "")',
    ),
    (
        "builtin/logical/transit/path_restore.go",
        "restoredKeyName, err := b.lm.RestorePolicy(",
        "restoredKeyName, err := keyName, b.lm.RestorePolicy(",
    ),
)
# Folders of the module that hold no Go package of the server; ui alone is 60 MB.
LEFT_OUT = ("ui", "website", "changelog", "enos")
# Vault shows when it was built; a fixed date keeps equal sources equal programs.
BUILD_DATE = "1970-01-01T00:00:00Z"


class Vault(Recipe):
    """Leaves bin/vault."""

    name = "vault"
    heavy = True

    def inputs(self) -> Iterable[str]:
        yield "1"
        yield repr((REPLACED, CHANGED, LEFT_OUT))
        yield oci.architecture()
        yield from golang.FLAGS
        yield from golang.text_of("vault")
        yield str(find_part("vault-cli").offline["sum"])

    def build(self, job: Job) -> None:
        module = gobuild.prepare(job, "vault")
        job.say("fetching Vault's source")
        target = module / "src"
        gobuild.copy_source(gobuild.source(job, find_part("vault-cli")), target, LEFT_OUT)
        _drop_replacements(target / "go.mod")
        for ours, theirs in REPLACED.items():
            if not (target / theirs).is_file():
                raise LabError(f"Vault's source has no {theirs}", where=str(target))
            shutil.copyfile(module / "replaced" / ours, target / theirs)
        shutil.rmtree(module / "replaced")
        for name, old, new in CHANGED:
            gobuild.change_line(target / name, old, new)
        gobuild.build(
            job,
            module,
            ["."],
            tags=["minimal"],
            variables={"github.com/hashicorp/vault/version.BuildDate": BUILD_DATE},
        )


def _drop_replacements(go_mod: Path) -> None:
    text = go_mod.read_text(encoding="utf-8")
    go_mod.write_text(re.sub(r"^replace .*\n", "", text, flags=re.MULTILINE), encoding="utf-8")


recipe = Vault()
