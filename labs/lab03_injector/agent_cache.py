"""Step 7: the agent as the application's door to Vault."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kv import stored
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import SECRETS, app_pod, asking, expect_running, show, wait_quietly
from labs.lab03_injector.templates import parsed
from labs.lab03_injector.trust import make_role, way_in

LOCAL = "http://127.0.0.1:8200"


def creds(lab: LabContext) -> str:
    """Where the database users of this step come from; they live for minutes."""
    return lab.path("db", "creds", "lab03-long")


def ask_agent(lab: LabContext, path: str) -> dict[str, object]:
    """`data` of what the agent answers to a GET without any token; {} when it refuses."""
    text = show(lab, "door", f"curl -s --max-time 10 {LOCAL}/v1/{path}")
    data = parsed(text).get("data")
    return dict(data) if isinstance(data, dict) else {}


@injector.step(
    "Ask the agent instead of Vault",
    hints=[
        "A role `lab03-long` of lab03-db (`lab.orders.role(default_ttl='5m')`), a policy "
        "`lab03-door` that reads lab03-db/creds/lab03-long, and `make_role(lab, 'door', "
        "[lab.path('app'), lab.path('door')])`.",
        "A pod `door` with that role, `agent-cache-enable` and `agent-inject-token`. In its "
        "container app: `curl http://127.0.0.1:8200/v1/lab03-kv/data/app`, without a token; then "
        "twice `.../v1/lab03-db/creds/lab03-long`: the same user. `ask_agent(lab, path)` does it. "
        "The token itself is the file /vault/secrets/token.",
    ],
)
def ask_the_agent(lab: LabContext) -> None:
    """
    Some applications want more than files: they speak to Vault themselves. With
    `agent-cache-enable` the sidecar listens on 127.0.0.1 **of the pod** and passes requests
    on, with its own token put in (*auto-auth token*). The application has no login code,
    no token, no CA; and answers with a lease are **cached**: who asks twice for a database
    user gets the same one, not two.

    The price: whatever runs in the pod can now ask for whatever the role allows. A file
    shows one secret, the listener shows them all. `agent-inject-token` writes the token
    into a file as well, for programs that insist on having one.
    """
    lab.http.post(
        f"/v1/{lab.path('db')}/roles/lab03-long",
        json=lab.orders.role(default_ttl="5m"),
    )
    policy = f'path "{creds(lab)}" {{ capabilities = ["read"] }}'
    lab.http.put(f"/v1/sys/policies/acl/{lab.path('door')}", json={"policy": policy})
    make_role(lab, "door", [lab.path("app"), lab.path("door")])
    wishes = {"agent-cache-enable": "true", "agent-inject-token": "true"}
    lab.kube.apply(app_pod(lab, "door", asking(lab, wishes, role="door")))
    lab.kube.wait_for_pod("door")
    wait_quietly(
        lab, "the agent to answer for Vault", lambda: ask_agent(lab, lab.path("kv", "data", "app"))
    )
    for _ in range(2):
        print(ask_agent(lab, creds(lab)).get("username"))


@ask_the_agent.check
def _(lab: LabContext) -> None:
    expect_running(lab, "door")
    found = ask_agent(lab, lab.path("kv", "data", "app")).get("data")
    expect(
        isinstance(found, dict) and found.get("password", "none") == stored(lab, "app"),
        "the agent answers a request without a token, with the secret of Vault",
        hint=f"agent-cache-enable; curl {LOCAL}/v1/{lab.path('kv', 'data', 'app')}",
    )
    users = [ask_agent(lab, creds(lab)).get("username") for _ in range(2)]
    expect(
        users[0] and users[0] == users[1],
        "asked twice for a database user it gives the same one: its lease is cached",
        found=users,
    )
    refused = show(lab, "door", f"curl -s {LOCAL}/v1/sys/policies/acl/{lab.path('app')}")
    expect(
        "permission denied" in refused,
        "what the role does not allow is refused through the agent, too",
        found=refused,
    )
    token = show(lab, "door", f"cat {SECRETS}/token 2>/dev/null")
    answer = lab.http.get("/v1/auth/token/lookup-self", token=token or "none", allow={403})
    seen = answer.json().get("data") or {}
    expect(
        (seen.get("meta") or {}).get("service_account_name") == "app"
        and lab.path("app") in seen.get("policies", []),
        "the file /vault/secrets/token holds a token of the service account app",
        found={"status": answer.status_code, "policies": seen.get("policies")},
        hint="agent-inject-token",
    )


@ask_the_agent.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, "door")
