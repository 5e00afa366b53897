"""Step 5: what stands in the files: default templates, the KV trap, templates of one's own."""

from __future__ import annotations

import json

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kv import stored
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    SECRETS,
    expect_running,
    file_sum,
    show,
)
from labs.lab03_injector.trust import way_in

URL = "postgresql://{user}:{word}@postgres.database.svc:5432/shop"


def parsed(text: str) -> dict[str, object]:
    """The JSON object in `text`; {} when it is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return dict(value) if isinstance(value, dict) else {}


@injector.step(
    "Templates",
    minutes=8,
    goals=[
        "the trap: the map template prints the objects data and metadata of KV version 2",
        "the json template too: the password lies one level in, at data.password",
        "a template of its own gave the application its connection string",
        "with the mode that was asked for, 0440",
        "one file holds fields of two secrets",
        "with other delimiters {{ }} went through untouched, and the file kept its capital",
    ],
    hints=[
        "`kubectl exec defaults-map -c app -- cut -c1-10 /vault/secrets/app` shows how each line "
        "of the default file begins.",
        "The template language is Go's, with the functions of Consul Template. `.Data` is the "
        "answer of Vault: for KV version 2 your fields are in its object `data`.",
        "agent-inject-default-template=json; .Data.data.username; conf/database-url; "
        '"0440"; preserve-secret-case-Quoted: "true".',
    ],
)
def templates(lab: LabContext) -> None:
    """
    Without a template of your own the file holds the top-level `Data` of Vault's answer:
    `key: value` lines by default, JSON on request.

    That is fine for a database user and a **trap with KV version 2**: its answer holds an
    object `data` and an object `metadata`, so what you get is `data: map[password:...`.
    Print it once and you will remember. The password is one level further in:
    `.Data.data.password`.

    A template of your own says exactly what the application wants: a connection string, two
    secrets in one file, another name, mode and folder
    ([the language](https://developer.hashicorp.com/vault/docs/agent-and-proxy/agent/template)).
    File names are lower case, even if the annotation is not, unless `preserve-secret-case`
    says otherwise.
    """
    lab.kubectl_apply("""
apiVersion: v1
kind: Pod
metadata:
  name: defaults-map
  annotations:
    vault.hashicorp.com/agent-inject: "true"
    vault.hashicorp.com/role: app
    vault.hashicorp.com/auth-path: auth/$NAMESPACE-kubernetes
    vault.hashicorp.com/agent-inject-secret-app: $NAMESPACE-kv/data/app
spec:
  serviceAccountName: app
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext: {runAsUser: 1000, runAsGroup: 1000}
""")
    lab.sh(r"""
kubectl get pod defaults-map -o \
  jsonpath='{.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}' |
  sed 's/"name":"defaults-map"/"name":"defaults-json"/' |
  kubectl annotate --local -f - -o yaml \
    vault.hashicorp.com/agent-inject-default-template=json |  #?(json) the other default
  kubectl apply -f -
kubectl wait pod/defaults-map pod/defaults-json --for=condition=Ready --timeout=60s
kubectl exec defaults-map -c app -- cut -c1-10 /vault/secrets/app
kubectl exec defaults-json -c app -- cut -c1-9 /vault/secrets/app
""")
    lab.kubectl_apply("""
apiVersion: v1
kind: Pod
metadata:
  name: templates
  annotations:
    vault.hashicorp.com/agent-inject: "true"
    vault.hashicorp.com/role: app
    vault.hashicorp.com/auth-path: auth/$NAMESPACE-kubernetes
    # A connection string, in a file with a name, a mode and a folder of its own.
    vault.hashicorp.com/agent-inject-template-url: |-
      {{- with secret "$NAMESPACE-kv/data/app" -}}
      postgresql://
      {{- .Data.data.username }}:{{ .Data.data.password }}  #?(.Data.data.username)
      {{- "@postgres.database.svc:5432/shop" }}
      {{- end -}}
    vault.hashicorp.com/agent-inject-file-url: conf/database-url
    vault.hashicorp.com/agent-inject-perms-url: "0440"  #? for owner and group
    vault.hashicorp.com/secret-volume-path-url: /app/config
    # Two secrets in one file.
    vault.hashicorp.com/agent-inject-template-both: |-
      {{- with secret "$NAMESPACE-kv/data/app" }}{{ .Data.data.username }}{{ end }}
      {{- " " }}
      {{- with secret "$NAMESPACE-kv/data/turning" }}{{ .Data.data.password }}{{ end -}}
    # Other delimiters, for files in which {{ }} means something else (Helm, Jinja).
    vault.hashicorp.com/agent-inject-template-Quoted: |-
      <<- with secret "$NAMESPACE-kv/data/app" >>{{ << .Data.data.username >> }}<< end ->>
    vault.hashicorp.com/agent-template-left-delim-Quoted: "<<"
    vault.hashicorp.com/agent-template-right-delim-Quoted: ">>"
    vault.hashicorp.com/preserve-secret-case-Quoted: "true"  #? keep the capital
spec:
  serviceAccountName: app
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext: {runAsUser: 1000, runAsGroup: 1000}
""")
    lab.sh("""
kubectl wait pod/templates --for=condition=Ready --timeout=60s
kubectl exec templates -c app -- ls -l /app/config/conf /vault/secrets
kubectl exec templates -c app -- cat /vault/secrets/Quoted
kubectl exec templates -c app -- grep -oE '^postgresql://[a-z]+|@.*' /app/config/conf/database-url
""")


@templates.check
def _(lab: LabContext) -> None:
    for name in ("defaults-map", "defaults-json", "templates"):
        expect_running(lab, name)
    lines = show(lab, "defaults-map", f"cat {SECRETS}/app").splitlines()
    keys = sorted(line.partition(":")[0] for line in lines)
    expect(
        keys == ["data", "metadata"] and any(line.startswith("data: map[") for line in lines),
        "the trap: the map template prints the objects data and metadata of KV version 2",
        found=keys,
    )
    value = parsed(show(lab, "defaults-json", f"cat {SECRETS}/app"))
    inner = value.get("data")
    expect(
        isinstance(inner, dict) and inner.get("password", "none") == stored(lab, "app"),
        "the json template too: the password lies one level in, at data.password",
        found=sorted(value),
    )
    url = "/app/config/conf/database-url"
    whole = URL.format(user="shop", word=stored(lab, "app"))
    expect(
        file_sum(lab, "templates", url) == lab.fingerprint(whole),
        "a template of its own gave the application its connection string",
        hint=f"the file is {url}",
    )
    mode = show(lab, "templates", f"stat -c %a {url}")
    expect(mode == "440", "with the mode that was asked for, 0440", found=mode)
    both = f"shop {stored(lab, 'turning')}"
    expect(
        file_sum(lab, "templates", f"{SECRETS}/both") == lab.fingerprint(both),
        "one file holds fields of two secrets",
    )
    expect(
        file_sum(lab, "templates", f"{SECRETS}/Quoted") == lab.fingerprint("{{ shop }}"),
        "with other delimiters {{ }} went through untouched, and the file kept its capital",
        found=show(lab, "templates", f"ls {SECRETS}"),
    )


@templates.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
