"""The lab kit: what it sends to Vault and to the cluster, and what its checks find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import CheckFailed
from harness.base.redact import Secret
from harness.lab.context import LabContext
from harness.lab.kit import kubernetes_auth
from harness.lab.kit.drawing import ALARM, Arrow, draw_sequence
from harness.lab.steps import listening
from tests.fakes import toylab


class Answer:
    """As much of a response as the kit looks at."""

    def __init__(self, status: int, **body: Any) -> None:
        self.status_code = status
        self.text = str(body)
        self._body = body

    def json(self) -> Any:
        return self._body


class Recorder:
    """Stands for VaultHTTP: writes are kept by path, a login answers as `login` says."""

    def __init__(self) -> None:
        self.written: dict[str, Any] = {}
        self.revoked: list[str] = []
        self.login = Answer(200, auth={"client_token": "hvs.a-token-of-a-test"})

    def post(self, path: str, json: Any = None, token: str = "", **_: Any) -> Answer:
        if path.endswith("/login"):
            return self.login
        if path.endswith("/revoke-self"):
            self.revoked.append(token)
        self.written[path] = json
        return Answer(204)

    def get(self, path: str, **_: Any) -> Answer:
        found = self.written.get(path)
        return Answer(200, data=found) if found else Answer(404)


class Cluster:
    """Stands for Kube: makes tokens that say what was asked for."""

    def create_token(self, account: str, audience: str = "", seconds: int = 600) -> Secret:
        return Secret(f"token-of-{account}-for-{audience}-{seconds}")


@pytest.fixture
def lab(tmp_path: Path) -> LabContext:
    context = LabContext(toylab.access(tmp_path), toylab.toy)
    context.__dict__.update(http=Recorder(), kube=Cluster())
    return context


def written(lab: LabContext) -> dict[str, Any]:
    found: dict[str, Any] = lab.http.written  # type: ignore[attr-defined] # the recorder above
    return found


def make_role(lab: LabContext, policies: list[str]) -> None:
    written(lab)["/v1/auth/lab90-kubernetes/role/app"] = {
        "bound_service_account_names": ["app"],
        "bound_service_account_namespaces": ["lab90"],
        "audience": "vault",
        "token_policies": policies,
    }


def test_a_role_that_is_as_it_should_be_is_what_the_check_expects(lab: LabContext) -> None:
    policies = ["lab90-a", "lab90-b"]
    make_role(lab, policies)
    heard: list[str] = []
    with listening(heard.append):
        # Vault may give the names back in another order.
        kubernetes_auth.expect_role(lab, "app", policies=policies[::-1])
    assert "the role app has audience = vault" in heard


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bound_service_account_names", ["*"]),
        ("bound_service_account_namespaces", ["lab90", "other"]),
        ("audience", ""),
        ("token_policies", []),
    ],
)
def test_a_role_that_grants_other_things_is_named_by_its_field(
    lab: LabContext, field: str, value: object
) -> None:
    with pytest.raises(CheckFailed, match="lab90-kubernetes has a role app"):
        kubernetes_auth.expect_role(lab, "app", policies=["lab90-a"])
    make_role(lab, ["lab90-a"])
    written(lab)["/v1/auth/lab90-kubernetes/role/app"][field] = value
    with pytest.raises(CheckFailed, match=f"the role app has {field} ="):
        kubernetes_auth.expect_role(lab, "app", policies=["lab90-a"])


def test_a_login_of_a_check_leaves_no_token_behind(lab: LabContext) -> None:
    recorder: Any = lab.http
    with pytest.raises(CheckFailed, match="it may read"), kubernetes_auth.logged_in(lab, "app"):
        raise CheckFailed("not yet true: it may read")
    assert recorder.revoked == ["hvs.a-token-of-a-test"]
    recorder.login = Answer(403, errors=["permission denied"])
    with (
        pytest.raises(CheckFailed, match="a token of the service account app logs in"),
        kubernetes_auth.logged_in(lab, "app"),
    ):
        pytest.fail("nobody is logged in")


def test_a_drawing_is_a_picture_that_grows_with_its_rows(tmp_path: Path) -> None:
    arrows = [Arrow(0, 1, "a request"), Arrow(1, 0, "refused", ALARM)]
    small = draw_sequence(("pod", "Vault"), arrows, "One", tmp_path / "small.png")
    large = draw_sequence(("pod", "Vault"), arrows * 5, "Five", tmp_path / "large.png")
    heights = []
    for file in (small, large):
        content = file.read_bytes()
        assert content.startswith(b"\x89PNG")
        # Width and height are in the first chunk, IHDR (PNG specification, 11.2.1).
        heights.append(int.from_bytes(content[20:24]))
    assert heights[1] > heights[0] + 8 * 50
