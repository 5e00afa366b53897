"""Random reviews: each is answered with JSON, and no pod that asks goes in without an agent."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest

from standins.common import values
from standins.injector import review
from standins.injector.annotations import ANNOTATIONS, PREFIX
from tests.standins import mutations
from tests.standins.injector.support import ASKING, SETTINGS, a_pod, a_review, apply_patch

PARTS = 4
SECRET = "canary-of-the-fuzzer"
PATCHES = (
    {"op": "add", "path": "/env/-", "value": {"name": "A", "value": "1"}},
    {"op": "replace", "path": "/imagePullPolicy", "value": "Always"},
    {"op": "test", "path": "/name", "value": "vault-agent"},
    {"op": "copy", "from": "/env/0", "path": "/env/-"},
    {"op": "move", "from": "/image", "path": "/workingDir"},
    {"op": "remove", "path": "/args/0"},
    {"op": "add", "path": "/securityContext/runAsUser", "value": 7},
    {"op": "add", "path": "/resources/limits/cpu", "value": 1},
)
WORDS = ("true", "false", "1", "5s", "app", "250m", "/vault/x", "json", '["a"]', "0x1p-2", "NaN")


def asking_pod(chance: random.Random) -> dict[str, Any]:
    """A pod that asks for an agent, with some more annotations and a secret of its own."""
    given = dict(ASKING)
    for name in chance.sample(list(ANNOTATIONS), chance.randint(0, 4)):
        if name != "agent-inject-status":
            given[name + "db" if name.endswith("-") else name] = chance.choice(WORDS)
    patch = chance.sample(PATCHES, chance.randint(1, 3))
    if chance.random() < 0.5:
        given["agent-json-patch"] = mutations.changed_json(patch, chance)
    pod = a_pod({PREFIX + name: value for name, value in given.items()})
    pod["spec"]["containers"][0]["env"] = [{"name": "PASSWORD", "value": SECRET}]
    return pod


def wants_an_agent(body: bytes) -> bool:
    """Whether the pod in a review asks for an agent, read without the injector."""
    request = json.loads(body)["request"]
    pod = request["object"]
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    phase = (pod.get("status") or {}).get("phase")
    return (
        annotations.get(PREFIX + "agent-inject") in values.TRUE
        and annotations.get(PREFIX + "agent-inject-status") != "injected"
        and phase in (None, "", "Pending")
    )


def no_constant(name: str) -> Any:
    """JSON has none of the constants that Python's reader takes."""
    raise AssertionError(f"the answer holds {name}")


@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(PARTS))
def test_reviews_at_random(part: int, caplog: pytest.LogCaptureFixture) -> None:
    chance = mutations.chances(str(part))
    decided = injected = 0
    errors = []
    for _ in mutations.rounds(PARTS):
        question = a_review(asking_pod(chance))
        text = json.dumps(question)
        if chance.random() < 0.8:
            text = mutations.changed_json(question, chance)
        body = text.encode("utf-8", "surrogatepass")
        if chance.random() < 0.1:
            body = mutations.changed_bytes(body, chance)
        try:
            decision = review.answer(body, SETTINGS)
        except review.ReviewError as error:
            errors.append(str(error))
            continue
        decided += 1
        answer = json.loads(decision.body, parse_constant=no_constant)
        response = answer["response"]
        message = str(response.get("status", {}).get("message", ""))
        assert SECRET not in message
        assert "internal error" not in message
        assert isinstance(response["uid"], str)
        assert response["allowed"] is not bool(message)
        if response["allowed"] and wants_an_agent(body):
            patch = json.loads(base64.b64decode(response["patch"]), parse_constant=no_constant)
            pod = apply_patch(json.loads(body)["request"]["object"], patch)
            assert pod["metadata"]["annotations"][PREFIX + "agent-inject-status"] == "injected"
            injected += 1
        elif response["allowed"]:
            assert "patch" not in response
    total = decided + len(errors)
    assert decided > total // 5
    assert injected > total // 25
    assert SECRET not in caplog.text + "".join(errors)
