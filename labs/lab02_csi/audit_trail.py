"""Step 10: what Vault sees of all this, and what the driver counts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from harness import expect
from harness.lab.api import Entry, LabContext, LoginPath
from harness.lab.kit.kubernetes_auth import make_role
from harness.lab.kit.pods import file_sum, service_account
from labs.lab02_csi.lab import csi
from labs.lab02_csi.rotation import allow_reading, write_version
from labs.lab02_csi.volumes import (
    driver_pod,
    expect_mounted,
    nudge_until,
    pod,
    secret_class,
    way_in,
)

METRICS = ("node_publish_total", "node_unpublish_total", "rotation_reconcile_total")
FAILED_UNMOUNT = "failed to clean and unmount"


def seen_of(lab: LabContext, account: str) -> tuple[list[Entry], list[Entry]]:
    """The logins and the reads of one service account since the step began."""
    login = f"auth/{lab.path('kubernetes')}/login"
    logins: list[Entry] = []
    reads: list[Entry] = []
    for entry in lab.audit.entries():
        who = ((entry.get("auth") or {}).get("metadata") or {}).get("service_account_name")
        if who == account and entry["type"] == "response" and not entry.get("error"):
            (logins if entry["request"]["path"] == login else reads).append(entry)
    return logins, reads


@csi.step(
    "What Vault sees",
    hints=[
        "An account of its own makes it easy to count: service account watched, "
        "`write_version(lab, 1, 'watched')`, `allow_reading(lab, 'watched', account='watched')`.",
        "Three classes that read lab02-kv/data/watched: pair (files a and b) and single (a) with "
        "role watched, apart (a) with a second role `apart` of the same account and policy. A pod "
        "watched with all three, at /secrets/pair, /secrets/single, /secrets/apart.",
        "When it runs, `write_version(lab, 2, 'watched')`, and nudge until all volumes have it.",
    ],
)
def what_vault_sees(lab: LabContext) -> None:
    """
    One pod with three classes, watched in Vault's **audit log** from its start through one
    rotation.

    - **One login for each pod and set of parameters.** The provider keeps that Vault token,
      in memory, and uses it again. Two of the classes say the same about Vault and share a
      login; the third names another role and has its own. At the rotation nobody logs in.
    - **One read for each path of a class**, however many files are made of it; and again at
      each rotation, whether anything changed or not. Count them before you set the
      poll interval for a thousand pods.
    - Each line names the pod's **own service account**. The provider does not appear.

    The driver counts, too, on port 8095: mounts, unmounts, rotations. On version 1.6 a
    rotation that fails is to be found *only* there and in the driver's log: the pod has no
    event of it.
    """
    lab.kube.apply(service_account("watched"))
    write_version(lab, 1, "watched")
    allow_reading(lab, "watched", account="watched")
    path = lab.path("kv", "data", "watched")
    source = f"secretPath: {path}, secretKey: password"
    pair = f"- {{objectName: a, {source}}}\n- {{objectName: b, {source}}}"
    lab.kube.apply(secret_class(lab, "pair", pair, role="watched"))
    make_role(lab, "apart", policies=[lab.path("watched")], account="watched")
    for name, role in (("single", "watched"), ("apart", "apart")):
        lab.kube.apply(secret_class(lab, name, f"- {{objectName: a, {source}}}", role=role))
    volumes = {f"/secrets/{name}": name for name in ("pair", "single", "apart")}
    lab.kube.apply(pod(lab, "watched", volumes, account="watched"))
    lab.kube.wait_for_pod("watched")

    write_version(lab, 2, "watched")
    new = lab.fingerprint(lab.secret("watched-2"))
    nudge_until(
        lab,
        "watched",
        "all volumes to have the new version",
        lambda: {file_sum(lab, "watched", f"{volume}/a") for volume in volumes} == {new},
    )

    logins, reads = seen_of(lab, "watched")
    for entry in [*logins, *reads]:
        print(entry["time"][11:19], entry["request"]["operation"], entry["request"]["path"])
    counters = f"curl -s {metrics_address(lab)} | grep -E '^({'|'.join(METRICS)})'"
    print(lab.kube.exec("watched", counters))


def metrics_address(lab: LabContext) -> str:
    """Where the driver serves its counters to the cluster."""
    return f"http://{driver_pod(lab)['status']['podIP']}:8095/metrics"


@what_vault_sees.check
def _(lab: LabContext) -> None:
    expect_mounted(lab, "watched")
    new = lab.fingerprint(lab.secret("watched-2"))
    for file in ("pair/a", "pair/b", "single/a", "apart/a"):
        expect(
            file_sum(lab, "watched", f"/secrets/{file}") == new, f"{file} has the second version"
        )
    logins, reads = seen_of(lab, "watched")
    expect(
        len(logins) == 2,
        "Vault saw two logins of this pod: two of its three classes share one",
        found=len(logins),
    )
    tokens = {entry["auth"]["accessor"] for entry in logins}
    by_token = Counter(entry["auth"]["accessor"] for entry in reads)
    expect(
        set(by_token) == tokens,
        "every read used one of these two tokens",
        found=f"{len(by_token)} tokens",
    )
    counts = sorted(by_token.values())
    expect(
        counts[0] >= 2 and counts[1] >= 4 and len(reads) % 3 == 0,
        "each class read the path once at the mount and once at a rotation",
        found=counts,
    )
    _check_driver(lab)


def _check_driver(lab: LabContext) -> None:
    text = lab.kube.exec("watched", f"curl -s {metrics_address(lab)}")
    for name in METRICS:
        counted = [line for line in text.splitlines() if line.startswith(name)]
        total = sum(float(line.rsplit(" ", 1)[1]) for line in counted)
        expect(total > 0, f"the driver counts: {name}", found=counted)
    found: Any = driver_pod(lab)["metadata"]["name"]
    log = lab.kube.logs(found, "kube-system", "secrets-store")
    bad = [line for line in log.splitlines() if FAILED_UNMOUNT in line]
    expect(not bad, "every volume of a pod that is gone was unmounted", found=bad[-1:])


@what_vault_sees.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
