"""Step 12: a Vault is off, the operator is restarted: what changed, and what did not."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from labs.lab04_operator.database import lease_of, leases, log_in
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import (
    NAMESPACE,
    condition,
    is_synced,
    manager_pod,
    same,
    secret,
    static_secret,
    status,
    values,
    wait_rollout,
    wait_synced,
    wait_value,
)
from labs.lab04_operator.two_vaults import second_vault


def version(lab: LabContext, name: str) -> str:
    """The resourceVersion of a Secret: another one means that somebody wrote it."""
    return str(secret(lab, name)["metadata"]["resourceVersion"])


def trouble(lab: LabContext, *, sealed: bool) -> str:
    """Wait until pay-jwt is reported as not in sync, as sealed or as out of reach; what is said.

    A Vault that is being ended seals itself first, and may tell the operator so.
    """

    def said() -> str:
        # SecretSynced may be False still from an outage before; Healthy is about the last pass.
        if condition(lab, "VaultStaticSecret", "pay-jwt", "Healthy").get("status") != "False":
            return ""
        found = condition(lab, "VaultStaticSecret", "pay-jwt", "SecretSynced")
        text = str(found["message"]) if found.get("status") == "False" else ""
        return text if ("sealed" in text) is sealed else ""

    return lab.wait_for(
        f"the operator to report that the second Vault is {'sealed' if sealed else 'away'}",
        said,
        timeout=120,
        explain=lambda: "\n".join(lab.kube.events("pay-jwt")[-4:]),
    )


def wait_for_operator(lab: LabContext, other_than: str) -> None:
    """Wait until another pod of the operator is ready and has looked at the database user."""
    lab.wait_for(
        "a new pod of the operator to look after the database user",
        lambda: (
            (pod := manager_pod(lab))
            and pod["metadata"]["uid"] != other_than
            and status(lab, "VaultDynamicSecret", "orders").get("lastRuntimePodUID")
            == pod["metadata"]["uid"]
        ),
        timeout=120,
        explain=lambda: "\n".join(lab.kube.events("orders")[-4:]),
    )


@operator.step(
    "Vault is away, the operator is restarted",
    hints=[
        "In the first Vault a secret `shop/steady` (`lab.secret('steady-1')`) and a "
        "VaultStaticSecret `steady`. Then `second.stop()`, and `trouble(lab, sealed=False)` waits "
        "until pay-jwt reports that it is not in sync, and why.",
        "While it is off: `steady-2` into the first Vault, and wait for the Secret. Then "
        "`second.start(lab.access.kubeconfig)`: it is sealed: `trouble(lab, sealed=True)`. "
        "`second.unseal()`, `lab.secret('pay-2')` into lab04-pay/shop, and wait for it.",
        "Delete the operator's pod (`manager_pod(lab)`), `wait_for_operator`. Keep in "
        "`lab.notes['outage']`: kept (resourceVersion of pay-jwt before, while off, while sealed), "
        "off and sealed (what was said), app (resourceVersion of the Secret app before and after), "
        "pod (uid of the old pod), user (the database user before).",
    ],
)
def survive(lab: LabContext) -> None:
    """
    **A Vault is off.** We end the second one. What happens to the Secrets that came from it?
    Nothing: the last copy stays, and pods start with it as before. The resource says that it
    is not in sync, and why; the operator tries again, with longer and longer pauses. Secrets
    of the *other* Vault go on. That is the good side of a copy. (The other side: a secret
    that was revoked in Vault during the outage would stay in use.)

    Then it is started. A Vault that starts is **sealed**: it answers, and gives nothing. The
    operator says that, too. Only when somebody unseals it all is well again.

    Look at `Healthy` to learn whether all is well again. `SecretSynced` tells of the last
    write: where nothing has changed there is none, and it stays False.

    **The operator is restarted.** Static secrets are compared, found right and left alone:
    not one write. But database users are *replaced*: the new process logs in anew, and a
    lease belongs to the log-in that made it. So a restart of the operator is a rotation of
    all dynamic credentials, and restarts the applications that use them. Plan for it; do not
    be surprised by it. The old users end a moment later, and none is forgotten.
    """
    second = second_vault(lab)
    steady = f"/v1/{lab.path('kv', 'data', 'shop/steady')}"
    lab.http.post(steady, json={"data": {"password": lab.secret("steady-1")}})
    lab.kube.apply(static_secret(lab, "steady", "shop/steady"))
    wait_synced(lab, "VaultStaticSecret", "steady")

    # The second Vault is off; the first one goes on.
    kept = [version(lab, "pay-jwt")]
    second.stop()
    off = trouble(lab, sealed=False)
    lab.http.post(steady, json={"data": {"password": lab.secret("steady-2")}})
    wait_value(lab, "steady", lab.secret("steady-2"))
    kept.append(version(lab, "pay-jwt"))

    # It is started: sealed, like every Vault.
    second.start(lab.access.kubeconfig)
    sealed = trouble(lab, sealed=True)
    kept.append(version(lab, "pay-jwt"))

    # It is unsealed, and what changed since then arrives.
    second.unseal()
    second.http.post(
        f"/v1/{lab.path('pay')}/data/shop", json={"data": {"password": lab.secret("pay-2")}}
    )
    wait_value(lab, "pay-jwt", lab.secret("pay-2"))

    # The operator is restarted.
    app = [version(lab, "app")]
    user = values(lab, "orders")["username"]
    pod = manager_pod(lab)["metadata"]
    lab.kube.delete("Pod", pod["name"], NAMESPACE)
    wait_for_operator(lab, other_than=pod["uid"])
    wait_synced(lab, "VaultDynamicSecret", "orders")
    wait_rollout(lab, "orders")
    app.append(version(lab, "app"))
    lab.wait_for(
        "the leases of the old log-in to end",
        lambda: leases(lab) == [lease_of(lab, "orders").rpartition("/")[2]],
        timeout=90,
        explain=lambda: f"{len(leases(lab))} leases",
    )
    lab.notes["outage"] = {
        "kept": kept,
        "off": off,
        "sealed": sealed,
        "app": app,
        "pod": pod["uid"],
        "user": user,
    }


@survive.check
def _(lab: LabContext) -> None:
    noted = lab.notes.get("outage", {})
    expect(
        len(noted.get("kept", [])) == 3 and len(set(noted["kept"])) == 1,
        "while the second Vault was off or sealed nobody wrote the Secret pay-jwt",
        found=noted.get("kept") or "no lab.notes['outage']",
    )
    expect(
        second_vault(lab).pod_addr in noted["off"] and "sealed" not in noted["off"],
        "while it was off the resource said whom it could not reach",
        found=noted["off"],
    )
    expect(
        "sealed" in noted["sealed"],
        "when it was back the resource said that it is sealed",
        found=noted["sealed"],
    )
    expect(
        same(lab, "steady", lab.secret("steady-2")),
        "a change in the first Vault arrived meanwhile",
    )
    expect(
        same(lab, "pay-jwt", lab.secret("pay-2"))
        and is_synced(lab, "VaultStaticSecret", "pay-jwt"),
        "and what changed in the second one, after it was unsealed",
        found=condition(lab, "VaultStaticSecret", "pay-jwt", "SecretSynced"),
    )
    pod = manager_pod(lab).get("metadata", {}).get("uid")
    expect(pod and pod != noted["pod"], "another pod of the operator runs now", found=pod)
    state = status(lab, "VaultDynamicSecret", "orders")
    expect(
        state.get("lastRuntimePodUID") == pod,
        "and looks after the database user",
        found=state.get("lastRuntimePodUID"),
    )
    expect(
        len(set(noted["app"])) == 1 and noted["app"][0] == version(lab, "app"),
        "the restart did not write the static Secret app",
        found=noted["app"],
    )
    found = values(lab, "orders")
    expect(
        found["username"] != noted["user"],
        "but the database user is another one: the new process logged in anew",
        found=found["username"],
    )
    refusal = log_in(lab, found["username"], found["password"])
    expect(not refusal, "the database lets it in", found=refusal)
    expect(
        not lab.orders.exists(noted["user"]),
        "and has no user of the old log-in any more: nothing was forgotten",
        found=noted["user"],
    )


@survive.undo
def _(lab: LabContext) -> None:
    # The second Vault is in no inventory.
    second = second_vault(lab)
    second.start(lab.access.kubeconfig)
    if second.http.get("/v1/sys/seal-status").json()["sealed"]:
        second.unseal()
    path = f"/v1/{lab.path('pay')}/data/shop"
    if second.http.get(path, allow={404}).status_code == 200:
        second.http.post(path, json={"data": {"password": lab.secret("pay-1")}})
