"""Step 5: Vault goes away: what still works, and for how long."""

from __future__ import annotations

from harness import expect
from harness.lab.api import PROJECT, LabContext
from harness.lab.kit.control_plane import FLAVOURS, SERVES, VaultServer
from labs.lab06_encryption.encrypt import expect_value, prefix, write
from labs.lab06_encryption.kms import WRITER
from labs.lab06_encryption.lab import encryption

HEALTH = "/readyz/kms-providers"
# A good answer about the plugin's health is believed for 20 seconds.
NOTICE_SECONDS = 60


def server(lab: LabContext) -> VaultServer:
    """The environment's Vault, to unseal it with the key that the environment keeps."""
    access = lab.access
    return VaultServer(
        access.name, FLAVOURS[access.flavour], access.state / "vault", f"{PROJECT}-{access.name}"
    )


def is_sealed(lab: LabContext) -> bool:
    """Whether Vault is sealed: then it answers to nothing but that."""
    return bool(lab.http.get("/v1/sys/seal-status").json()["sealed"])


def unseal(lab: LabContext) -> None:
    """Unseal Vault, if it is sealed, and wait until it is active."""
    if is_sealed(lab):
        server(lab).unseal(lab.http)


def attempts(lab: LabContext, new: str) -> dict[str, int]:
    """What the API server answers to a few requests, one that writes the Secret `new` included."""
    space = f"/api/v1/namespaces/{lab.namespace}"
    secret = {
        "metadata": {"name": new, "labels": dict(lab.labels())},
        "stringData": {"password": lab.secret(new)},
    }
    plane = lab.control_plane
    found = {
        "read": plane.call("GET", f"{space}/secrets/wrapped")[0],
        "read_local": plane.call("GET", f"{space}/secrets/before")[0],
        "list": plane.call("GET", f"{space}/secrets")[0],
        "write": plane.call("POST", f"{space}/secrets", secret)[0],
        "configmap": plane.call("GET", f"{space}/configmaps/vault-ca")[0],
        "live": plane.health("/livez")[0],
        "ready": plane.health("/readyz")[0],
    }
    print(*(f"{what} {status}" for what, status in found.items()), sep=", ")
    return found


@encryption.step(
    "Vault goes away",
    minutes=10,
    hints=[
        "`lab.http.put('/v1/sys/seal')`: to everybody else that is the same as off. Wait until "
        "/readyz/kms-providers is not 200 (`lab.control_plane.health(HEALTH)`). Then "
        "`attempts(lab, 'meanwhile')` reads, lists and writes.",
        "Then restart the API server while Vault is sealed: "
        "`lab.control_plane.restart(ready=SERVES)`, for it will not get ready. Try again: "
        "`attempts(lab, 'refused')`.",
        "Then `unseal(lab)`, wait until the health is good again, and `attempts(lab, 'back')`. "
        "Keep in `lab.notes['outage']`: said (the text of the failed health check), sealed, "
        "restarted and back (the three attempts), and pids (the API server's process ids before "
        "and after the restart).",
    ],
)
def vault_goes_away(lab: LabContext) -> None:
    """
    Now Vault holds the key to every Secret of the cluster. What if it is away? We seal it.

    **Nothing happens at first.** The seeds lie unwrapped in the API server's memory: it
    reads, lists and writes. Only its health tells: `/readyz/kms-providers` fails, and with it
    `/readyz`, so that a load balancer takes this API server out. `/livez` stays good: there is
    no use in restarting it. For how long? Reads: as long as the process lives. Writes: as long
    as the plugin answers and still names the same key. When the *plugin* is gone, writes end
    three minutes after its last answer, and then `expired` stands in the refusal.

    **A restart now is the end.** The memory is gone and nobody can unwrap: what KMS has
    written answers 500, lists fail as a whole, nothing can be written; only what another
    provider wrote can be got one by one. A node that reboots in an outage of Vault takes its
    API server down with it, and pods that need a Secret cannot start. So Vault must not itself
    depend on this cluster: a Vault *in* the cluster whose Secrets it encrypts cannot be
    started again.

    **It comes back** by itself: the plugin finds Vault unsealed, and nothing has to be
    restarted or repaired.
    """
    plane = lab.control_plane
    write(lab, "wrapped")
    pids = [plane.node.processes()]
    lab.http.put("/v1/sys/seal")
    try:
        said = lab.wait_for(
            "the API server to notice that the plugin is not well",
            lambda: (health := plane.health(HEALTH))[0] != 200 and health[1],
            timeout=NOTICE_SECONDS,
        )
        print(said)
        sealed = attempts(lab, "meanwhile")

        # A restart, and what was in memory is gone.
        plane.restart(ready=SERVES)
        pids.append(plane.node.processes())
        restarted = attempts(lab, "refused")
    finally:
        unseal(lab)

    lab.wait_for(
        "the API server to be ready again",
        lambda: plane.health()[0] == 200,
        timeout=NOTICE_SECONDS,
        explain=lambda: plane.health("/readyz?verbose")[1],
    )
    lab.notes["outage"] = {
        "said": said,
        "sealed": sealed,
        "restarted": restarted,
        "back": attempts(lab, "back"),
        "pids": pids,
    }


@vault_goes_away.check
def _(lab: LabContext) -> None:
    noted = lab.notes.get("outage", {})
    expect(not is_sealed(lab), "Vault is unsealed again", hint="unseal(lab)")
    asked = [entry for entry in lab.audit.entries() if entry["request"].get("path") == "sys/seal"]
    expect(asked, "Vault was sealed: its audit log tells so", found=len(asked))
    sealed, restarted, back = (noted.get(when, {}) for when in ("sealed", "restarted", "back"))
    expect(
        "sealed" in noted.get("said", ""),
        "the API server's health check told why: Vault is sealed",
        found=noted.get("said") or "no lab.notes['outage']",
    )
    expect(
        (sealed["read"], sealed["list"], sealed["write"]) == (200, 200, 201),
        "while Vault was sealed, the API server went on to read, list and write Secrets",
        found=sealed,
    )
    expect(
        (sealed["live"], sealed["ready"]) == (200, 500),
        "it was alive and not ready",
        found=sealed,
    )
    for name in ("meanwhile", "back"):
        expect(prefix(lab, name) == WRITER, f"KMS wrote the Secret {name}", found=prefix(lab, name))
        expect_value(lab, name)
    expect(
        restarted["read"] == 500 and restarted["list"] in (429, 500),
        "after a restart in the outage it read nothing of what KMS had written, and no list",
        found=restarted,
    )
    expect(
        restarted["write"] == 500 and not prefix(lab, "refused"),
        "and could write none: there is no Secret refused",
        found=restarted,
    )
    expect(
        restarted["read_local"] == restarted["configmap"] == restarted["live"] == 200,
        "what a local key had written it read one by one, and what is no Secret",
        found=restarted,
    )
    pids = noted["pids"]
    running = lab.control_plane.node.processes()
    expect(
        pids[0] != pids[1] == running,
        "when Vault was back, it recovered by itself: it is still the same process",
        found=[*pids, running],
    )
    expect(
        (back["read"], back["list"], back["write"], back["ready"]) == (200, 200, 201, 200),
        "and reads, lists and writes again",
        found=back,
    )


@vault_goes_away.undo
def _(lab: LabContext) -> None:
    # A sealed Vault can neither be looked at nor put in order.
    unseal(lab)
