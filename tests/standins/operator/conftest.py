"""The template engine that the operator's tests run: built once, outside the repository."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.base.paths import cache_root
from harness.base.statefile import exclusively
from harness.supply import golang, oci
from standins.operator.gotemplate import PROGRAM


@pytest.fixture(scope="session")
def gotemplate() -> Iterator[Path]:
    """The program `gotemplate` of this checkout, on PATH for the whole session."""
    go = shutil.which("go")
    if go is None or golang.release_of(Path(go)) < golang.OLDEST_GO:
        pytest.skip("no Go 1.26 on PATH: the template engine cannot be built")
    key = hashlib.sha256("\n".join(golang.text_of(PROGRAM)).encode()).hexdigest()[:16]
    folder = cache_root() / "tests" / f"{PROGRAM}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    built = folder / PROGRAM
    with exclusively(folder):
        if not built.exists():
            fresh = folder / "fresh"
            golang.program(PROGRAM, fresh, oci.architecture(), lambda _: None)
            fresh.rename(built)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        yield built
