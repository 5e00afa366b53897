"""Step 7: the Secret in the form that the application wants."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import (
    custom,
    kv,
    refused,
    secret,
    status,
    values,
    wait_synced,
)


@operator.step(
    "A Secret in the shape the application wants",
    hints=[
        "A SecretTransformation `shapes` with a template `url`: "
        '`postgresql://{{ get .Secrets "username" }}:{{ get .Secrets "password" | urlquery }}'
        "@db/shop`.",
        "A VaultStaticSecret `shaped` from shop/app; destination.transformation: excludeRaw true, "
        'excludes ["^password$"], transformationRefs [{name: shapes}], and a template `motto`: '
        "`{{ .Secrets.username | upper }} of {{ .Annotations.tier }}`; the resource bears the "
        "annotation tier: shop-front.",
        "A template that does not parse is refused with InvalidConfiguration: keep what is said "
        "about a SecretTransformation with `{{ .Secrets.username` in `lab.notes['bad-template']`.",
    ],
)
def shape_it(lab: LabContext) -> None:
    """
    Applications want a URL, a file, other names; Vault has fields. Instead of a second copy in
    Vault, a **transformation** builds the keys of the Secret:

    - **templates** make new keys (Go templates, with many of the functions that Helm users
      know); their input is `.Secrets`, and labels and annotations of the resource;
    - **excludes** and **includes** are patterns for the fields that are copied as they are;
      keys made by templates are never filtered;
    - `excludeRaw` leaves out `_raw`. Do that whenever you filter: otherwise everything is
      still in there.

    A **SecretTransformation** holds templates that many resources share. A template that
    does not parse is found before any secret meets it.
    """
    lab.kube.apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: SecretTransformation
metadata: {name: shapes}
spec:
  templates:
    url:
      text: >-
        postgresql://{{ get .Secrets "username" }}:{{ get .Secrets "password" | urlquery }}@db/shop
""")
    lab.kube.apply(
        """
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata: {name: shaped, annotations: {tier: shop-front}}
spec:
  vaultAuthRef: shop
  type: kv-v2
  mount: MOUNT
  path: shop/app
  refreshAfter: 5s
  destination:
    name: shaped
    create: true
    labels: {team: shop}
    transformation:
      excludeRaw: true
      excludes: ["^password$"]
      transformationRefs: [{name: shapes}]
      templates:
        motto: {text: "{{ .Secrets.username | upper }} of {{ .Annotations.tier }}"}
""".replace("MOUNT", lab.path("kv"))
    )
    wait_synced(lab, "VaultStaticSecret", "shaped")

    broken = """
apiVersion: secrets.hashicorp.com/v1beta1
kind: SecretTransformation
metadata: {name: broken}
spec:
  templates:
    url: {text: "{{ .Secrets.username"}
"""
    lab.notes["bad-template"] = refused(lab, broken, "InvalidConfiguration")


@shape_it.check
def _(lab: LabContext) -> None:
    expect(
        status(lab, "SecretTransformation", "shapes").get("valid") is True,
        "the SecretTransformation shapes is valid",
        found=status(lab, "SecretTransformation", "shapes") or "no status",
    )
    expect(custom(lab, "VaultStaticSecret", "shaped"), "there is a VaultStaticSecret shaped")
    found = values(lab, "shaped")
    expect(
        set(found) == {"username", "url", "motto"},
        "the Secret shaped has exactly the keys username, url and motto: no password, no _raw",
        found=sorted(found) or lab.kube.events("shaped")[-3:],
    )
    stored = kv(lab, "shop/app")
    url = f"postgresql://{stored['username']}:{stored['password']}@db/shop"
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
    said = lab.notes.get("bad-template", "")
    expect(
        "template" in said and not custom(lab, "SecretTransformation", "broken"),
        "a template that does not parse was refused",
        found=said or "no lab.notes['bad-template']",
    )
