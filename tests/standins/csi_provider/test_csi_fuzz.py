"""Random mount requests: each ends in clean files or one refusal, and no secret is told."""

from __future__ import annotations

import asyncio
import json
import posixpath
import random
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest

from standins.csi_provider.api import SCHEMA, File, MountRequest
from standins.csi_provider.parameters import TOKENS
from tests.standins import mutations
from tests.standins.csi_provider.world import World, in_world

# What a refusal may never hold: kubelet's token, the secrets of Vault, an argument's value.
# So many requests at a time.
TOGETHER = 10
SECRETS = ("jwt-app", "canary-one", "canary-two", "canary-argument", "token-")
OBJECTS = (
    "- objectName: password\n  secretPath: secret/data/app\n  secretKey: password\n",
    "- {objectName: old, secretPath: 'secret/data/app?version=1', filePermission: 0400}\n",
    "- objectName: cert\n  secretPath: pki/issue/web\n  method: PUT\n"
    "  secretArgs: {common_name: web, n: [1_000, 1e3, 2030-01-01], p: canary-argument}\n",
    "- &a {objectName: a/b, secretPath: secret/data/types, secretKey: b64, encoding: base64}\n"
    "- {<<: *a, objectName: c, encoding: hex, secretKey: hex}\n",
    "- objectName: !!str 7\n  secretPath: !!binary c2VjcmV0L2RhdGEvYXBw\n",
)
CLASS = {
    "vaultAuthMountPath": "kubernetes",
    "vaultNamespace": "",
    "vaultTLSServerName": "vault",
    "vaultSkipTLSVerify": "false",
    "audience": "",
}


def asked(there: World, chance: random.Random) -> MountRequest:
    """A request as the driver makes it, most often with something wrong in it."""
    objects = "".join(chance.sample(OBJECTS, chance.randint(1, 3)))
    if chance.random() < 0.6:
        objects = mutations.changed_text(objects, chance)
    request = there.request(
        objects, tokens={"vault": "jwt-app"}, permission=chance.choice(("420", "420", "0", "1.0"))
    )
    if chance.random() < 0.5:
        attributes = json.loads(request.attributes) | CLASS
        # These stay by their names: a secret in the place of a path would be quoted by right,
        # and an address that has to be looked up would make the test wait.
        kept = {name: attributes.pop(name) for name in ("vaultAddress", "objects", TOKENS)}
        if chance.random() < 0.3:
            kept[TOKENS] = mutations.changed_text(kept[TOKENS], chance)
        text = mutations.changed_json(attributes, chance)
        if text.startswith("{"):
            text = f"{text.rstrip('}')}, {json.dumps(kept)[1:]}"
        request = replace(request, attributes=text.encode("utf-8", "replace").decode())
    return request


def assert_clean(files: tuple[File, ...]) -> None:
    """Fail on what the driver would refuse to write, or what would leave the mount."""
    names = [file.path for file in files]
    assert len(set(names)) == len(names) > 0
    for file in files:
        assert file.path == posixpath.normpath(file.path)
        assert not file.path.startswith(("/", "../", "./"))
        assert file.path not in ("", ".", "..")
        assert file.path.isprintable()
        assert 0 <= file.mode <= 0o777


@pytest.mark.fuzz
def test_requests_at_random(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chance = mutations.chances("csi")
    outcomes: dict[str, int] = {}
    told: list[str] = []

    async def one(there: World) -> None:
        data = SCHEMA.encode(asked(there, chance))
        if chance.random() < 0.15:
            data = mutations.changed_bytes(data, chance)
        try:
            answer = await there.mount_bytes(data, timeout=20)
        except grpc.aio.AioRpcError as error:
            told.append(str(error.details()))
            outcomes[error.code().name] = outcomes.get(error.code().name, 0) + 1
            return
        assert_clean(answer.files)
        assert [each.id for each in answer.object_version] == [file.path for file in answer.files]
        outcomes["OK"] = outcomes.get("OK", 0) + 1

    async def scenario(there: World) -> None:
        for _ in mutations.rounds(TOGETHER):
            await asyncio.gather(*(one(there) for _ in range(TOGETHER)))
        # After all of it an ordinary pod gets its file.
        assert await there.mount() == {"password": b"canary-two"}

    in_world(tmp_path, scenario)
    # INTERNAL is what gRPC answers to bytes that are no message.
    assert set(outcomes) <= {"OK", "UNKNOWN", "INTERNAL"}
    total = sum(outcomes.values())
    assert outcomes["OK"] > total // 20
    assert outcomes["UNKNOWN"] > total // 10
    for secret in SECRETS:
        assert not [text for text in told if secret in text]
        assert secret not in caplog.text
    assert not [text for text in told if "in the provider; see its log" in text]
    # The fake Vault does stumble over odd requests; the provider does not.
    assert not [each for each in caplog.records if each.exc_info and "standins" in each.name]
