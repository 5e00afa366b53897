"""Step 6: what encryption at rest does not do, and the way back."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.control_plane import survey, writer
from harness.lab.kit.etcd import raw
from labs.lab06_encryption.encrypt import SECRETS, configuration, expect_value, rewrite_all, tell
from labs.lab06_encryption.lab import encryption

# Everything that has written something by now; whoever leaves needs all of it once more.
READERS = ("kms", "secretbox box2", "aesgcm gcm1", "aescbc cbc1")


def clear_in_api(lab: LabContext, name: str) -> bool:
    """Whether kubectl gets the password of a Secret without any key."""
    decoded = "go-template={{.data.password|base64decode}}"
    found = lab.run(f"kubectl -n {lab.namespace} get secret {name} -o {decoded}")
    return found == lab.secret(name)


def clear_in_etcd(lab: LabContext, name: str) -> bool:
    """Whether the password of a Secret stands in etcd as it is."""
    return lab.secret(name).encode() in raw(lab, name)


@encryption.step(
    "What it does not do",
    minutes=8,
    hints=[
        "`rewrite_all(lab)`, so that KMS has written everything. Then ask the API and etcd for the "
        "same Secret, wrapped: `clear_in_api(lab, 'wrapped')` and "
        "`clear_in_etcd(lab, 'wrapped')`; keep both in `lab.notes['promise']`: api and etcd.",
        "The way back begins like a rotation: identity comes first, and all that has written "
        "stays behind it: `configuration(lab, 'identity', *READERS)`. Then `rewrite_all(lab)`, "
        "and see that nothing needs a key: `set(survey(lab.control_plane, SECRETS).values())`.",
        "Only then `lab.control_plane.set(None, plugin=None)`.",
    ],
)
def what_it_does_not_do(lab: LabContext) -> None:
    """
    All this protects the **disk**: etcd's files, its backups, a stolen node that is switched
    off. It does not protect the **API**. Whoever may read the Secret gets it as plain text,
    exactly as before, and so does every pod that mounts it, every controller that lists it,
    and everybody who read it without the right to in lab 00. The API server decrypts for them.
    It does not note who read what, either: that takes an audit policy (lab 00, too).

    So encryption at rest answers one question, *who has the disk?*, and none of the others.
    It is worth having: it costs little, and a backup is easily lost. It is not what makes a
    Secret secret.

    **The way back** is a rotation to *no key*: `identity` first, all others behind it,
    rewrite, look that nothing is left that needs a key, and only then take the configuration
    away. Turn it off in one step and every Secret becomes unreadable.
    """
    # Everything is written by KMS first, so that nothing is left of what was before.
    rewrite_all(lab)
    noted = {"api": clear_in_api(lab, "wrapped"), "etcd": clear_in_etcd(lab, "wrapped")}
    tell(lab, "wrapped")
    print(f"in the clear: by the API {noted['api']}, in etcd {noted['etcd']}")

    # The way back: identity writes, everybody else is still read.
    lab.control_plane.set(configuration(lab, "identity", *READERS))
    rewrite_all(lab)
    wrote = set(survey(lab.control_plane, SECRETS).values())
    print(
        "who has written the Secrets in etcd:",
        *(name or "nobody, they are plain" for name in wrote),
    )
    if wrote == {""}:
        lab.control_plane.set(None, plugin=None)
    tell(lab, "wrapped")
    lab.notes["promise"] = {**noted, "left": sorted(wrote - {""})}


@what_it_does_not_do.check
def _(lab: LabContext) -> None:
    noted = lab.notes.get("promise", {})
    expect(
        noted.get("api") is True and noted.get("etcd") is False,
        "while etcd had only ciphertext, the API handed the Secret out in the clear, "
        "to whoever may read",
        found=noted or "no lab.notes['promise']",
    )
    found = survey(lab.control_plane, SECRETS)
    encrypted = {key: wrote for key, wrote in found.items() if wrote}
    expect(
        not encrypted,
        f"none of {len(found)} Secrets in etcd needs a key any more",
        found=encrypted,
        hint="identity first, then rewrite_all(lab)",
    )
    settings = lab.control_plane.current()
    expect(not writer(settings, "secrets"), "nobody encrypts Secrets")
    expect(
        settings.plain,
        "the API server has kubeadm's own settings again, and the plugin is gone",
        hint="lab.control_plane.set(None, reload=False, plugin=None)",
    )
    for name in ("old", "gcm", "before", "wrapped"):
        expect_value(lab, name)
    status, answer = lab.control_plane.call("GET", "/api/v1/secrets")
    expect(
        status == 200 and len(answer["items"]) == len(found),
        "the list of all Secrets is complete: nothing was lost on the way",
        found=status if status != 200 else f"{len(answer['items'])} of {len(found)}",
    )
