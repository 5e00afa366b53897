"""Step 11: Vault is away: for a pod that runs, and for one that is new."""

from __future__ import annotations

from typing import Any

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.pods import file_sum, pod_events
from labs.lab02_csi.lab import csi
from labs.lab02_csi.refusals import refused_for, wait_for_refusal
from labs.lab02_csi.rotation import allow_reading, write_version
from labs.lab02_csi.volumes import (
    driver_pod,
    expect_mounted,
    nudge_until,
    pod,
    secret_class,
    way_in,
)

# A door between the provider and Vault that can be shut without harm to anybody else: it
# passes on bytes, and TLS ends at Vault as before.
FORWARD = """
import asyncio

async def copy(source, target):
    while data := await source.read(65536):
        target.write(data)
        await target.drain()
    target.close()

async def serve(reader, writer):
    inner = await asyncio.open_connection("vault.vault.svc", 8200)
    await asyncio.gather(copy(reader, inner[1]), copy(inner[0], writer), return_exceptions=True)

async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", 8200)
    await server.serve_forever()

asyncio.run(main())
"""


def door(lab: LabContext) -> list[Any]:
    """A Deployment and a Service `door` that pass connections on to Vault."""
    labels = {"app": "door"}
    container = {
        "name": "forward",
        "image": lab.image("app"),
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", FORWARD],
        "readinessProbe": {"tcpSocket": {"port": 8200}, "periodSeconds": 1},
        "securityContext": {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod_template = {
        "metadata": {"labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            # Not 0: the object must outlive the process, so that "no pod" means "shut".
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        },
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "door"},
            "spec": {"selector": labels, "ports": [{"port": 8200}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "door"},
            "spec": {"selector": {"matchLabels": labels}, "template": pod_template},
        },
    ]


def open_door(lab: LabContext, replicas: int) -> None:
    """Scale the door to 1 (open) or 0 (shut), and wait until it is so."""
    lab.run(f"kubectl -n {lab.namespace} scale deployment door --replicas={replicas}")

    def done() -> bool:
        pods = lab.kube.list("Pod", selector="app=door")
        slices = lab.kube.list("EndpointSlice", selector="kubernetes.io/service-name=door")
        ready = [
            endpoint
            for found in slices
            for endpoint in found.get("endpoints") or []
            if endpoint["conditions"].get("ready")
        ]
        return len(pods) == len(ready) == replicas

    lab.wait_for(f"{replicas} pods of the door", done)


def failed_rotations(lab: LabContext, name: str) -> list[str]:
    """The driver's log lines about failures to fill a pod's mounted volume once more."""
    found = driver_pod(lab)["metadata"]["name"]
    lines = lab.kube.logs(found, "kube-system", "secrets-store", tail=400).splitlines()
    marks = (f'pod="{lab.namespace}/{name}"', "isRemountRequest=true")
    return [line for line in lines if line.startswith("E") and all(m in line for m in marks)]


@csi.step(
    "Vault is away",
    hints=[
        "`door(lab)` gives a Service and a Deployment that pass connections on to Vault. A class "
        "door with role away, vaultAddress `https://door.lab02.svc:8200` and vaultTLSServerName "
        "`vault.vault.svc`; `write_version(lab, 1, 'away')`, `allow_reading(lab, 'away')`.",
        "Pod before: start it, then shut the door (`open_door(lab, 0)`), write version 2, nudge. "
        "Pod during: start it now, and see why it does not.",
        "Put into `lab.notes['away']` what happened meanwhile: the fingerprint of before's file "
        "(`file`) and the event of during (`event`). Then `open_door(lab, 1)` and wait for both.",
    ],
)
def vault_is_away(lab: LabContext) -> None:
    """
    Files in memory outlive Vault. So what does a pod notice when Vault is away?

    - **A pod that runs** notices nothing. Its rotation fails, and the driver keeps quiet about
      it on purpose: the old files stay, no event, no restart. It may run for days on a
      password that was changed meanwhile. That is the price of the calm: watch the driver's
      error counter.
    - **A new pod** cannot start. It waits, with an event that says why, and starts by itself
      when Vault is back. So an outage of Vault is an outage of every deployment, every
      scaling and every node that fails over.

    We do not stop Vault for this, others may use it: the class goes through a *door*, a
    small forwarder of our own, and we shut that.
    """
    for document in door(lab):
        lab.kube.apply(document)
    open_door(lab, 1)
    write_version(lab, 1, "away")
    allow_reading(lab, "away")
    path = lab.path("kv", "data", "away")
    lab.kube.apply(
        secret_class(
            lab,
            "door",
            f"- {{objectName: password, secretPath: {path}, secretKey: password}}",
            role="away",
            vaultAddress=f"https://door.{lab.namespace}.svc:8200",
            vaultTLSServerName="vault.vault.svc",
        )
    )
    lab.kube.apply(pod(lab, "before", {"/secrets": "door"}))
    lab.kube.wait_for_pod("before", timeout=90)

    # The door is shut. Somebody changes the password; one pod runs, another one comes.
    open_door(lab, 0)
    write_version(lab, 2, "away")
    lab.kube.apply(pod(lab, "during", {"/secrets": "door"}))
    wait_for_refusal(lab, "during", "door.")
    nudge_until(
        lab, "before", "the driver to fail at a rotation", lambda: failed_rotations(lab, "before")
    )
    lab.notes["away"] = {
        "file": file_sum(lab, "before", "/secrets/password"),
        "event": refused_for(lab, "during")[-300:],
    }
    print(lab.notes["away"]["event"])

    open_door(lab, 1)
    new = lab.fingerprint(lab.secret("away-2"))
    lab.kube.wait_for_pod("during", timeout=120)
    nudge_until(
        lab,
        "before",
        "the new password to arrive in the pod that ran on",
        lambda: file_sum(lab, "before", "/secrets/password") == new,
    )


@vault_is_away.check
def _(lab: LabContext) -> None:
    noted = lab.notes.get("away", {})
    for name in ("before", "during"):
        expect_mounted(lab, name)
    found = lab.kube.get("Pod", "before") or {}
    events = [event.partition(":")[0] for event in pod_events(lab, "before")]
    since = events[events.index("Started") :] if "Started" in events else ["never started"]
    expect(
        found["status"]["containerStatuses"][0]["restartCount"] == 0 and since == ["Started"],
        "the pod that ran noticed nothing: no restart, no event since it started",
        found=since,
    )
    expect(
        noted.get("file") == lab.fingerprint(lab.secret("away-1")),
        "while Vault was away it kept its old password",
        hint="lab.notes['away']['file'], read before the door is opened again",
    )
    failed = [event for event in pod_events(lab, "during") if event.startswith("FailedMount")]
    expect(
        any("door." in event for event in failed),
        "the new pod waited: its event names the address that did not answer",
        found=failed[-1:] or "no FailedMount event",
    )
    new = lab.fingerprint(lab.secret("away-2"))
    for name in ("before", "during"):
        expect(
            file_sum(lab, name, "/secrets/password") == new,
            f"now that Vault is back, pod {name} has the new password",
            hint=f"kubectl annotate pod {name} --overwrite a=$RANDOM, after ten seconds",
        )


@vault_is_away.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
