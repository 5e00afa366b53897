"""Step 2: the other local ciphers, byte by byte."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.control_plane import writer_of
from harness.lab.kit.etcd import etcd_key, raw, readable
from labs.lab06_encryption.encrypt import configuration, expect_value, expect_writer, tell, write
from labs.lab06_encryption.lab import encryption

# The same number of letters: so the three Secrets are equally long before they are encrypted.
BY = {"cbc": "aescbc:v1:cbc1", "gcm": "aesgcm:v1:gcm1", "box": "secretbox:v1:box1"}
# What stands before and behind the ciphertext: IV; nonce and tag; nonce and tag.
EXTRA = {"gcm": 12 + 16, "box": 24 + 16}
BLOCK = 16
# So much that a byte in the middle of the value is one of these.
FILLER = "a" * 3000
TRIES: dict[str, dict[str, Any]] = {
    "cbc": {"flip": [200, False], "copy": 200},
    "gcm": {"flip": [500, True], "copy": 500},
    "box": {"flip": [500, True], "copy": 200},
}


def body(lab: LabContext, name: str) -> bytes:
    """The raw value of a Secret behind its prefix: nonce or IV, ciphertext, tag."""
    value = raw(lab, name)
    wrote = writer_of(value)
    return value[len(f"k8s:enc:{wrote}:") :] if wrote else b""


def fits(lab: LabContext) -> bool:
    """Whether the lengths are what the ciphers say: all three from plain texts of one length."""
    lengths = {name: len(body(lab, name)) for name in BY}
    plain = lengths["gcm"] - EXTRA["gcm"]
    padded = BLOCK + (plain // BLOCK + 1) * BLOCK
    return lengths["box"] - EXTRA["box"] == plain and lengths["cbc"] == padded


@contextmanager
def stored(lab: LabContext, name: str, value: bytes) -> Iterator[None]:
    """Have other bytes in etcd under the key of a Secret while the block runs, past the API."""
    node, key = lab.control_plane.node, etcd_key(lab, name)
    before = lab.control_plane.raw(key)
    lab.say(f"# etcd: put {key}")
    node.put(key, value)
    try:
        yield
    finally:
        node.put(key, before) if before else node.erase(key)


def read(lab: LabContext, name: str) -> tuple[int, str]:
    """GET a Secret: the status, and the filler that came with it (or the refusal)."""
    path = f"/api/v1/namespaces/{lab.namespace}/secrets/{name}"
    status, found = lab.control_plane.call("GET", path)
    if status != 200:
        return status, str(found.get("message"))
    data = found.get("data") or {}
    return status, base64.b64decode(data.get("filler", "")).decode(errors="replace")


def flip_a_bit(lab: LabContext, name: str) -> list[object]:
    """Change one bit in the middle of a stored value: the status, and whether it was noticed."""
    value = bytearray(raw(lab, name))
    value[len(value) // 2] ^= 1
    with stored(lab, name, bytes(value)):
        status, filler = read(lab, name)
    changed = status == 200 and filler != FILLER
    told = "another value" if changed else filler.partition(": ")[2]
    print(f"{name}: one bit changed: {status}, {told}")
    return [status, not changed]


def copy_to(lab: LabContext, name: str) -> int:
    """Put the stored value of a Secret under the key of another one: the status of reading it."""
    with stored(lab, f"{name}-copy", raw(lab, name)):
        status, _ = read(lab, f"{name}-copy")
    print(f"{name}: copied to the key of another Secret: {status}")
    return status


@encryption.step(
    "Other ciphers, byte by byte",
    minutes=10,
    hints=[
        "Three Secrets with the keys password and filler (`write(lab, 'cbc', filler=FILLER)`), "
        "each written while another provider comes first: aescbc cbc1, aesgcm gcm1, secretbox "
        "box1. The earlier ones stay in the list, behind the new one; identity is the last.",
        "`lab.control_plane.set(configuration(lab, 'aesgcm gcm1', 'aescbc cbc1', 'identity'))`. "
        "In the end secretbox comes first. `body(lab, 'gcm')` is what follows the prefix; compare "
        "the lengths (`fits(lab)`).",
        "Keep in `lab.notes['ciphers']`, for cbc, gcm and box: flip (`flip_a_bit(lab, name)`) and "
        "copy (`copy_to(lab, name)`).",
    ],
)
def other_ciphers(lab: LabContext) -> None:
    """
    There are three providers with a key of your own in the file. They differ in more than
    their prefix:

    | | in front | behind | notices a change | notices a move |
    |---|---|---|---|---|
    | `aescbc` | IV, 16 bytes | padding to 16 | no | no |
    | `aesgcm` | nonce, 12 bytes | tag, 16 bytes | yes | yes |
    | `secretbox` | nonce, 24 bytes | tag, 16 bytes | yes | no |

    We try it, as somebody who may write to etcd. **One bit changed**: with aescbc, which only
    encrypts, the API server hands out *another value*, with status 200. The other two
    *authenticate*: status 500. **The whole value moved** under the key of another Secret:
    aesgcm has the etcd key in what it authenticates and refuses; the other two hand it out.
    So somebody who can write to etcd and has no key can still put one Secret in the place of
    another.

    Is aesgcm the best, then? Its nonces are short and random: after some two hundred thousand
    writes with one key Kubernetes' own manual wants another key. Use it only with automated
    rotation. In all three the key lies in a file **beside** the data: on the same disk, in the
    same backup of the node. That is what step 4 is about.
    """
    old = ("aescbc cbc1", "identity")
    write(lab, "cbc", filler=FILLER)
    lab.control_plane.set(configuration(lab, "aesgcm gcm1", *old))
    write(lab, "gcm", filler=FILLER)
    lab.control_plane.set(configuration(lab, "secretbox box1", "aesgcm gcm1", *old))
    write(lab, "box", filler=FILLER)

    tell(lab, *BY)
    for name in BY:
        print(f"{name}: {len(body(lab, name))} bytes behind the prefix")

    # What somebody can do who may write to etcd and has no key.
    lab.notes["ciphers"] = {
        name: {"flip": flip_a_bit(lab, name), "copy": copy_to(lab, name)} for name in BY
    }
    settle(lab)


def settle(lab: LabContext) -> None:
    """Wait until the API server lists Secrets again: what it could not read made it start anew."""
    path = f"/api/v1/namespaces/{lab.namespace}/secrets"
    lab.wait_for(
        "the API server to list Secrets again",
        lambda: lab.control_plane.call("GET", path)[0] == 200,
        timeout=30,
        explain=lambda: str(lab.control_plane.call("GET", path)[1].get("message")),
    )


@other_ciphers.check
def _(lab: LabContext) -> None:
    for name, wrote in BY.items():
        value = raw(lab, name)
        expect(value, f"there is a Secret {name}")
        expect(
            writer_of(value) == wrote,
            f"its raw value begins with k8s:enc:{wrote}:",
            found=readable(value[:40]),
        )
        status, filler = read(lab, name)
        expect(
            status == 200 and filler == FILLER,
            f"the API server reads it: {wrote.partition(':')[0]} is among its providers",
            found=status if status != 200 else f"{len(filler)} letters",
            hint="the key filler holds FILLER, and nobody has changed it",
        )
        expect_value(lab, name)
    expect(
        fits(lab),
        "the lengths are those of one text: 12 + 16 bytes more by aesgcm, 24 + 16 by secretbox, "
        "an IV and full blocks of 16 by aescbc",
        found={name: len(body(lab, name)) for name in BY},
        hint="the three are written alike: write(lab, name, filler=FILLER)",
    )
    expect_writer(lab, "secretbox:v1:box1", "secretbox with the key box1 writes now")
    noted = lab.notes.get("ciphers", {})
    for name, tried in TRIES.items():
        cipher = BY[name].partition(":")[0]
        expect(
            noted.get(name) == tried,
            f"{cipher}: a changed bit was {'noticed' if tried['flip'][1] else 'not noticed'}, "
            f"a moved value was {'handed out' if tried['copy'] == 200 else 'refused'}",
            found=noted.get(name) or "no lab.notes['ciphers']",
        )
