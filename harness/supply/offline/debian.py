"""Root file systems from Debian packages: make one, add packages to it, pack it as a tar.

mmdebstrap makes the first one; apt of this host then adds packages to a copy of it, so
that all images share one download and one bootstrap. Everything that mounts does so
in a mount namespace of its own, which the kernel takes down even after a kill. The
host's own mirrors and apt settings are used; nothing of them stays in the result.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

from harness.base import process
from harness.base.process import CommandFailed
from harness.supply.offline import apt
from harness.supply.offline.recipe import Job

_MERGED_USR = "/usr/share/mmdebstrap/hooks/merged-usr"

# Left out while unpacking. Copyright files stay: an image must say what it is made of.
_EXCLUDED = (
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/bug/*",
)
# What packages or the host leave in a root file system and no container needs.
_LEFT_OUT = (
    "etc/apt/sources.list",
    "etc/apt/sources.list.d",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "etc/hostname",
    "etc/resolv.conf",
    "var/cache/apt",
    "var/cache/debconf",
    "var/cache/ldconfig",
    "var/lib/apt/lists",
    "var/log",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
)

# Mounts and processes that end with the first program in it, by Ctrl-C or by force.
NAMESPACE = ("unshare", "--mount", "--pid", "--fork", "--kill-child")

# $1 is the root; the words after it are run on the host with that root's /proc and /dev.
_WITH_MOUNTS = """
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
shift
exec "$@"
"""


def bootstrap(job: Job, packages: Iterable[str], target: Path) -> None:
    """Write a minimal root file system with `packages` to the tar `target`."""
    archives, lists = _apt_folders(job)
    # Essential packages and apt. The variant minbase would add what a system on a disk
    # needs, and with usrmerge all of Perl; this root is merged from the start instead.
    arguments = [*NAMESPACE, "mmdebstrap", "--variant=apt", "--mode=root", "--format=tar"]
    arguments += [f"--hook-dir={_MERGED_USR}"]
    arguments += [f"--dpkgopt={line}" for line in (*_EXCLUDED, "force-unsafe-io")]
    arguments += [f"--aptopt={line}" for line in apt.acquire_settings()]
    arguments += [f"--include={','.join(('usr-is-merged', *packages))}", "--skip=essential/unlink"]
    cache = '"$1"/var/cache/apt/archives/'
    hooks = {
        "setup": f"mkdir -p {cache}; cp -l {_glob(archives)} {cache} 2>/dev/null || true",
        # The lists and packages go to the shared folder: the next images start from them.
        "customize": f"cp -n {cache}*.deb {shlex.quote(str(archives))}; "
        f'cp -r "$1"/var/lib/apt/lists/. {shlex.quote(str(lists))}',
    }
    arguments += [f"--{name}-hook={command}" for name, command in hooks.items()]
    for interrupted in job.work.glob("mmdebstrap.*"):
        remove(interrupted)
    partial = target.with_suffix(".partial")
    job.run([*arguments, apt.SUITE, partial, *apt.sources()], env={"TMPDIR": str(job.work)})
    partial.rename(target)


def unpack(job: Job, archive: Path, root: Path) -> None:
    """Make `root` a fresh copy of the root file system in `archive`."""
    remove(root)
    root.mkdir(parents=True)
    job.run(["tar", "-C", root, "--numeric-owner", "--exclude=./dev/*", "-xpf", archive])


def remove(root: Path) -> None:
    """Delete a root file system, but nothing that should still be mounted on it."""
    if root.exists():
        process.run(["rm", "-rf", "--one-file-system", root])


def install(job: Job, root: Path, packages: Iterable[str]) -> None:
    """Add Debian packages to `root` with this host's apt, its network and its mirrors."""
    archives, lists = _apt_folders(job)
    configuration = job.work / "apt.conf"
    configuration.write_text(_apt_configuration(root, lists), encoding="utf-8")
    env = {"APT_CONFIG": str(configuration), "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    here = root / "var/cache/apt/archives"
    (here / "partial").mkdir(parents=True, exist_ok=True)
    (root / "var/lib/apt/lists/partial").mkdir(parents=True, exist_ok=True)
    _share(archives, here)
    get = ["apt-get", "-y", "-q", "--no-install-recommends"]
    words = ["install", *packages]
    try:
        job.run([*get, "--download-only", *words], env=env)
    except CommandFailed:
        # No lists yet, or lists so old that the mirror no longer has what they name.
        job.run([*get, "update"], env=env)
        job.run([*get, "--download-only", *words], env=env)
    _share(here, archives)
    no_services = root / "usr/sbin/policy-rc.d"
    no_services.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    no_services.chmod(0o755)
    job.run(
        [*NAMESPACE, "sh", "-euc", _WITH_MOUNTS, "sh", root, *get, "--no-download", *words], env=env
    )
    no_services.unlink()


def add_user(root: Path, name: str, number: int, *, home: str = "") -> None:
    """Add a user and a group of that number, with a home folder and no password, to `root`."""
    home = home or f"home/{name}"
    for file, line in (
        ("etc/passwd", f"{name}:x:{number}:{number}::/{home}:/bin/sh"),
        ("etc/group", f"{name}:x:{number}:"),
        ("etc/shadow", f"{name}:!:19000:0:99999:7:::"),
    ):
        with (root / file).open("a", encoding="ascii") as table:
            table.write(f"{line}\n")
    (root / home).mkdir(parents=True)
    os.chown(root / home, number, number)


def clean(root: Path) -> None:
    """Take out of `root` what the host or the package tools left and no container needs."""
    for name in _LEFT_OUT:
        path = root / name
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
    for name in ("var/log", "var/cache", "var/lib/apt/lists", "tmp", "run", "proc", "sys", "dev"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for cache in (*root.glob("usr/lib/python3*/**/__pycache__"), *root.glob("var/lib/dpkg/*-old")):
        if cache.is_dir():
            shutil.rmtree(cache)
        else:
            cache.unlink()
    (root / "tmp").chmod(0o1777)


def pack(job: Job, root: Path, target: Path) -> None:
    """Write `root` to the tar `target`: sorted, without times, hard links kept."""
    partial = target.with_suffix(".partial")
    fixed = ["--sort=name", "--mtime=@0", "--numeric-owner", "--format=gnu"]
    job.run(["tar", "-C", root, *fixed, "--exclude=./dev/*", "-cf", partial, "."])
    partial.rename(target)


def closure(root: Path, packages: Iterable[str]) -> set[str]:
    """`packages` and everything they depend on that is installed in `root`."""
    depends: dict[str, set[str]] = {}
    for stanza in (root / "var/lib/dpkg/status").read_text("utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*)$", stanza, re.MULTILINE))
        named = f"{fields.get('Depends', '')},{fields.get('Pre-Depends', '')}"
        if "Package" in fields:
            depends[fields["Package"]] = set(re.findall(r"(?:^|[,|])\s*([a-z0-9.+-]+)", named))
    found: set[str] = set()
    ahead = set(packages)
    while ahead:
        name = ahead.pop()
        found.add(name)
        ahead |= (depends.get(name, set()) & set(depends)) - found
    return found


def pack_packages(job: Job, root: Path, packages: Iterable[str], target: Path) -> None:
    """Write the files of `packages` and their dependencies, as they are in `root`, to a tar."""
    names: set[str] = {"etc/ld.so.cache", "etc/passwd", "etc/group", "tmp"}
    names |= {
        link for link in ("bin", "sbin", "lib", "lib32", "lib64") if (root / link).is_symlink()
    }
    for package in closure(root, packages):
        for listing in (root / "var/lib/dpkg/info").glob(f"{package}*.list"):
            if listing.stem.partition(":")[0] == package:
                names |= {line.strip("/") for line in listing.read_text("utf-8").splitlines()}
    real = {_without_links(root, name) for name in names if name not in ("", ".")}
    listed = job.work / "files.list"
    kept = sorted(name for name in real if os.path.lexists(root / name) and "/doc/" not in name)
    listed.write_text("\n".join(kept) + "\n", encoding="utf-8")
    fixed = ["--mtime=@0", "--numeric-owner", "--format=gnu", "--no-recursion"]
    job.run(["tar", "-C", root, *fixed, "-cf", target, "-T", listed])


def _without_links(root: Path, name: str) -> str:
    """`name` with its first part followed where it is a link: lib/x is usr/lib/x."""
    first, slash, rest = name.partition("/")
    if slash and (root / first).is_symlink():
        return f"{(root / first).readlink()}/{rest}"
    return name


def _apt_folders(job: Job) -> tuple[Path, Path]:
    """The shared folders for downloaded packages and for package lists."""
    archives, lists = job.shared / "apt/archives", job.shared / "apt/lists"
    for folder in (archives, lists / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    return archives, lists


def _share(source: Path, target: Path) -> None:
    """Hard-link every package file of `source` that `target` does not have yet."""
    for file in source.glob("*.deb"):
        if not (target / file.name).exists():
            os.link(file, target / file.name)


def _glob(folder: Path) -> str:
    return f"{shlex.quote(str(folder))}/*.deb"


def _apt_configuration(root: Path, lists: Path) -> str:
    """A whole apt configuration that works on `root` and ignores the host's hooks."""
    lines = [
        *apt.acquire_settings(),
        'Dir::Etc::Main "/dev/null";',
        'Dir::Etc::Parts "/dev/null";',
        'Dir::Etc::Trusted "/etc/apt/trusted.gpg";',
        'Dir::Etc::TrustedParts "/etc/apt/trusted.gpg.d";',
        f'Dir "{root}";',
        f'Dir::State::Status "{root}/var/lib/dpkg/status";',
        f'Dir::State::Lists "{lists}";',
        f'DPkg::Chroot-Directory "{root}";',
        'DPkg::Options:: "--force-unsafe-io";',
        # A configuration file that a recipe has written stays.
        'DPkg::Options:: "--force-confold";',
        # apt as root fetches as the user _apt, who may not read a cache in a home folder.
        'APT::Sandbox::User "root";',
        'APT::Install-Recommends "false";',
    ]
    return "\n".join(lines) + "\n"
