"""The webhook over HTTPS: what it answers to good, bad and hostile requests."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from standins.injector import review, server
from standins.injector.annotations import PREFIX
from standins.injector.plan import Plan
from standins.injector.settings import Settings
from tests.standins.injector.support import (
    ASKING,
    SETTINGS,
    Result,
    a_pod,
    a_review,
    assert_acceptable,
    inject,
    read_answer,
    running,
)

ASKED = {PREFIX + key: value for key, value in ASKING.items()}


def encoded(pod: Any, namespace: str = "shop", version: str = "v1") -> bytes:
    """A review about `pod` as bytes."""
    return json.dumps(a_review(pod, namespace, version)).encode()


def call(body: bytes, kind: str = "application/json") -> tuple[int, bytes]:
    """Status and answer of one call to a server that then still answers a good one."""

    async def both() -> tuple[int, bytes]:
        async with running() as injector:
            answer = await injector.post(body, kind)
            status, good = await injector.post(encoded(a_pod(ASKED)))
            assert status == 200
            assert read_answer(good, a_pod(ASKED)).sidecar
            return answer

    return asyncio.run(both())


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_answer_has_the_version_of_the_question(version: str) -> None:
    pod = a_pod(ASKED)
    status, body = call(encoded(pod, version=version))
    answer = json.loads(body)
    assert status == 200
    assert answer["kind"] == "AdmissionReview"
    assert answer["apiVersion"] == f"admission.k8s.io/{version}"
    assert answer["response"]["uid"] == "705ab4f5-6393-11e8-b7cc-42010a800002"
    result = read_answer(body, pod)
    assert result.allowed
    assert_acceptable(result.pod)


def test_version_that_is_not_set_is_v1() -> None:
    question = a_review(a_pod(ASKED))
    del question["apiVersion"], question["kind"]
    answer = json.loads(review.answer(json.dumps(question).encode(), SETTINGS).body)
    assert answer["apiVersion"] == "admission.k8s.io/v1"
    assert answer["response"]["patch"]


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/json; charset=utf-8", "Application/JSON", ""]
)
def test_content_type_is_exact(kind: str) -> None:
    status, body = call(encoded(a_pod(ASKED)), kind)
    assert status == 400
    assert b"Invalid content-type" in body


def test_empty_body() -> None:
    assert call(b"") == (400, b"Empty request body\n")


UNDECODABLE = {
    "no JSON": b"pod: please",
    "half": b'{"apiVersion": "admission.k8s.io/v1", "kind": "Adm',
    "no object": b"[]",
    "a number": b"42",
    "not UTF-8": b'{"kind": "\xff"}',
    "UTF-16": json.dumps(a_review(a_pod(ASKED))).encode("utf-16"),
    "NaN": b'{"request": NaN}',
    "infinite": b'{"request": 1e999}',
    "digits": b'{"request": ' + b"9" * 10_000 + b"}",
    "deep": b"[" * 200_000,
    "wrong version": encoded(a_pod(ASKED), version="v2"),
    "wrong group": b'{"apiVersion": "v1", "kind": "AdmissionReview", "request": {}}',
    "wrong kind": b'{"apiVersion": "admission.k8s.io/v1", "kind": "Pod", "request": {}}',
    "odd version": b'{"apiVersion": ["admission.k8s.io/v1"], "kind": "AdmissionReview"}',
    "no request": b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}',
    "odd request": b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":7}',
}


@pytest.mark.parametrize("body", UNDECODABLE.values(), ids=UNDECODABLE)
def test_undecodable_is_an_error_and_no_answer(body: bytes) -> None:
    status, text = call(body)
    assert status == 500
    assert b"allowed" not in text
    assert len(text) < 1000


def with_spec(**spec: Any) -> Any:
    """A pod that asks, with parts of its spec replaced."""
    return a_pod(ASKED, **spec)


def nested(depth: int) -> Any:
    """An object of objects."""
    inside: Any = {}
    for _ in range(depth):
        inside = {"a": inside}
    return inside


HOSTILE: dict[str, Any] = {
    "null": None,
    "text": "pod",
    "list": [],
    "metadata list": {"metadata": []},
    "annotations list": {"metadata": {"annotations": ["vault.hashicorp.com/agent-inject"]}},
    "annotation number": {"metadata": {"annotations": {PREFIX + "agent-inject": True}}},
    "spec text": {"metadata": {"annotations": ASKED}, "spec": "x"},
    "status list": {"metadata": {"annotations": ASKED}, "status": []},
    "containers object": with_spec(containers={}),
    "container number": with_spec(containers=[1]),
    "mounts text": with_spec(containers=[{"name": "a", "volumeMounts": "x"}]),
    "mount path number": with_spec(containers=[{"volumeMounts": [{"mountPath": 5}]}]),
    "env object": with_spec(containers=[{"env": {}}]),
    "env value number": with_spec(containers=[{"env": [{"name": "A", "value": 5}]}]),
    "name list": with_spec(containers=[{"name": []}]),
    "uid text": with_spec(containers=[{"securityContext": {"runAsUser": "0"}}]),
    "uid huge": with_spec(containers=[{"securityContext": {"runAsUser": 2**63}}]),
    "uid bool": with_spec(containers=[{"securityContext": {"runAsUser": True}}]),
    "volumes text": with_spec(volumes="x"),
    "volume null": with_spec(volumes=[None]),
    "process namespace text": with_spec(shareProcessNamespace="true"),
    "no containers": with_spec(containers=[]),
    "inject huge": {"metadata": {"annotations": {PREFIX + "agent-inject": "x" * 1_000_000}}},
}


@pytest.mark.parametrize("pod", HOSTILE.values(), ids=HOSTILE)
def test_hostile_pod_is_denied_with_a_reason(pod: Any) -> None:
    response = json.loads(review.answer(encoded(pod), SETTINGS).body)["response"]
    assert response["allowed"] is False
    assert "patch" not in response
    assert 0 < len(response["status"]["message"]) < 1000
    assert "internal error" not in response["status"]["message"]


def test_a_defect_of_ours_denies(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_plan: Plan) -> list[dict[str, Any]]:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(review, "make_patch", broken)
    with caplog.at_level(logging.ERROR):
        result = inject(ASKING)
    assert not result.allowed
    assert "internal error of the injector" in result.message
    assert "a defect" not in result.message
    assert "ZeroDivisionError" in caplog.text


def test_deep_init_container_cannot_crash() -> None:
    pod = a_pod(ASKED | {PREFIX + "agent-init-first": "true"})
    pod["spec"]["initContainers"][0]["x"] = nested(300)
    decision = review.answer(encoded(pod), SETTINGS)
    assert_acceptable(read_answer(decision.body, pod).pod)


@pytest.mark.parametrize("size", [3 * 1024 * 1024, 5 * 1024 * 1024])
def test_huge_review_is_answered(size: int) -> None:
    pod = a_pod(ASKED)
    pod["spec"]["containers"][1]["args"] = ["x" * 1000] * (size // 1000)
    status, body = call(encoded(pod))
    assert status == 200
    assert_acceptable(read_answer(body, pod).pod)


def test_larger_than_any_review_is_refused() -> None:
    async def both() -> tuple[int, int]:
        async with running() as injector:
            body = b"x" * (server.MAX_BODY + 1)
            plain = await injector.post(body)

            async def chunks() -> Any:
                for start in range(0, len(body), 1 << 20):
                    yield body[start : start + (1 << 20)]

            headers = {"Content-Type": "application/json"}
            async with injector.session.post(
                injector.url, data=chunks(), headers=headers
            ) as response:
                return plain[0], response.status

    assert asyncio.run(both()) == (413, 413)


def test_slow_large_bodies_hold_up_no_ordinary_pod() -> None:
    async def check() -> None:
        async with running() as injector:
            held = []
            head = "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            head += f"Content-Length: {server.MAX_BODY}\r\n\r\n{{"
            for _ in range(12):
                _, writer = await asyncio.open_connection(
                    "127.0.0.1",
                    injector.port,
                    ssl=injector.session.connector._ssl,  # type: ignore[union-attr]  # the trust that the session was given
                )
                writer.write(head.encode())
                await writer.drain()
                held.append(writer)
            async with asyncio.timeout(3):
                status, _ = await injector.post(encoded(a_pod(ASKED)))
            assert status == 200
            for writer in held:
                writer.close()

    asyncio.run(check())


def test_body_that_never_ends_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "READ_SECONDS", 0.2)

    async def check() -> int:
        async with running() as injector:
            more = asyncio.Event()

            async def stalled() -> Any:
                yield b"{"
                await more.wait()

            headers = {"Content-Type": "application/json"}
            async with injector.session.post(
                injector.url, data=stalled(), headers=headers
            ) as response:
                more.set()
                return response.status

    assert asyncio.run(check()) == 408


@pytest.mark.parametrize("namespace", ["kube-system", "kube-public"])
def test_system_namespaces(namespace: str) -> None:
    assert inject(ASKING, namespace=namespace).message == (
        "error with request namespace: cannot inject into system namespaces: " + namespace
    )
    assert inject({"agent-inject": "false"}, namespace=namespace).allowed


def test_no_namespace() -> None:
    result = inject(ASKING, namespace="")
    assert result.message == "error adding default annotations: kubernetes namespace required"


@pytest.mark.parametrize(
    ("annotations", "phase"),
    [
        (None, None),
        ({}, None),
        ({PREFIX + "agent-inject": "false"}, None),
        ({PREFIX + "agent-inject": ""}, None),
        ({PREFIX + "role": "app"}, None),
        (ASKED, "Running"),
        (ASKED, "Succeeded"),
        (ASKED | {PREFIX + "agent-inject-status": "injected"}, None),
    ],
)
def test_let_through_untouched(annotations: dict[str, str] | None, phase: str | None) -> None:
    pod = a_pod(annotations)
    if phase:
        pod["status"]["phase"] = phase
    response = json.loads(review.answer(encoded(pod), SETTINGS).body)["response"]
    assert response == {"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": True}


def test_pending_pod_and_other_status_are_injected() -> None:
    pod = a_pod(ASKED | {PREFIX + "agent-inject-status": "again"})
    pod["status"]["phase"] = "Pending"
    assert read_answer(review.answer(encoded(pod), SETTINGS).body, pod).sidecar


def test_typing_errors_are_warned_about() -> None:
    given = {
        "agent-inject-secrets-db": "kv/db",
        "rol": "x",
        "agent-inject-containers": "app, db",
        "agent-copy-volume-mounts": "nope",
        "agent-inject-secret-db": "kv/db",
        "agent-inject-file-db": "db.env",
        "agent-inject-file-bd": "db.env",
        "agent-telemetry-made-up": "1",
    }
    result: Result = inject(ASKING | given)
    assert result.response["warnings"] == [
        "unknown annotation vault.hashicorp.com/agent-inject-secrets-db",
        "unknown annotation vault.hashicorp.com/rol",
        "vault.hashicorp.com/agent-inject-containers names no container of this pod: ' db'",
        "vault.hashicorp.com/agent-copy-volume-mounts names no container of this pod: 'nope'",
        "vault.hashicorp.com/agent-inject-file-bd is for a secret that this pod does not ask for",
        "vault.hashicorp.com/agent-telemetry-made-up is no parameter of the stanza",
    ]
    wrong = inject(ASKING | {"agent-telemetry-statsd-address": "true"}).response["warnings"]
    assert wrong == [
        "vault.hashicorp.com/agent-telemetry-: one value has a wrong type, so that the agents get"
        " no telemetry stanza"
    ]
    assert "warnings" not in inject(ASKING).response


def test_probe_other_paths_and_metrics() -> None:
    async def check() -> None:
        settings = Settings(vault_addr=SETTINGS.vault_addr, telemetry_path="/metrics")
        async with running(settings) as injector:
            base = f"https://127.0.0.1:{injector.port}"
            await injector.post(encoded(a_pod(ASKED)))
            await injector.post(encoded(a_pod({PREFIX + "agent-inject": "true"}), 'a"\nb'))
            statuses = []
            for method, path in (
                ("GET", "/health/ready"),
                ("GET", "/mutate"),
                ("POST", "/health/ready"),
                ("GET", "/"),
                ("POST", "/../mutate/x"),
            ):
                async with injector.session.request(method, base + path) as response:
                    statuses.append(response.status)
            assert statuses == [204, 405, 405, 404, 404]
            async with injector.session.get(base + "/metrics") as response:
                lines = (await response.text()).splitlines()
        name = "vault_agent_injector_"
        both = 'injection_type="init_and_sidecar",namespace="shop"'
        assert f"{name}injections_by_namespace_total{{{both}}} 1" in lines
        assert name + 'failed_injections_by_namespace_total{namespace="a\\"\\nb"} 1' in lines
        assert f"{name}request_processing_duration_ms_count 2" in lines
        assert f"{name}request_queue_length 0" in lines

    asyncio.run(check())


def test_no_metrics_unless_asked_for() -> None:
    async def check() -> int:
        async with running() as injector:
            url = f"https://127.0.0.1:{injector.port}/metrics"
            async with injector.session.get(url) as response:
                return response.status

    assert asyncio.run(check()) == 404
