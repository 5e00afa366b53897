"""Changing the API server's settings: done, failed, interrupted, repaired."""

from __future__ import annotations

import stat

import pytest

from harness.base.errors import LabError
from harness.controlplane.apiserver import GOOD, MANIFEST
from harness.controlplane.change import SERVES, Plugin, Settings
from harness.controlplane.contract import ADDRESS_FILE
from harness.controlplane.settings import ENCRYPTION
from tests.fakes.control_plane import (
    PLAIN_MANIFEST,
    FakePlane,
    configuration,
    plane,
    provider,
    secret_key,
)

__all__ = ["plane"]

IDENTITY = provider("identity")
POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "None"}]}
BAD = configuration({"aescbc": {"keys": [{"name": "short", "secret": "c2hvcnQ="}]}}, IDENTITY)


def test_a_change_is_a_new_process_with_the_new_settings(plane: FakePlane) -> None:
    plane.use(provider("aescbc", "one"), IDENTITY)
    assert len(plane.node.starts) == 2
    key = plane.create("app")
    assert plane.raw(key).startswith(b"k8s:enc:aescbc:v1:one:")
    assert plane.current().encryption == configuration(provider("aescbc", "one"), IDENTITY)
    assert plane.node.renewed == 1


def test_a_setting_that_is_not_named_stays(plane: FakePlane) -> None:
    plane.use(provider("aescbc", "one"), IDENTITY, reload=True)
    plane.set(audit=POLICY)
    settings = plane.current()
    assert settings.encryption
    assert settings.reload
    assert settings.audit == POLICY
    plane.set(None, reload=False)
    assert plane.current() == Settings(audit=POLICY)


def test_the_way_back_is_the_plain_manifest_byte_for_byte(plane: FakePlane) -> None:
    plane.set(audit=POLICY)
    assert not plane.plain_bytes()
    plane.apply(Settings())
    assert plane.plain_bytes()
    assert ENCRYPTION not in plane.node.files


def test_each_change_is_another_pod(plane: FakePlane) -> None:
    plane.set(audit=POLICY)
    plane.restart()
    assert plane.node.starts[-1] != plane.node.starts[-2]


def test_a_bad_configuration_is_taken_back_and_told(plane: FakePlane) -> None:
    plane.use(provider("aescbc", "one"), IDENTITY)
    with pytest.raises(LabError) as caught:
        plane.set(BAD)
    assert "not of the expected length" in str(caught.value)
    assert "the settings before it were put back" in str(caught.value)
    assert plane.current().encryption == configuration(provider("aescbc", "one"), IDENTITY)
    assert plane.health()[0] == 200


def test_one_that_never_gets_ready_is_taken_back_unless_that_is_wanted(plane: FakePlane) -> None:
    plane.use(provider("aescbc", "one"), IDENTITY)
    plane.create("app")
    with pytest.raises(LabError, match="informer-sync failed"):
        plane.use(provider("aescbc", "two"), IDENTITY)
    assert plane.health()[0] == 200
    renewed = plane.node.renewed
    plane.use(provider("aescbc", "two"), IDENTITY, ready=SERVES)
    assert plane.health() == (500, "[+]ping ok\n[-]informer-sync failed: reason withheld")
    assert plane.node.renewed == renewed, "who watches would give up on one that is not ready"


def test_an_interrupted_change_is_repaired(plane: FakePlane) -> None:
    plane.use(provider("aescbc", "one"), IDENTITY)
    plane.node.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        plane.set(audit=POLICY)
    assert plane.health()[0] == 0
    with pytest.raises(LabError, match="manifest is missing"):
        plane.current()
    assert "put the last good settings" in plane.repair()
    assert plane.health()[0] == 200
    assert plane.current().encryption == configuration(provider("aescbc", "one"), IDENTITY)
    assert plane.repair() == ""


@pytest.mark.parametrize("broken", ["", "no yaml: [", PLAIN_MANIFEST.replace("6443", "6443, ]")])
def test_what_somebody_broke_by_hand_is_repaired(plane: FakePlane, broken: str) -> None:
    plane.set(audit=POLICY)
    plane.node.files[MANIFEST] = broken
    plane.node.loaded = None
    assert "put the last good settings" in plane.repair()
    assert plane.current().audit == POLICY


def test_without_good_files_the_plain_manifest_is_put_back(plane: FakePlane) -> None:
    plane.set(audit=POLICY)
    plane.node.remove(GOOD)
    del plane.node.files[MANIFEST]
    plane.node.loaded = None
    assert plane.repair()
    assert plane.plain_bytes()


def test_a_control_plane_that_was_never_changed_is_left_alone(plane: FakePlane) -> None:
    plane.node.loaded = None
    assert plane.repair() == ""
    assert len(plane.node.starts) == 1


def test_an_api_server_that_is_about_to_start_is_waited_for(plane: FakePlane) -> None:
    plane.set(audit=POLICY)
    looks = 0
    health = plane.server.health

    def slow(path: str = "/readyz") -> tuple[int, str]:
        nonlocal looks
        looks += 1
        return health(path) if looks > 3 else (0, "connection refused")

    plane.server.health = slow  # type: ignore[method-assign] # that is the test
    assert plane.repair() == ""
    assert len(plane.node.starts) == 2


def test_a_changed_control_plane_cannot_be_taken_for_the_plain_one(plane: FakePlane) -> None:
    plane.set(audit=POLICY)
    plane.node.remove("/etc/kubernetes/lab")
    with pytest.raises(LabError, match="before its plain manifest could be kept"):
        plane.set(audit=None)


def test_settings_are_remembered_in_files_of_their_owner_only(plane: FakePlane) -> None:
    plane.use(provider("secretbox", "one"), IDENTITY)
    name = plane.remember()
    plane.apply(Settings())
    assert plane.memory.recall(name).encryption
    for file in plane.memory.folder.glob("settings-*.json"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert secret_key("one") not in file.name
    plane.memory.forget()
    with pytest.raises(LabError, match="not kept any more"):
        plane.memory.recall(name)


def test_the_file_alone_can_be_changed_for_automatic_reload(plane: FakePlane) -> None:
    with pytest.raises(LabError, match="no encryption configuration"):
        plane.write_encryption(configuration(IDENTITY))
    plane.use(provider("aescbc", "one"), IDENTITY, reload=True)
    starts = len(plane.node.starts)
    plane.write_encryption(configuration(provider("aescbc", "two"), IDENTITY))
    assert plane.current().encryption == configuration(provider("aescbc", "two"), IDENTITY)
    assert len(plane.node.starts) == starts


def test_a_plugin_comes_before_the_api_server_and_goes_after_it(plane: FakePlane) -> None:
    plugin = Plugin({"metadata": {"name": "kms-plugin"}}, {"secret_id": "very-secret"})
    plane.use(provider("kms", "vault"), IDENTITY, plugin=plugin)
    assert plane.current().plugin == plugin
    assert plane.node.files["/etc/kms/secret_id"] == "very-secret"
    key = plane.create("app")
    assert plane.raw(key).startswith(b"k8s:enc:kms:v2:vault:")
    plane.use(IDENTITY, provider("kms", "vault"))
    assert plane.node.write_object(key, plane.node.readable(key))
    plane.apply(Settings())
    assert plane.current().plain
    assert not [name for name in plane.node.files if "kms" in name]


def test_a_plugin_of_a_failed_change_is_taken_away_again(plane: FakePlane) -> None:
    plugin = Plugin({"metadata": {"name": "kms-plugin"}}, {})
    with pytest.raises(LabError):
        plane.set(BAD, plugin=plugin)
    assert plane.current().plain


def test_the_listener_hears_of_the_change(plane: FakePlane) -> None:
    plane.use(provider("aescbc", "one"), IDENTITY)
    plane.apply(Settings())
    assert "--encryption-provider-config=" in plane.said[0]
    assert "plain settings again" in plane.said[1]


def test_a_node_that_got_another_address_keeps_it(plane: FakePlane) -> None:
    first = PLAIN_MANIFEST.replace(
        "--secure-port=6443", "--advertise-address=172.20.0.3, --etcd-servers=172.20.0.30"
    )
    plane.node.files[MANIFEST] = first
    plane.node.files[ADDRESS_FILE] = "172.20.0.3"
    plane.set(audit=POLICY)
    # What kind's entrypoint does when the container starts.
    plane.node.files[ADDRESS_FILE] = "172.20.0.7"
    plane.node.files[MANIFEST] = plane.node.files[MANIFEST].replace(
        "=172.20.0.3\n", "=172.20.0.7\n"
    )
    plane.node.start()
    assert plane.repair() == ""
    plane.apply(Settings())
    assert plane.node.files[MANIFEST] == first.replace("=172.20.0.3,", "=172.20.0.7,")
