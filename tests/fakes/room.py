"""A room mirror of two small made-up parts: a program and an image, as they lie in the cache.

As a program (`python -m tests.fakes.room`) it is one machine of a room: `serve ADDRESS PORT` or
`take URL FINGERPRINT`, with the cache and the state folder of its environment variables.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from unittest import mock

from harness.base.errors import LabError
from harness.base.wait import pause
from harness.supply.base import Provided, find_part
from harness.supply.bundle import format as form
from harness.supply.bundle import wheels
from harness.supply.bundle.front import wheels_folder
from harness.supply.mirror import client, front, index, room, server
from harness.supply.mirror.room import Room
from harness.supply.offline.cache import Cache
from harness.supply.offline.supply import OfflineSupply
from tests.fakes.progress import Silent

ENTRIES = {"vault": "0123456789abcdef", "vault_image": "fedcba9876543210"}
PARTS = ("vault", "vault-cli")
WHEEL = "some-1.0-py3-none-any.whl"
# A transfer of this size takes about a second and a half.
SLOW_SIZE, SLOW_SECONDS = 6_000_000, 0.03


def entries(_: OfflineSupply, parts: Iterable[str]) -> dict[str, str]:
    """The keys of the entries behind these parts, in the place of those of the real recipes."""
    recipes = [str(find_part(part).offline["recipe"]) for part in parts]
    return {recipe: ENTRIES[recipe] for recipe in recipes}


def provided() -> dict[str, Provided]:
    """The parts as the offline supply would have provided them."""
    version, digest = find_part("vault").version, "sha256:" + "0" * 64
    image = f"kube-vault-labs/vault:{version}"
    return {
        "vault": Provided("vault", version, "built", True, digest, image=image),
        "vault-cli": Provided("vault-cli", version, "built", True, digest, path=Path("vault")),
    }


def fill(size: int) -> None:
    """The cache of the machine that serves: two parts of `size` bytes that no packer shrinks."""
    content = Random(1).randbytes(size)  # noqa: S311 # bytes to compare, no secret
    with Cache().making("vault", ENTRIES["vault"]) as (out, _):
        (out / "bin").mkdir()
        (out / "bin" / "vault").write_bytes(content)
        (out / "bin" / "vault").chmod(0o755)
    with Cache().making("vault_image", ENTRIES["vault_image"]) as (out, _):
        (out / "rootfs.tar").write_bytes(content[::-1])
        (out / "image.json").write_text('{"Cmd": ["vault"], "Labels": {"a": "b"}}')
    wheels_folder().mkdir(parents=True, exist_ok=True)
    (wheels_folder() / WHEEL).write_bytes(b"a wheel " * 4000)
    wheels.remember({WHEEL}, form.lock_sum(), form.python_here())


def prepare(size: int = 100_000, *, clone: bool = False) -> Room:
    """A room that serves both parts, and the clone if that is wanted (it takes seconds)."""
    fill(size)
    if not clone:
        with mock.patch.object(room, "_clone", return_value=None):
            return room.prepare("offline", provided(), ["01"], Silent())
    return room.prepare("offline", provided(), ["01"], Silent())


@contextmanager
def serving(made: Room, address: tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[str]:
    """The URL of a server of `made` that runs for the block."""
    with room.serving(made.paths, address) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield room.url_of((address[0], running.server_address[1]))
        finally:
            running.shutdown()
            thread.join()


def join(url: str, fingerprint: str, say: Callable[[str], None] = lambda doing: None) -> None:
    """What `lab mirror join` does."""
    found, ca, _ = front.ask(url, fingerprint, say)
    index.remember(found, ca)


def bring(progress: Silent | None = None) -> None:
    """What `lab fetch --supply offline` asks of a joined mirror."""
    joined = index.joined()
    assert joined
    client.bring(joined, "offline", PARTS, PARTS, progress or Silent())


def _serve(address: str, port: str) -> None:
    """Serve, slowly enough for a transfer to be interrupted in the middle."""
    pieces = server._pieces

    def slow(source: bytes | Path, start: int, end: int) -> Iterator[bytes]:
        for chunk in pieces(source, start, end):
            if isinstance(source, Path) and source.suffix == ".zst":
                pause(SLOW_SECONDS)
            yield chunk

    made = prepare(SLOW_SIZE)
    with (
        mock.patch.object(server, "_pieces", slow),
        room.serving(made.paths, (address, int(port))) as running,
    ):
        print(f"SHA256:{room.certificates()}", flush=True)
        running.serve_forever()


def _take(url: str, fingerprint: str) -> None:
    join(url, fingerprint)
    bring()


def main(words: list[str]) -> int:
    """One machine of a room; returns the exit code."""
    with mock.patch.object(OfflineSupply, "entries", entries):
        try:
            {"serve": _serve, "take": _take}[words[0]](*words[1:])
        except LabError as error:
            print(error, file=sys.stderr)
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
