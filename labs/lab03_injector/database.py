"""Step 6: a database user in a connection string, replaced under a running application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    AGENT,
    app_pod,
    asking,
    expect_running,
    show,
    status_of,
    wait_quietly,
)
from labs.lab03_injector.templates import parsed
from labs.lab03_injector.trust import make_role, way_in

SOURCE = Path(__file__).parent / "app" / "shop.py"

# Run by the agent after each change of the file; the application's process is its neighbour.
# Before the application runs there is nobody to tell, and that is no failure.
RELOAD = "kill -HUP $(pidof python3) || true"


def connection_url(lab: LabContext, role: str) -> str:
    """A template: the connection string of a user that Vault makes by this role."""
    server = lab.postgres
    login = "{{ .Data.username }}:{{ .Data.password }}"
    return (
        f'{{{{ with secret "{lab.path("db", "creds", role)}" }}}}postgresql://{login}'
        f"@{server.pod_host}:5432/{server.database}{{{{ end }}}}"
    )


def shop_pod(lab: LabContext) -> Any:
    """The application, its agent, and one process table for both."""
    wishes = {
        "agent-inject-template-url": connection_url(lab, "lab03"),
        "agent-inject-command-url": RELOAD,
        # To send a signal the agent must see the process and be of the same user.
        "agent-share-process-namespace": "true",
        "agent-run-as-same-user": "true",
    }
    pod = app_pod(
        lab,
        "shop",
        asking(lab, wishes, role="shop"),
        # The first signal may come before the program is ready for it, and would end it.
        command=("sh", "-c", "trap '' HUP; exec python3 /program/shop.py"),
    )
    mounts = pod["spec"]["containers"][0]["volumeMounts"]
    mounts.append({"name": "program", "mountPath": "/program"})
    pod["spec"]["volumes"].append({"name": "program", "configMap": {"name": "shop"}})
    return pod


def state_of(lab: LabContext) -> dict[str, Any]:
    """What the application has written down about itself; {} before it did."""
    return dict(parsed(show(lab, "shop", "cat /memory/state.json 2>/dev/null")))


@injector.step(
    "A database user that is replaced while the application runs",
    hints=[
        "`lab.orders.prepare()`; mount type `database` at lab03-db; its `/config/shop` gets "
        "`lab.orders.connection(['lab03', 'lab03-long'])`, its `/roles/lab03` gets "
        "`lab.orders.role(default_ttl='6s', max_ttl='12s')`. Policy `lab03-shop` reads "
        "lab03-db/creds/lab03; `make_role(lab, 'shop', [lab.path('shop')])`.",
        "Put `SOURCE` into a ConfigMap `shop` under the name shop.py and apply `shop_pod(lab)`. "
        "Watch `state_of(lab)`: a third database user within half a minute.",
        "`kubectl logs shop -c vault-agent` tells of each rendering and each command.",
    ],
)
def database_user(lab: LabContext) -> None:
    """
    The secret of this step does not exist until the agent asks for it: Vault makes a
    **database user**, for as long as its **lease** runs. The template puts it into a
    connection string. The sidecar renews the lease, and when its maximum is reached asks
    for another user and writes the file again. Lives are seconds here so that you see it.

    The application has to notice. `agent-inject-command-url` is run after every change:
    here it sends **SIGHUP**, and the program reads its file again. For that the two must
    share a process namespace and a user. Read the program: labs/lab03_injector/app/shop.py.
    Of Vault it knows one file name. Compare lab 01's service.
    """
    lab.orders.prepare()
    engine = lab.path("db")
    lab.http.post(f"/v1/sys/mounts/{engine}", json={"type": "database"})
    allowed = ["lab03", "lab03-long"]
    lab.http.post(f"/v1/{engine}/config/shop", json=lab.orders.connection(allowed))
    lab.http.post(
        f"/v1/{engine}/roles/lab03",
        json=lab.orders.role(default_ttl="6s", max_ttl="12s"),
    )
    policy = f'path "{engine}/creds/lab03" {{ capabilities = ["read"] }}'
    lab.http.put(f"/v1/sys/policies/acl/{lab.path('shop')}", json={"policy": policy})
    make_role(lab, "shop", [lab.path("shop")])
    program = {"shop.py": SOURCE.read_text(encoding="utf-8")}
    lab.kube.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop"}, "data": program}
    )
    lab.kube.apply(shop_pod(lab))
    lab.kube.wait_for_pod("shop")
    wait_quietly(
        lab,
        "the application to have worked as three database users",
        lambda: len(set(state_of(lab).get("users", []))) >= 3,
        timeout=90,
        explain=lambda: f"{state_of(lab)}\n{lab.kube.logs('shop', container=AGENT, tail=15)}",
    )


@database_user.check
def _(lab: LabContext) -> None:
    pod = expect_running(lab, "shop")
    state = state_of(lab)
    users = list(dict.fromkeys(state.get("users", [])))
    expect(
        len(users) >= 3 and all(user.startswith("v-") for user in users),
        "the database has known the application by three users that Vault made",
        found=state or "no /memory/state.json in the pod shop",
        hint="default_ttl 6s, max_ttl 12s; kubectl logs shop -c vault-agent",
    )
    expect(
        state["reloads"] >= 2,
        "it was told by SIGHUP to read its file again",
        found=state["reloads"],
        hint="agent-inject-command-url, agent-share-process-namespace, agent-run-as-same-user",
    )
    restarts = status_of(pod, "app")["restartCount"]
    expect(restarts == 0, "it is the same process all the time, never restarted", found=restarts)
    with lab.postgres.connect() as connection:
        rows = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'")
        alive = {str(row[0]) for row in rows.fetchall()}
    expect(
        users[0] not in alive,
        "its first user is gone from the database: that lease has ended",
        found=sorted(alive & set(users)),
    )
    program = SOURCE.read_text(encoding="utf-8")
    code = program.split('"""', 2)[2]
    expect("hvac" not in code and "token" not in code, "its program has no line about Vault")


@database_user.undo
def _(lab: LabContext) -> None:
    # The pod first, or its agent asks for another user while the old ones are removed.
    if lab.kube.get("Namespace", lab.namespace):
        lab.kube.delete("Pod", "shop", grace=0)
        wait_quietly(lab, "the pod shop to be gone", lambda: not lab.kube.get("Pod", "shop"))
    lab.orders.remove(lab.path("db"), "^v-.*-lab03-")


@database_user.diagnosis
def _(lab: LabContext) -> LoginPath:
    return LoginPath(
        mount=lab.path("kubernetes"),
        role="shop",
        service_account="app",
        audience=way_in(lab).audience,
        reviewer="reviewer",
    )
