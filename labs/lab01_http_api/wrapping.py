"""Step 9: handing a secret over so that a theft is noticed."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from labs.lab01_http_api.lab import http_api


@http_api.step(
    "Hand a secret over once: response wrapping",
    hints=[
        "Any request with the header `X-Vault-Wrap-TTL: 60s` is answered with "
        "`wrap_info.token` instead of the data. POST `/v1/sys/wrapping/unwrap` with that token "
        "in X-Vault-Token opens it, once.",
        "`/v1/sys/wrapping/lookup` tells creation_path and creation_time without opening it. "
        "Keep in `lab.notes['wrap']`: creation_path, first, second, stolen (status "
        "codes of unwrap) and forged_path (the creation_path of something that you wrapped).",
    ],
)
def wrap_response(lab: LabContext) -> None:
    """
    How does a deployment tool give a secret to a machine without seeing it, and without
    anybody on the way seeing it unnoticed? It hands over a **wrapped** response: a token
    with one single use, behind which Vault keeps the answer for a minute.

    - The receiver unwraps it **once**. The secret itself was never on the way.
    - If unwrapping fails, somebody was faster: that is the alarm, not a nuisance.
    - Before opening, `lookup` tells **where it came from** (`creation_path`). A thief who
      unwrapped it and wrapped something else in its place gives himself away: the path is
      `sys/wrapping/wrap` then, not the one that was expected.
    """
    secret = lab.path("kv", "data", "app")

    def wrapped() -> str:
        answer = lab.http.get(f"/v1/{secret}", headers={"X-Vault-Wrap-TTL": "60s"})
        return str(answer.json()["wrap_info"]["token"])

    def unwrap(token: str) -> int:
        # A wrapping token that was used is unknown: 400 (or 403 from OpenBao).
        answer = lab.http.post("/v1/sys/wrapping/unwrap", token=token, allow={400, 403})
        return answer.status_code

    def origin(token: str) -> str:
        answer = lab.http.post("/v1/sys/wrapping/lookup", json={"token": token}, token="")
        return str(answer.json()["data"]["creation_path"])

    # As it should be: look where it comes from, open it, and it is gone.
    token = wrapped()
    seen = {"creation_path": origin(token), "first": unwrap(token), "second": unwrap(token)}

    # Stolen on the way: the receiver finds it opened already.
    token = wrapped()
    unwrap(token)  # the thief
    seen["stolen"] = unwrap(token)

    # A clever thief puts something else in its place; its origin betrays it.
    forged = lab.http.post(
        "/v1/sys/wrapping/wrap", json={"password": "fake"}, headers={"X-Vault-Wrap-TTL": "60s"}
    ).json()["wrap_info"]["token"]
    seen["forged_path"] = origin(forged)
    lab.http.post("/v1/sys/wrapping/unwrap", token=forged)
    lab.notes["wrap"] = seen


@wrap_response.check
def _(lab: LabContext) -> None:
    seen = lab.notes.get("wrap", {})
    expect(
        seen.get("creation_path") == lab.path("kv", "data", "app"),
        "lookup told where the wrapped answer came from, without opening it",
        found=seen or "no lab.notes['wrap']",
    )
    expect(seen.get("first") == 200, "it could be opened", found=seen)
    expect(seen.get("second") in (400, 403), "only once", found=seen)
    expect(seen.get("stolen") in (400, 403), "the receiver notices a theft: refused", found=seen)
    expect(
        seen.get("forged_path") == "sys/wrapping/wrap",
        "and a forgery: it comes from sys/wrapping/wrap",
        found=seen,
    )
    path = "sys/wrapping/unwrap"
    opened, refused = len(lab.audit.responses(path)), lab.audit.refusals(path)
    expect(
        opened and refused,
        "Vault's audit log has unwraps that worked and unwraps that came too late",
        found={"opened": opened, "refused": refused},
    )
