"""Step 12: the Secret in the form that the application wants."""

from __future__ import annotations

from urllib.parse import quote_plus

from harness import expect
from harness.lab.api import LabContext
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import custom, is_valid, kv, secret, soon, status, values
from labs.lab04_operator.refusals import expect_refused


@operator.step(
    "A Secret in the shape the application wants",
    minutes=7,
    further=True,
    goals=[
        "the SecretTransformation shapes is valid",
        "the Secret shaped has exactly the keys username, url and motto: no password, no _raw",
        "url is made of username and password (compared by SHA-256)",
        "motto is made by a function and of the resource's annotation",
        "the Secret bears the label that was asked for",
        "broken is refused: template",
    ],
    hints=[
        "`kubectl explain vaultstaticsecret.spec.destination.transformation` names the fields.",
        "`excludes` holds regular expressions for the names of fields. A resource takes the "
        "templates of a SecretTransformation by its name.",
        'excludeRaw: true; excludes: ["^password$"]; transformationRefs with name: shapes.',
    ],
)
def shape_it(lab: LabContext) -> None:
    """
    Applications want a URL, a file, other names; Vault has fields. Do not store a second copy
    in Vault: a **transformation** builds the keys of the Secret.

    - **templates** make new keys. They are Go templates, with many of the functions that Helm
      users know. Their input is `.Secrets`, and the labels and annotations of the resource.
    - **excludes** and **includes** are patterns for the fields that are copied as they are.
      Keys that a template makes are never filtered.
    - `excludeRaw` leaves out `_raw`. Say it whenever you filter: otherwise `_raw` still holds
      everything.

    A **SecretTransformation** holds templates that many resources share. The operator checks
    a template before any secret meets it: the one called `broken` is refused.
    """
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: SecretTransformation
metadata:
  name: shapes
spec:
  templates:
    url:
      text: >-
        postgresql://{{ get .Secrets "username" }}:{{ get .Secrets "password" | urlquery }}@db/shop
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata:
  name: shaped
  annotations:
    tier: shop-front
spec:
  vaultAuthRef: shop
  type: kv-v2
  mount: $NAMESPACE-kv
  path: shop/app
  refreshAfter: 5s
  destination:
    name: shaped
    create: true
    labels:
      team: shop
    transformation:
      excludeRaw: true  #? shall the whole answer of Vault be in the Secret?
      excludes:
      - "^password$"  #? a pattern for the field that must not be copied
      transformationRefs:
      - name: shapes  #? the SecretTransformation with the URL
      templates:
        motto:
          text: "{{ .Secrets.username | upper }} of {{ .Annotations.tier }}"
""")
    lab.sh("""
kubectl wait vaultstaticsecret/shaped --for=condition=SecretSynced --timeout=60s
kubectl describe secret shaped
kubectl get secret shaped -o jsonpath='{.data.motto}' | base64 -d
""")
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: SecretTransformation
metadata:
  name: broken
spec:
  templates:
    url:
      text: "{{ .Secrets.username"
""")
    lab.sh("""
until kubectl events --for secrettransformation/broken 2>/dev/null |
  grep InvalidConfiguration; do sleep 1; done
""")


@shape_it.check
def _(lab: LabContext) -> None:
    expect(
        is_valid(lab, "SecretTransformation", "shapes"),
        "the SecretTransformation shapes is valid",
        found=status(lab, "SecretTransformation", "shapes") or "no status",
    )
    expect(custom(lab, "VaultStaticSecret", "shaped"), "there is a VaultStaticSecret shaped")
    soon(lab, lambda: values(lab, "shaped"))
    found = values(lab, "shaped")
    expect(
        set(found) == {"username", "url", "motto"},
        "the Secret shaped has exactly the keys username, url and motto: no password, no _raw",
        found=sorted(found) or lab.kube.events("shaped")[-3:],
    )
    stored = kv(lab, "shop/app")
    url = f"postgresql://{stored['username']}:{quote_plus(stored['password'])}@db/shop"
    expect(
        lab.fingerprint(found["url"]) == lab.fingerprint(url),
        "url is made of username and password (compared by SHA-256)",
    )
    expect(
        found["motto"] == "SHOP of shop-front",
        "motto is made by a function and of the resource's annotation",
        found=found["motto"],
    )
    labels = secret(lab, "shaped")["metadata"]["labels"]
    expect(labels.get("team") == "shop", "the Secret bears the label that was asked for")
    expect_refused(lab, "SecretTransformation", "broken", "InvalidConfiguration", "template")
