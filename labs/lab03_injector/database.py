"""Step 6: a database user in a connection string, replaced under a running application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    expect_running,
    show,
    status_of,
    wait_quietly,
)
from labs.lab03_injector.templates import parsed
from labs.lab03_injector.trust import way_in

SOURCE = Path(__file__).parent / "app" / "shop.py"


def state_of(lab: LabContext) -> dict[str, Any]:
    """What the application has written down about itself; {} before it did."""
    return dict(parsed(show(lab, "shop", "cat /memory/state.json 2>/dev/null")))


@injector.step(
    "A database user that is replaced while the application runs",
    minutes=10,
    goals=[
        "the database has known the application by three users that Vault made",
        "it was told by SIGHUP to read its file again",
        "it is the same process all the time, never restarted",
        "its first user is gone from the database: that lease has ended",
    ],
    hints=[
        "`kubectl logs shop -c vault-agent` tells of each rendering and each command; "
        "`kubectl exec shop -c app -- jq . /memory/state.json` shows what the application knows.",
        "A lease may be renewed until `max_ttl` is over; then the agent asks for a new user. "
        "Upstream's list of annotations has `agent-inject-command-NAME`, "
        "`agent-share-process-namespace` and `agent-run-as-same-user`.",
        "max_ttl=12s; role: shop; .Data.username (a database user has no `data` in between); "
        "kill -HUP $(pidof python3).",
    ],
)
def database_user(lab: LabContext) -> None:
    """
    The secret of this step does not exist until the agent asks for it: Vault makes a
    **database user**, for as long as its **lease** runs. The template puts it into a
    connection string. The sidecar renews the lease. When the lease has reached its maximum, the
    sidecar asks for another user and writes the file again. Lives are seconds here so that you
    see it.

    The application has to notice. `agent-inject-command-url` is run after every change:
    here it sends **SIGHUP**, and the program reads its file again. For that the two must
    share a process namespace and a user. The program is printed below. Of Vault it knows one
    file name. Compare lab 01's service.

    (`sslmode=disable`, because the labs' database has no certificate. Yours should have one:
    with `sslmode=verify-full` the password of Vault's account travels under TLS.)
    """
    lab.sh(r"""
password=$(vault write -field=random_bytes sys/tools/random/12 format=hex)
docker exec -i $POSTGRES psql -q -v ON_ERROR_STOP=1 -U postgres shop <<END
CREATE TABLE lab03_orders (id int, item text);
INSERT INTO lab03_orders VALUES (1, 'book'), (2, 'lamp');
CREATE ROLE lab03_vault LOGIN CREATEROLE PASSWORD '$password';
CREATE ROLE lab03_readers ADMIN lab03_vault;
GRANT SELECT ON lab03_orders TO lab03_readers;
END
vault secrets enable -path=$NAMESPACE-db database
vault write $NAMESPACE-db/config/shop \
  plugin_name=postgresql-database-plugin \
  connection_url="postgresql://{{username}}:{{password}}@$POSTGRES:5432/shop?sslmode=disable" \
  username=lab03_vault \
  password=$password \
  allowed_roles=lab03,lab03-long
vault write $NAMESPACE-db/roles/lab03 db_name=shop \
  creation_statements="CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'
    VALID UNTIL '{{expiration}}' IN ROLE lab03_readers;" \
  revocation_statements='DROP ROLE IF EXISTS "{{name}}";' \
  default_ttl=6s \
  max_ttl=12s  #? no user lives longer than twelve seconds
vault policy write $NAMESPACE-shop - <<END
path "$NAMESPACE-db/creds/lab03" {  #?($NAMESPACE-db/creds/lab03) where a user is made
  capabilities = ["read"]
}
END
vault write auth/$NAMESPACE-kubernetes/role/shop \
  bound_service_account_names=app \
  bound_service_account_namespaces=$NAMESPACE \
  audience=https://kubernetes.default.svc.cluster.local \
  token_policies=$NAMESPACE-shop \
  token_ttl=20m token_max_ttl=1h
""")
    lab.sh("""
cat "$LAB/app/shop.py"
kubectl create configmap shop --from-file="$LAB/app/shop.py"
""")
    lab.kubectl_apply("""
apiVersion: v1
kind: Pod
metadata:
  name: shop
  annotations:
    vault.hashicorp.com/agent-inject: "true"
    vault.hashicorp.com/role: shop  #? the role that may make users
    vault.hashicorp.com/auth-path: auth/$NAMESPACE-kubernetes
    vault.hashicorp.com/agent-inject-template-url: |-
      {{- with secret "$NAMESPACE-db/creds/lab03" -}}
      postgresql://
      {{- .Data.username }}:{{ .Data.password }}  #?(.Data.username)
      {{- "@postgres.database.svc:5432/shop" }}
      {{- end -}}
    # Before the application runs there is no process to tell, and that is no failure.
    vault.hashicorp.com/agent-inject-command-url: kill -HUP $(pidof python3) || true
    # To send a signal the agent must see the process, and be the same user.
    vault.hashicorp.com/agent-share-process-namespace: "true"
    vault.hashicorp.com/agent-run-as-same-user: "true"
spec:
  serviceAccountName: app
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    # The first signal may come before the program is ready for it, and would end it.
    command: [sh, -c, "trap '' HUP; exec python3 /program/shop.py"]
    securityContext: {runAsUser: 1000, runAsGroup: 1000}
    volumeMounts:
    - {name: memory, mountPath: /memory}
    - {name: program, mountPath: /program}
  volumes:
  - name: memory
    emptyDir: {medium: Memory, sizeLimit: 1Mi}
  - name: program
    configMap: {name: shop}
""")
    lab.sh(r"""
kubectl wait pod/shop --for=condition=Ready --timeout=60s
users() { kubectl exec shop -c app -- jq '.users | unique | length' /memory/state.json; }
until [ "$(users)" -ge 3 ]; do sleep 1; done
kubectl exec shop -c app -- jq . /memory/state.json
kubectl logs shop -c vault-agent --tail=5
docker exec $POSTGRES psql -U postgres shop -c "SELECT rolname, rolvaliduntil FROM pg_roles
  WHERE rolname LIKE 'v-%lab03-%'"
""")


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
