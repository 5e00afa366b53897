"""The template language against what Go itself printed, and its own promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from standins.common import gojson
from standins.operator.gotemplate import TemplateError, Templates

GOLDEN = json.loads(Path(__file__).with_name("go_templates.json").read_text())
DATA: dict[str, Any] = gojson.loads(json.dumps(GOLDEN["data"])) | {"WrapData": None}
# README.md names these two: Go writes its complaint into the output, here it is an error.
STRICTER = ('{{ "!!" | b64dec }}', '{{ printf "%d" .Secrets.user }}')


def render(source: str, data: dict[str, Any] = DATA) -> str:
    templates = Templates()
    templates.add("t", source)
    return templates.render("t", data)


@pytest.mark.parametrize(("source", "expected"), GOLDEN["cases"], ids=range(len(GOLDEN["cases"])))
def test_as_go_prints_it(source: str, expected: str | None) -> None:
    if expected is None or source in STRICTER:
        with pytest.raises(TemplateError):
            render(source)
    else:
        assert render(source) == expected


def test_the_golden_data_holds_both_results() -> None:
    results = [expected for _, expected in GOLDEN["cases"]]
    assert results.count(None) >= 15
    assert len(results) - results.count(None) >= 60


@pytest.mark.parametrize(
    "source",
    [
        '{{ .Secrets.password | printf "%d" }}',
        "{{ range .Secrets.password }}{{ end }}",
        "{{ .Secrets.password.x }}",
        "{{ mustFromJson .Secrets.password }}",
        "{{ b64dec .Secrets.password }}",
        "{{ index .Secrets.password .Secrets.password }}",
        "{{ chunk .Secrets.password .Secrets.tags }}",
        '{{ regexMatch .Secrets.password "x" | fail }}',
    ],
)
def test_errors_never_quote_a_value(source: str) -> None:
    canary = "c4n4ry(["
    data = {**DATA, "Secrets": {**DATA["Secrets"], "password": canary}}
    with pytest.raises(TemplateError) as caught:
        render(source, data)
    assert canary not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_error_names_template_and_line() -> None:
    with pytest.raises(TemplateError, match=r"template: t:3: function \"nosuch\" not defined"):
        render("a\n{{ 1 }}\n{{ nosuch }}")


def test_templates_call_one_another() -> None:
    templates = Templates()
    templates.add("host", "{{ . }}.svc")
    templates.add("url", 'https://{{ template "host" .Secrets.user }}')
    assert templates.render("url", DATA) == "https://app.svc"


def test_a_template_without_end_is_stopped() -> None:
    templates = Templates()
    templates.add("loop", '{{ template "loop" . }}')
    with pytest.raises(TemplateError, match="calls itself too deeply"):
        templates.render("loop", DATA)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": 1, "a": [True, None]}, '{"a":[true,null],"b":1}'),
        ("<&>\u2028", '"\\u003c\\u0026\\u003e\\u2028"'),
        (b"hi", '"aGk="'),
        (gojson.Number("1.50"), "1.50"),
        (1e21, "1e+21"),
        (1e-7, "1e-7"),
        (0.5, "0.5"),
        (123456789.0, "123456789"),
    ],
)
def test_json_as_go_writes_it(value: Any, expected: str) -> None:
    assert gojson.dumps(value) == expected


def test_number_literals_survive() -> None:
    text = '{"big":12345678901234567890,"float":1.500,"power":1e3}'
    assert gojson.dumps(gojson.loads(text)) == text
