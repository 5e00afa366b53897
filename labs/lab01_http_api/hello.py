"""Step 1: is Vault there, is it open, and is it really Vault?"""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab01_http_api.lab import http_api


@http_api.step(
    "Say hello",
    minutes=6,
    goals=[
        "there is a pod app that can be asked to run curl",
        "Vault answered the pod over TLS: initialised and unsealed",
        "plain HTTP was turned away: this port speaks TLS only",
        "with another CA curl refused to go on (status 60: not verified)",
    ],
    answer="Status 400, and a sentence: the client sent an HTTP request to an HTTPS server. Vault "
    "does not read a token that comes without TLS, but it has been on the wire by then.",
    hints=[
        "`kubectl describe pod app` says why a pod does not start. What did each request bring? "
        "`kubectl exec app -- cat /memory/health.json /memory/plain /memory/wrong-ca`.",
        "The certificate that Vault is verified with is in the ConfigMap vault-ca "
        "(`kubectl get configmap vault-ca -o yaml`); the pod has it as /vault-ca/ca.crt. "
        "`$?` is the status of the command just before.",
        "audience: vault; curl -sS --cacert /vault-ca/ca.crt $VAULT_ADDR/v1/sys/health; "
        "http://vault.vault.svc:8200; echo $?",
    ],
)
def say_hello(lab: LabContext) -> None:
    """
    Before a secret crosses a network, ask three questions. Is the server there and
    **unsealed**? A sealed Vault holds only ciphertext and answers 503. Does it insist on
    **TLS**? Plain HTTP is turned away. And is it really *our* Vault: is its certificate
    signed by the CA that we were told to trust?

    The pod asks all three. `https://vault.vault.svc:8200` leads out of the cluster to a
    container beside it, through a Service without a selector and an EndpointSlice. The CA
    certificate comes from a ConfigMap: it is public. With other CAs curl ends with
    status 60: *certificate cannot be verified*. Never answer that with `-k`: a server that
    nobody verified gets your service-account token next.

    Look at the pod's volumes: they matter in every later step. `identity` is a token of the
    service account, made by kubelet for the **audience** `vault`: the API server would
    refuse it, and so a thief cannot use it there. `memory` is a place to keep what the pod
    gets: it never reaches a disk.

    *Before you run it: what will the second request get, the one without TLS?*
    """
    lab.kubectl_apply("""
apiVersion: v1
kind: ServiceAccount
metadata:
  name: app
---
apiVersion: v1
kind: Pod
metadata:
  name: app
spec:
  serviceAccountName: app
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext:
    runAsNonRoot: true
    runAsUser: 1000
    seccompProfile: {type: RuntimeDefault}
  containers:
  - name: shell
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    env:
    - {name: VAULT_ADDR, value: "https://vault.vault.svc:8200"}
    - {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    volumeMounts:
    - {name: identity, mountPath: /identity, readOnly: true}
    - {name: vault-ca, mountPath: /vault-ca, readOnly: true}
    - {name: memory, mountPath: /memory}
  volumes:
  - name: identity
    projected:
      sources:
      - serviceAccountToken:
          path: token
          audience: vault  #? for whom the token is made
          expirationSeconds: 600
  - name: vault-ca
    configMap: {name: vault-ca}
  - name: memory
    emptyDir: {medium: Memory, sizeLimit: 1Mi}
""")
    lab.sh("kubectl wait pod/app --for=condition=Ready --timeout=60s")
    lab.sh("""
kubectl exec -i app -- bash <<'EOF'
curl -sS --cacert /vault-ca/ca.crt $VAULT_ADDR/v1/sys/health | #?(/vault-ca/ca.crt)
  tee /memory/health.json
curl -sS http://vault.vault.svc:8200/v1/sys/health |  #?(http) the same address without TLS
  tee /memory/plain
curl -sS --cacert /etc/ssl/certs/ca-certificates.crt $VAULT_ADDR/v1/sys/health
echo $? | tee /memory/wrong-ca  #?($?) the status with which curl ended
EOF
""")


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
