"""The lab kit: what it sends to Vault and to the cluster, and what its checks find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import CheckFailed
from harness.base.redact import Secret
from harness.lab.context import LabContext
from harness.lab.kit import jwt_auth, kubernetes_auth
from harness.lab.kit.drawing import ALARM, Arrow, draw_sequence
from harness.lab.steps import listening
from tests.fakes import toylab

CA = "-----BEGIN CERTIFICATE-----\nthe cluster's\n-----END CERTIFICATE-----\n"


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
    """Stands for Kube: keeps what is applied, makes tokens that say what was asked for."""

    def __init__(self) -> None:
        self.applied: list[Any] = []

    def apply(self, manifest: Any) -> None:
        self.applied.append(manifest)

    def ca_certificate(self) -> str:
        return CA

    def create_token(self, account: str, audience: str = "", seconds: int = 600) -> Secret:
        return Secret(f"token-of-{account}-for-{audience}-{seconds}")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabContext:
    context = LabContext(toylab.access(tmp_path), toylab.toy)
    context.__dict__.update(http=Recorder(), kube=Cluster())
    monkeypatch.setattr(LabContext, "run", lambda *_, **__: '{"issuer": "https://the-cluster"}')
    return context


def written(lab: LabContext) -> dict[str, Any]:
    found: dict[str, Any] = lab.http.written  # type: ignore[attr-defined] # the recorder above
    return found


def applied(lab: LabContext) -> list[Any]:
    found: list[Any] = lab.kube.applied  # type: ignore[attr-defined] # the cluster above
    return found


def test_the_method_asks_the_cluster_with_a_reviewer_of_the_labs_own(lab: LabContext) -> None:
    kubernetes_auth.trust_cluster(lab)
    assert written(lab)["/v1/sys/auth/lab90-kubernetes"] == {"type": "kubernetes"}
    config = written(lab)["/v1/auth/lab90-kubernetes/config"]
    assert config["kubernetes_ca_cert"] == CA
    assert config["token_reviewer_jwt"] == "token-of-reviewer-for--86400"
    account, binding = applied(lab)
    assert account["metadata"] == {"name": "reviewer"}
    assert binding["metadata"]["name"] == "lab90-reviewer"
    assert binding["roleRef"]["name"] == "system:auth-delegator"
    assert binding["subjects"][0]["namespace"] == "lab90"


def test_a_role_that_was_made_is_what_the_check_expects(lab: LabContext) -> None:
    policies = ["lab90-a", "lab90-b"]
    kubernetes_auth.make_role(lab, "app", policies=policies, ttl="5m", max_ttl="1h")
    role = written(lab)["/v1/auth/lab90-kubernetes/role/app"]
    assert (role["token_ttl"], role["token_max_ttl"]) == ("5m", "1h")
    assert role["bound_service_account_namespaces"] == ["lab90"]
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
    kubernetes_auth.make_role(lab, "app", policies=["lab90-a"])
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


def test_the_jwt_method_can_be_set_up_in_another_vault(lab: LabContext) -> None:
    other: Any = Recorder()
    jwt_auth.trust_issuer(lab, other)
    jwt_auth.make_role(lab, "shop", policies=["lab90-pay"], account="shop", ttl="1h", vault=other)
    assert written(lab) == {}
    assert other.written["/v1/auth/lab90-jwt/config"]["bound_issuer"] == "https://the-cluster"
    role = other.written["/v1/auth/lab90-jwt/role/shop"]
    assert role["bound_subject"] == "system:serviceaccount:lab90:shop"
    assert role["bound_audiences"] == ["vault"]
    (binding,) = applied(lab)
    assert binding["subjects"][0]["name"] == "system:unauthenticated"


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
