"""Steps 18 and 19: a certificate that is renewed before its end, and served all the while."""

from __future__ import annotations

import datetime
import re

from cryptography import x509

from harness import expect
from harness.lab.api import LabContext
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import (
    custom,
    is_rolled_out,
    restarted_at,
    secret,
    soon,
    status,
    values,
)

# What the pod `visitor` runs: shake hands, verify name and chain, ask; tell the serial number of
# the certificate, and what the server calls itself.
VISIT = """python3 -c '
import http.client, ssl
context = ssl.create_default_context(cafile="/root-ca/ca.crt")
visit = http.client.HTTPSConnection("tls.{namespace}.svc", 8443, timeout=5, context=context)
visit.connect()
serial = visit.sock.getpeercert()["serialNumber"]
visit.request("GET", "/")
print(serial, visit.getresponse().getheader("Server"))
' 2>&1 || true"""


def colons(number: int) -> str:
    """A serial number as Vault writes it: bytes in hex with colons between."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big").hex(":")


def serial_of(lab: LabContext) -> str:
    """The serial number of the certificate in the Secret `tls`; "" when there is none."""
    text = values(lab, "tls").get("tls.crt", "")
    return colons(x509.load_pem_x509_certificate(text.encode()).serial_number) if text else ""


def visit(lab: LabContext) -> tuple[str, str]:
    """What a visitor who trusts the lab's root is shown: the serial number, the server's name.

    What went wrong and "", when there was no handshake.
    """
    with lab.quiet():
        if not lab.kube.get("Pod", "visitor"):
            return "there is no pod visitor", ""
        said = lab.kube.exec("visitor", VISIT.format(namespace=lab.namespace)).strip()
    match = re.fullmatch(r"([0-9A-F]+) (\S+)", said)
    return (colons(int(match[1], 16)), match[2]) if match else (said, "")


def replaced_early(lab: LabContext) -> list[x509.RevokedCertificate]:
    """The certificates on Vault's revocation list that had not yet run out when they came there."""
    answer = lab.http.get(f"/v1/{lab.path('pki')}/crl/pem", allow={400, 404})
    if answer.status_code != 200 or not answer.text:
        return []
    early = []
    # The list grows by three a minute: the newest say enough.
    for entry in list(x509.load_pem_x509_crl(answer.text.encode()))[-5:]:
        path = f"/v1/{lab.path('pki')}/cert/{colons(entry.serial_number).replace(':', '-')}"
        pem = lab.http.get(path).json()["data"]["certificate"]
        issued = x509.load_pem_x509_certificate(pem.encode())
        if entry.revocation_date_utc < issued.not_valid_after_utc:
            early.append(entry)
    return early


@operator.step(
    "A certificate that never runs out",
    minutes=6,
    goals=[
        "there is a VaultPKISecret tls",
        "its Secret is of the type kubernetes.io/tls",
        "with the keys that servers expect, and Vault's own",
        "the certificate is for both names",
        "the status names the one that is in the Secret",
        "an earlier one was replaced and revoked before its end",
    ],
    hints=[
        "`kubectl explain vaultpkisecret.spec`; `vault path-help lab04-pki/roles/web`.",
        "`expiryOffset` counts from the end: a certificate of 60 s with an offset of 40 s is "
        "renewed after 20 s. The type of a TLS Secret is what `kubectl create secret tls` makes.",
        "role: web; ttl: 60s; expiryOffset: 40s; type: kubernetes.io/tls.",
    ],
)
def issue_a_certificate(lab: LabContext) -> None:
    """
    A **VaultPKISecret** asks Vault for a certificate, and asks again before it ends:
    `expiryOffset` says how long before. So certificates can live for hours instead of years,
    and nobody has to think of them. With the type `kubernetes.io/tls` the Secret has the
    keys that ingress controllers and servers expect: `tls.crt` and `tls.key`.

    This certificate lives a minute and is replaced after twenty seconds, so that you can watch.
    With `revoke: true` each one that was replaced goes on Vault's revocation list.
    """
    lab.sh(r"""
vault secrets enable -path=$NAMESPACE-pki -max-lease-ttl=48h pki
vault write -field=serial_number $NAMESPACE-pki/root/generate/internal \
  common_name="$NAMESPACE root" ttl=48h
vault write $NAMESPACE-pki/roles/web allowed_domains=$NAMESPACE.svc allow_subdomains=true \
  max_ttl=25h key_type=ec key_bits=256
vault policy write $NAMESPACE-pki - <<EOF
path "$NAMESPACE-pki/issue/web" { capabilities = ["update"] }
path "$NAMESPACE-pki/revoke"    { capabilities = ["update"] }
EOF
""")
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultPKISecret
metadata:
  name: tls
spec:
  vaultAuthRef: shop
  mount: $NAMESPACE-pki
  role: web  #? the role that issues certificates for these names
  commonName: tls.$NAMESPACE.svc
  altNames: [shop.$NAMESPACE.svc]
  ttl: 60s
  expiryOffset: 40s  #? how long before its end is it renewed?
  revoke: true
  destination:
    name: tls
    create: true
    type: kubernetes.io/tls  #? the type of Secret that servers expect
""")
    lab.sh("""
kubectl wait vaultpkisecret/tls --for=condition=SecretSynced --timeout=60s
kubectl describe secret tls
status() { kubectl get vaultpkisecret tls -o jsonpath="{.status.$1}"; }
SERIAL=$(status serialNumber)
until [[ $(status serialNumber) != $SERIAL ]]; do sleep 1; done
echo "was $SERIAL"
echo "is  $(status serialNumber)"
kubectl events --for vaultpkisecret/tls
""")


@issue_a_certificate.check
def _(lab: LabContext) -> None:
    expect(custom(lab, "VaultPKISecret", "tls"), "there is a VaultPKISecret tls")
    stored = secret(lab, "tls")
    expect(
        stored.get("type") == "kubernetes.io/tls",
        "its Secret is of the type kubernetes.io/tls",
        found=stored.get("type") or lab.kube.events("tls")[-3:],
    )
    found = values(lab, "tls")
    expect(
        {"tls.crt", "tls.key", "certificate", "private_key", "serial_number"} <= set(found),
        "with the keys that servers expect, and Vault's own",
        found=sorted(found),
    )
    loaded = x509.load_pem_x509_certificate(found["tls.crt"].encode())
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    expect(
        sorted(names.get_values_for_type(x509.DNSName))
        == [f"shop.{lab.namespace}.svc", f"tls.{lab.namespace}.svc"],
        "the certificate is for both names",
        found=names.get_values_for_type(x509.DNSName),
    )
    # The Secret is written before the status.
    expect(
        soon(lab, lambda: serial_of(lab) == status(lab, "VaultPKISecret", "tls")["serialNumber"]),
        "the status names the one that is in the Secret",
        found=status(lab, "VaultPKISecret", "tls").get("serialNumber"),
    )
    expect(
        replaced_early(lab),
        "an earlier one was replaced and revoked before its end",
        found="nothing of the kind on Vault's revocation list",
    )


@operator.step(
    "Serve it, and be restarted in time",
    minutes=6,
    goals=[
        "it is good for hours",
        "the operator restarted it",
        "a visitor who trusts the root alone verifies the service, and is shown this one",
        "the server is an nginx",
        "the present certificate is not on the revocation list, earlier ones are",
    ],
    hints=[
        "`kubectl get deployment tls -o yaml` shows when the operator restarted the server: in "
        "an annotation of its pod template.",
        "The ConfigMap `web-root` holds the certificate of the root, which Vault tells everybody "
        "at lab04-pki/cert/ca. The patch changes three fields of the spec.",
        "kind Deployment, name tls; ttl 24h, expiryOffset 1h.",
    ],
)
def serve_tls(lab: LabContext) -> None:
    """
    The server is an **nginx**, without any rights and with a read-only file system. It loads
    its certificate when it starts. So a new certificate needs a restart here, too; the
    Deployment sees to it that somebody always answers.

    Then you change the resource, and give the certificate a day. A changed spec means a new
    certificate at once.

    One thing to know: the operator notes a restart by the second. Two renewals within one
    second restart the server once.
    """
    lab.sh("""
vault read -field=certificate $NAMESPACE-pki/cert/ca |
  kubectl create configmap web-root --from-file=ca.crt=/dev/stdin
""")
    lab.kubectl_apply(file="manifests/nginx.yaml")
    lab.sh(
        """
kubectl patch vaultpkisecret tls --type merge --patch-file /dev/stdin <<EOF
spec:
  rolloutRestartTargets:
  - kind: Deployment  #? what has to be restarted?
    name: tls
EOF
kubectl wait pod/visitor --for=condition=Ready --timeout=180s
kubectl rollout status deployment/tls --timeout=120s
status() { kubectl get vaultpkisecret tls -o jsonpath="{.status.$1}"; }
SERIAL=$(status serialNumber)
until [[ $(status serialNumber) != $SERIAL ]]; do sleep 1; done
kubectl rollout status deployment/tls --timeout=120s
""",
        timeout=400,
    )
    lab.sh(
        r"""
kubectl patch vaultpkisecret tls --type merge --patch-file /dev/stdin <<EOF
spec:
  ttl: 24h  #? how long shall it live?
  expiryOffset: 1h
EOF
status() { kubectl get vaultpkisecret tls -o jsonpath="{.status.$1}"; }
until (( $(status expiration) > $(date +%s) + 7200 )); do sleep 1; done
kubectl rollout status deployment/tls --timeout=120s
kubectl exec visitor -- curl -sv --cacert /root-ca/ca.crt -o /dev/null \
  https://tls.$NAMESPACE.svc:8443/ 2>&1 | grep -E 'expire|issuer|verify|Server'
""",
        timeout=400,
    )


@serve_tls.check
def _(lab: LabContext) -> None:
    text = values(lab, "tls").get("tls.crt", "")
    expect(text, "there is a Secret tls with a certificate")
    loaded = x509.load_pem_x509_certificate(text.encode())
    left = loaded.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    expect(left > datetime.timedelta(hours=2), "it is good for hours", found=str(left))
    found = lab.kube.get("Deployment", "tls") or {}
    expect(restarted_at(found), "the operator restarted it", hint="rolloutRestartTargets")
    expect(
        soon(lab, lambda: is_rolled_out(lab.kube.get("Deployment", "tls") or {})),
        "the Deployment tls is rolled out",
        found=found.get("status"),
    )
    current = serial_of(lab)
    expect(
        soon(lab, lambda: visit(lab)[0] == current),
        "a visitor who trusts the root alone verifies the service, and is shown this one",
        found=visit(lab)[0],
    )
    server = visit(lab)[1]
    expect(server.startswith("nginx"), "the server is an nginx", found=server)
    revoked = {entry.serial_number for entry in replaced_early(lab)}
    expect(
        revoked and loaded.serial_number not in revoked,
        "the present certificate is not on the revocation list, earlier ones are",
        found=len(revoked),
    )
