"""All settings that the API server of an environment has had, in its state folder.

Undo returns to one of them, and as long as a value in etcd may need a key, the key is kept
here: a file for each settings, readable by its owner only, named by a digest that reveals
nothing.
"""

from __future__ import annotations

from pathlib import Path

from harness.base.errors import LabError
from harness.base.statefile import read_json, write_json
from harness.controlplane.settings import Settings, register_keys


class Memory:
    """The settings that are kept in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, settings: Settings) -> str:
        """Keep settings; returns the name to `recall` them by."""
        name = settings.digest()
        file = self._file(name)
        if not file.exists():
            write_json(file, settings.to_json())
        return name

    def recall(self, name: str) -> Settings:
        """The settings that were kept under this name. Raises LabError when there are none."""
        found = read_json(self._file(name))
        if not found:
            raise LabError(
                "the earlier settings of the API server are not kept any more",
                where=str(self._file(name)),
                hint="./lab reset of the whole lab returns it to the plain set-up",
            )
        settings = Settings.from_json(found)
        register_keys(settings.encryption)
        return settings

    def all(self) -> list[Settings]:
        """All settings that are kept."""
        names = (file.stem.removeprefix("settings-") for file in self._files())
        return [self.recall(name) for name in names]

    def forget(self) -> None:
        """Remove all settings, and with them their keys."""
        for file in self._files():
            file.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self.folder / f"settings-{name}.json"

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("settings-*.json"))
