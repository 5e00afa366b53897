"""Step 16: a database user that stays, and whose password Vault rotates."""

from __future__ import annotations

import datetime

from psycopg import sql

from harness import expect
from harness.lab.api import LabContext
from labs.lab04_operator.database import let_go_of
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import custom, soon, status, values
from labs.lab04_operator.orders import lease_of, log_in

REPORT = "lab04_report"


@operator.step(
    "A password that Vault rotates",
    minutes=5,
    further=True,
    goals=[
        "there is a VaultDynamicSecret report",
        "the Secret report is for the user that was there, and tells how its password is rotated",
        "its password has been rotated since",
        "the database lets it in",
        "the status tells when, and every 15 seconds",
        "there is no lease: the user stays",
    ],
    hints=[
        "`vault path-help lab04-db/static-roles/report` and `kubectl explain "
        "vaultdynamicsecret.spec.allowStaticCreds`.",
        "The role names a user that exists. The path of the credentials begins with "
        "`static-creds`.",
        "username=${NAMESPACE}_report; path: static-creds/report; allowStaticCreds: true.",
    ],
)
def rotate_a_password(lab: LabContext) -> None:
    """
    Some users cannot be made anew every hour: they own tables, or somebody has typed their
    name into twenty places. A **static role** is for them. The user exists already; Vault
    changes its *password* by a schedule, every 15 seconds here.

    There is no lease. The operator asks Vault when the next change comes, and comes back then.
    """
    lab.sh(r"""
docker exec -i $POSTGRES psql -U postgres -v ON_ERROR_STOP=1 shop <<EOF
CREATE ROLE ${NAMESPACE}_report LOGIN IN ROLE ${NAMESPACE}_readers;
-- From PostgreSQL 16 on Vault's account may only change users that it administers.
GRANT ${NAMESPACE}_report TO ${NAMESPACE}_vault WITH ADMIN OPTION;
EOF
vault write $NAMESPACE-db/static-roles/report db_name=shop rotation_period=15s \
  username=${NAMESPACE}_report  #? the user that is there already
""")
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultDynamicSecret
metadata:
  name: report
spec:
  vaultAuthRef: shop
  mount: $NAMESPACE-db
  path: static-creds/report  #? where does Vault tell the password of this role?
  allowStaticCreds: true
  destination:
    name: report
    create: true
""")
    lab.sh("""
kubectl wait vaultdynamicsecret/report --for=condition=SecretSynced --timeout=60s
status() { kubectl get vaultdynamicsecret report -o jsonpath="{.status.$1}"; }
FIRST=$(status staticCredsMetaData.lastVaultRotation)
until (( $(status staticCredsMetaData.lastVaultRotation) > FIRST )); do sleep 1; done
status staticCredsMetaData
kubectl describe secret report
""")


@rotate_a_password.check
def _(lab: LabContext) -> None:
    resource = custom(lab, "VaultDynamicSecret", "report")
    expect(resource, "there is a VaultDynamicSecret report")
    found = values(lab, "report")
    expect(
        {"username", "password", "last_vault_rotation", "rotation_period", "ttl"} <= set(found)
        and found["username"] == REPORT,
        "the Secret report is for the user that was there, and tells how its password is rotated",
        found=sorted(found),
    )
    made = datetime.datetime.fromisoformat(resource["metadata"]["creationTimestamp"])
    plan = status(lab, "VaultDynamicSecret", "report").get("staticCredsMetaData") or {}
    expect(
        plan.get("lastVaultRotation", 0) > made.timestamp(),
        "its password has been rotated since",
        found=plan,
    )
    # A rotation may come between reading the Secret and trying it.
    expect(
        soon(lab, lambda: log_in(lab, REPORT, values(lab, "report")["password"]) == ""),
        "the database lets it in",
    )
    expect(
        plan.get("rotationPeriod") == 15, "the status tells when, and every 15 seconds", found=plan
    )
    lease = lease_of(lab, "report")
    expect(not lease, "there is no lease: the user stays", found=lease)


@rotate_a_password.undo
def _(lab: LabContext) -> None:
    let_go_of(lab, "report")
    lab.http.delete(f"/v1/{lab.path('db')}/static-roles/report", allow={400, 404})
    with lab.postgres.connect() as connection:
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(REPORT)))
