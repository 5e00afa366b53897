"""Step 11: Pod Security "restricted", and a token that is good for Vault alone."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kv import stored_sum
from harness.lab.kit.tokens import claims
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    AGENT,
    INIT,
    SECRETS,
    expect_running,
    find_container,
    manifest,
    would_be_refused,
)

LEVEL = "pod-security.kubernetes.io/enforce"
IDENTITY = "/var/run/secrets/vault.hashicorp.com/serviceaccount/token"


def strict_namespace(lab: LabContext) -> str:
    """A namespace of this lab that is held to the level restricted."""
    return lab.path("restricted")


@injector.step(
    "Pod Security restricted, and a token for Vault alone",
    minutes=8,
    further=True,
    goals=[
        "lab03-restricted enforces the level restricted",
        "the careless pod is refused, because its agents name no seccomp profile",
        "the pod strict has a vault-agent-init",
        "the pod strict has a vault-agent",
        "its application has no service-account token at all",
        "the agent's token is good for Vault alone: its audience is vault",
        "with it the agent has got the password",
    ],
    hints=[
        "The API server's refusal names each container and each field that is missing.",
        "Fields of a pod's securityContext hold for all of its containers, the injected ones too. "
        "A projected token has an audience and an end; the role must name the same audience.",
        "audience=vault; seccompProfile: {type: RuntimeDefault}; "
        "agent-service-account-token-volume-name: identity; audience: vault.",
    ],
)
def restricted_namespace(lab: LabContext) -> None:
    """
    A namespace that enforces **Pod Security "restricted"** looks at the pod *after* the
    webhook has changed it. The injected agents are nearly good enough: not root, no
    capability, no privilege escalation. But they name no **seccomp profile**, and the pod
    is refused, though your own container is exemplary. The cure is one line for the whole
    pod: `securityContext.seccompProfile`.

    While we are strict: the ordinary service-account token in the pod is good for the **API
    server**. Vault does not need that, and a thief of that token can talk to the cluster. So
    this pod mounts none (`automountServiceAccountToken: false`) and projects a token whose
    audience is `vault`, for ten minutes. `agent-service-account-token-volume-name` leads the
    agent to it; only the agents mount it. The role demands that audience.
    """
    lab.sh(r"""
kubectl create namespace $NAMESPACE-restricted
kubectl label namespace $NAMESPACE-restricted pod-security.kubernetes.io/enforce=restricted
kubectl create serviceaccount app -n $NAMESPACE-restricted
vault write auth/$NAMESPACE-kubernetes/role/strict \
  bound_service_account_names=app \
  bound_service_account_namespaces=$NAMESPACE-restricted \
  audience=vault \  #? for Vault alone
  token_policies=$NAMESPACE-app \
  token_ttl=20m token_max_ttl=1h
cat "$LAB/manifests/careless.yaml"
""")
    lab.sh('kubectl create -f "$LAB/manifests/careless.yaml"', fails=True)
    lab.kubectl_apply("""
apiVersion: v1
kind: Pod
metadata:
  name: strict
  namespace: $NAMESPACE-restricted
  annotations:
    vault.hashicorp.com/agent-inject: "true"
    vault.hashicorp.com/role: strict
    vault.hashicorp.com/auth-path: auth/$NAMESPACE-kubernetes
    vault.hashicorp.com/agent-service-account-token-volume-name: identity  #? the volume below
    vault.hashicorp.com/agent-inject-template-app: |-
      {{- with secret "$NAMESPACE-kv/data/app" }}{{ .Data.data.password }}{{ end -}}
spec:
  serviceAccountName: app
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  securityContext:
    seccompProfile: {type: RuntimeDefault}  #? what the agents do not say themselves
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext:
      runAsNonRoot: true
      runAsUser: 1000
      runAsGroup: 1000
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
  volumes:
  - name: identity
    projected:
      sources:
      - serviceAccountToken:
          path: token
          audience: vault  #? as the role demands
          expirationSeconds: 600
""")
    lab.sh(r"""
kubectl -n $NAMESPACE-restricted wait pod/strict --for=condition=Ready --timeout=60s
kubectl -n $NAMESPACE-restricted exec strict -c app -- ls /vault/secrets /var/run/secrets || true
kubectl -n $NAMESPACE-restricted exec strict -c vault-agent -- \
  cat /var/run/secrets/vault.hashicorp.com/serviceaccount/token | cut -d. -f2 |
  tr _- /+ | { base64 -d 2>/dev/null || true; } | grep -o '"aud":[^]]*]\|"exp":[0-9]*'
""")


@restricted_namespace.check
def _(lab: LabContext) -> None:
    namespace = strict_namespace(lab)
    found = lab.kube.get("Namespace", namespace) or {"metadata": {}}
    level = (found["metadata"].get("labels") or {}).get(LEVEL)
    expect(level == "restricted", f"{namespace} enforces the level restricted", found=level)
    said = would_be_refused(lab, manifest(lab, "careless.yaml"))
    expect(
        "violates PodSecurity" in said and "seccompProfile" in said and INIT in said,
        "the careless pod is refused, because its agents name no seccomp profile",
        found=said or "it would be created",
    )
    pod = expect_running(lab, "strict", namespace)
    for name in (INIT, AGENT):
        expect(find_container(pod, name), f"the pod strict has a {name}")
    mounts = [m["mountPath"] for m in find_container(pod, "app")["volumeMounts"]]
    expect(
        not any("serviceaccount" in mount for mount in mounts),
        "its application has no service-account token at all",
        found=mounts,
    )
    token = lab.kube.exec("strict", f"cat {IDENTITY} || true", namespace, AGENT)
    expect(
        claims(token).get("aud") == ["vault"],
        "the agent's token is good for Vault alone: its audience is vault",
        found=claims(token).get("aud"),
    )
    summed = lab.kube.exec("strict", f"sha256sum {SECRETS}/app", namespace, "app")
    expect(
        summed.partition(" ")[0] == stored_sum(lab, "app"),
        "with it the agent has got the password",
    )


@restricted_namespace.diagnosis
def _(lab: LabContext) -> LoginPath:
    return LoginPath(
        mount=lab.path("kubernetes"),
        role="strict",
        service_account="app",
        namespace=strict_namespace(lab),
        audience="vault",
        reviewer="reviewer",
        secret=lab.path("kv", "data", "app"),
        fields=("password",),
        ca=lab.access.vault_ca.read_text(encoding="ascii"),
    )
