"""Step 5: what stands in the files: default templates, the KV trap, templates of one's own."""

from __future__ import annotations

import json

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    SECRETS,
    app_pod,
    asking,
    expect_running,
    file_sum,
    show,
)
from labs.lab03_injector.trust import way_in

URL = "postgresql://{user}:{word}@postgres.database.svc:5432/shop"


def own_templates(lab: LabContext) -> dict[str, str]:
    """Files as an application wants them: name, mode, folder and content of its own."""
    app, other = lab.path("kv", "data", "app"), lab.path("kv", "data", "turning")
    fields = URL.format(user="{{ .Data.data.username }}", word="{{ .Data.data.password }}")
    return {
        "agent-inject-template-url": f'{{{{ with secret "{app}" }}}}{fields}{{{{ end }}}}',
        "agent-inject-file-url": "conf/database-url",
        "agent-inject-perms-url": "0440",
        "secret-volume-path-url": "/app/config",
        # Two secrets in one file.
        "agent-inject-template-both": f'{{{{ with secret "{app}" }}}}{{{{ .Data.data.username }}}}'
        f'{{{{ end }}}} {{{{ with secret "{other}" }}}}{{{{ .Data.data.password }}}}{{{{ end }}}}',
        # Other delimiters, for files in which {{ }} means something else (Helm, Jinja).
        "agent-inject-template-Quoted": f'<< with secret "{app}" >>{{{{ << .Data.data.username >> '
        "}}<< end >>",
        "agent-template-left-delim-Quoted": "<<",
        "agent-template-right-delim-Quoted": ">>",
        "preserve-secret-case-Quoted": "true",
    }


def parsed(text: str) -> dict[str, object]:
    """The JSON object in `text`; {} when it is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return dict(value) if isinstance(value, dict) else {}


@injector.step(
    "Templates",
    hints=[
        "Pod `defaults-map` asks for `agent-inject-secret-app` alone; `defaults-json` adds "
        "`agent-inject-default-template: json`. Look at both files: where is the password?",
        "Pod `templates` has `own_templates(lab)`; its files are /app/config/conf/database-url, "
        "/vault/secrets/both and /vault/secrets/Quoted.",
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
    secrets in one file, another name, mode and folder. The names of annotations are made
    lower case in file names, unless `preserve-secret-case` says otherwise.
    """
    path = {"agent-inject-secret-app": lab.path("kv", "data", "app")}
    as_json = path | {"agent-inject-default-template": "json"}
    lab.kube.apply(app_pod(lab, "defaults-map", asking(lab, path)))
    lab.kube.apply(app_pod(lab, "defaults-json", asking(lab, as_json)))
    lab.kube.apply(app_pod(lab, "templates", asking(lab, own_templates(lab))))
    for name in ("defaults-map", "defaults-json", "templates"):
        lab.kube.wait_for_pod(name)
    print(show(lab, "defaults-map", f"cut -c1-10 {SECRETS}/app"))
    print(show(lab, "templates", f"ls -l /app/config/conf {SECRETS}"))


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
        isinstance(inner, dict) and inner.get("password") == lab.secret("app"),
        "the json template too: the password lies one level in, at data.password",
        found=sorted(value),
    )
    url = "/app/config/conf/database-url"
    whole = URL.format(user="shop", word=lab.secret("app"))
    expect(
        file_sum(lab, "templates", url) == lab.fingerprint(whole),
        "a template of its own gave the application its connection string",
        hint=f"the file is {url}",
    )
    mode = show(lab, "templates", f"stat -c %a {url}")
    expect(mode == "440", "with the mode that was asked for, 0440", found=mode)
    both = f"shop {lab.secret('turning-2')}"
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
