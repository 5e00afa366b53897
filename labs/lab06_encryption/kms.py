"""Step 4: KMS v2 with Vault Transit: the key that wraps the keys is not on the node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness import expect
from harness.lab.api import PROJECT, LabContext
from harness.lab.kit.control_plane import PLUGIN_FILES, SOCKETS, Plugin, writer_of
from harness.lab.kit.etcd import raw
from labs.lab06_encryption.encrypt import (
    configuration,
    expect_value,
    expect_writer,
    prefix,
    tell,
    write,
)
from labs.lab06_encryption.lab import encryption

KEY = "kubernetes"
PLUGIN = "vault-kms-plugin"
WRITER = "kms:v2:vault"
HEALTH_PORT = 8086
NOTICE_SECONDS = 90


@dataclass(frozen=True)
class Envelope:
    """What KMS v2 writes behind its prefix: the parts that are in the clear."""

    data: bytes
    key_id: str
    seed: bytes
    annotations: dict[str, str]


def fields(message: bytes) -> list[tuple[int, Any]]:
    """The fields of a protobuf message: numbers with a number or bytes each."""
    found: list[tuple[int, Any]] = []
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = number()
        value: Any = number()
        if tag & 7 == 2:
            value, at = message[at : at + value], at + value
        found.append((tag >> 3, value))
    return found


def envelope(value: bytes) -> Envelope:
    """The envelope of a raw value that KMS v2 wrote."""
    _, _, message = value.partition(f"k8s:enc:{WRITER}:".encode())
    parts = fields(message)
    single = dict(parts)
    pairs = [dict(fields(entry)) for field, entry in parts if field == 4]
    return Envelope(
        data=single.get(1, b""),
        key_id=single.get(2, b"").decode(),
        seed=single.get(3, b""),
        annotations={pair[1].decode(): pair[2].decode() for pair in pairs},
    )


def opened(lab: LabContext, name: str) -> Envelope:
    """The envelope of a Secret of this lab; an empty one when KMS v2 did not write it."""
    value = raw(lab, name)
    return envelope(value if writer_of(value) == WRITER else b"")


def version_of(seed: bytes) -> int:
    """The version of the Transit key that wrapped a seed: Vault writes it in front."""
    words = seed.split(b":")
    return int(words[1][1:]) if words[0] == b"vault" else 0


def transit_policy(lab: LabContext) -> str:
    """What the plugin may do: wrap and unwrap with one key, and see which version it has."""
    mount = lab.path("transit")
    return "\n".join(
        f'path "{mount}/{verb}/{KEY}" {{ capabilities = ["{capability}"] }}'
        for verb, capability in (("keys", "read"), ("encrypt", "update"), ("decrypt", "update"))
    )


def plugin_pod(lab: LabContext) -> Any:
    """The static pod of the plugin: kubelet runs it before there is an API server."""
    arguments = {
        "listen": f"unix://{SOCKETS}/vault.sock",
        # The node has no cluster DNS; it knows the container by its name.
        "vault-addr": f"https://{PROJECT}-{lab.access.name}-vault:8200",
        "vault-ca-file": f"{PLUGIN_FILES}/ca.crt",
        "transit-mount": lab.path("transit"),
        "key-name": KEY,
        "approle-mount": lab.path("approle"),
        "role-id-file": f"{PLUGIN_FILES}/role_id",
        "secret-id-file": f"{PLUGIN_FILES}/secret_id",
        "health-listen": f"127.0.0.1:{HEALTH_PORT}",
        "timeout": "2s",
    }
    probe = {"httpGet": {"host": "127.0.0.1", "port": HEALTH_PORT, "path": "/livez"}}
    container = {
        "name": "plugin",
        "image": lab.image("standins"),
        "imagePullPolicy": "IfNotPresent",
        "command": [
            *("python3", "-m", "standins.kms_plugin"),
            *(f"--{name}={value}" for name, value in arguments.items()),
        ],
        "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 3},
        "securityContext": {
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "sockets", "mountPath": SOCKETS},
            {"name": "files", "mountPath": PLUGIN_FILES, "readOnly": True},
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": PLUGIN,
            "namespace": "kube-system",
            "labels": {"app.kubernetes.io/managed-by": PROJECT},
        },
        "spec": {
            "hostNetwork": True,
            "priorityClassName": "system-node-critical",
            "terminationGracePeriodSeconds": 5,
            "containers": [container],
            "volumes": [
                {"name": "sockets", "hostPath": {"path": SOCKETS, "type": "Directory"}},
                {"name": "files", "hostPath": {"path": PLUGIN_FILES, "type": "Directory"}},
            ],
        },
    }


def prepare_vault(lab: LabContext) -> Plugin:
    """A Transit key and an AppRole for the plugin; the plugin with what it logs in with."""
    transit, approle = lab.path("transit"), lab.path("approle")
    lab.http.post(f"/v1/sys/mounts/{transit}", json={"type": "transit"})
    lab.http.post(f"/v1/{transit}/keys/{KEY}", json={})
    lab.http.put(f"/v1/sys/policies/acl/{lab.path('kms')}", json={"policy": transit_policy(lab)})
    lab.http.post(f"/v1/sys/auth/{approle}", json={"type": "approle"})
    role = f"/v1/auth/{approle}/role/kms"
    lab.http.post(role, json={"token_policies": [lab.path("kms")], "token_ttl": "20m"})
    files = {
        "ca.crt": lab.access.vault_ca.read_text(encoding="ascii"),
        "role_id": lab.http.get(f"{role}/role-id").json()["data"]["role_id"],
        "secret_id": lab.http.post(f"{role}/secret-id").json()["data"]["secret_id"],
    }
    return Plugin(plugin_pod(lab), files)


def wait_for_version(lab: LabContext, name: str, wanted: int) -> None:
    """Write a Secret again and again until its seed is wrapped by this version of the key."""

    def written() -> bool:
        # Whoever asks for its health makes the API server look after the plugin. A value of
        # an older key is written anew even when nothing else has changed.
        lab.control_plane.health("/readyz")
        write(lab, name)
        return version_of(opened(lab, name).seed) == wanted

    lab.wait_for(
        f"the API server to write with version {wanted} of the key",
        written,
        timeout=NOTICE_SECONDS,
        every=1,
        explain=lambda: lab.control_plane.health("/readyz/kms-providers")[1],
    )


@encryption.step(
    "Let Vault hold the key",
    minutes=12,
    hints=[
        "In Vault: Transit at lab06-transit with a key kubernetes, AppRole at lab06-approle with a "
        "role kms, and a policy lab06-kms for it (`transit_policy(lab)`). `prepare_vault(lab)` "
        "does it, and gives the plugin: its static pod and its files.",
        "`lab.control_plane.set(configuration(lab, 'kms', 'secretbox box2', 'identity'), "
        "reload=False, plugin=...)`; then the Secrets wrapped and too. `opened(lab, 'wrapped')` "
        "shows what is in the clear: key_id, seed, annotations.",
        "Then `lab.http.post('/v1/lab06-transit/keys/kubernetes/rotate')`, and the Secret later, "
        "until it is written with version 2 (`wait_for_version(lab, 'later', 2)`). Leave wrapped "
        "as it is.",
    ],
)
def use_vault_transit(lab: LabContext) -> None:
    """
    So far the key lay in a file on the node, beside what it encrypts. A **KMS provider** keeps
    it elsewhere. The API server makes a **seed**, has it *wrapped* by a plugin, and encrypts
    with what it derives from the seed; the wrapped seed stands in front of each value. Only
    the plugin can unwrap it, and ours asks **Vault Transit** to do that: the key that wraps
    the keys never leaves Vault, its use is limited by a policy, and each use is in the audit
    log.

    HashiCorp ships such a plugin, `vault-kube-kms`, for Vault Enterprise. Ours is this project's
    own and works with any Vault. KMS v2 is stable since Kubernetes 1.29.

    The plugin is a program beside the API server, a *static pod*: it must be there before the
    API server is. They talk gRPC over a unix socket in a folder that is closed to others. It
    logs in to Vault by AppRole: so a secret is on the node after all, but one that only lets
    ask Vault, for as long as Vault is willing.

    In etcd: `k8s:enc:kms:v2:vault:`, then the ciphertext, and **in the clear** the id of the
    key, annotations and the wrapped seed. Many values share a seed: Vault is asked once for
    each seed, not for each Secret.

    **Rotation** takes one call to Vault. The plugin reports the new version as a new key id,
    the API server has a new seed made, and writes with that. Old values stay as they are, and
    are read: Vault keeps the old version.
    """
    plugin = prepare_vault(lab)
    config = configuration(lab, "kms", "secretbox box2", "identity")
    seconds = lab.control_plane.set(config, reload=False, plugin=plugin)
    print(f"Plugin and API server were there after {seconds:.0f} seconds.")

    write(lab, "wrapped")
    write(lab, "too")
    tell(lab, "before", "wrapped", "too")
    one, other = opened(lab, "wrapped"), opened(lab, "too")
    print(f"key id        {one.key_id}\nannotations   {one.annotations}")
    print(f"wrapped seed  {one.seed[:30].decode()} … the same in both: {one.seed == other.seed}")

    # Another version of the key, in Vault alone.
    lab.http.post(f"/v1/{lab.path('transit')}/keys/{KEY}/rotate")
    wait_for_version(lab, "later", 2)
    print(f"key id now    {opened(lab, 'later').key_id}")


@use_vault_transit.check
def _(lab: LabContext) -> None:
    expect_writer(lab, WRITER, "the KMS provider vault writes now")
    path = f"{lab.path('transit')}/keys/{KEY}"
    found = lab.http.get(f"/v1/{path}", allow={404}).json().get("data") or {}
    expect(found, f"Vault has the key {path}")
    expect(
        found["latest_version"] >= 2 and not found["exportable"],
        "it was rotated, and cannot be exported",
        found={name: found[name] for name in ("latest_version", "exportable")},
    )
    for name in ("wrapped", "too", "later"):
        expect(
            prefix(lab, name) == WRITER,
            f"the raw value of {name} begins with k8s:enc:{WRITER}:",
            found=prefix(lab, name) or "no such Secret",
        )
        expect_value(lab, name)
    first, second, later = (opened(lab, name) for name in ("wrapped", "too", "later"))
    expect(
        first.key_id.startswith(f"{lab.path('transit')}/{KEY}:v1:") and first.annotations,
        "behind it the id of the key and annotations stand in the clear",
        found={"key id": first.key_id, "annotations": first.annotations},
    )
    expect(
        first.seed == second.seed and version_of(first.seed) == 1,
        "the Secrets wrapped and too share one seed, wrapped by version 1 of the key",
        found=[version_of(one.seed) for one in (first, second)],
    )
    expect(
        version_of(later.seed) == 2,
        "the Secret later came after the rotation: its seed is wrapped by version 2",
        found=version_of(later.seed),
        hint="the API server looks after the plugin once a minute, or when asked for its health",
    )
    asked = [
        entry["auth"].get("display_name")
        for entry in lab.audit.responses(f"{lab.path('transit')}/encrypt/{KEY}")
    ]
    expect(
        asked and all(name == lab.path("approle") for name in asked),
        "Vault's audit log tells who had seeds wrapped, and how often: the plugin, "
        f"{len(asked)} times",
        found=asked,
    )
    health = lab.control_plane.health("/readyz/kms-providers")
    expect(
        health[0] == 200, "/readyz/kms-providers: the API server reaches the plugin", found=health
    )
