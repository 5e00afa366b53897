"""Putting container images into a node's root file system before the node ever boots.

containerd itself, run in a chroot of that root, imports an image archive; so the store
it leaves is what it will find at boot, and no image is loaded after `kind create
cluster`. Two things are then changed to make a node small and quick to start. Layers
that are unpacked lose their packed copies, as containerd's `discard_unpacked_layers`
does it. And the unpacked trees move out of /var (which kind makes a volume, so that the
engine copies all of it at every start) to `LAYERS`, with symbolic links in their
place: an overlay's lower layers may lie there, files equal to the node's own as hard
links.
"""

from __future__ import annotations

import filecmp
import os
import stat
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from harness.base.errors import LabError
from harness.supply.offline.debian import NAMESPACE
from harness.supply.offline.recipe import Job

STORE = "var/lib/containerd"
SNAPSHOTS = f"{STORE}/io.containerd.snapshotter.v1.overlayfs/snapshots"
BLOBS = f"{STORE}/io.containerd.content.v1.content/blobs"
LAYERS = "kind/layers"

# Words: the root, the archive, the digests of the packed layers. Everything mounted here
# goes with the mount namespace.
_IMPORT = """
mount -t proc proc "$1/proc"
mount -t sysfs sysfs "$1/sys"
mount --rbind /dev "$1/dev"
mount -t tmpfs tmpfs "$1/run"
touch "$1/run/images.tar"
mount --bind "$2" "$1/run/images.tar"
root="$1"
shift 2
exec chroot "$root" /bin/sh -euc '
  containerd --config /etc/containerd/config.toml &
  daemon=$!
  timeout 60 sh -c "until ctr version >/dev/null 2>&1; do sleep 0.1; done"
  ctr --namespace k8s.io images import /run/images.tar
  ctr --namespace k8s.io content rm "$@" >/dev/null
  kill "$daemon"
  wait
' sh "$@"
"""


def bake(job: Job, root: Path, archive: Path, layers: Iterable[str]) -> None:
    """Import every image of the OCI layout `archive` into the containerd store of `root`.

    `layers` are the digests of its packed layers, as oci.write_layout returns them.
    `root` must have containerd, its configuration and coreutils. Raises LabError when
    nothing arrived unpacked.
    """
    packed = sorted(layers)
    job.run([*NAMESPACE, "sh", "-euc", _IMPORT, "sh", root, archive, *packed], timeout=600)
    for digest in packed:
        # containerd forgets them at once, but collects them when it finds the time.
        (root / BLOBS / digest.replace(":", "/")).unlink(missing_ok=True)
    _move_layers(root)


def _move_layers(root: Path) -> None:
    snapshots = root / SNAPSHOTS
    found = [folder for folder in sorted(snapshots.iterdir()) if (folder / "fs").is_dir()]
    if not found:
        raise LabError("no image was unpacked into the node's store", where=str(snapshots))
    (root / LAYERS).mkdir(parents=True, exist_ok=True)
    for snapshot in found:
        target = Path(LAYERS) / snapshot.name
        (snapshot / "fs").rename(root / target)
        (snapshot / "fs").symlink_to("/" / target)


def share_files(root: Path) -> int:
    """Make files of the layers hard links of equal ones elsewhere; returns the bytes saved.

    A file is compared with those of the same path in the node itself and in the layers
    before: that is where copies come from. Equal means content, mode and owner. Lower
    layers are never written to, and what a node writes to its own files lands in its
    container's layer, so nothing can be changed through the other name.
    """
    seen: dict[Path, list[Path]] = defaultdict(list)
    saved = 0
    for layer in sorted((root / LAYERS).iterdir()):
        for folder, _, names in os.walk(layer):
            for path in (Path(folder) / name for name in names):
                status = path.lstat()
                if not stat.S_ISREG(status.st_mode) or not status.st_size:
                    continue
                within = path.relative_to(layer)
                equal = next(
                    (one for one in (root / within, *seen[within]) if _equal(one, path)), None
                )
                if equal is None:
                    seen[within].append(path)
                else:
                    path.unlink()
                    path.hardlink_to(equal)
                    saved += status.st_size
    return saved


def _equal(one: Path, other: Path) -> bool:
    """Whether two files have the same content, mode and owner, links not followed."""
    try:
        first, second = one.lstat(), other.lstat()
    except OSError:
        return False  # nothing of that name is there
    return (
        (first.st_mode, first.st_uid, first.st_gid, first.st_size)
        == (second.st_mode, second.st_uid, second.st_gid, second.st_size)
    ) and filecmp.cmp(one, other, shallow=False)
