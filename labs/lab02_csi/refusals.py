"""Step 8: volumes that must not be mounted, each for its own reason."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.pods import pod_events
from labs.lab02_csi.lab import csi

# Pod: what its FailedMount event must say. The first six are Vault's own words, the next
# ones the provider's, the last three the driver's.
REASONS = {
    "wrong-account": "service account name not authorized",
    "wrong-namespace": "namespace not authorized",
    "wrong-audience": "invalid audience",
    "unknown-role": "invalid role name",
    "no-policy": "permission denied",
    "no-secret": "Code: 404",
    "no-key": 'key "passwd" does not exist',
    "no-role": "missing 'roleName'",
    "no-vault": "connection refused",
    "no-class": "not found",
    "no-provider": 'provider "nobody"',
    "writable": "Readonly is not true",
}


def refused_for(lab: LabContext, name: str) -> str:
    """The last FailedMount event of a pod, "" when there is none."""
    failed = [event for event in pod_events(lab, name) if event.startswith("FailedMount")]
    return failed[-1] if failed else ""


@csi.step(
    "Be refused, for the right reason",
    minutes=10,
    goals=[
        *(f"{name} is refused: {reason}" for name, reason in REASONS.items()),
        "although the class no-class is there, in lab02-elsewhere",
        "Vault's audit log has it, too: service account name not authorized",
        "Vault's audit log has it, too: namespace not authorized",
    ],
    answer="`ContainerCreating`, for all of them: the containers never start, and the reason is in "
    "the events.",
    hints=[
        "`kubectl describe pod NAME`, at its end: an event FailedMount with the whole reason.",
        "The manifest holds everything that can be wrong: the account and the volume in the pod, "
        "role, key, path and provider in the class. `sed 's/a/b/'` puts b in place of a.",
        "secretKey: passwd; provider: nobody; namespace: lab02-elsewhere; readOnly: false.",
    ],
)
def be_refused(lab: LabContext) -> None:
    """
    When a volume cannot be filled, the container does not start: the pod stays in
    *ContainerCreating*, and its **events** say why. Twelve ways to get there.

    | refused by | when | the event says |
    |---|---|---|
    | Vault, at login | account, namespace, audience, role | which of them |
    | Vault, at the read | the policy does not name the path; no such secret | 403; 404 |
    | the provider | no such key; no role in the class; Vault does not answer | the key; the field |
    | the driver | no class of that name *in the pod's namespace*; no provider; not read-only | it |

    A class cannot be shared across namespaces: the class and the pod live in one.
    Kubelet tries again and again, with growing pauses; repair the cause, and the pod
    starts without being touched.

    All twelve are made of one manifest, which is printed first, with one mistake each.

    Before you run it: what status will `kubectl get pods` show for them?
    """
    lab.sh(r"""
kubectl create serviceaccount intruder
kubectl create namespace $NAMESPACE-elsewhere
vault policy write $NAMESPACE-nothing - <<END
path "$NAMESPACE-kv/data/nothing" {
  capabilities = ["read"]
}
END
role() {
  vault write auth/$NAMESPACE-kubernetes/role/$1 bound_service_account_names=app \
    bound_service_account_namespaces=$2 audience=$3 token_policies=$4 token_ttl=10m
}
role elsewhere elsewhere vault default
role other-audience $NAMESPACE other default
role powerless $NAMESPACE vault default
role nothing $NAMESPACE vault $NAMESPACE-nothing
""")
    lab.sh(r"""
cat "$LAB/manifests/refused.yaml"
mistake() {
  sed -e "s|NAME|$1|; s|IMAGE|$APP_IMAGE|" -e "$2" "$LAB/manifests/refused.yaml" |
    kubectl apply -f -
}
mistake wrong-account 's/serviceAccountName: app/serviceAccountName: intruder/'
mistake wrong-namespace 's/roleName: app/roleName: elsewhere/'
mistake wrong-audience 's/roleName: app/roleName: other-audience/'
mistake unknown-role 's/roleName: app/roleName: nobody/'
mistake no-policy 's/roleName: app/roleName: powerless/'
mistake no-secret 's/roleName: app/roleName: nothing/; s|kv/data/app|kv/data/nothing|'
mistake no-key 's/secretKey: password/secretKey: passwd/'  #?(passwd) a key that it has not
mistake no-role '/roleName/d'
mistake no-vault 's|roleName: app|vaultAddress: https://127.0.0.1:1\n    &|'
mistake no-class 's/namespace: lab02/namespace: lab02-elsewhere/'  #?(lab02-elsewhere) another one
mistake no-provider 's/provider: vault/provider: nobody/'  #?(nobody) none of this name is there
mistake writable 's/readOnly: true/readOnly: false/'
""")
    lab.sh(r"""
events() { kubectl get events --field-selector reason=FailedMount,involvedObject.name=$1 -o yaml; }
says() {
  echo "--- $1"
  until grep -m1 -F "$2" <<< "$(events $1)"; do sleep 1; done
}
says wrong-account 'service account name not authorized'
says wrong-namespace 'namespace not authorized'
says wrong-audience 'invalid audience'
says unknown-role 'invalid role name'
says no-policy 'permission denied'
says no-secret 'Code: 404'
says no-key 'does not exist'
says no-role 'roleName'
says no-vault 'connection refused'
says no-class 'not found'
says no-provider 'nobody'
says writable 'Readonly is not true'
kubectl get pods --field-selector=status.phase=Pending
""")


@be_refused.check
def _(lab: LabContext) -> None:
    for name, reason in REASONS.items():
        found = lab.kube.get("Pod", name)
        expect(found, f"there is a pod {name}")
        event = refused_for(lab, name)
        expect(
            reason in event,
            f"{name} is refused: {reason}",
            found=event or "no FailedMount event",
            hint="another reason is another mistake",
        )
        phase = (found or {})["status"]["phase"]
        expect(phase == "Pending", f"and pod {name} does not run", found=phase)
    other = f"{lab.namespace}-elsewhere"
    expect(
        lab.kube.get("SecretProviderClass", "no-class", other, "secrets-store.csi.x-k8s.io/v1"),
        f"although the class no-class is there, in {other}",
    )
    refused = lab.audit.refusals(f"auth/{lab.path('kubernetes')}/login")
    for reason in ("service account name not authorized", "namespace not authorized"):
        expect(
            any(reason in error for error in refused),
            f"Vault's audit log has it, too: {reason}",
            found=sorted(set(refused)),
        )
