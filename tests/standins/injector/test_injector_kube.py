"""What the injector reads and writes in the cluster: the CA bundle and the shared pair."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from standins.common.election import Election
from standins.common.kube import KubeError
from standins.injector.certificates import Authority
from standins.injector.keeper import AutoKeeper
from standins.injector.kube import CERT_SECRET, LABELS, LEASE
from tests.standins.injector.memory_cluster import CONFIG, NAMESPACE, InjectorCluster

CONFIGS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


def against(check: Callable[[InjectorCluster], Coroutine[Any, Any, None]]) -> InjectorCluster:
    """Run `check` against a cluster and give the cluster back."""
    cluster = InjectorCluster()
    asyncio.run(check(cluster))
    return cluster


def test_bundle_goes_into_every_webhook() -> None:
    async def check(cluster: InjectorCluster) -> None:
        cluster.configure(None, b"\n")
        view = cluster.view
        seen = await view.webhooks(CONFIG)
        assert seen
        assert seen.bundles == (b"", b"\n")
        await view.publish(CONFIG, seen, b"PEM")
        with pytest.raises(KubeError) as lost:
            await view.publish(CONFIG, seen, b"OTHER")
        assert lost.value.status == 422
        again = await view.webhooks(CONFIG)
        assert again
        assert again.bundles == (b"PEM", b"PEM")
        assert await view.webhooks("none") is None
        with pytest.raises(KubeError) as gone:
            await view.publish("none", seen, b"PEM")
        assert gone.value.not_found

    cluster = against(check)
    assert cluster.hooks[0]["clientConfig"] == {
        "service": {},
        "caBundle": base64.b64encode(b"PEM").decode(),
    }
    assert f"PATCH {CONFIGS}/{CONFIG}" in cluster.requests


def test_pair_is_shared_through_the_secret() -> None:
    pair, other = (Authority().issue(["a"]) for _ in range(2))

    async def check(cluster: InjectorCluster) -> None:
        view = cluster.view
        assert await view.shared_pair() is None
        await view.share(pair, None)
        with pytest.raises(KubeError) as caught:
            await view.share(other, None)
        assert caught.value.conflict
        seen = await view.shared_pair()
        assert seen
        assert seen.pair == pair
        await view.share(other, seen)
        with pytest.raises(KubeError) as caught:
            await view.share(pair, seen)
        assert caught.value.conflict
        assert base64.b64encode(pair.key).decode() not in str(caught.value)

    cluster = against(check)
    assert cluster.shared == other
    stored = cluster.objects["Secret", NAMESPACE, CERT_SECRET]
    assert set(stored["data"]) == {"cert", "key"}
    assert (
        stored["metadata"]["labels"]
        == LABELS
        == {"app.kubernetes.io/managed-by": "kube-vault-labs"}
    )


@pytest.mark.parametrize("data", [None, {}, {"cert": "%", "key": 5}, {"cert": "QQ==", "key": ""}])
def test_secret_without_a_usable_pair(data: Any) -> None:
    async def check(cluster: InjectorCluster) -> None:
        cluster.add("Secret", NAMESPACE, {"metadata": {"name": CERT_SECRET}, "data": data})
        found = await cluster.view.shared_pair()
        assert found
        assert found.pair is None

    against(check)


def test_two_keepers_share_and_hand_over() -> None:
    async def check(cluster: InjectorCluster) -> None:
        keepers = [
            AutoKeeper(
                cluster.view,
                ["a"],
                webhook=CONFIG,
                election=Election(cluster, NAMESPACE, LEASE, name, labels=LABELS),
                settle=0,
            )
            for name in ("one", "two")
        ]
        pairs = [await keeper.round() for keeper in keepers]
        assert pairs[0]
        assert pairs[0] == pairs[1]
        await keepers[0].end()
        taken_over = await keepers[1].round()
        assert taken_over
        assert taken_over != pairs[0]
        assert cluster.lease["holderIdentity"] == "two"

    against(check)


def test_no_rights_leave_what_is_served() -> None:
    async def check(cluster: InjectorCluster) -> None:
        election = Election(cluster, NAMESPACE, LEASE, "one")
        keeper = AutoKeeper(cluster.view, ["a"], webhook=CONFIG, election=election, settle=0)
        served = await keeper.round()
        for kind in ("Secret", "MutatingWebhookConfiguration", "Lease"):
            cluster.failures["get", kind] = (403, f"{kind} is forbidden")
            assert await keeper.round() == served

    against(check)
