"""Step 9: another audience, and another auth method."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kv import stored_sum
from harness.lab.kit.pods import file_sum
from labs.lab02_csi.lab import csi
from labs.lab02_csi.volumes import expect_mounted, way_in


@csi.step(
    "Other doors: an audience, a JWT",
    minutes=7,
    further=True,
    goals=[
        "the role bank insists on the audience bank",
        "the pod bank has the password",
        "the pod jwt has the password",
        "a pod logged in with a token for the audience bank",
        "and one by the JWT method, without a TokenReview",
    ],
    hints=[
        "When a pod does not start, `kubectl describe pod bank` has Vault's own words.",
        "The class has a parameter `audience` of its own. Step 7 of lab 01 sets up the jwt method: "
        "what binds its role to one account is the token's subject.",
        "audience: bank; vaultAuthMountPath: $NAMESPACE-jwt; "
        "bound_subject=system:serviceaccount:$NAMESPACE:app.",
    ],
)
def other_doors(lab: LabContext) -> None:
    """
    The token that kubelet hands along is for the audience `vault`, because the CSIDriver
    says so. A class may ask for **another audience**. Kubelet has made no such token, so the
    provider asks the API server for one: bound to this pod, for fifteen minutes. That right
    (`serviceaccounts/token`) is the one thing the provider may do in the cluster, and it is
    not a small one. Where everything uses one audience, it can be taken away.

    `vaultAuthMountPath` chooses **another auth method**. Here it is
    [jwt](https://developer.hashicorp.com/vault/docs/auth/jwt): Vault checks the signature with
    the cluster's published keys and does not call the cluster's TokenReview at all. To the pod
    it is the same.
    """
    lab.sh(r"""
vault write auth/$NAMESPACE-kubernetes/role/bank \
  bound_service_account_names=app \
  bound_service_account_namespaces=$NAMESPACE \
  audience=bank \  #? another audience
  token_policies=$NAMESPACE-app \
  token_ttl=10m
kubectl create clusterrolebinding $NAMESPACE-discovery \
  --clusterrole=system:service-account-issuer-discovery --group=system:unauthenticated
vault auth enable -path=$NAMESPACE-jwt jwt
issuer=$(kubectl get --raw /.well-known/openid-configuration |
  grep -o '"issuer":"[^"]*"' | cut -d'"' -f4)
vault write auth/$NAMESPACE-jwt/config \
  jwks_url=$API_SERVER/openid/v1/jwks \
  jwks_ca_pem="$(kubectl get configmap kube-root-ca.crt -o jsonpath='{.data.ca\.crt}')" \
  bound_issuer=$issuer
vault write auth/$NAMESPACE-jwt/role/app \
  role_type=jwt \
  user_claim=sub \
  bound_audiences=vault \
  bound_subject=system:serviceaccount:$NAMESPACE:app \  #? the pod's account, as a token names it
  token_policies=$NAMESPACE-app \
  token_ttl=10m
""")
    lab.kubectl_apply("""
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata:
  name: bank
spec:
  provider: vault
  parameters:
    vaultAuthMountPath: $NAMESPACE-kubernetes
    roleName: bank
    audience: bank  #? what the role insists on
    objects: |
      - {objectName: password, secretPath: $NAMESPACE-kv/data/app, secretKey: password}
---
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata:
  name: jwt
spec:
  provider: vault
  parameters:
    vaultAuthMountPath: $NAMESPACE-jwt  #? the other auth method
    roleName: app
    objects: |
      - {objectName: password, secretPath: $NAMESPACE-kv/data/app, secretKey: password}
---
apiVersion: v1
kind: Pod
metadata:
  name: bank
spec:
  serviceAccountName: app
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext: {runAsNonRoot: true, runAsUser: 1000}
    volumeMounts:
    - {name: secrets, mountPath: /secrets}
  volumes:
  - name: secrets
    csi:
      driver: secrets-store.csi.k8s.io
      readOnly: true
      volumeAttributes: {secretProviderClass: bank}
""")
    lab.sh(r"""
# The same pod with the other class.
kubectl get pod bank -o \
  jsonpath='{.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}' |
  sed 's/"bank"/"jwt"/g' | kubectl apply -f -
kubectl wait pod/bank pod/jwt --for=condition=Ready --timeout=60s
vault kv get -mount=$NAMESPACE-kv -field=password app | sha256sum
kubectl exec bank -- sha256sum /secrets/password
kubectl exec jwt -- sha256sum /secrets/password
""")


@other_doors.check
def _(lab: LabContext) -> None:
    answer = lab.http.get(f"/v1/auth/{lab.path('kubernetes')}/role/bank", allow={404})
    audience = (answer.json().get("data") or {}).get("audience")
    expect(audience == "bank", "the role bank insists on the audience bank", found=audience)
    for name in ("bank", "jwt"):
        expect_mounted(lab, name)
        expect(
            file_sum(lab, name, "/secrets/password") == stored_sum(lab, "app"),
            f"the pod {name} has the password",
        )
    logins = {
        (entry["auth"].get("metadata") or {}).get("role")
        for entry in lab.audit.responses(f"auth/{lab.path('kubernetes')}/login")
        if entry.get("auth")
    }
    expect("bank" in logins, "a pod logged in with a token for the audience bank", found=logins)
    doors = lab.audit.responses(f"auth/{lab.path('jwt')}/login")
    names = {(entry.get("auth") or {}).get("display_name") for entry in doors}
    wanted = f"{lab.path('jwt')}-system:serviceaccount:{lab.namespace}:app"
    expect(wanted in names, "and one by the JWT method, without a TokenReview", found=names)


@other_doors.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, "app", "password")
