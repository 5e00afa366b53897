"""The first links: Vault is reachable, proves its identity and is unsealed, also for pods.

Tested below HTTP, with sockets and TLS handshakes, because that is where they break.
Pods are judged by what they are given: the name that leads to Vault (a Service with an
EndpointSlice) and the certificate that they verify it with. No pod is started.
"""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from urllib3.exceptions import HTTPError

from harness.base.errors import LabError
from harness.diagnosis import commands
from harness.diagnosis.chain import Chain, Finding, Link

SECONDS = 5.0
REACH, TLS, SEAL, CLUSTER = "reachability", "TLS", "seal", "cluster"
REPAIR = "./lab status shows what runs; ./lab up repairs it"


def vault_is_reached(chain: Chain) -> Finding:
    """A server listens on Vault's address."""
    host, port = _address(chain.lab.access.vault_addr)
    try:
        socket.create_connection((host, port), SECONDS).close()
    except OSError as error:
        evidence = f"nobody answers on {host}:{port} ({error})"
        return Finding(REACH, False, evidence, REPAIR, commands.up(chain))
    return Finding(REACH, True, f"Vault's port {host}:{port} takes connections")


def vault_is_genuine(chain: Chain) -> Finding:
    """The certificate of that server is signed by the environment's CA."""
    access = chain.lab.access
    host, port = _address(access.vault_addr)
    try:
        context = ssl.create_default_context(cafile=str(access.vault_ca))
    except (OSError, ssl.SSLError) as error:
        return Finding(TLS, False, f"the CA file {access.vault_ca.name}: {error}", "./lab up")
    return _handshake(context, host, port, host) or Finding(
        TLS, True, f"the certificate of {host}:{port} is signed by this environment's CA"
    )


def vault_is_open(chain: Chain) -> Finding:
    """Vault is initialised and unsealed."""
    status = chain.lab.http.get("/v1/sys/seal-status", token="", timeout=SECONDS).json()
    if not status.get("initialized"):
        return Finding(SEAL, False, "Vault is not initialised: it holds nothing yet", "./lab up")
    if status.get("sealed"):
        evidence = (
            f"Vault is sealed (sealed: true, {status.get('progress')} of {status.get('t')} "
            "unseal keys given): it answers 503 to everything"
        )
        hint = "./lab up unseals it (vault operator unseal)"
        return Finding(SEAL, False, evidence, hint, commands.up(chain))
    return Finding(SEAL, True, "Vault is unsealed")


def cluster_is_reached(chain: Chain) -> Finding:
    """The Kubernetes API answers, and the lab's namespace is there."""
    try:
        found = chain.lab.kube.get("Namespace", chain.namespace)
    except (HTTPError, LabError) as error:
        plain = f"the Kubernetes API does not answer ({error})"
        evidence = error.what if isinstance(error, LabError) else plain
        return Finding(CLUSTER, False, evidence, REPAIR, commands.up(chain))
    if not found:
        evidence = f"there is no namespace {chain.namespace}"
        run = f"kubectl create namespace {chain.namespace}"
        return Finding(CLUSTER, False, evidence, "the step's namespace must be there", run)
    if found["metadata"].get("deletionTimestamp"):
        evidence = f"the namespace {chain.namespace} is being deleted"
        return Finding(CLUSTER, False, evidence, "wait until it is gone, then begin again")
    return Finding(CLUSTER, True, f"the cluster answers, the namespace {chain.namespace} is there")


def pods_are_led_to_vault(chain: Chain) -> Finding:
    """The name that pods use has an address behind it."""
    host, _ = _address(chain.lab.access.vault_pod_addr)
    name, _, rest = host.partition(".")
    namespace = rest.partition(".")[0]
    kube = chain.lab.kube
    where = f"{REACH} from pods"
    if not kube.get("Service", name, namespace):
        evidence = f"there is no Service {name} in {namespace}"
        return Finding(where, False, evidence, REPAIR, commands.up(chain))
    slices = kube.list("EndpointSlice", namespace, selector=f"kubernetes.io/service-name={name}")
    behind = [
        address
        for one in slices
        for endpoint in one.get("endpoints") or []
        for address in endpoint.get("addresses") or []
    ]
    if not behind:
        evidence = f"{host} leads nowhere: no EndpointSlice of it has an address"
        return Finding(where, False, evidence, REPAIR, commands.up(chain))
    return Finding(where, True, f"{host} leads to {', '.join(behind)}")


def pods_trust_vault(chain: Chain) -> Finding:
    """The certificate that pods are given verifies Vault under the name that pods use."""
    what, where = f"{TLS} for pods", "the certificate that the pod was given"
    hint = "give pods the CA that signed Vault's certificate: the file in $VAULT_CACERT"
    given, run = chain.path.ca, ""
    if not given:
        run = commands.trust(chain)
        where = f"the ConfigMap vault-ca in {chain.namespace}"
        found = chain.lab.kube.get("ConfigMap", "vault-ca", chain.namespace)
        given = ((found or {}).get("data") or {}).get("ca.crt", "")
        if not given:
            evidence = f"{where} has no ca.crt: pods cannot verify Vault"
            return Finding(what, False, evidence, hint, run)
    try:
        context = ssl.create_default_context(cadata=given)
    except (ssl.SSLError, ValueError):
        return Finding(what, False, f"{where} holds no certificate in PEM form", hint, run)
    access = chain.lab.access
    host, port = _address(access.vault_addr)
    name, _ = _address(access.vault_pod_addr)
    broken = _handshake(context, host, port, name)
    if broken and broken.link == TLS:
        evidence = f"wrong CA: with {where}, Vault does not verify ({broken.evidence})"
        return Finding(what, False, evidence, hint, run)
    return broken or Finding(what, True, f"{where} verifies Vault as {name}")


def _handshake(context: ssl.SSLContext, host: str, port: int, name: str) -> Finding | None:
    """None when the server at host:port proves to be `name`."""
    try:
        with socket.create_connection((host, port), SECONDS) as plain:
            context.wrap_socket(plain, server_hostname=name).close()
    except ssl.SSLCertVerificationError as error:
        hint = "is the address right, is the CA this environment's? ./lab env prints both"
        return Finding(TLS, False, f"{error.verify_message} for {name}", hint)
    except ssl.SSLError as error:
        return Finding(TLS, False, f"{host}:{port} does not speak TLS ({error.reason})", REPAIR)
    except OSError as error:
        evidence = f"{host}:{port} takes connections and says nothing ({error})"
        return Finding(REACH, False, evidence, REPAIR)
    return None


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 443


LINKS: tuple[Link, ...] = (
    vault_is_reached,
    vault_is_genuine,
    vault_is_open,
    cluster_is_reached,
    pods_are_led_to_vault,
    pods_trust_vault,
)
