"""Step 5: several classes, several engines: key/value, a certificate, a database user."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kv import stored_sum
from harness.lab.kit.pods import file_sum
from labs.lab02_csi.lab import csi
from labs.lab02_csi.volumes import expect_mounted, way_in

# What the pod runs: log in to the database with the two files, ask it who it thinks it is.
LOG_IN = """
python3 -c '
import pathlib, psycopg
user, password = (pathlib.Path("/secrets/shop/db", n).read_text() for n in ("user", "password"))
with psycopg.connect(host="{host}", dbname="{database}", user=user, password=password) as it:
    print(*it.execute("SELECT current_user, count(*) FROM lab02_orders").fetchone())
' 2>&1 || true
"""
NAME = "shop.lab02.svc"


@csi.step(
    "Several engines, several classes",
    minutes=10,
    goals=[
        "pod shop runs: all its volumes are mounted",
        "/secrets/app/password holds the password, each class in its own volume",
        "/secrets/shop/kv-password holds the password, each class in its own volume",
        "there are a certificate, a key and a CA",
        "the certificate is for shop.lab02.svc",
        "that CA signed it",
        "the key fits the certificate",
        "the database lets the pod in with its two files: user and password are of one lease",
        "Vault was asked for each path once a mount: one lease and one certificate, five files",
    ],
    hints=[
        "When the pod does not start, `kubectl describe pod shop` says which object of which class "
        "failed, and with which answer of Vault.",
        "`vault path-help lab02-pki/issue/web` says what the PKI's answer holds. A database user's "
        "answer has username and password. Making something is a PUT, with arguments.",
        "method: PUT; secretKey: private_key; $NAMESPACE-db/creds/shop; "
        "secretProviderClass: second and secretProviderClass: shop.",
    ],
)
def several_engines(lab: LabContext) -> None:
    """
    A class may read from any engine, and a pod may have several classes. This one takes a
    key/value secret, a certificate and a database user, side by side.

    - A certificate is *made*, so the request is a **PUT with arguments** (`secretArgs`).
      Certificate, key and CA are three files of **one** answer: each path is asked once for a
      mount. Otherwise the key would not fit the certificate.
    - For the same reason user and password come from **one lease**.
    - The class is written as `v1alpha1` here: the older version is still served, and stored as
      `v1`. Kubernetes warns you when you use it.

    A warning for later: nothing renews or revokes these leases **here**, because the labs
    switched off the Vault agent that the chart runs beside the provider (`csi.agent.enabled`).
    That agent caches answers with a lease and renews them, so a rotation finds the same user.
    Without it the provider asks again at each rotation, and gets a *new* user and a *new*
    certificate; the old ones end with their time to live. Give such roles a short one, longer
    than the rotation interval.

    (`sslmode=disable`, because the labs' database has no certificate. Yours should have one.)
    """
    lab.sh(r"""
password=$(vault write -field=random_bytes sys/tools/random/12 format=hex)
docker exec -i $POSTGRES psql -q -v ON_ERROR_STOP=1 -U postgres shop <<END
CREATE TABLE lab02_orders (id int, item text);
INSERT INTO lab02_orders VALUES (1, 'book'), (2, 'lamp');
CREATE ROLE lab02_vault LOGIN CREATEROLE PASSWORD '$password';
CREATE ROLE lab02_readers ADMIN lab02_vault;
GRANT SELECT ON lab02_orders TO lab02_readers;
END
vault secrets enable -path=$NAMESPACE-db database
vault write $NAMESPACE-db/config/shop \
  plugin_name=postgresql-database-plugin \
  connection_url="postgresql://{{username}}:{{password}}@$POSTGRES:5432/shop?sslmode=disable" \
  username=lab02_vault \
  password=$password \
  allowed_roles=shop
vault write $NAMESPACE-db/roles/shop db_name=shop \
  creation_statements="CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'
    VALID UNTIL '{{expiration}}' IN ROLE lab02_readers;" \
  revocation_statements='DROP ROLE IF EXISTS "{{name}}";' \
  default_ttl=10m
""")
    lab.sh(r"""
vault secrets enable -path=$NAMESPACE-pki pki
vault write -field=serial_number $NAMESPACE-pki/root/generate/internal \
  common_name="lab 02 root" ttl=24h key_type=ec key_bits=256
vault write $NAMESPACE-pki/roles/web \
  allowed_domains=lab02.svc allow_subdomains=true max_ttl=1h key_type=ec key_bits=256
vault policy write $NAMESPACE-shop - <<END
path "$NAMESPACE-db/creds/shop" {
  capabilities = ["read"]
}
path "$NAMESPACE-pki/issue/web" {
  capabilities = ["update"]  #?("update") a certificate is made, not read
}
END
vault write auth/$NAMESPACE-kubernetes/role/shop \
  bound_service_account_names=app \
  bound_service_account_namespaces=$NAMESPACE \
  audience=vault \
  token_policies=$NAMESPACE-app,$NAMESPACE-shop \
  token_ttl=10m
""")
    lab.kubectl_apply("""
apiVersion: secrets-store.csi.x-k8s.io/v1alpha1
kind: SecretProviderClass
metadata:
  name: shop
spec:
  provider: vault
  parameters:
    vaultAuthMountPath: $NAMESPACE-kubernetes
    roleName: shop
    objects: |
      - objectName: kv-password
        secretPath: $NAMESPACE-kv/data/app
        secretKey: password
      - objectName: db/user
        secretPath: $NAMESPACE-db/creds/shop  #? where a user is made
        secretKey: username
      - objectName: db/password
        secretPath: $NAMESPACE-db/creds/shop
        secretKey: password
      - objectName: tls/cert.pem
        secretPath: $NAMESPACE-pki/issue/web
        method: PUT  #? the request that makes a certificate
        secretArgs: {common_name: shop.lab02.svc, ttl: 30m}
        secretKey: certificate
      - objectName: tls/key.pem
        secretPath: $NAMESPACE-pki/issue/web
        method: PUT
        secretArgs: {common_name: shop.lab02.svc, ttl: 30m}
        secretKey: private_key  #? the key in the PKI's answer
      - objectName: tls/ca.pem
        secretPath: $NAMESPACE-pki/issue/web
        method: PUT
        secretArgs: {common_name: shop.lab02.svc, ttl: 30m}
        secretKey: issuing_ca
---
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata:
  name: second
spec:
  provider: vault
  parameters:
    vaultAuthMountPath: $NAMESPACE-kubernetes
    roleName: app
    objects: |
      - {objectName: password, secretPath: $NAMESPACE-kv/data/app, secretKey: password}
""")
    lab.kubectl_apply("""
apiVersion: v1
kind: Pod
metadata:
  name: shop
spec:
  serviceAccountName: app
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext: {runAsNonRoot: true, runAsUser: 1000}
    volumeMounts:
    - {name: second, mountPath: /secrets/app}
    - {name: shop, mountPath: /secrets/shop}
  volumes:
  - name: second
    csi:
      driver: secrets-store.csi.k8s.io
      readOnly: true
      volumeAttributes: {secretProviderClass: second}
  - name: shop
    csi:
      driver: secrets-store.csi.k8s.io
      readOnly: true
      volumeAttributes: {secretProviderClass: shop}
""")
    lab.sh(r"""
kubectl wait pod/shop --for=condition=Ready --timeout=60s
kubectl exec shop -- sh -c 'cd /secrets; ls */..data/*'
kubectl exec -i shop -- python3 - <<'END'
import pathlib, psycopg
user, password = (pathlib.Path("/secrets/shop/db", n).read_text() for n in ("user", "password"))
with psycopg.connect(
    host="postgres.database.svc", dbname="shop", user=user, password=password
) as database:
    print(*database.execute("SELECT current_user, count(*) FROM lab02_orders").fetchone())
END
""")


def log_in(lab: LabContext) -> str:
    """The commands with which the pod logs in to the database with its files."""
    return LOG_IN.format(host=lab.postgres.pod_host, database=lab.postgres.database)


@several_engines.check
def _(lab: LabContext) -> None:
    expect_mounted(lab, "shop")
    for file in ("app/password", "shop/kv-password"):
        expect(
            file_sum(lab, "shop", f"/secrets/{file}") == stored_sum(lab, "app"),
            f"/secrets/{file} holds the password, each class in its own volume",
        )
    _check_certificate(lab)
    user = lab.kube.exec("shop", "cat /secrets/shop/db/user 2>/dev/null || true")
    says = lab.kube.exec("shop", log_in(lab)).split()
    expect(
        user and says[:1] == [user] and says[-1:] == ["2"],
        "the database lets the pod in with its two files: user and password are of one lease",
        found=says[-12:],
    )
    counts = {
        path: len(lab.audit.responses(path))
        for path in (lab.path("db", "creds", "shop"), lab.path("pki", "issue", "web"))
    }
    expect(
        len(set(counts.values())) == 1 and 0 not in counts.values(),
        "Vault was asked for each path once a mount: one lease and one certificate, five files",
        found=counts,
    )


def _check_certificate(lab: LabContext) -> None:
    pem = {
        name: lab.kube.exec("shop", f"cat /secrets/shop/tls/{name}.pem 2>/dev/null || true")
        for name in ("cert", "key", "ca")
    }
    expect(
        all(text.startswith("-----BEGIN ") for text in pem.values()),
        "there are a certificate, a key and a CA",
        found=[name for name, text in pem.items() if not text.startswith("-----BEGIN ")],
    )
    certificate, authority = (
        x509.load_pem_x509_certificate(pem[name].encode()) for name in ("cert", "ca")
    )
    subject = certificate.subject.rfc4514_string()
    expect(subject == f"CN={NAME}", f"the certificate is for {NAME}", found=subject)
    expect(signed_by(certificate, authority), "that CA signed it", found=authority.subject)
    key = load_pem_private_key(pem["key"].encode(), None)
    expect(key.public_key() == certificate.public_key(), "the key fits the certificate")


def signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether the signature of `certificate` is `authority`'s."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


@several_engines.undo
def _(lab: LabContext) -> None:
    # The pod first, or it would ask for one more user while the engine goes.
    lab.kube.delete("Pod", "shop", grace=0)
    lab.orders.remove(lab.path("db"), "^v-lab02-ku-shop-")


@several_engines.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, "app", "password")
