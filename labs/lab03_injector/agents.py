"""Step 3: an agent before the application, beside it, or both; and a change in Vault."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    AGENT,
    INIT,
    SECRETS,
    app_pod,
    asking,
    expect_running,
    file_sum,
    names,
    status_of,
    wait_quietly,
)
from labs.lab03_injector.trust import way_in

FILE = f"{SECRETS}/turning"

# Which agents each pod asks for.
SHAPES = {
    "both": {},
    "once": {"agent-pre-populate-only": "true"},
    "beside": {"agent-pre-populate": "false"},
}


def turning(lab: LabContext) -> dict[str, str]:
    """The wish for a file that holds the present password of the secret turning."""
    path = lab.path("kv", "data", "turning")
    return {
        "agent-inject-secret-turning": path,
        "agent-inject-template-turning": f'{{{{ with secret "{path}" }}}}'
        "{{ .Data.data.password }}{{ end }}",
        # The agent asks again every five minutes unless told otherwise.
        "template-static-secret-render-interval": "2s",
    }


def wait_for_file(lab: LabContext, pod: str, value: str) -> None:
    """Wait until the pod's file holds exactly this value."""
    wanted = lab.fingerprint(value)
    wait_quietly(
        lab,
        f"the password to reach the file of {pod}",
        lambda: file_sum(lab, pod, FILE) == wanted,
        explain=lambda: lab.kube.explain_pod(pod),
    )


@injector.step(
    "Before, beside, or both",
    hints=[
        "Three pods, `app_pod(lab, name, asking(lab, turning(lab) | SHAPES[name]))` for both, "
        "once and beside. Wait until each has its file /vault/secrets/turning.",
        "Then write `lab.secret('turning-2')` as the new password: POST "
        "`/v1/lab03-kv/data/turning` with `{data: {password: ...}}`. Within seconds two of the "
        "three files follow.",
    ],
)
def before_beside_both(lab: LabContext) -> None:
    """
    Two annotations choose the agents. `agent-pre-populate-only` leaves out the sidecar,
    `agent-pre-populate: "false"` leaves out the init container.

    | pod | init | sidecar | so |
    |---|---|---|---|
    | both | yes | yes | files from the first moment, and fresh |
    | once | yes | no | files from the first moment, as they were then |
    | beside | no | yes | fresh, but the application starts **before** its files are there |

    Then somebody changes the secret in Vault. A KV secret has no lease, so nobody tells the
    agent: it **asks again** every five minutes, or as often as
    `template-static-secret-render-interval` says; here every two seconds. The file changes
    under the running application, which is not restarted and must read it again itself.
    """
    for name, shape in SHAPES.items():
        lab.kube.apply(app_pod(lab, name, asking(lab, turning(lab) | shape)))
    for name in SHAPES:
        lab.kube.wait_for_pod(name)
        wait_for_file(lab, name, lab.secret("turning-1"))

    path = lab.path("kv", "data", "turning")
    lab.http.post(f"/v1/{path}", json={"data": {"password": lab.secret("turning-2")}})
    for name in ("both", "beside"):
        wait_for_file(lab, name, lab.secret("turning-2"))


@before_beside_both.check
def _(lab: LabContext) -> None:
    wanted = {"both": (True, True), "once": (True, False), "beside": (False, True)}
    for name, (init, sidecar) in wanted.items():
        pod = expect_running(lab, name)
        found = (INIT in names(pod, "initContainers"), AGENT in names(pod))
        expect(
            found == (init, sidecar),
            f"the pod {name} has the agents that it asked for",
            found={INIT: found[0], AGENT: found[1]},
        )
        restarts = status_of(pod, "app").get("restartCount")
        expect(restarts == 0, f"the application of {name} was never restarted", found=restarts)
    path = lab.path("kv", "data", "turning")
    stored = (lab.http.get(f"/v1/{path}", allow={404}).json().get("data") or {}).get("data") or {}
    new = lab.fingerprint(lab.secret("turning-2"))
    expect(
        stored.get("password") == lab.secret("turning-2"),
        "Vault holds the new password",
        hint=f"POST /v1/{path} with lab.secret('turning-2')",
    )
    for name in ("both", "beside"):
        expect(
            file_sum(lab, name, FILE) == new,
            f"it has reached the file of {name}",
            hint=f"kubectl -n {lab.namespace} logs {name} -c {AGENT}; the interval is 2s",
        )
    expect(
        file_sum(lab, "once", FILE) == lab.fingerprint(lab.secret("turning-1")),
        "the file of once is what it was when the pod started",
    )


@before_beside_both.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
