"""Step 5: several classes, several engines: key/value, a certificate, a database user."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kubernetes_auth import make_role
from harness.lab.kit.pods import file_sum
from labs.lab02_csi.lab import csi
from labs.lab02_csi.volumes import expect_mounted, pod, secret_class, way_in

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


def prepare_engines(lab: LabContext) -> None:
    """The engines lab02-db and lab02-pki, a table, and a policy to use both (see lab 01)."""
    lab.orders.prepare()
    db, pki = lab.path("db"), lab.path("pki")
    lab.http.post(f"/v1/sys/mounts/{db}", json={"type": "database"})
    lab.http.post(f"/v1/{db}/config/shop", json=lab.orders.connection(["shop"]))
    lab.http.post(
        f"/v1/{db}/roles/shop",
        json=lab.orders.role(default_ttl="10m"),
    )
    lab.http.post(f"/v1/sys/mounts/{pki}", json={"type": "pki"})
    root = {"common_name": "lab 02 root", "ttl": "24h", "key_type": "ec", "key_bits": 256}
    lab.http.post(f"/v1/{pki}/root/generate/internal", json=root)
    lab.http.post(
        f"/v1/{pki}/roles/web",
        json={
            "allowed_domains": ["lab02.svc"],
            "allow_subdomains": True,
            "max_ttl": "1h",
            "key_type": "ec",
            "key_bits": 256,
        },
    )
    policy = (
        f'path "{db}/creds/shop" {{ capabilities = ["read"] }}\n'
        f'path "{pki}/issue/web" {{ capabilities = ["update"] }}'
    )
    lab.http.put(f"/v1/sys/policies/acl/{lab.path('shop')}", json={"policy": policy})


@csi.step(
    "Several engines, several classes",
    hints=[
        "`prepare_engines(lab)` mounts a database engine and a PKI and writes the policy "
        "lab02-shop; `make_role(lab, 'shop', policies=[...])` needs it and lab02-app.",
        "The class shop: kv-password from the secret app; db/user and db/password from "
        "`lab02-db/creds/shop` (keys username, password); tls/cert.pem, tls/key.pem, tls/ca.pem "
        "from `lab02-pki/issue/web` (keys certificate, private_key, issuing_ca) with `method: PUT` "
        "and `secretArgs: {common_name: shop.lab02.svc}`.",
        "The pod shop has two volumes: /secrets/app (class app), /secrets/shop (class shop).",
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
      `v1`. Kubernetes warns whoever uses it.

    A warning for later: nobody renews or revokes these leases. At each rotation the provider
    asks again, and gets a *new* user and a *new* certificate; the old ones end with their time
    to live. Give such roles a short one, longer than the rotation interval.
    """
    prepare_engines(lab)
    make_role(lab, "shop", policies=[lab.path("app"), lab.path("shop")])
    kv, db = lab.path("kv", "data", "app"), lab.path("db", "creds", "shop")
    issue = f"secretPath: {lab.path('pki', 'issue', 'web')}, method: PUT, "
    issue += "secretArgs: {common_name: shop.lab02.svc, ttl: 30m}"
    lab.kube.apply(
        secret_class(
            lab,
            "shop",
            f"""
- {{objectName: kv-password, secretPath: {kv}, secretKey: password}}
- {{objectName: db/user, secretPath: {db}, secretKey: username}}
- {{objectName: db/password, secretPath: {db}, secretKey: password}}
- {{objectName: tls/cert.pem, secretKey: certificate, {issue}}}
- {{objectName: tls/key.pem, secretKey: private_key, {issue}}}
- {{objectName: tls/ca.pem, secretKey: issuing_ca, {issue}}}
""",
            role="shop",
            api="secrets-store.csi.x-k8s.io/v1alpha1",
        )
    )
    lab.kube.apply(
        secret_class(
            lab,
            "second",
            f"- {{objectName: password, secretPath: {kv}, secretKey: password}}",
        )
    )
    lab.kube.apply(pod(lab, "shop", {"/secrets/app": "second", "/secrets/shop": "shop"}))
    lab.kube.wait_for_pod("shop")
    print(lab.kube.exec("shop", log_in(lab)))


def log_in(lab: LabContext) -> str:
    """The commands with which the pod logs in to the database with its files."""
    return LOG_IN.format(host=lab.postgres.pod_host, database=lab.postgres.database)


@several_engines.check
def _(lab: LabContext) -> None:
    expect_mounted(lab, "shop")
    for file in ("app/password", "shop/kv-password"):
        expect(
            file_sum(lab, "shop", f"/secrets/{file}") == lab.fingerprint(lab.secret("app")),
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
    lab.orders.remove(lab.path("db"), "^v-kubernet-shop-")


@several_engines.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, "app", "password")
