"""Step 12: an application that does all of this itself, and what that costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab01_http_api.lab import http_api
from labs.lab01_http_api.pods import curl_pod
from labs.lab01_http_api.trust import way_in

SOURCE = Path(__file__).parent / "app" / "service.py"
RULER = "# ──"


def service_pod(lab: LabContext) -> Any:
    """The pod of step 1 with the program in a ConfigMap instead of a sleeping shell."""
    pod = curl_pod(lab, "service", service_account="app")
    container = pod["spec"]["containers"][0]
    container["command"] = ["python3", "/program/service.py"]
    settings = {
        "vault": lab.access.vault_pod_addr,
        "auth": lab.path("kubernetes"),
        "database_engine": lab.path("db"),
        "host": lab.postgres.pod_host,
        "database": lab.postgres.database,
    }
    container["env"] = [{"name": "SETTINGS", "value": json.dumps(settings)}]
    container["volumeMounts"].append({"name": "program", "mountPath": "/program"})
    pod["spec"]["volumes"].append({"name": "program", "configMap": {"name": "service"}})
    return pod


def lines_for_vault() -> int:
    """How many lines of the program are there only to live with Vault."""
    between = SOURCE.read_text(encoding="utf-8").split(RULER)[1]
    return sum(1 for line in between.splitlines()[1:] if line.strip())


def ask(lab: LabContext) -> dict[str, Any]:
    """What the running service says about itself; {} while it does not answer."""
    text = lab.kube.exec("service", "curl -s --max-time 3 http://127.0.0.1:8080/ || true")
    return dict(json.loads(text)) if text else {}


@http_api.step(
    "An application that does all this itself",
    hints=[
        "The program is `SOURCE` (labs/lab01_http_api/app/service.py). It wants a kubernetes role "
        "`service` (policy lab01-service: read lab01-db/creds/service, update "
        "sys/leases/renew) and a database role `service`.",
        "Short lives show it soon: token_ttl 6s, token_max_ttl 14s, default_ttl 5s, max_ttl 9s. "
        "Put the program into a ConfigMap `service` and apply `service_pod(lab)`.",
        "Then watch `ask(lab)`: logins, renewals, rotations and database_users grow within half "
        "a minute. If not, `kubectl logs service` and `last_error` tell.",
    ],
)
def application(lab: LabContext) -> None:
    """
    So far people typed the requests. Here is a small service that makes them itself, with
    hvac: it logs in, **renews** its token and its lease after two thirds of their time,
    **logs in again** when the token has reached its maximum, takes a **new database user**
    when the old one cannot be renewed, and goes on working all the while, in one process
    that is never restarted. Lives are short here so that you see it within seconds.

    Read the program: `labs/lab01_http_api/app/service.py`. What stands between its two
    rulers is there for Vault alone, and it is the *easy* version: no cache, one secret, one
    language. It must know Vault's address, its CA, the auth mount, the role and the paths;
    every team writes it again, and gets the failures right, or does not.

    That is the price of the direct approach. The next three labs let somebody else pay
    it: a CSI driver, a sidecar, an operator.
    """
    engine, auth = lab.path("db"), lab.path("kubernetes")
    lab.http.post(
        f"/v1/{engine}/roles/service",
        json=lab.orders.role(default_ttl="5s", max_ttl="9s"),
    )
    policy = (
        f'path "{engine}/creds/service" {{ capabilities = ["read"] }}\n'
        'path "sys/leases/renew" { capabilities = ["update"] }'
    )
    lab.http.put(f"/v1/sys/policies/acl/{lab.path('service')}", json={"policy": policy})
    lab.http.post(
        f"/v1/auth/{auth}/role/service",
        json={
            "bound_service_account_names": ["app"],
            "bound_service_account_namespaces": [lab.namespace],
            "audience": "vault",
            "token_policies": [lab.path("service")],
            "token_ttl": "6s",
            "token_max_ttl": "14s",
        },
    )
    program = {"service.py": SOURCE.read_text(encoding="utf-8")}
    lab.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "service"},
            "data": program,
        }
    )
    lab.kube.apply(service_pod(lab))
    lab.kube.wait_for_pod("service")
    lab.wait_for(
        "the service to have logged in twice and changed its database user",
        lambda: (state := ask(lab)) and state["logins"] >= 2 and state["rotations"] >= 1,
        timeout=60,
        explain=lambda: str(ask(lab)),
    )


@application.check
def _(lab: LabContext) -> None:
    pod = lab.kube.get("Pod", "service") or {}
    expect(pod, "there is a pod service")
    lab.kube.wait_for_pod("service", timeout=30)
    status = pod["status"]["containerStatuses"][0]
    expect(status["restartCount"] == 0, "it was never restarted", found=status["restartCount"])
    state = ask(lab)
    expect(state, "it answers on its port 8080", hint="kubectl logs service")
    expect(
        state["logins"] >= 2 and state["renewals"] >= 1,
        "it renewed its token, and logged in again when that was not possible any more",
        found={name: state[name] for name in ("logins", "renewals", "last_error") if name in state},
        hint="token_ttl 6s and token_max_ttl 14s at the role service; wait half a minute",
    )
    expect(
        state["rotations"] >= 1 and len(set(state["database_users"])) >= 2,
        "it has worked under different database users, one after the other",
        found=state["database_users"],
    )
    expect(
        state["queries"] > 0 and state.get("database_says") in state["database_users"],
        "and the database knew it by them",
        found={name: state.get(name) for name in ("queries", "database_says", "last_error")},
    )
    expect(
        lines_for_vault() > 50,
        f"the price: {lines_for_vault()} lines that do nothing but live with Vault",
    )


@application.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, role="service", pod="service", secret=lab.path("db", "creds", "service"))
