"""Step 2: the key/value engine, version 2, and its versions."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from labs.lab01_http_api.lab import http_api


@http_api.step(
    "Write a secret, and keep its past",
    hints=[
        "Mount the engine first: POST `/v1/sys/mounts/lab01-kv` with type `kv` and options "
        "`{version: '2'}`. Writes go to `/v1/lab01-kv/data/app`, the fields inside `data`.",
        "Three versions, each with `options: {cas: N}` where N is the version before. Metadata "
        "(`cas_required`, `custom_metadata`) is POSTed to `/v1/lab01-kv/metadata/app`.",
        "Version 1: PUT `/v1/lab01-kv/destroy/app` with `{versions: [1]}`. Version 2: POST "
        "`.../delete/app`, then POST `.../undelete/app`, both with `{versions: [2]}`.",
    ],
)
def write_secret(lab: LabContext) -> None:
    """
    Vault keeps secrets in **engines** that are mounted at a path, like file systems. The
    key/value engine, version 2, keeps what was there before: every write makes a version.

    - **Check-and-set** (`cas`) writes only if the present version is the one you read;
      two people who edit at once no longer overwrite each other. `cas: 0` means "only if
      it does not exist". With `cas_required` nobody can leave it out.
    - **Delete** hides a version and can be undone. **Destroy** removes the bytes for good.
    - **Metadata** are not secret: who owns this, how many versions to keep.

    Note `data/` in the path, and the fields inside an object called `data`: version 2
    puts its own words beside yours.
    """
    lab.http.post(
        f"/v1/sys/mounts/{lab.path('kv')}", json={"type": "kv", "options": {"version": "2"}}
    )
    secret, metadata = lab.path("kv", "data", "app"), lab.path("kv", "metadata", "app")
    lab.http.post(
        f"/v1/{metadata}", json={"cas_required": True, "custom_metadata": {"owner": "shop-team"}}
    )
    for version in (1, 2, 3):
        lab.http.post(
            f"/v1/{secret}",
            json={
                "options": {"cas": version - 1},
                "data": {"username": "shop", "password": lab.secret(f"app-{version}")},
            },
        )
    # A stale check-and-set is refused: somebody else has written in between.
    stale = {"options": {"cas": 1}, "data": {"username": "late"}}
    answer = lab.http.post(f"/v1/{secret}", json=stale, allow={400})
    expect("check-and-set" in answer.text, "a stale write is refused", found=answer.text)

    lab.http.post(f"/v1/{lab.path('kv', 'delete', 'app')}", json={"versions": [2]})
    hidden = lab.http.get(f"/v1/{secret}?version=2", allow={404})
    expect(hidden.json()["data"]["data"] is None, "a deleted version shows no data")
    lab.http.post(f"/v1/{lab.path('kv', 'undelete', 'app')}", json={"versions": [2]})
    lab.http.put(f"/v1/{lab.path('kv', 'destroy', 'app')}", json={"versions": [1]})


@write_secret.check
def _(lab: LabContext) -> None:
    mounts = lab.http.get("/v1/sys/mounts").json()["data"]
    mount = mounts.get(f"{lab.path('kv')}/") or {}
    expect(
        mount,
        f"a secrets engine is mounted at {lab.path('kv')}/",
        found=sorted(name for name in mounts if name.startswith("lab")),
    )
    version = (mount["options"] or {}).get("version")
    expect(
        mount["type"] == "kv" and version == "2",
        "it is the key/value engine, version 2",
        found=f"{mount['type']} version {version}",
        hint="options={'version': '2'} when it is mounted",
    )
    answer = lab.http.get(f"/v1/{lab.path('kv', 'metadata', 'app')}", allow={404})
    metadata = answer.json().get("data") or {}
    expect(metadata, f"there is a secret {lab.path('kv')}/app", hint="write to .../data/app")
    expect(
        metadata["cas_required"] and metadata["custom_metadata"] == {"owner": "shop-team"},
        "it demands check-and-set, and its metadata name an owner",
        found={key: metadata[key] for key in ("cas_required", "custom_metadata")},
    )
    versions = metadata["versions"]
    expect(metadata["current_version"] == 3, "it has three versions", found=sorted(versions))
    expect(versions["1"]["destroyed"], "the bytes of version 1 are destroyed", found=versions["1"])
    requests = [entry["request"] for entry in lab.audit.entries() if entry["type"] == "response"]
    deleted = [r["path"] for r in requests if r.get("path") == lab.path("kv", "delete", "app")]
    expect(
        deleted and not versions["2"]["destroyed"] and not versions["2"]["deletion_time"],
        "version 2 was deleted and brought back",
        found={**versions["2"], "delete requests in the audit log": len(deleted)},
    )
    fields = lab.http.get(f"/v1/{lab.path('kv', 'data', 'app')}").json()["data"]["data"]
    expect(
        {"username", "password"} <= set(fields),
        "the present version has a username and a password",
        found=sorted(fields),
    )
