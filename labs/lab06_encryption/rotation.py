"""Step 3: rotating the key in the right order, and dropping it too early."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.control_plane import SERVES, reads, survey
from labs.lab06_encryption.ciphers import settle
from labs.lab06_encryption.encrypt import (
    SECRETS,
    configuration,
    expect_value,
    expect_writer,
    prefix,
    rewrite_all,
    tell,
    write,
)
from labs.lab06_encryption.lab import encryption

OLD, NEW = "secretbox box1", "secretbox box2"
RELOAD_SECONDS = 90
RELOADS = "apiserver_encryption_config_controller_automatic_reloads_total"
UNREADABLE = ("no matching key was found", "no matching prefix found", "unable to transform key")


def answers(lab: LabContext) -> dict[str, list[object]]:
    """What the API server answers to a few requests: status and reason of each."""
    secrets = f"/api/v1/namespaces/{lab.namespace}/secrets"
    asked = {
        "get": f"{secrets}/before",
        "list": secrets,
        "get_new": f"{secrets}/after",
        "configmaps": f"/api/v1/namespaces/{lab.namespace}/configmaps",
    }
    found: dict[str, list[object]] = {}
    for what, path in asked.items():
        status, answer = lab.control_plane.call("GET", path)
        found[what] = [status, str(answer.get("message", ""))]
        print(f"{what:10} {status} {answer.get('message', '')}")
    status, text = lab.control_plane.health("/readyz?verbose")
    failed = [line for line in text.splitlines() if line.startswith("[-]")]
    found["ready"] = [status, "; ".join(failed)]
    print(f"{'/readyz':10} {status} {found['ready'][1]}")
    return found


def reloaded(lab: LabContext) -> float:
    """How often this API server process has taken over a changed configuration."""
    lines = lab.control_plane.health("/metrics")[1].splitlines()
    return sum(
        float(line.split()[-1])
        for line in lines
        if line.startswith(RELOADS) and 'status="success"' in line
    )


@encryption.step(
    "Rotate the key",
    minutes=12,
    hints=[
        "Bring everything under the key box1 first (`rewrite_all`), and make the Secret before. "
        "Then drop it too early: `configuration(lab, NEW, 'identity')`, with ready=SERVES, because "
        "this API server never gets ready. Make the Secret after, and see `answers(lab)`; keep "
        "them as `lab.notes['rotation'] = {'too_early': answers(lab)}`.",
        "Repair it by giving the old key back, as the second one after the first: OLD, NEW. That "
        "is the first step of the right order, too. Secrets written with NEW are read as well.",
        "Right order: OLD, NEW; then NEW, OLD with reload=True; `rewrite_all(lab)`; then take OLD "
        "out with `lab.control_plane.write_encryption(...)`, which restarts nothing, and wait "
        "until `reloaded(lab)` is 1. Into the notes: pids, the ids of the API server's process "
        "before and after the reload (`lab.control_plane.node.processes()`).",
    ],
)
def rotate_the_key(lab: LabContext) -> None:
    """
    A key has been in use for too long, or somebody has seen it: you need another one. What can
    go wrong?

    **Dropped too early.** The new key takes the place of the old one, and what the old one
    wrote cannot be read. The Secret answers 500. The **list** fails as a whole, in every
    namespace, because of one value, and with it whoever lists or watches Secrets: this API
    server never gets *ready*. What needs no Secret goes on. You repair it by giving the key
    back. Without the key the values are lost, and they still block every list until somebody
    deletes them: in etcd, or by the API with
    `ignoreStoreReadErrorWithClusterBreakingPotential`, where the feature gate
    AllowUnsafeMalformedObjectDeletion is on (alpha in 1.32, beta in 1.36). So keep old keys as
    long as there are backups that need them.

    **The right order**, which works with several API servers, too:

    1. add the new key as the *second*: every API server can read it, nobody writes it;
    2. make it the *first*: now it writes, and the old one is still read;
    3. write every Secret once more;
    4. only then take the old key out.

    Each step is a new file and a restart. With **automatic reload** the API server looks at
    the file each minute and takes a changed one over by itself: step 4 is done that way here,
    and the process stays the same. (A file with a mistake in it is not taken over, and only
    the log and a metric tell.)
    """
    rewrite_all(lab)
    write(lab, "before")

    # Too early: the new key alone. This API server lives, but will not be ready.
    lab.control_plane.set(configuration(lab, NEW, "identity"), ready=SERVES)
    write(lab, "after")
    noted: dict[str, object] = {"too_early": answers(lab)}

    # Repaired, and the first step of the right order: both keys, the old one writes.
    lab.control_plane.set(configuration(lab, OLD, NEW, "identity"))
    tell(lab, "before", "after")

    # The new one writes; then everything is written with it.
    lab.control_plane.set(configuration(lab, NEW, OLD, "identity"), reload=True)
    pids = [lab.control_plane.node.processes()]
    rewrite_all(lab)
    tell(lab, "before", "after")

    # The old one goes, without a restart.
    lab.control_plane.write_encryption(configuration(lab, NEW, "identity"))
    lab.wait_for(
        "the API server to take the changed file over",
        lambda: reloaded(lab) >= 1,
        timeout=RELOAD_SECONDS,
        every=1,
    )
    pids.append(lab.control_plane.node.processes())
    lab.notes["rotation"] = {**noted, "pids": pids}
    settle(lab)


@rotate_the_key.check
def _(lab: LabContext) -> None:
    noted = lab.notes.get("rotation", {})
    expect_writer(lab, "secretbox:v1:box2", "the key box2 writes now")
    settings = lab.control_plane.current()
    key = f"{SECRETS}{lab.namespace}/before"
    expect(
        not reads(settings, key, "secretbox:v1:box1"),
        "the key box1 is not in the configuration any more",
        hint="take it out when everything is written with box2, not earlier",
    )
    for name in ("before", "after"):
        expect(
            prefix(lab, name) == "secretbox:v1:box2",
            f"the Secret {name} is written with box2",
            found=prefix(lab, name) or "no such Secret",
            hint="rewrite_all(lab)",
        )
        expect_value(lab, name)
    unreadable = [
        found
        for found, wrote in survey(lab.control_plane, SECRETS).items()
        if not reads(settings, found, wrote)
    ]
    expect(not unreadable, "no Secret of any namespace needs another key", found=unreadable)
    early = noted.get("too_early", {})
    status, reason = early.get("get", [0, ""])
    expect(
        status == 500 and any(words in reason for words in UNREADABLE),
        "when the key was dropped too early, the Secret before answered 500: no key for it",
        found=early.get("get") or "no lab.notes['rotation']",
    )
    status, reason = early.get("list", [0, ""])
    expect(
        status in (429, 500) and any(words in reason for words in UNREADABLE),
        "and the list failed as a whole, because of it",
        found=early.get("list"),
    )
    expect(
        early.get("ready", [0])[0] == 500 and early.get("configmaps", [0])[0] == 200,
        "the API server was not ready, but answered whoever needed no Secret",
        found={what: found[0] for what, found in early.items()},
    )
    expect(
        early.get("get_new", [0])[0] == 200,
        "and a Secret written with the new key could be read",
        found=early.get("get_new"),
    )
    pids = noted.get("pids") or [[], []]
    expect(
        settings.reload and pids[0] and pids[0] == pids[1],
        "the last change was taken over by the same process, without a restart",
        found=pids,
        hint="reload=True at the restart before it, then write_encryption",
    )
