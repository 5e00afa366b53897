"""Settings in and out of a static pod's manifest."""

from __future__ import annotations

import pytest
import yaml

from harness.base.errors import LabError, UsageError
from harness.base.redact import redact
from harness.controlplane.settings import (
    AUDIT_FOLDER,
    AUDIT_POLICY,
    CHANGE,
    ENCRYPTION,
    SOCKETS,
    ManagedFlags,
    Plugin,
    Settings,
    document,
    is_plain,
    manifest,
)
from tests.fakes.control_plane import PLAIN_MANIFEST, configuration, provider, secret_key

CONFIG = configuration(provider("aescbc", "one"), provider("identity"))
POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "None"}]}
PLUGIN = Plugin({"metadata": {"name": "kms-plugin"}}, {"secret_id": "very-secret"})


def test_without_settings_the_manifest_is_the_plain_one_byte_for_byte() -> None:
    assert manifest(PLAIN_MANIFEST, Settings(), "1") is PLAIN_MANIFEST
    assert is_plain(PLAIN_MANIFEST)


def test_every_setting_has_its_flags_files_and_mounts() -> None:
    text = manifest(PLAIN_MANIFEST, Settings(CONFIG, True, POLICY, PLUGIN), "7")
    pod = yaml.safe_load(text)
    container = pod["spec"]["containers"][0]
    assert container["command"][:2] == ["kube-apiserver", "--secure-port=6443"]
    assert set(container["command"][2:]) == {
        f"--encryption-provider-config={ENCRYPTION}",
        "--encryption-provider-config-automatic-reload=true",
        f"--audit-policy-file={AUDIT_POLICY}",
        f"--audit-log-path={AUDIT_FOLDER}/audit.log",
    }
    mounted = {mount["mountPath"]: mount["readOnly"] for mount in container["volumeMounts"]}
    assert mounted == {
        "/etc/ssl/certs": True,
        "/etc/kubernetes/lab": True,
        SOCKETS: True,
        AUDIT_FOLDER: False,
    }
    assert len(pod["spec"]["volumes"]) == 4
    assert pod["metadata"]["annotations"] == {CHANGE: "7"}
    assert ManagedFlags.of(text) == ManagedFlags(ENCRYPTION, True, AUDIT_POLICY)
    assert not is_plain(text)


def test_no_key_and_no_file_of_the_plugin_is_in_the_manifest_or_a_repr() -> None:
    settings = Settings(CONFIG, False, None, PLUGIN)
    for text in (manifest(PLAIN_MANIFEST, settings, "1"), repr(settings), repr(PLUGIN)):
        assert secret_key("one") not in text
        assert "very-secret" not in text


def test_a_manifest_that_somebody_wrote_by_hand_is_understood() -> None:
    pod = yaml.safe_load(PLAIN_MANIFEST)
    pod["spec"]["containers"][0]["args"] = ["--encryption-provider-config=/etc/mine.yaml"]
    assert ManagedFlags.of(yaml.safe_dump(pod)) == ManagedFlags("/etc/mine.yaml")
    assert not is_plain(yaml.safe_dump(pod))


@pytest.mark.parametrize("text", ["", "]", "kind: Pod", "spec: {containers: []}"])
def test_a_broken_manifest_is_one_sentence(text: str) -> None:
    with pytest.raises(LabError, match="no pod with a command"):
        ManagedFlags.of(text)


def test_settings_survive_json_and_a_digest_tells_them_apart() -> None:
    settings = Settings(CONFIG, True, POLICY, PLUGIN)
    assert Settings.from_json(settings.to_json()) == settings
    assert Settings.from_json(Settings().to_json()).plain
    assert settings.digest() == Settings.from_json(settings.to_json()).digest()
    assert settings.digest() != Settings(CONFIG, False, POLICY, PLUGIN).digest()


def test_a_bad_document_is_refused_without_showing_it() -> None:
    key = secret_key("a key that nobody must see")
    for text in (f"secret: {key}\n  bad: [", f"kind: Secret\nsecret: {key}", f"- {key}"):
        with pytest.raises(UsageError) as caught:
            document(text, "EncryptionConfiguration")
        assert key not in str(caught.value)
    assert document(None, "Policy") is None


def test_the_keys_of_a_document_are_masked_from_then_on() -> None:
    config = configuration(provider("secretbox", "a-key-to-mask"))
    assert document(yaml.safe_dump(config), "EncryptionConfiguration") == config
    assert secret_key("a-key-to-mask") not in redact(f"key {secret_key('a-key-to-mask')}")
