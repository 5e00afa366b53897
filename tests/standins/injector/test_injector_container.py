"""What a JSON Patch may make of an agent's container: what the API's types can hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from standins.injector import review
from tests.standins.injector.support import ASKING, SETTINGS, Result, a_pod, a_review, inject

DENIED = "error creating patch for agent: "


def patched(path: str, value: str, operation: str = "add") -> Result:
    """A pod whose sidecar is patched; `value` is JSON, or what should be."""
    patch = f'[{{"op": "{operation}", "path": "{path}", "value": {value}}}]'
    return inject(ASKING | {"agent-json-patch": patch})


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_json_lacks_is_denied(value: str) -> None:
    result = patched("/foo", value)
    assert not result.allowed
    assert result.message.startswith("error adding default annotations: error parsing JSON patch")


@pytest.mark.parametrize("value", ["1e999", "-1e999", "9" * 400, '{"a": [1e400]}'])
def test_numbers_beyond_any_float_come_and_go(value: str) -> None:
    # The field is none of a container, so that nothing of it is left.
    result = patched("/foo", value)
    assert result.allowed
    assert "foo" not in result.sidecar


def test_an_answer_that_would_be_no_json_is_a_denial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        review, "make_patch", lambda _plan: [{"op": "add", "path": "/x", "value": float("nan")}]
    )
    body = json.dumps(a_review(a_pod({f"vault.hashicorp.com/{k}": v for k, v in ASKING.items()})))
    response = json.loads(review.answer(body.encode(), SETTINGS).body)["response"]
    assert response["allowed"] is False
    assert "patch" not in response


def test_threshold_that_json_lacks() -> None:
    given = ASKING | {"template-lease-renewal-threshold": "NaN"}
    assert not inject(given).allowed
    own = {"agent-configmap": "mine"}
    assert inject(given | own).allowed == inject(ASKING | own).allowed


@pytest.mark.parametrize(
    ("path", "value", "written"),
    [
        ("/imagePullPolicy", '"Always"', "Always"),
        ("/workingDir", '"/x"', "/x"),
        ("/ports", '[{"containerPort": 80}]', [{"containerPort": 80}]),
        ("/terminationMessagePath", '"<&>"', "<&>"),
        ("/stdin", "false", None),
        ("/tty", "true", True),
        ("/image", "null", None),
        ("/args", '["a", null]', ["a", ""]),
        ("/ImagePullPolicy", '"Never"', None),
    ],
)
def test_replacing_a_field_that_was_absent(path: str, value: str, written: Any) -> None:
    result = patched(path, value, "replace")
    assert result.allowed, result.message
    assert result.sidecar.get(path[1:]) == written


def test_names_are_found_in_any_capitals() -> None:
    assert patched("/ImagePullPolicy", '"Never"').sidecar["imagePullPolicy"] == "Never"


@pytest.mark.parametrize("value", ["1", '"1"', "1.5", '" 1m "', "1e3", '"1Ki"', "0", "null"])
def test_quantities_are_texts_or_numbers(value: str) -> None:
    for result in (
        patched("/resources/limits/cpu", value),
        patched("/env/-", _divided_by(value)),
    ):
        assert result.allowed, result.message
    wanted = "0" if value == "null" else str(json.loads(value)).strip()
    divided = result.sidecar["env"][-1]["valueFrom"]["resourceFieldRef"]["divisor"]
    assert divided in (wanted, value)


@pytest.mark.parametrize("value", ['"abc"', '"5kk"', '""', "true", "[]", "{}", '"1 m"', '"m"'])
def test_what_is_no_quantity_is_denied(value: str) -> None:
    for result in (
        patched("/resources/limits/cpu", value),
        patched("/resources", f'{{"requests": {{"x.io/y": {value}}}}}'),
        patched("/env/-", _divided_by(value)),
    ):
        assert not result.allowed
        assert result.message.startswith((DENIED + "quantities must", DENIED + "unable to parse"))


def _divided_by(divisor: str) -> str:
    reference = f'{{"resource": "limits.cpu", "divisor": {divisor}}}'
    return f'{{"name": "CPUS", "valueFrom": {{"resourceFieldRef": {reference}}}}}'


@pytest.mark.parametrize("port", ["80", '"http"', '"80"', "null", "-1"])
def test_ports_of_probes_are_numbers_or_names(port: str) -> None:
    result = patched("/livenessProbe", f'{{"httpGet": {{"port": {port}}}}}')
    assert result.allowed, result.message
    written = result.sidecar["livenessProbe"]["httpGet"]["port"]
    assert written == (0 if port == "null" else json.loads(port))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "/securityContext/runAsUser",
            "9223372036854775808",
            "json: cannot unmarshal number 9223372036854775808 into Go struct field"
            " SecurityContext.securityContext.runAsUser of type int64",
        ),
        ("/securityContext/runAsUser", "1.0", "json: cannot unmarshal number 1.0 into Go struct"),
        ("/securityContext/runAsUser", "1e3", "json: cannot unmarshal number 1e3 into Go struct"),
        ("/securityContext/runAsUser", '"1"', "json: cannot unmarshal string into Go struct field"),
        ("/securityContext", "[]", "json: cannot unmarshal array into Go struct field"),
        ("/ports", '[{"containerPort": 2147483648}]', "json: cannot unmarshal number 2147483648"),
        ("/livenessProbe", '{"httpGet": {"port": 1.5}}', "json: cannot unmarshal number 1.5"),
        ("/livenessProbe", '{"httpGet": {"port": 2147483648}}', "json: cannot unmarshal number"),
        ("/stdin", "0", "json: cannot unmarshal number into Go struct field Container.stdin of"),
        ("/stdin", '"true"', "json: cannot unmarshal string into Go struct field Container.stdin"),
        ("/image", "5", "json: cannot unmarshal number into Go struct field Container.image of"),
        ("/command", '"x"', "json: cannot unmarshal string into Go struct field Container.command"),
        ("/env", "{}", "json: cannot unmarshal object into Go struct field Container.env of type"),
        ("/env/-", '"x"', "json: cannot unmarshal string into Go struct field Container.env of"),
    ],
)
def test_values_of_another_type_are_denied(path: str, value: str, message: str) -> None:
    result = patched(path, value)
    assert not result.allowed
    assert result.message.startswith(DENIED + message), result.message


@pytest.mark.parametrize("which", ["agent-json-patch", "agent-init-json-patch"])
def test_both_agents_are_patched(which: str) -> None:
    patch = '[{"op": "add", "path": "/securityContext/runAsUser", "value": 0}]'
    result = inject(ASKING | {which: patch})
    changed, other = (
        (result.sidecar, result.init)
        if which == "agent-json-patch"
        else (result.init, result.sidecar)
    )
    assert changed["securityContext"]["runAsUser"] == 0
    assert other["securityContext"]["runAsUser"] == 100
