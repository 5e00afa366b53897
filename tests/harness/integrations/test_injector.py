"""The injector's integration: what it applies, when it counts as rolled out, what it proves."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from harness.base.errors import GaveUp
from harness.clients.kube import Kube, KubeRefused, Object
from harness.integrations import InstallContext, find, injector, parts_of
from harness.servers.flavours import FLAVOURS
from harness.supply.base import Provided, all_parts

ADDRESS = "https://vault.vault.svc:8200"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nmade up\n-----END CERTIFICATE-----\n"
IMAGES = {
    "standins": "kube-vault-labs/standins:7",
    "vault": "docker.io/hashicorp/vault:1.19.5",
    "injector": "docker.io/hashicorp/vault-k8s:1.7.6",
}


def context(
    folder: Path, *, certificate: str = CERTIFICATE, digest: str = "sha256:1"
) -> InstallContext:
    """An environment with a CA and images; it has no cluster."""
    ca = folder / "ca.crt"
    ca.write_text(certificate)
    provided = {
        part: Provided(part, "1", "here", upstream=True, digest=digest, image=image)
        for part, image in IMAGES.items()
    }
    return InstallContext(
        environment="test",
        folder=folder / "injector",
        network="none",
        labels={},
        kube=lambda _namespace: cast(Kube, None),
        kubeconfig=folder / "kubeconfig",
        provided=provided,
        flavour=FLAVOURS["vault"],
        new_vault=False,
        vault_ca=ca,
        vault_pod_addr=ADDRESS,
    )


def one(kind: str, found: list[Object]) -> Object:
    """The only object of this kind."""
    (only,) = [document for document in found if document["kind"] == kind]
    return only


def test_it_is_known_and_its_parts_exist() -> None:
    assert find("injector").name == "injector"
    assert parts_of(["injector"]) == ["standins", "vault"]
    assert set(parts_of(["injector"], upstream=True)) <= set(all_parts())
    # The image of the server is not for pods unless somebody's agents run it.
    assert "vault" in find("injector").pod_images


def test_stand_in_gets_this_environments_settings(tmp_path: Path) -> None:
    found = injector.manifests(context(tmp_path))
    told = one("ConfigMap", found)["data"]
    assert told["AGENT_INJECT_VAULT_ADDR"] == ADDRESS
    assert told["AGENT_INJECT_VAULT_CACERT_BYTES"] == CERTIFICATE
    assert told["AGENT_INJECT_VAULT_IMAGE"] == IMAGES["vault"]
    spec = one("Deployment", found)["spec"]["template"]["spec"]
    assert [container["image"] for container in spec["containers"]] == [IMAGES["standins"]]


def test_the_webhook_comes_after_whoever_answers_it(tmp_path: Path) -> None:
    kinds = [document["kind"] for document in injector.manifests(context(tmp_path))]
    assert kinds[0] == "Namespace"
    assert kinds[-1] == "MutatingWebhookConfiguration"


def test_pods_are_replaced_when_and_only_when_something_changed(tmp_path: Path) -> None:
    def template(**changed: str) -> Any:
        return one("Deployment", injector.manifests(context(tmp_path, **changed)))["spec"][
            "template"
        ]

    assert template() == template()
    assert template(certificate="another") != template()
    assert template(digest="sha256:2") != template()


def test_chart_gives_the_names_that_the_stand_in_has(tmp_path: Path) -> None:
    values = injector.chart_values(context(tmp_path))
    told = values["injector"]
    assert f"{values['fullnameOverride']}-agent-injector" == injector.DEPLOYMENT
    assert values["global"]["externalVaultAddr"] == ADDRESS
    assert told["agentImage"] == {"repository": "docker.io/hashicorp/vault", "tag": "1.19.5"}
    assert told["image"]["repository"] == "docker.io/hashicorp/vault-k8s"
    assert told["extraEnvironmentVars"]["AGENT_INJECT_VAULT_CACERT_BYTES"] == CERTIFICATE
    assert not values["server"]["enabled"]
    assert not values["csi"]["enabled"]


def deployment(**status: int) -> Object:
    """A Deployment of two replicas, at its third version."""
    whole = {"observedGeneration": 3, "updatedReplicas": 2, "availableReplicas": 2}
    return {
        "metadata": {"generation": 3},
        "spec": {"replicas": 2},
        "status": whole | status,
    }


@pytest.mark.parametrize(
    ("found", "pods", "done"),
    [
        (None, 0, False),
        (deployment(), 2, True),
        (deployment(), 3, False),  # an older pod still serves, with older settings
        (deployment(observedGeneration=2), 2, False),
        (deployment(updatedReplicas=1), 2, False),
        (deployment(availableReplicas=1), 2, False),
        ({**deployment(), "spec": {"replicas": 0}, "status": {"observedGeneration": 3}}, 0, False),
    ],
)
def test_rolled_out(found: Object | None, pods: int, done: bool) -> None:
    assert injector.rolled_out(found, [{}] * pods) is done


class FakeKube:
    """Answers dry runs from a list; the last answer stays."""

    def __init__(self, *answers: Object | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[Object] = []

    def would_create(self, body: Object) -> Object:
        self.asked.append(body)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def stored(*containers: tuple[str, str]) -> Object:
    """A pod with these containers (name, image)."""
    return {"spec": {"containers": [{"name": n, "image": i} for n, i in containers]}}


PLAIN = stored(("app", "trial"))
WITH_AGENT = stored(("app", "trial"), ("vault-agent", IMAGES["vault"]))
OTHER_AGENT = stored(("app", "trial"), ("vault-agent", "hashicorp/vault:2.0.4"))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits are over after the first look that fails."""
    monkeypatch.setattr(injector, "READY_SECONDS", 0.0)


def prove(kube: FakeKube) -> None:
    injector._prove(cast(Kube, kube), IMAGES["vault"])


def test_proof_asks_what_would_be_created() -> None:
    kube = FakeKube(WITH_AGENT)
    prove(kube)
    assert kube.asked == [injector.trial_pod()]


def test_proof_waits_for_the_agent_of_this_environment() -> None:
    kube = FakeKube(PLAIN, KubeRefused("create", 500, "webhook"), OTHER_AGENT, WITH_AGENT)
    prove(kube)
    assert len(kube.asked) == 4


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("answer", [PLAIN, OTHER_AGENT])
def test_proof_fails_without_the_right_agent(answer: Object) -> None:
    with pytest.raises(GaveUp, match="a pod that asks for an agent to get one"):
        prove(FakeKube(answer))


@pytest.mark.usefixtures("impatient")
def test_proof_tells_why_it_was_denied() -> None:
    denied = KubeRefused("create", 400, "denied: no Vault address found")
    with pytest.raises(GaveUp, match="no Vault address found"):
        prove(FakeKube(denied))
