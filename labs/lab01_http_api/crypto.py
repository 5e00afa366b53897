"""Steps 12 and 13: encryption as a service (transit) and certificates (PKI)."""

from __future__ import annotations

import base64
import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from harness import expect
from harness.lab.api import LabContext
from labs.lab01_http_api.evidence import audit_hash, request_values
from labs.lab01_http_api.lab import http_api

# What the step encrypts. It is a number for tests, and no secret.
CARD = "4111 1111 1111 1111"


@http_api.step(
    "Encrypt without a key",
    minutes=6,
    further=True,
    goals=[
        "the transit engine is mounted at lab01-transit/",
        "the key orders was rotated once, and its first version no longer decrypts",
        "the ConfigMap orders holds a ciphertext of version 1, and the same rewrapped to version 2",
        "the old text could be read until you forbade it",
        "the rewrapped text decrypts to the same value",
        "the old text is refused: its key version is too old",
    ],
    hints=[
        "What does Vault know about the key? `vault read $NAMESPACE-transit/keys/orders`. Which "
        "version made a ciphertext? It says so itself: `vault:v1:`.",
        "Transit takes and gives base64. A new version of a key is made by rotating it; rewrap "
        "turns an old ciphertext into one of the newest version, without a plaintext.",
        'keys/orders/rotate; rewrap/orders; "min_decryption_version": 2',
    ],
)
def encrypt_as_a_service(lab: LabContext) -> None:
    """
    Vault is more than a box of passwords. Some engines hand out *work* instead of secrets.

    **Transit** encrypts for you; the key never leaves. The ciphertext names the version of
    the key (`vault:v1:`). **Rotate** the key, then **rewrap** what you stored: Vault
    re-encrypts without showing you the plaintext.

    Rotating takes nothing away: the old version still decrypts, Vault keeps it. Only
    `min_decryption_version` makes Vault refuse it. That is a rule of Vault's, not of
    mathematics: whoever has the old ciphertext *and* the old key can still read it.

    The ConfigMap stands for the application's database: a ciphertext may be seen.
    """
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
transit=$VAULT_ADDR/v1/$NAMESPACE-transit
decrypt() {
  curl -sS --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" $transit/decrypt/orders \
    -d "{\"ciphertext\": \"$1\"}" | jq -c '.errors // (.data.plaintext | @base64d)'
}
api $VAULT_ADDR/v1/sys/mounts/$NAMESPACE-transit -d '{"type": "transit"}'
api -X POST $transit/keys/orders | jq -c '.data | {name, type, latest_version, exportable}'

first=$(printf '4111 1111 1111 1111' | base64 | jq -R '{plaintext: .}' |
  api $transit/encrypt/orders -d @- | jq -r .data.ciphertext)
echo $first

api -X POST $transit/keys/orders/rotate | jq -c '{latest_version: .data.latest_version}'
rewrapped=$(jq -n --arg old "$first" '{ciphertext: $old}' |
  api $transit/rewrap/orders -d @- | jq -r .data.ciphertext)  #?(rewrap) without a plaintext
echo $rewrapped
kubectl create configmap orders --from-literal=first=$first --from-literal=rewrapped=$rewrapped

echo "The old text, after the rotation:"
decrypt $first
api $transit/keys/orders/config -d '{"min_decryption_version": 2}' > /dev/null  #?(2) from now on
echo "The old text and the rewrapped one, after the old version was forbidden:"
decrypt $first
decrypt $rewrapped
""")


@encrypt_as_a_service.check
def _(lab: LabContext) -> None:
    _expect_engine(lab, "transit")
    transit = lab.path("transit")
    key = lab.http.get(f"/v1/{transit}/keys/orders", allow={404}).json().get("data") or {}
    expect(
        key.get("latest_version") == 2 and key.get("min_decryption_version") == 2,
        "the key orders was rotated once, and its first version no longer decrypts",
        found={name: key.get(name) for name in ("latest_version", "min_decryption_version")},
    )
    texts = (lab.kube.get("ConfigMap", "orders") or {}).get("data") or {}
    old, new = texts.get("first", ""), texts.get("rewrapped", "")
    expect(
        old.startswith("vault:v1:") and new.startswith("vault:v2:"),
        "the ConfigMap orders holds a ciphertext of version 1, and the same rewrapped to version 2",
        found=texts or "no ConfigMap orders",
    )
    digest = audit_hash(lab, old)
    read = [
        entry
        for entry in lab.audit.responses(f"{transit}/decrypt/orders")
        if digest in request_values(entry)
        and ((entry.get("response") or {}).get("data") or {}).get("plaintext")
    ]
    expect(
        read,
        "the old text could be read until you forbade it",
        hint="decrypt it once before min_decryption_version is set",
    )
    decrypted = lab.http.post(f"/v1/{transit}/decrypt/orders", json={"ciphertext": new})
    plain = base64.b64decode(decrypted.json()["data"]["plaintext"]).decode()
    expect(plain == CARD, "the rewrapped text decrypts to the same value", found=plain)
    answer = lab.http.post(f"/v1/{transit}/decrypt/orders", json={"ciphertext": old}, allow={400})
    expect(
        answer.status_code == 400 and "too old" in answer.text,
        "the old text is refused: its key version is too old",
        found=answer.json().get("errors"),
    )


@http_api.step(
    "Certify without a CA",
    minutes=6,
    further=True,
    goals=[
        "the pki engine is mounted at lab01-pki/",
        "a root and certificates for good, revoked and brief were issued",
        "the good one verifies against the root, for its name",
        "and for no other name",
        "the revoked one is on the revocation list",
        "the brief one has expired, and is refused without any list",
    ],
    hints=[
        "Which certificates did Vault issue? `vault list $NAMESPACE-pki/certs`. What does the role "
        "allow? `vault read $NAMESPACE-pki/roles/web`.",
        "A role says for which domains certificates may be. A certificate is revoked by its serial "
        "number; it stands in the answer of `issue`.",
        '"allow_subdomains": true; $pki/issue/web with common_name and ttl; $pki/revoke with '
        "serial_number",
    ],
)
def certify(lab: LabContext) -> None:
    """
    **PKI** is a certificate authority in one request. Certificates can live minutes, so the
    usual remedy for a stolen key is that it *expires*; revocation lists are for the rest.

    Three certificates: one good, one that you revoke, one that lives two seconds. The private
    key is in the answer exactly once, and nobody stores it: here `jq` drops it. The
    certificates themselves are public; Vault keeps a copy under their serial number.
    """
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
pki=$VAULT_ADDR/v1/$NAMESPACE-pki
api $VAULT_ADDR/v1/sys/mounts/$NAMESPACE-pki -d '{"type": "pki"}'
api $pki/root/generate/internal -d '{"common_name": "lab 01 root", "ttl": "24h"}' |
  jq '.data | {issuer_id, serial_number, expiration}'
api $pki/roles/web -d '{
  "allowed_domains": ["shop.svc"],
  "allow_subdomains": true, #?(true)
  "max_ttl": "1h",
  "key_type": "ec",
  "key_bits": 256
}' | jq '.data | {allowed_domains, allow_subdomains, max_ttl}'

issue() {
  api $pki/issue/web -d "{\"common_name\": \"$1.shop.svc\", \"ttl\": \"$2\"}" |  #?(issue)
    jq '.data | {serial_number, expiration, private_key_type}'
}
issue good 30m
issue brief 2s
issue revoked 30m | tee /dev/stderr | jq '{serial_number}' | api $pki/revoke -d @- | jq .data
""")


@certify.check
def _(lab: LabContext) -> None:
    _expect_engine(lab, "pki")
    pki = f"/v1/{lab.path('pki')}"
    root = lab.http.get(f"{pki}/ca/pem", allow={404}).text
    kept = _issued(lab)
    names = {"good.shop.svc", "revoked.shop.svc", "brief.shop.svc"}
    expect(
        root.startswith("-----BEGIN CERTIFICATE") and names <= set(kept),
        "a root and certificates for good, revoked and brief were issued",
        found=sorted(kept),
    )
    good, brief = kept["good.shop.svc"], kept["brief.shop.svc"]
    wrong = chain_error(root, good, "good.shop.svc")
    expect(not wrong, "the good one verifies against the root, for its name", found=wrong)
    wrong = chain_error(root, good, "other.shop.svc")
    expect(wrong, "and for no other name")
    serial = x509.load_pem_x509_certificate(kept["revoked.shop.svc"].encode()).serial_number
    pem = lab.http.get(f"{pki}/crl/pem").text
    revoked = x509.load_pem_x509_crl(pem.encode()).get_revoked_certificate_by_serial_number(serial)
    expect(revoked is not None, "the revoked one is on the revocation list")
    lab.wait_for("the brief certificate to expire", lambda: expired(brief))
    wrong = chain_error(root, brief, "brief.shop.svc")
    expect(wrong, "the brief one has expired, and is refused without any list", found=wrong)


def _expect_engine(lab: LabContext, name: str) -> None:
    mounts = lab.http.get("/v1/sys/mounts").json()["data"]
    found = (mounts.get(f"{lab.path(name)}/") or {}).get("type")
    expect(found == name, f"the {name} engine is mounted at {lab.path(name)}/", found=found)


def _issued(lab: LabContext) -> dict[str, str]:
    """The certificates that Vault has issued (PEM), the newest of each common name."""
    pki = f"/v1/{lab.path('pki')}"
    listed = lab.http.list(f"{pki}/certs", allow={404}).json().get("data") or {}
    newest: dict[str, x509.Certificate] = {}
    for serial in listed.get("keys", []):
        pem = lab.http.get(f"{pki}/cert/{serial}").json()["data"]["certificate"]
        loaded = x509.load_pem_x509_certificate(pem.encode())
        (name,) = loaded.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        other = newest.get(str(name.value))
        if other is None or other.not_valid_before_utc <= loaded.not_valid_before_utc:
            newest[str(name.value)] = loaded
    return {
        name: loaded.public_bytes(serialization.Encoding.PEM).decode()
        for name, loaded in newest.items()
    }


def expired(certificate: str) -> bool:
    """Whether the certificate (PEM) is past its end."""
    loaded = x509.load_pem_x509_certificate(certificate.encode())
    # Certificates count in whole seconds, and so does whoever verifies them.
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0) > loaded.not_valid_after_utc


def chain_error(root: str, certificate: str, name: str) -> str:
    """Why `certificate` is not valid for `name` under `root` now (RFC 5280), "" if it is."""
    loaded = x509.load_pem_x509_certificate(certificate.encode())
    store = Store([x509.load_pem_x509_certificate(root.encode())])
    try:
        PolicyBuilder().store(store).build_server_verifier(x509.DNSName(name)).verify(loaded, [])
    except VerificationError as error:
        return str(error)
    return ""
