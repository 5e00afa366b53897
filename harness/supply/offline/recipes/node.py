"""A kind node from Debian packages and the cluster's own programs, images baked in.

kind's own node files (entrypoint, kubelet units, sysctls) come from its Go module at
build time; what hosts with cgroup v1 and few capabilities need instead lies in
clusters/offline/node. Programs lie where upstream's node image has them, and what that
image lacks is not here either, so that what works on one node works on the other
(harness/controlplane/contract.py). The control plane's four images are one layer: the
multi-call binary under four names. Nothing is pulled or loaded after `kind create cluster`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.base import paths
from harness.base.errors import LabError
from harness.supply import images, oci
from harness.supply.base import find_part
from harness.supply.offline import baked, debian, gobuild
from harness.supply.offline.recipe import Job, Recipe
from harness.supply.offline.recipes.kubernetes import CONTAINERD

# Userland of the kube-proxy image; its dependencies follow from the package database.
PROXY_PACKAGES = ("conntrack", "coreutils", "dash", "grep", "ipset", "iptables", "kmod")

# The plug-ins that kind's node has; Debian's package brings eleven more.
PLUGINS = ("host-local", "loopback", "portmap", "ptp")
DEBIANS_PLUGINS, UPSTREAMS_PLUGINS = "usr/lib/cni", "opt/cni/bin"
KUBERNETES_COMMANDS = ("kubeadm", "kubectl", "kubelet")
CONTAINERD_FOLDER = "usr/local/bin"
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
BINARY = "usr/bin/kubernetes"
REGISTRY = "registry.k8s.io"
# Images of the labs' own that every cluster uses.
BAKED_RECIPES = ("app",)

_KIND_FILES = (
    "etc/default",
    "etc/sysctl.d",
    "etc/systemd/system/kubelet.service",
    "etc/systemd/system/kubelet.service.d",
    "etc/systemd/system/kubelet.slice",
    "etc/systemd/system/undo-mount-hacks.service",
    "kind/bin",
    "usr/local/bin/entrypoint",
)
_OUR_FILES = {
    "containerd.toml": "etc/containerd/config.toml",
    "containerd.service": "etc/systemd/system/containerd.service",
    "10-ptp.conflist": "etc/cni/net.d/10-ptp.conflist",
    "default-cni.yaml": "kind/manifests/default-cni.yaml",
    "default-storage.yaml": "kind/manifests/default-storage.yaml",
}
_ENABLED = ("containerd", "kubelet", "undo-mount-hacks")
# Units that have no business in a container, or that touch what all containers share.
_MASKED = ("systemd-binfmt.service", "getty.target", "systemd-logind.service")
_DROPPED_WANTS = (
    "lib/systemd/system/multi-user.target.wants/*",
    "etc/systemd/system/*.wants/*",
    "lib/systemd/system/local-fs.target.wants/*",
    "lib/systemd/system/sockets.target.wants/*udev*",
    "lib/systemd/system/sockets.target.wants/*initctl*",
    "lib/systemd/system/basic.target.wants/*",
    "lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
)


class Node(Recipe):
    """Leaves `rootfs.tar` and `image.json` of the node image.

    `release` is that of Kubernetes, "" for the default.
    """

    def __init__(self, release: str = "") -> None:
        suffix = f"-{release}" if release else ""
        self.name = f"node{suffix}"
        self._programs = f"kubernetes{suffix}"
        self.needs = ("node_base", self._programs, *BAKED_RECIPES)

    @property
    def _version(self) -> str:
        return f"v{find_part(self.name).version}"

    def inputs(self) -> Iterable[str]:
        yield "3"
        yield from (*PROXY_PACKAGES, *PLUGINS)
        parts = (find_part(name) for name in (self.name, "kind", *BAKED_RECIPES))
        # What only the online supply needs to know, or a person, does not change the image.
        yield from (f"{part.name} {part.version} {dict(part.offline)}" for part in parts)
        yield from (file.name + file.read_text("utf-8") for file in sorted(_folder().iterdir()))

    def build(self, job: Job) -> None:
        root = job.work / "root"
        job.say("adding what a node runs")
        debian.unpack(job, job.needs["node_base"] / "rootfs.tar", root)
        self._add_files(job, root)
        job.say("writing the control plane's images")
        archive = job.work / "images.tar"
        layers = oci.write_layout(archive, self._images(job, root))
        job.say("baking the images in")
        baked.bake(job, root, archive, layers)
        archive.unlink()
        baked.share_files(root)
        job.say("packing")
        debian.pack(job, root, job.out / "rootfs.tar")
        (job.out / "image.json").write_text(json.dumps(_image_config()), encoding="utf-8")
        debian.remove(root)

    def _add_files(self, job: Job, root: Path) -> None:
        upstream = gobuild.source(job, find_part("kind")) / "images/base/files"
        for name in _KIND_FILES:
            _copy(upstream / name, root / name)
        for file in (*(root / "kind/bin").iterdir(), root / "usr/local/bin/entrypoint"):
            file.chmod(0o755)
        for source, target in _OUR_FILES.items():
            _copy(_folder() / source, root / target)
        (root / "kind/version").write_text(self._version, encoding="ascii")
        (root / "etc/kubernetes/manifests").mkdir(parents=True)
        self._add_programs(job.needs[self._programs] / "bin", root)
        (root / "usr/sbin/init").unlink(missing_ok=True)
        (root / "usr/sbin/init").symlink_to("/usr/lib/systemd/systemd")
        self._set_up_units(root)

    def _add_programs(self, programs: Path, root: Path) -> None:
        """Put everything that runs on the node where upstream's image has it."""
        targets = {BINARY: "kubernetes"}
        targets |= {f"{CONTAINERD_FOLDER}/{name}": name for name in CONTAINERD}
        for target, name in targets.items():
            _copy(programs / name, root / target)
            (root / target).chmod(0o755)
        for name in KUBERNETES_COMMANDS:
            (root / "usr/bin" / name).symlink_to("kubernetes")
        runc = root / "usr/local/sbin/runc"
        runc.parent.mkdir(parents=True, exist_ok=True)
        runc.symlink_to("/usr/sbin/runc")
        plugins = root / UPSTREAMS_PLUGINS
        plugins.mkdir(parents=True)
        for name in PLUGINS:
            (root / DEBIANS_PLUGINS / name).rename(plugins / name)
        shutil.rmtree(root / DEBIANS_PLUGINS)

    def _set_up_units(self, root: Path) -> None:
        for pattern in _DROPPED_WANTS:
            for link in root.glob(pattern):
                link.unlink()
        units = root / "etc/systemd/system"
        wants = units / "multi-user.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        for name in _ENABLED:
            (wants / f"{name}.service").symlink_to(f"/etc/systemd/system/{name}.service")
        for name in _MASKED:
            (units / name).unlink(missing_ok=True)
            (units / name).symlink_to("/dev/null")
        journald = root / "etc/systemd/journald.conf.d"
        journald.mkdir(parents=True)
        # The kernel's messages are the host's; the journal is small and is for reading.
        journald.joinpath("node.conf").write_text(
            "[Journal]\nReadKMsg=no\nStorage=volatile\nRuntimeMaxUse=64M\n", encoding="ascii"
        )

    def _images(self, job: Job, root: Path) -> Iterable[oci.Image]:
        programs = job.needs[self._programs] / "bin"
        version = self._version
        tags = expected_tags(job, root, version)
        # One layer with the multi-call binary, under all of its names, for four images.
        control_plane = job.work / "control-plane.tar"
        names = [f"usr/local/bin/{name}" for name in CONTROL_PLANE]
        links: dict[str, Path | str] = dict.fromkeys(
            [*names, "usr/libexec/kubernetes/kube-proxy"], f"/{BINARY}"
        )
        oci.write_layer(control_plane, {BINARY: programs / "kubernetes", **links}, folders=["tmp"])
        for name in CONTROL_PLANE:
            # Different entry points give different image IDs: with one ID for the three,
            # the kubelet would report one's name for the others.
            config = {**_path_only(), "Entrypoint": [f"/usr/local/bin/{name}"]}
            yield oci.Image(f"{REGISTRY}/{name}:{version}", [control_plane], config)
        userland, script = job.work / "proxy-userland.tar", job.work / "proxy-script.tar"
        debian.pack_packages(job, root, PROXY_PACKAGES, userland)
        oci.write_layer(script, {"usr/local/bin/kube-proxy": _folder() / "kube-proxy"})
        yield oci.Image(
            f"{REGISTRY}/kube-proxy:{version}", [control_plane, userland, script], _path_only()
        )
        for name, path in (("etcd", "usr/local/bin/etcd"), ("coredns/coredns", "coredns")):
            layer = job.work / f"{Path(path).name}.tar"
            oci.write_layer(layer, {path: programs / Path(path).name}, folders=["tmp"])
            config = {**_path_only(), "Entrypoint": [f"/{path}"]}
            yield oci.Image(f"{REGISTRY}/{name}:{tags[name]}", [layer], config)
        layer = job.work / "pause.tar"
        oci.write_layer(layer, {"pause": programs / "pause"})
        yield oci.Image(f"{REGISTRY}/pause:{tags['pause']}", [layer], {"Entrypoint": ["/pause"]})
        for recipe in BAKED_RECIPES:
            part = find_part(recipe)
            entry = job.needs[recipe]
            config = json.loads((entry / "image.json").read_text("utf-8"))
            yield oci.Image(
                f"docker.io/{images.name_of(part.name, part.version)}",
                [entry / "rootfs.tar"],
                config,
            )


def expected_tags(job: Job, root: Path, version: str) -> Mapping[str, str]:
    """The tag that this kubeadm asks for, by image name without its registry."""
    words = ("config", "images", "list", f"--kubernetes-version={version}")
    output = job.run(["chroot", root, "/usr/bin/kubeadm", *words])
    tags = dict(re.findall(rf"^{re.escape(REGISTRY)}/(\S+):(\S+)$", output, re.MULTILINE))
    missing = {"etcd", "coredns/coredns", "pause", "kube-proxy", *CONTROL_PLANE} - set(tags)
    if missing:
        raise LabError(f"kubeadm does not name an image for {sorted(missing)}", where=output)
    return tags


def _folder() -> Path:
    return paths.clusters() / "offline/node"


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder, owned by root and writable (the module cache is read-only)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
    for file in files:
        copy = target if file == source else target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        copy.chmod(0o644)


def _path_only() -> dict[str, list[str]]:
    return {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}


def _image_config() -> dict[str, object]:
    """What `docker run` needs to know: kind passes no command of its own."""
    return {
        # systemd looks at this variable to learn that it runs in a container.
        "Env": ["container=docker", *_path_only()["Env"]],
        "Entrypoint": ["/usr/local/bin/entrypoint", "/sbin/init"],
        # systemd ends on this signal; SIGTERM would make it re-execute.
        "StopSignal": "SIGRTMIN+3",
    }


recipe = Node()
