"""Templates, filters, SecretTransformations and destinations that change."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from standins.operator import model, transform
from standins.operator.gotemplate import TemplateEngine
from standins.operator.model import Reason
from standins.operator.store import Store
from tests.standins.operator.world import APP, play, world

pytestmark = pytest.mark.usefixtures("gotemplate")

VSS = model.STATIC
VALUES = {"user": "ada", "password": "p", "port": "1"}


def build(
    values: dict[str, Any], answer: dict[str, Any], transformation: transform.Transformation
) -> dict[str, bytes]:
    async def scene() -> dict[str, bytes]:
        engine = TemplateEngine()
        try:
            return await transform.build(engine, values, answer, transformation)
        finally:
            await engine.close()

    return asyncio.run(scene())


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({}, {"user", "password", "port"}),
        ({"excludes": ["^p"]}, {"user"}),
        ({"includes": ["^p"]}, {"password", "port"}),
        ({"includes": ["^p"], "excludes": ["word$"]}, {"port"}),
        ({"excludes": [".*"], "templates": {"url": {"text": "{{ .Secrets.user }}@db"}}}, {"url"}),
    ],
)
def test_filters_touch_vaults_keys_only(block: dict[str, Any], expected: set[str]) -> None:
    obj = {
        "metadata": {"namespace": "a", "name": "b"},
        "spec": {"destination": {"transformation": {**block, "excludeRaw": True}}},
    }
    gathered = transform.gather(obj, Store())
    assert set(build(VALUES, VALUES, gathered)) == expected


def test_a_rendered_key_wins_over_the_source() -> None:
    obj = {
        "metadata": {"namespace": "a", "name": "b", "labels": {"app": "web"}},
        "spec": {
            "destination": {
                "transformation": {
                    "templates": {"user": {"text": "{{ .Labels.app }}-{{ .Metadata.version }}"}}
                }
            }
        },
    }
    gathered = transform.gather(obj, Store())
    answer = {"data": VALUES, "metadata": {"version": 3}}
    built = build(VALUES, answer, gathered)
    assert built["user"] == b"web-3"
    assert b'"user":"ada"' in built["_raw"]


def test_raw_is_reserved() -> None:
    with pytest.raises(transform.TransformationRefused, match="'_raw' not permitted"):
        build({"_raw": "x"}, {}, transform.Transformation())
    allowed = build({"_raw": "x"}, {}, transform.Transformation(exclude_raw=True))
    assert allowed == {"_raw": b"x"}


def test_a_shared_transformation_reaches_its_users() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", VALUES)
            ref = {"name": "urls", "templateRefs": [{"name": "dsn", "keyOverride": "DSN"}]}
            w.static(destination={"transformation": {"transformationRefs": [ref]}})
            await w.run(VSS, "config")
            assert "not found" in w.events.text(Reason.TRANSFORMATION_ERROR)
            w.drain()
            w.make(
                model.TRANSFORMATION,
                "urls",
                {
                    "sourceTemplates": [{"name": "host", "text": '{{ define "h" }}db{{ end }}'}],
                    "templates": {
                        "dsn": {"name": "dsn", "text": '{{ .Secrets.user }}@{{ template "h" }}'},
                        "unused": {"text": "x"},
                    },
                    "excludes": ["^password$"],
                },
            )
            assert not w.queued(VSS, "config"), "not before it is found valid"
            await w.run(VSS, "config")
            assert "invalid state" in w.events.text(Reason.TRANSFORMATION_ERROR)
            await w.run(model.TRANSFORMATION, "urls")
            assert w.queued(VSS, "config")
            await w.run(VSS, "config")
            assert set(w.secret("config")) == {"DSN", "user", "port", "_raw"}
            assert w.secret("config")["DSN"] == "ada@db"
            w.drain()
            w.kube.edit(
                model.TRANSFORMATION, APP, "urls", {"spec": {"templates": {"dsn": {"text": "new"}}}}
            )
            await w.run(model.TRANSFORMATION, "urls")
            assert w.queued(VSS, "config")
            await w.run(VSS, "config")
            assert w.secret("config")["DSN"] == "new"
            w.drain()
            await w.run(model.TRANSFORMATION, "urls")
            assert not w.queued(VSS, "config"), "nothing new"
            broken = {"spec": {"templates": {"dsn": {"text": "{{ nosuch }}"}}}}
            w.kube.edit(model.TRANSFORMATION, APP, "urls", broken)
            await w.run(model.TRANSFORMATION, "urls")
            assert not w.queued(VSS, "config"), "what is invalid reaches nobody at once"

    play(scene)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            {"templates": {"a": {"text": "{{ nosuch }}"}}},
            'parse error: template: apps/t/a:1: function "nosuch" not defined',
        ),
        (
            {"templates": {"a": {"text": "\n{{ .Secrets.my-key }}"}}},
            "parse error: template: apps/t/a:2: bad character U+002D '-'",
        ),
        ({"templates": {"a": {"text": "{{ if }}"}}}, "missing value for if"),
        ({"includes": ["("]}, "error parsing regexp: missing closing ): `(`"),
        (
            {"excludes": ["(?<=x)y"]},
            "error parsing regexp: invalid named capture: `(?<=x)y`",
        ),
        ({"excludes": ["a++"]}, "error parsing regexp: invalid nested repetition operator: `++`"),
        (
            {"sourceTemplates": [{"name": "x", "text": ""}, {"name": "x", "text": ""}]},
            'duplicate template name "x"',
        ),
    ],
)
def test_invalid_transformations(spec: dict[str, Any], text: str) -> None:
    async def scene() -> None:
        async with world() as w:
            w.make(model.TRANSFORMATION, "t", spec)
            await w.run(model.TRANSFORMATION, "t")
            status = w.status(model.TRANSFORMATION, "t")
            assert status["valid"] is False
            assert text in status["error"]
            assert w.events.reasons("t") == [Reason.INVALID_CONFIGURATION]

    play(scene)


def test_a_failing_template_shows_its_name_and_no_secret() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"user": "c4n4ry-value"})
            templates = {"x": {"text": "{{ range .Secrets.user }}{{ end }}"}}
            w.static(destination={"transformation": {"templates": templates}})
            await w.run(VSS, "config")
            text = w.events.text(Reason.DATA_BUILDER_ERROR)
            assert text.endswith(
                'template: apps/config/x:1:17: executing "apps/config/x" at <.Secrets.user>: '
                "range can't iterate over <redacted>"
            )
            assert "c4n4ry" not in str(w.events.all) + str(w.status(VSS, "config"))

    play(scene)


def test_a_changed_type_makes_a_new_secret() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"username": "a", "password": "b"})
            w.static()
            await w.run(VSS, "config")
            uid = model.uid(w.obj("Secret", "config"))
            w.kube.edit(
                VSS, APP, "config", {"spec": {"destination": {"type": "kubernetes.io/basic-auth"}}}
            )
            w.drain()
            await w.run(VSS, "config")
            secret = w.obj("Secret", "config")
            assert secret["type"] == "kubernetes.io/basic-auth"
            assert model.uid(secret) != uid

    play(scene)


def test_a_renamed_destination_leaves_no_orphan() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"v": "one"})
            w.static()
            await w.run(VSS, "config")
            w.kube.add("Secret", APP, {"metadata": {"name": "bystander"}})
            w.kube.edit(VSS, APP, "config", {"spec": {"destination": {"name": "renamed"}}})
            await w.run(VSS, "config")
            names = {name for kind, _, name in w.kube.objects if kind == "Secret"}
            assert {"renamed", "bystander"} <= names
            assert "config" not in names

    play(scene)


def test_own_labels_and_annotations_but_never_the_owners() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"v": "one"})
            w.static(
                destination={
                    "labels": {"team": "red", "app.kubernetes.io/managed-by": "me"},
                    "annotations": {"note": "x"},
                }
            )
            await w.run(VSS, "config")
            meta = w.obj("Secret", "config")["metadata"]
            assert meta["labels"]["team"] == "red"
            assert meta["labels"]["app.kubernetes.io/managed-by"] == "hashicorp-vso"
            assert meta["annotations"] == {"note": "x"}

    play(scene)
