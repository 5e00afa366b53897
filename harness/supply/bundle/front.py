"""Before there are any Python packages: takes them out of the bundle that is to be loaded.

The `lab` script runs this module with the system's Python, and installs from the folder that
it fills; so nothing but the standard library is imported. The whole file is checked first.
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness.base.errors import LabError, UsageError
from harness.base.paths import cache_root
from harness.supply.bundle import format as form

WHEELS = "wheels"


def wheels_folder() -> Path:
    """Where the wheels of bundles lie; the `lab` script knows this path as well."""
    return cache_root() / WHEELS


def take_wheels(bundle: form.Bundle) -> int:
    """Write the wheels that the folder lacks; returns how many."""
    folder = wheels_folder()
    taken = 0
    with bundle.file.open("rb") as stream:
        for record, position in bundle.frames():
            target = folder / record.name
            if record.kind != form.WHEEL or target.exists():
                continue
            folder.mkdir(parents=True, exist_ok=True)
            beside = target.with_suffix(".partial")
            try:
                with beside.open("wb") as file:
                    file.writelines(form.wheel(stream, record, position))
                beside.replace(target)
            finally:
                beside.unlink(missing_ok=True)
            taken += 1
    return taken


def require_fitting(bundle: form.Bundle) -> None:
    """Raise UsageError when the bundle's wheels are not those of this checkout and Python."""
    manifest = bundle.manifest
    if manifest.lock != form.lock_sum():
        raise other_version(manifest, str(bundle.file), "its Python packages")
    if manifest.python != form.python_here():
        raise UsageError(
            f"the Python packages in this bundle are for Python {manifest.python},"
            f" this is {form.python_here()}",
            where=str(bundle.file),
            hint=f"put a python3 {manifest.python} first on the PATH, or make the bundle with"
            f" Python {form.python_here()}",
        )


def other_version(manifest: form.Manifest, where: str, what: str, hint: str = "") -> UsageError:
    """The refusal of what another commit of the labs made; a mirror's comes with a `hint`."""
    commit = manifest.commit
    return UsageError(
        f"{'the mirror' if hint else 'this bundle'} is from another version of the labs:"
        f" {what} differ",
        where=where,
        hint=hint
        or (f"git checkout {commit}, or make" if commit else "make")
        + " a bundle from this version: ./lab bundle save FILE",
    )


def main(file: Path) -> int:
    """Check `file` and take its wheels; return the exit code."""
    try:
        bundle = form.read(file)
        form.check(bundle, lambda doing: None)
        require_fitting(bundle)
        take_wheels(bundle)
    except LabError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"the bundle's packages cannot be written: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
