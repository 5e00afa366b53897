"""Step 10: what becomes of the agent's token when the pod ends."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import SECRETS, app_pod, asking, show, wait_quietly
from labs.lab03_injector.trust import way_in

# Long enough for the agent's last words: a second of grace, one request.
GRACE = 15
WISHES = {
    "leaver": {"agent-revoke-on-shutdown": "true", "agent-revoke-grace": "1"},
    "leaker": {},
}


def accessor_status(lab: LabContext, accessor: str) -> int:
    """200 while the token behind this accessor lives, 400 to 404 afterwards."""
    answer = lab.http.post(
        "/v1/auth/token/lookup-accessor", json={"accessor": accessor}, allow={400, 403, 404}
    )
    return answer.status_code


def revoked_itself(lab: LabContext, accessor: str) -> bool:
    """Whether the audit log has a revoke-self by the token of this accessor."""
    digest = lab.http.post("/v1/sys/audit-hash/file", json={"input": accessor}).json()["data"]
    return any(
        (entry.get("auth") or {}).get("accessor") == digest["hash"]
        for entry in lab.audit.responses("auth/token/revoke-self")
    )


def token_accessor(lab: LabContext, pod: str) -> str:
    """The accessor of the token that the sidecar of `pod` has written; "" before it did."""
    token = show(lab, pod, f"cat {SECRETS}/token 2>/dev/null")
    if not token:
        return ""
    answer = lab.http.get("/v1/auth/token/lookup-self", token=token, allow={403})
    return str((answer.json().get("data") or {}).get("accessor", ""))


def wait_for_login(lab: LabContext, pod: str) -> str:
    """Wait until the pod's sidecar has logged in; the accessor of its token."""
    lab.kube.wait_for_pod(pod)
    return wait_quietly(
        lab,
        f"the agent of {pod} to log in",
        lambda: token_accessor(lab, pod),
        explain=lambda: lab.kube.explain_pod(pod),
    )


@injector.step(
    "Revoke the token when the pod ends",
    hints=[
        "Two pods, leaver and leaker: `asking(lab, WISHES[name])` with `agent-inject-token` and "
        '`agent-pre-populate: "false"`, and `grace=GRACE` in app_pod. Keep '
        "`{name: token_accessor(lab, name)}` in `lab.notes['accessors']`.",
        "Delete both pods (kubectl delete pod, with their grace period) and ask Vault about the "
        "two accessors: `accessor_status(lab, accessor)`.",
    ],
)
def revoke_at_the_end(lab: LabContext) -> None:
    """
    A pod ends; its agent's token does not. It lives until its time has run out, together
    with all that was leased under it. Whoever copied it has that long.

    `agent-revoke-on-shutdown` gives the sidecar a last task (a *preStop* hook): wait
    `agent-revoke-grace` seconds, so that the application can finish, then revoke its own
    token. The pod's terminationGracePeriodSeconds must leave time for both.

    Two limits. A pod that is killed (node lost, grace 0) has no last words. And the token
    of the *init* agent is another one, which nobody revokes: give roles a short token_ttl.
    """
    common = {"agent-inject-token": "true", "agent-pre-populate": "false"}
    for name, wish in WISHES.items():
        lab.kube.apply(app_pod(lab, name, asking(lab, common | wish), grace=GRACE))
    lab.notes["accessors"] = {name: wait_for_login(lab, name) for name in WISHES}
    for name in WISHES:
        lab.kube.delete("Pod", name)
    wait_quietly(
        lab, "both pods to be gone", lambda: not any(lab.kube.get("Pod", n) for n in WISHES)
    )
    for name, accessor in lab.notes["accessors"].items():
        print(name, accessor_status(lab, accessor))


@revoke_at_the_end.check
def _(lab: LabContext) -> None:
    accessors = lab.notes.get("accessors", {})
    for name in WISHES:
        expect(
            accessors.get(name),
            f"the accessor of the token of {name} was noted",
            found=sorted(accessors) or "no lab.notes['accessors']",
        )
        expect(not lab.kube.get("Pod", name), f"the pod {name} has ended")
    gone = accessor_status(lab, accessors["leaver"])
    expect(
        gone in (400, 403, 404),
        "the token of leaver ended with its pod",
        found=gone,
        hint="agent-revoke-on-shutdown; deleted with grace 0 it has no time to do it",
    )
    expect(
        revoked_itself(lab, accessors["leaver"]),
        "Vault's audit log has the request: its agent revoked itself",
    )
    left = accessor_status(lab, accessors["leaker"])
    expect(left == 200, "the token of leaker has outlived its pod", found=left)


@revoke_at_the_end.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
