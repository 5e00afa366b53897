"""Step 11: encryption as a service (transit) and certificates (PKI)."""

from __future__ import annotations

import base64
import datetime
from typing import Any

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from harness import expect
from harness.lab.api import LabContext
from labs.lab01_http_api.lab import http_api


@http_api.step(
    "Encrypt without a key, certify without a CA",
    hints=[
        "Transit at `lab01-transit`: POST `/keys/orders`, `/encrypt/orders` (plaintext is "
        "base64), `/keys/orders/rotate`, `/rewrap/orders`; min_decryption_version is set at "
        "`/keys/orders/config`. Keep `lab.notes['transit']`: first, rewrapped.",
        "PKI at `lab01-pki`: POST `/root/generate/internal` (common_name, ttl), `/roles/web` "
        "(allowed_domains, allow_subdomains, max_ttl), `/issue/web` (common_name, ttl). Keep "
        "only certificates: `lab.notes['pki']`: root, good, revoked, brief. Never the key.",
        "POST `/v1/lab01-pki/revoke` with the serial_number of one. `brief` lives two seconds.",
    ],
)
def encrypt_and_certify(lab: LabContext) -> None:
    """
    Vault is more than a box of passwords. Two engines hand out *work* instead of secrets.

    **Transit** encrypts for you; the key never leaves. The ciphertext names the version of
    the key (`vault:v1:`). **Rotate** the key, **rewrap** what you stored (Vault re-encrypts
    without showing you the plaintext), then forbid the old version: a stolen backup of the
    old ciphertext and an old key are worth nothing together.

    **PKI** is a certificate authority in one request. Certificates can live minutes, so the
    usual remedy for a stolen key is that it *expires*; revocation lists are for the rest.
    The private key is in the answer exactly once; nobody stores it.
    """
    transit = f"/v1/{lab.path('transit')}"
    lab.http.post(f"/v1/sys/mounts/{lab.path('transit')}", json={"type": "transit"})
    lab.http.post(f"{transit}/keys/orders")
    plaintext = base64.b64encode(lab.secret("card").encode()).decode()
    encrypted = lab.http.post(f"{transit}/encrypt/orders", json={"plaintext": plaintext})
    first = encrypted.json()["data"]["ciphertext"]
    lab.http.post(f"{transit}/keys/orders/rotate")
    rewrapped = lab.http.post(f"{transit}/rewrap/orders", json={"ciphertext": first})
    lab.http.post(f"{transit}/keys/orders/config", json={"min_decryption_version": 2})
    lab.notes["transit"] = {
        "first": first,
        "rewrapped": rewrapped.json()["data"]["ciphertext"],
    }

    pki = f"/v1/{lab.path('pki')}"
    lab.http.post(f"/v1/sys/mounts/{lab.path('pki')}", json={"type": "pki"})
    root = lab.http.post(
        f"{pki}/root/generate/internal", json={"common_name": "lab 01 root", "ttl": "24h"}
    ).json()["data"]
    lab.http.post(
        f"{pki}/roles/web",
        json={
            "allowed_domains": ["shop.svc"],
            "allow_subdomains": True,
            "max_ttl": "1h",
            "not_before_duration": "30s",
            "key_type": "ec",
            "key_bits": 256,
        },
    )
    certificates = {"root": root["certificate"]}
    for name, ttl in (("good", "30m"), ("revoked", "30m"), ("brief", "2s")):
        wish = {"common_name": f"{name}.shop.svc", "ttl": ttl}
        issued = lab.http.post(f"{pki}/issue/web", json=wish).json()["data"]
        certificates[name] = issued["certificate"]
        if name == "revoked":
            lab.http.post(f"{pki}/revoke", json={"serial_number": issued["serial_number"]})
    lab.notes["pki"] = certificates
    lab.wait_for("the brief certificate to expire", lambda: expired(certificates["brief"]))


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


@encrypt_and_certify.check
def _(lab: LabContext) -> None:
    mounts = lab.http.get("/v1/sys/mounts").json()["data"]
    for name in ("transit", "pki"):
        found = (mounts.get(f"{lab.path(name)}/") or {}).get("type")
        expect(found == name, f"the {name} engine is mounted at {lab.path(name)}/", found=found)
    _check_transit(lab)
    _check_pki(lab)


def _check_transit(lab: LabContext) -> None:
    transit = f"/v1/{lab.path('transit')}"
    key = lab.http.get(f"{transit}/keys/orders", allow={404}).json().get("data") or {}
    expect(
        key.get("latest_version") == 2 and key.get("min_decryption_version") == 2,
        "the key orders was rotated once, and its first version no longer decrypts",
        found={name: key.get(name) for name in ("latest_version", "min_decryption_version")},
    )
    texts = lab.notes.get("transit", {})
    old, new = texts.get("first", ""), texts.get("rewrapped", "")
    expect(
        old.startswith("vault:v1:") and new.startswith("vault:v2:"),
        "a ciphertext of version 1 was rewrapped to version 2",
        found=texts or "no lab.notes['transit']",
    )
    decrypted = lab.http.post(f"{transit}/decrypt/orders", json={"ciphertext": new})
    plain = base64.b64decode(decrypted.json()["data"]["plaintext"]).decode()
    expect(
        lab.fingerprint(plain) == lab.fingerprint(lab.secret("card")),
        "the rewrapped text decrypts to the same value (compared by SHA-256)",
    )
    answer = lab.http.post(f"{transit}/decrypt/orders", json={"ciphertext": old}, allow={400})
    expect(
        answer.status_code == 400 and "too old" in answer.text,
        "the old text is refused: its key version is too old",
        found=answer.json().get("errors"),
    )


def _check_pki(lab: LabContext) -> None:
    kept: dict[str, Any] = lab.notes.get("pki", {})
    expect(
        {"root", "good", "revoked", "brief"} <= set(kept),
        "a root and three certificates were issued",
        found=sorted(kept) or "no lab.notes['pki']",
    )
    wrong = chain_error(kept["root"], kept["good"], "good.shop.svc")
    expect(not wrong, "the good one verifies against the root, for its name", found=wrong)
    wrong = chain_error(kept["root"], kept["good"], "other.shop.svc")
    expect(wrong, "and for no other name")
    serial = x509.load_pem_x509_certificate(kept["revoked"].encode()).serial_number
    pem = lab.http.get(f"/v1/{lab.path('pki')}/crl/pem").text
    revoked = x509.load_pem_x509_crl(pem.encode()).get_revoked_certificate_by_serial_number(serial)
    expect(revoked is not None, "the revoked one is on the revocation list")
    wrong = chain_error(kept["root"], kept["brief"], "brief.shop.svc")
    expect(
        expired(kept["brief"]) and wrong,
        "the brief one has expired, and is refused without any list",
        found=wrong,
    )
