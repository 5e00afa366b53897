"""Step 1: is Vault there, is it open, and is it really Vault?"""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.pods import service_account
from labs.lab01_http_api.lab import http_api
from labs.lab01_http_api.pods import curl_pod


@http_api.step(
    "Say hello",
    hints=[
        "A pod with curl and the ConfigMap `vault-ca` mounted: `curl_pod` makes one. Three "
        "requests: over TLS with the CA, over plain HTTP, over TLS with another CA.",
        "Keep what each brought: `/memory/health.json` (GET `/v1/sys/health`), `/memory/plain` "
        "(the answer to `http://...`), `/memory/wrong-ca` (curl's exit status: `echo $?`).",
    ],
)
def say_hello(lab: LabContext) -> None:
    """
    Before a secret crosses a network, three questions. Is the server there and
    **unsealed**? A sealed Vault holds only ciphertext and answers 503. Does it insist on
    **TLS**? Plain HTTP is turned away. And is it really *our* Vault: is its certificate
    signed by the CA that we were told to trust?

    The pod asks all three. `https://vault.vault.svc:8200` leads out of the cluster to a
    container beside it, through a Service without a selector and an EndpointSlice. The CA
    certificate comes from a ConfigMap: it is public. With the cluster's own CA instead,
    curl ends with status 60: *certificate cannot be verified*. Never answer that with
    `-k`: a server that nobody verified gets your service-account token next.
    """
    lab.kube.apply(service_account("app"))
    lab.kube.apply(curl_pod(lab, "app", service_account="app"))
    lab.kube.wait_for_pod("app")
    lab.kube.exec(
        "app",
        f"""
addr={lab.access.vault_pod_addr}
curl -s --cacert /vault-ca/ca.crt $addr/v1/sys/health > /memory/health.json
curl -s http://${{addr#*://}}/v1/sys/health > /memory/plain
curl -s --cacert /etc/ssl/certs/ca-certificates.crt $addr/v1/sys/health
echo $? > /memory/wrong-ca
""",
    )


@say_hello.check
def _(lab: LabContext) -> None:
    expect(lab.kube.get("Pod", "app"), "there is a pod app that can be asked to run curl")
    lab.kube.wait_for_pod("app", timeout=30)
    health = lab.kube.exec("app", "cat /memory/health.json 2>/dev/null || true")
    expect(
        '"initialized":true' in health and '"sealed":false' in health,
        "Vault answered the pod over TLS: initialised and unsealed",
        found=health or "no /memory/health.json",
        hint="curl --cacert /vault-ca/ca.crt https://vault.vault.svc:8200/v1/sys/health",
    )
    plain = lab.kube.exec("app", "cat /memory/plain 2>/dev/null || true")
    expect(
        "HTTP request to an HTTPS server" in plain,
        "plain HTTP was turned away: this port speaks TLS only",
        found=plain or "no /memory/plain",
    )
    status = lab.kube.exec("app", "cat /memory/wrong-ca 2>/dev/null || true").strip()
    expect(
        status == "60",
        "with another CA curl refused to go on (status 60: not verified)",
        found=status or "no /memory/wrong-ca",
        hint="the status is that of the curl just before: echo $?",
    )


@say_hello.diagnosis
def _(lab: LabContext) -> LoginPath:
    return LoginPath(service_account="app")
