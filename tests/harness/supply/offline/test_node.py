"""The node image's ingredients: Debian sources, packages, layers, committed files."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from harness.base import paths
from harness.base.errors import LabError
from harness.supply import libraries
from harness.supply.offline import apt, baked, debian
from harness.supply.offline.recipes import node

DEB822 = """
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: https://vendor.example/linux
Suites: bookworm
Components: stable

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no
"""
ONE_LINE = """
# deb http://commented.example/debian bookworm main
deb [arch=amd64] http://mirror.example/debian bookworm main non-free
deb-src http://mirror.example/debian bookworm main
deb http://vendor.example/apt cloud-bookworm main
"""


def test_sources_are_debians_alone(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(ONE_LINE, encoding="utf-8")
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822, encoding="utf-8")
    key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
    assert apt.sources(tmp_path) == [
        "deb [arch=amd64] http://mirror.example/debian bookworm main",
        f"deb {key}http://mirror.example/debian bookworm main",
        f"deb {key}http://mirror.example/debian bookworm-updates main",
        "deb http://mirror.example/debian-security bookworm-security main",
    ]


def test_a_host_without_debian_sources_leaves_the_choice_to_mmdebstrap(tmp_path: Path) -> None:
    assert apt.sources(tmp_path) == []


def _package_database(root: Path) -> None:
    info = root / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (root / "var/lib/dpkg/status").write_text(
        "Package: iptables\nDepends: libc6 (>= 2.36), libxtables12 (= 1.8)\n\n"
        "Package: libxtables12\nPre-Depends: libc6\nDepends: other | libc6\n\n"
        "Package: libc6\nDepends: libgcc-s1\n\n"
        "Package: perl\nDepends: libc6\n",
        encoding="utf-8",
    )


def test_closure_follows_what_is_installed(tmp_path: Path) -> None:
    _package_database(tmp_path)
    # libgcc-s1 and other are not installed here.
    assert debian.closure(tmp_path, ["iptables"]) == {"iptables", "libxtables12", "libc6"}


def test_cleaning_takes_the_hosts_traces_and_keeps_the_rest(tmp_path: Path) -> None:
    for name in ("etc/apt/sources.list", "etc/resolv.conf", "var/log/dpkg.log", "etc/passwd"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    debian.clean(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "etc/passwd"]
    assert (tmp_path / "tmp").stat().st_mode & 0o7777 == 0o1777


def _layered(root: Path) -> tuple[Path, Path]:
    """A root with a program, and a layer with the same program at the same path."""
    own = root / "usr/bin/kubernetes"
    copy = root / baked.LAYERS / "1/usr/bin/kubernetes"
    for file in (own, copy):
        file.parent.mkdir(parents=True)
        file.write_text("program")
    return own, copy


def test_equal_files_of_layers_become_one(tmp_path: Path) -> None:
    own, copy = _layered(tmp_path)
    second = tmp_path / baked.LAYERS / "2/opt/tool"
    third = tmp_path / baked.LAYERS / "3/opt/tool"
    for file in (second, third):
        file.parent.mkdir(parents=True)
        file.write_text("tool")
    assert baked.share_files(tmp_path) == len("program") + len("tool")
    assert copy.samefile(own)
    assert third.samefile(second)


@pytest.mark.parametrize("difference", ["content", "mode", "link"])
def test_files_that_differ_stay_apart(tmp_path: Path, difference: str) -> None:
    own, copy = _layered(tmp_path)
    if difference == "content":
        copy.write_text("PROGRAM")
    elif difference == "mode":
        copy.chmod(0o755)
        own.chmod(0o644)
    else:
        own.rename(own.with_name("elsewhere"))
        own.symlink_to("elsewhere")
    assert baked.share_files(tmp_path) == 0
    assert not os.path.samestat(own.lstat(), copy.lstat())


def test_layers_move_out_of_var_and_stay_reachable(tmp_path: Path) -> None:
    snapshot = tmp_path / baked.SNAPSHOTS / "7"
    (snapshot / "fs").mkdir(parents=True)
    (snapshot / "work").mkdir()
    (snapshot / "fs/file").write_text("x")
    baked._move_layers(tmp_path)
    assert (tmp_path / baked.LAYERS / "7/file").read_text() == "x"
    assert (snapshot / "fs").readlink() == Path("/kind/layers/7")
    assert (snapshot / "work").is_dir()


def test_a_store_without_layers_is_an_error(tmp_path: Path) -> None:
    (tmp_path / baked.SNAPSHOTS).mkdir(parents=True)
    with pytest.raises(LabError, match="no image was unpacked"):
        baked._move_layers(tmp_path)


def _node_file(name: str) -> str:
    return (paths.clusters() / "offline/node" / name).read_text(encoding="utf-8")


def test_the_node_uses_the_pause_image_that_is_baked_in() -> None:
    settings = tomllib.loads(_node_file("containerd.toml"))
    images = settings["plugins"]["io.containerd.cri.v1.images"]
    runtime = settings["plugins"]["io.containerd.cri.v1.runtime"]
    assert images["pinned_images"]["sandbox"].startswith(f"{node.REGISTRY}/pause:")
    assert runtime["restrict_oom_score_adj"] is True
    assert runtime["cni"]["bin_dirs"] == [f"/{node.UPSTREAMS_PLUGINS}"]
    # kind's entrypoint finds its place by this very text.
    assert '  snapshotter = "overlayfs"\n' in _node_file("containerd.toml")


def test_the_unit_asks_for_nothing_that_a_small_host_refuses() -> None:
    settings = [line for line in _node_file("containerd.service").splitlines() if "=" in line]
    assert not [line for line in settings if line.startswith(("Limit", "OOMScoreAdjust"))]


def test_the_pod_network_is_inside_kinds_and_its_plugins_stay() -> None:
    network = json.loads(_node_file("10-ptp.conflist"))
    subnet = ipaddress.ip_network(network["plugins"][0]["ipam"]["ranges"][0][0]["subnet"])
    assert isinstance(subnet, ipaddress.IPv4Network)
    assert subnet.subnet_of(ipaddress.IPv4Network("10.244.0.0/16"))
    needed = {plugin["type"] for plugin in network["plugins"]} | {"host-local", "loopback"}
    assert needed == set(node.PLUGINS)


@pytest.mark.parametrize("name", ["default-cni.yaml", "default-storage.yaml"])
def test_manifests_that_kind_applies_are_objects(name: str) -> None:
    for manifest in yaml.safe_load_all(_node_file(name)):
        assert {"apiVersion", "kind", "metadata"} <= set(manifest)


def test_the_cluster_listens_on_the_loopback_alone() -> None:
    file = paths.clusters() / "kind/default.yaml"
    cluster = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert cluster["networking"]["apiServerAddress"] == "127.0.0.1"
    assert [one["role"] for one in cluster["nodes"]] == ["control-plane"]
    # The image is the supply's to name, never the file's.
    assert "image" not in cluster["nodes"][0]


def _postgres(tmp_path: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the entrypoint with programs that write down how they were called."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("initdb", "pg_ctl", "psql", "postgres", "id"):
        file = programs / name
        note = f'echo "{name} $*" >>"{tmp_path}/calls"'
        body = {"id": "echo 999", "initdb": f'{note}; cat >"{tmp_path}/password"'}.get(name, note)
        file.write_text(f"#!/bin/sh\n{body}\n")
        file.chmod(0o755)
    data = tmp_path / "data"
    data.mkdir()
    return subprocess.run(
        [paths.clusters() / "offline/postgres/entrypoint", *words],
        env={"PATH": f"{programs}:/usr/bin:/bin", "PGDATA": str(data), **env},
        capture_output=True,
        text=True,
        timeout=20,
    )


def test_postgres_wants_a_password_at_the_first_start(tmp_path: Path) -> None:
    result = _postgres(tmp_path)
    assert result.returncode == 1
    assert "POSTGRES_PASSWORD is empty" in result.stderr
    assert not (tmp_path / "calls").exists()


def test_postgres_gets_its_password_through_a_pipe_alone(tmp_path: Path) -> None:
    words = ("-c", "log_statement=all")
    result = _postgres(tmp_path, *words, POSTGRES_PASSWORD="canary-77", POSTGRES_DB="lab")
    assert result.returncode == 0, result.stderr
    calls = (tmp_path / "calls").read_text().splitlines()
    assert (tmp_path / "password").read_text() == "canary-77\n"
    assert "canary-77" not in "\n".join(calls) + result.stdout + result.stderr
    assert [call.split()[0] for call in calls] == ["initdb", "pg_ctl", "psql", "pg_ctl", "postgres"]
    assert calls[-1] == "postgres -c log_statement=all"
    assert "--set=name=lab" in calls[2]


def test_postgres_reads_its_password_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from-a-file\n")
    assert _postgres(tmp_path, POSTGRES_PASSWORD_FILE=str(secret)).returncode == 0
    assert (tmp_path / "password").read_text() == "from-a-file\n"


def test_every_library_of_the_app_image_is_locked_with_hashes() -> None:
    entries = libraries.wanted()
    assert "hvac==" in entries
    assert "--hash=sha256:" in entries
