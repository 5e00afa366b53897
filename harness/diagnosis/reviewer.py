"""One link: is Vault heard when it asks the cluster about a token? And if not, why not?

The one thing that no setting shows: Vault answers every failed TokenReview with
"permission denied" (interfaces.md 5.3). So a throw-away role lets the namespace's
`default` account log in once; when that fails, the address, the CA, the reviewer's rights
and its token are looked at, in this order. Vault never shows the reviewer's token: when all
the rest is right, the token must be dead.
"""

from __future__ import annotations

import datetime
import secrets
from typing import Any

from cryptography import x509
from kubernetes import client

from harness.clients.kube import REQUEST_SECONDS, Kube
from harness.diagnosis import commands
from harness.diagnosis.chain import Chain, Finding
from harness.diagnosis.commands import DELEGATOR
from harness.lab.kit.tokens import claims

REVIEWER = "reviewer"
PROBE_ACCOUNT, PROBE_AUDIENCE = "default", "lab-diagnosis"
# How Vault refuses a log-in (interfaces.md 5.3).
REFUSALS = frozenset({400, 403, 500})


def reviewer_is_heard(chain: Chain) -> Finding | None:
    """The cluster reviews a token when Vault asks: tried with a throw-away role."""
    if not chain.config.get("kubernetes_host"):
        return None
    said = _try_review(chain)
    if said:
        wrong = _wrong_address(chain) or _wrong_ca(chain) or _wrong_issuer(chain)
        return wrong or _wrong_token(chain, said)
    # Vault keeps a connection that it verified before; the next one will fail.
    heard = Finding(REVIEWER, True, "the cluster reviewed a token when Vault asked")
    return _wrong_ca(chain) or heard


def _try_review(chain: Chain) -> str:
    """Let `default` log in by a role of its own: "" when that works, else Vault's words."""
    http, mount = chain.lab.http, chain.path.mount
    name = f"{chain.lab.path('diagnosis')}-{secrets.token_hex(4)}"
    jwt = chain.lab.kube.create_token(PROBE_ACCOUNT, PROBE_AUDIENCE, namespace=chain.namespace)
    role = {
        "bound_service_account_names": [PROBE_ACCOUNT],
        "bound_service_account_namespaces": [chain.namespace],
        "audience": PROBE_AUDIENCE,
        "token_ttl": "1m",
    }
    address = f"/v1/auth/{mount}/role/{name}"
    http.post(address, json=role)
    try:
        answer = http.post(
            f"/v1/auth/{mount}/login", json={"role": name, "jwt": jwt}, token="", allow=REFUSALS
        )
    finally:
        http.delete(address)
    if answer.status_code != 200:
        return "; ".join(answer.json().get("errors") or []) or f"status {answer.status_code}"
    revoke(chain, answer.json()["auth"]["client_token"])
    return ""


def revoke(chain: Chain, token: str) -> None:
    """End a probe's token. By value: the checks look for self- and accessor-revocation.

    A batch token cannot be revoked (400): it ends by itself.
    """
    chain.lab.http.post("/v1/auth/token/revoke", json={"token": token}, allow={400})


def _wrong_address(chain: Chain) -> Finding | None:
    host, wanted = str(chain.config["kubernetes_host"]), chain.lab.access.api_server
    if host.rstrip("/") == wanted.rstrip("/"):
        return None
    return Finding(
        REVIEWER,
        False,
        f"wrong address: kubernetes_host is {host}; Vault's container reaches the API server "
        f"at {wanted}",
        f"kubernetes_host must be {wanted}; the whole configuration is written at once",
        commands.config(chain),
    )


def _wrong_ca(chain: Chain) -> Finding | None:
    given = str(chain.config.get("kubernetes_ca_cert") or "")
    wanted = chain.lab.kube.ca_certificate()
    hint = "kubernetes_ca_cert is the CA that signs the API server's certificate"
    run = commands.config(chain)
    if not given.strip():
        return Finding(REVIEWER, False, "wrong CA: no kubernetes_ca_cert is set", hint, run)
    if "".join(wanted.split()) in "".join(given.split()):
        return None
    signs, right = _fingerprint(given), _fingerprint(wanted)
    evidence = f"wrong CA: kubernetes_ca_cert is {signs}, the cluster's CA is {right}"
    return Finding(REVIEWER, False, evidence, hint, run)


def _wrong_issuer(chain: Chain) -> Finding | None:
    """The issuer claim of every token is compared when the configuration asks for that."""
    given = str(chain.config.get("issuer") or "")
    if not given or chain.config.get("disable_iss_validation", True):
        return None
    token = chain.lab.kube.create_token(PROBE_ACCOUNT, namespace=chain.namespace)
    cluster = str(claims(token)["iss"])
    if given == cluster:
        return None
    return Finding(
        REVIEWER,
        False,
        f"wrong issuer: tokens of this cluster say {cluster}, the configuration wants {given}",
        "leave issuer out (disable_iss_validation is the default): the TokenReview tells more",
        commands.config(chain),
    )


def _wrong_token(chain: Chain, said: str) -> Finding:
    mount, namespace = chain.path.mount, chain.namespace
    field = f"token_reviewer_jwt of {mount}/config"
    renewed = f"a new token of an account with {DELEGATOR} into {field}"
    if chain.config.get("token_reviewer_jwt_set") is False:
        return Finding(
            REVIEWER,
            False,
            "no token_reviewer_jwt is set; Vault, outside the cluster, has none of its own",
            renewed,
            commands.config(chain),
        )
    kube = chain.lab.kube
    accounts = [chain.path.reviewer] if chain.path.reviewer else _delegators(kube, namespace)
    if not accounts:
        evidence = f"no account of {namespace} has {DELEGATOR}: none may create TokenReviews"
        hint = f"bind the reviewer's account to {DELEGATOR}"
        return Finding(REVIEWER, False, evidence, hint, commands.may_review(chain))
    account = accounts[0]
    found = kube.get("ServiceAccount", account, namespace)
    if not found:
        evidence = f"the service account {account} does not exist: its token died with it"
        make = commands.kubectl(chain, "create", "serviceaccount", account)
        run = f"{make}\n{commands.config(chain)}"
        return Finding(REVIEWER, False, evidence, f"make {account} again, then {renewed}", run)
    if not may_review(kube, account, namespace):
        evidence = f"the service account {account} may not create TokenReviews (no {DELEGATOR})"
        hint = f"a ClusterRoleBinding of {account} to {DELEGATOR}"
        return Finding(REVIEWER, False, evidence, hint, commands.may_review(chain))
    made, written = found["metadata"].get("creationTimestamp", ""), _config_written(chain)
    newer = f"; {account} was made at {made}, after the token was configured ({written})"
    evidence = (
        f"dead token: {account} exists and may review, address and CA are right, and yet the "
        f"cluster refuses (Vault says: {said})"
        + (newer if written and _moment(made) > _moment(written) else "")
    )
    return Finding(REVIEWER, False, evidence, f"put {renewed}", commands.config(chain))


def may_review(kube: Kube, account: str, namespace: str) -> bool:
    """Whether the account may create TokenReviews (a SubjectAccessReview; stores nothing)."""
    api: Any = client.AuthorizationV1Api(kube.api)
    user = f"system:serviceaccount:{namespace}:{account}"
    wish = {"group": "authentication.k8s.io", "resource": "tokenreviews", "verb": "create"}
    review = {"spec": {"user": user, "resourceAttributes": wish}}
    answer = api.create_subject_access_review(review, _request_timeout=REQUEST_SECONDS)
    return bool(answer.status.allowed)


def _delegators(kube: Kube, namespace: str) -> list[str]:
    """The service accounts of the namespace that are bound to system:auth-delegator."""
    return [
        str(subject["name"])
        for binding in kube.list("ClusterRoleBinding")
        if binding["roleRef"]["name"] == DELEGATOR
        for subject in binding.get("subjects") or []
        if subject.get("kind") == "ServiceAccount" and subject.get("namespace") == namespace
    ]


def _config_written(chain: Chain) -> str:
    """When the auth method's configuration was last written, by Vault's audit log; or ""."""
    # The method is the lab's own: nothing before the lab's first step concerns it.
    log = chain.lab.audit_since(1).responses(f"auth/{chain.path.mount}/config")
    times = [
        str(entry["time"])
        for entry in log
        if entry["request"].get("operation") in ("create", "update") and not entry.get("error")
    ]
    return times[-1] if times else ""


def _fingerprint(pem: str) -> str:
    """The subject and the serial number of a certificate, in words."""
    try:
        loaded = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return "not a certificate"
    return f"{loaded.subject.rfc4514_string()} ({loaded.serial_number % 2**32:08x})"


def _moment(text: str) -> datetime.datetime:
    # Go writes nanoseconds, which Python 3.11 reads up to microseconds.
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.datetime.fromisoformat(whole[:19] + "." + (fraction + "000000")[:6])
