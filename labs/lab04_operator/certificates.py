"""Step 10: a certificate that is renewed before its end, and served all the while."""

from __future__ import annotations

import datetime
import re
import time

from cryptography import x509

from harness import expect
from harness.lab.api import LabContext
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import (
    custom,
    restarted_at,
    secret,
    status,
    values,
    wait_rollout,
    wait_synced,
)
from labs.lab04_operator.workloads import service, shell, tls_server, web_server

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


def seconds_since_renewal(lab: LabContext) -> float:
    """How long ago the certificate was issued.

    The operator writes the time of a restart in whole seconds: a second restart within the same
    one is none, and the server would go on with the certificate before.
    """
    return time.time() - float(status(lab, "VaultPKISecret", "tls").get("lastRotation", 0))


def certificate(lab: LabContext, ttl: str, offset: str) -> str:
    """The VaultPKISecret as YAML: what differs is how long a certificate lives."""
    return f"""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultPKISecret
metadata: {{name: tls}}
spec:
  vaultAuthRef: shop
  mount: {lab.path("pki")}
  role: web
  commonName: tls.{lab.namespace}.svc
  altNames: [shop.{lab.namespace}.svc]
  ttl: {ttl}
  expiryOffset: {offset}
  revoke: true
  rolloutRestartTargets: [{{kind: Deployment, name: tls}}]
  destination: {{name: tls, create: true, type: kubernetes.io/tls}}
"""


@operator.step(
    "A certificate that never runs out",
    hints=[
        "PKI at `lab04-pki`: root/generate/internal (ttl 48h), roles/web (allowed_domains "
        "[lab04.svc], allow_subdomains, max_ttl 25h, ec 256). Policy `lab04-pki`: update on "
        "lab04-pki/issue/web and lab04-pki/revoke.",
        "Apply `certificate(lab, '60s', '40s')` and note `serial_of(lab)`; then a Deployment "
        "`tls` (`web_server()`, `tls_server(lab, 'tls', certificate='tls')`), a Service on 8443, a "
        "ConfigMap `web-root` with the root certificate, and a pod `visitor` that mounts it at "
        "/root-ca.",
        "Wait until the serial has changed. Then apply `certificate(lab, '24h', '1h')` and wait "
        "until `visit(lab)` is shown the last one. Keep the serials, in order, in "
        "`lab.notes['serials']`.",
    ],
)
def serve_tls(lab: LabContext) -> None:
    """
    A **VaultPKISecret** asks Vault for a certificate and asks again before it ends:
    `expiryOffset` says how long before. So certificates can live for hours instead of years,
    and nobody has to think of them. With the type `kubernetes.io/tls` the Secret has the
    keys that ingress controllers and servers expect: `tls.crt` and `tls.key`.

    The first certificate here lives a minute and is replaced after twenty seconds. The
    server is an **nginx**, without any rights and with a read-only file system. It loads its
    certificate when it starts; the operator restarts it, and the Deployment sees to it that
    somebody always answers. Then we change the resource to a day: a changed spec means a new
    certificate at once. (Not in the very second of a renewal: the operator notes a restart by
    the second, and two in one second are one.)

    With `revoke: true` each certificate that was replaced goes on Vault's revocation list.
    """
    pki = f"/v1/{lab.path('pki')}"
    lab.http.post(
        f"/v1/sys/mounts/{lab.path('pki')}",
        json={"type": "pki", "config": {"max_lease_ttl": "48h"}},
    )
    root = lab.http.post(
        f"{pki}/root/generate/internal", json={"common_name": "lab 04 root", "ttl": "48h"}
    ).json()["data"]["certificate"]
    lab.http.post(
        f"{pki}/roles/web",
        json={
            "allowed_domains": [f"{lab.namespace}.svc"],
            "allow_subdomains": True,
            "max_ttl": "25h",
            "key_type": "ec",
            "key_bits": 256,
        },
    )
    policy = f"""
path "{lab.path("pki")}/issue/web" {{ capabilities = ["update"] }}
path "{lab.path("pki")}/revoke"    {{ capabilities = ["update"] }}
"""
    lab.http.put(f"/v1/sys/policies/acl/{lab.path('pki')}", json={"policy": policy})

    # A short life first.
    lab.kube.apply(certificate(lab, ttl="60s", offset="40s"))
    wait_synced(lab, "VaultPKISecret", "tls")
    serials = [serial_of(lab)]
    lab.kube.apply(web_server())
    lab.kube.apply(tls_server(lab, "tls", certificate="tls"))
    lab.kube.apply(service("tls", port=8443))
    lab.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "web-root"},
            "data": {"ca.crt": root},
        }
    )
    trust = {"name": "root-ca", "configMap": {"name": "web-root"}}
    lab.kube.apply(shell(lab, "visitor", "sleep infinity", volumes=[trust]))
    lab.kube.wait_for_pod("visitor")
    lab.wait_for(
        "the certificate to be renewed before its end",
        lambda: serial_of(lab) not in ("", serials[0]),
        explain=lambda: "\n".join(lab.kube.events("tls")[-5:]),
    )
    serials.append(serial_of(lab))
    wait_rollout(lab, "tls", also=lambda: visit(lab)[0] == serial_of(lab) != serials[0])

    # Then a day.
    lab.wait_for("a moment between two renewals", lambda: 2 < seconds_since_renewal(lab) < 15)
    lab.kube.apply(certificate(lab, ttl="24h", offset="1h"))
    wait_synced(lab, "VaultPKISecret", "tls")
    serials.append(serial_of(lab))
    wait_rollout(lab, "tls", also=lambda: visit(lab)[0] == serials[-1])
    lab.notes["serials"] = serials


@serve_tls.check
def _(lab: LabContext) -> None:
    resource = custom(lab, "VaultPKISecret", "tls")
    expect(resource, "there is a VaultPKISecret tls")
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
    left = loaded.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    expect(left > datetime.timedelta(hours=2), "it is good for hours", found=str(left))
    serials = lab.notes.get("serials", [])
    expect(
        len(set(serials)) >= 3,
        "it is the third: one was renewed before its end, one came with the changed resource",
        found=serials or "no lab.notes['serials']",
    )
    current = serial_of(lab)
    expect(
        current == serials[-1] == status(lab, "VaultPKISecret", "tls").get("serialNumber"),
        "the status names the one that is in the Secret",
        found=status(lab, "VaultPKISecret", "tls").get("serialNumber"),
    )
    shown, server = visit(lab)
    expect(
        shown == current,
        "a visitor who trusts the root alone verifies the service, and is shown this one",
        found=shown,
    )
    expect(server.startswith("nginx"), "the server is an nginx", found=server)
    expect(
        restarted_at(lab.kube.get("Deployment", "tls") or {}),
        "the operator restarted it",
        hint="rolloutRestartTargets",
    )
    pem = lab.http.get(f"/v1/{lab.path('pki')}/crl/pem").text
    revoked = x509.load_pem_x509_crl(pem.encode())
    for old in serials[:-1]:
        number = int(old.replace(":", ""), 16)
        expect(
            revoked.get_revoked_certificate_by_serial_number(number) is not None,
            f"{old[:11]}… is on the revocation list",
        )
    number = loaded.serial_number
    expect(
        revoked.get_revoked_certificate_by_serial_number(number) is None, "and the present one not"
    )
