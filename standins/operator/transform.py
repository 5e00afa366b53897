"""From Vault's answer to the data of a Kubernetes Secret.

`gather` collects a destination's templates and filters, with those of the SecretTransformations
it refers to; `build` applies them. Rendered keys win over Vault's, filters touch only Vault's
(excludes first, then includes), and `_raw` holds the whole answer unless it is excluded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from standins.common import gojson
from standins.operator import model
from standins.operator.gotemplate import TemplateError, Templates
from standins.operator.model import Obj
from standins.operator.store import Store

RAW = "_raw"


class TransformationRefused(Exception):
    """Templates, filters or the data do not go together. Never quotes a value."""


@dataclass(frozen=True)
class Template:
    """A template and the Secret key it is for ("" for a source that others only call)."""

    key: str
    name: str
    text: str = field(repr=False)


@dataclass
class Transformation:
    """Everything that `build` needs besides the data."""

    templates: list[Template] = field(default_factory=list)
    includes: list[str] = field(default_factory=list)
    excludes: list[str] = field(default_factory=list)
    exclude_raw: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def references(obj: Obj) -> list[tuple[str, str]]:
    """(namespace, name) of the SecretTransformations that a secret's destination uses."""
    block = (model.spec(obj).get("destination") or {}).get("transformation") or {}
    return [
        (ref.get("namespace") or model.namespace(obj), ref.get("name", ""))
        for ref in block.get("transformationRefs") or []
    ]


def gather(obj: Obj, store: Store, *, exclude_raw: bool = False) -> Transformation:
    """The transformation of `obj`'s destination. TransformationRefused lists all faults."""
    block = (model.spec(obj).get("destination") or {}).get("transformation") or {}
    gathered = _Gathered()
    gathered.filters(block)
    own = f"{model.namespace(obj)}/{model.name(obj)}"
    for key, entry in (block.get("templates") or {}).items():
        gathered.add(key, entry.get("name") or f"{own}/{key}", entry.get("text", ""))
    seen: set[tuple[str, str]] = set()
    refs = block.get("transformationRefs") or []
    for where, ref in zip(references(obj), refs, strict=True):
        label = "/".join(where)
        if where in seen:
            gathered.faults.append(f"duplicate SecretTransformation ref {label}")
            continue
        seen.add(where)
        shared = store.get(model.TRANSFORMATION, *where)
        if shared is None:
            gathered.faults.append(f'SecretTransformation.{model.GROUP} "{label}" not found')
        elif not model.status(shared).get("valid"):
            gathered.faults.append(f"{label} is in an invalid state, SecretTransformation")
        else:
            gathered.take(model.spec(shared), ref, label)
    if gathered.faults:
        raise TransformationRefused("\n".join(gathered.faults))
    return Transformation(
        templates=sorted(gathered.templates, key=lambda entry: entry.key + "0" + entry.name),
        includes=sorted(set(gathered.includes)),
        excludes=sorted(set(gathered.excludes)),
        exclude_raw=exclude_raw or bool(block.get("excludeRaw")),
        annotations=model.meta(obj).get("annotations") or {},
        labels=model.meta(obj).get("labels") or {},
    )


class _Gathered:
    def __init__(self) -> None:
        self.templates: list[Template] = []
        self.includes: list[str] = []
        self.excludes: list[str] = []
        self.faults: list[str] = []
        self._names: set[str] = set()

    def filters(self, block: Mapping[str, Any], ref: Mapping[str, Any] | None = None) -> None:
        if not (ref or {}).get("ignoreExcludes"):
            self.excludes += block.get("excludes") or []
        if not (ref or {}).get("ignoreIncludes"):
            self.includes += block.get("includes") or []

    def add(self, key: str, name: str, text: str) -> None:
        if name in self._names:
            self.faults.append(f'duplicate template name "{name}"')
            return
        self._names.add(name)
        self.templates.append(Template(key, name, text))

    def take(self, spec: Mapping[str, Any], ref: Mapping[str, Any], label: str) -> None:
        """What one SecretTransformation contributes."""
        self.filters(spec, ref)
        templates = spec.get("templates") or {}
        chosen = ref.get("templateRefs") or []
        for entry in chosen:
            name = entry.get("name", "")
            if name not in templates:
                self.faults.append(
                    f'template "{name}" not found in object {label}, SecretTransformation'
                )
                continue
            found = templates[name]
            self.add(
                entry.get("keyOverride") or name,
                found.get("name") or f"{label}/{name}",
                found.get("text", ""),
            )
        for at, source in enumerate(spec.get("sourceTemplates") or []):
            self.add("", source.get("name") or f"{label}/{at}", source.get("text", ""))
        if not chosen:
            for key, entry in templates.items():
                if key not in self._names:
                    self.add(key, entry.get("name") or f"{label}/{key}", entry.get("text", ""))


def check(spec: Mapping[str, Any], label: str) -> list[str]:
    """The faults of a SecretTransformation by itself: names, template syntax, patterns."""
    gathered = _Gathered()
    gathered.take(spec, {}, label)
    faults = list(gathered.faults)
    for template in gathered.templates:
        try:
            Templates().add(template.name, template.text)
        except TemplateError as error:
            faults.append(str(error))
    for pattern in [*(spec.get("includes") or []), *(spec.get("excludes") or [])]:
        try:
            re.compile(pattern)
        except re.error as error:
            faults.append(f"pattern {pattern!r}: {error.msg}")
    return faults


def _matches(patterns: list[str], key: str) -> bool:
    return any(re.search(pattern, key) for pattern in patterns)


def filtered(transformation: Transformation, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` without the excluded keys and, if there are includes, only with those."""
    try:
        return {
            key: value
            for key, value in values.items()
            if not _matches(transformation.excludes, key)
            and (not transformation.includes or _matches(transformation.includes, key))
        }
    except re.error as error:
        raise TransformationRefused(f"pattern {error.pattern!r}: {error.msg}") from error


def _bytes(value: Any) -> bytes:
    plain = isinstance(value, str) and not isinstance(value, gojson.Number)
    return (value if plain else gojson.dumps(value)).encode()


def build(
    values: Mapping[str, Any], answer: Mapping[str, Any], transformation: Transformation
) -> dict[str, bytes]:
    """The Secret's data from Vault's `values`; `answer` is what `_raw` holds.

    For KV v2 `values` is the inner `data`, `answer` holds `data` and `metadata`.
    """
    rendered = _render(values, answer, transformation)
    result: dict[str, bytes] = {}
    if not transformation.exclude_raw:
        if RAW in values or RAW in rendered:
            raise TransformationRefused(f"key '{RAW}' not permitted in Secret data")
        result[RAW] = gojson.dumps(answer).encode()
    for key, value in filtered(transformation, values).items():
        result[key] = _bytes(value)
    return result | rendered


def _render(
    values: Mapping[str, Any], answer: Mapping[str, Any], transformation: Transformation
) -> dict[str, bytes]:
    if not transformation.templates:
        return {}
    metadata = answer.get("metadata")
    data = {
        "Secrets": dict(values),
        "Metadata": metadata if isinstance(metadata, dict) else {},
        "Annotations": dict(transformation.annotations),
        "Labels": dict(transformation.labels),
        "WrapData": {},
    }
    templates = Templates()
    try:
        for entry in transformation.templates:
            templates.add(entry.name, entry.text)
        return {
            entry.key: templates.render(entry.name, data).encode()
            for entry in transformation.templates
            if entry.key
        }
    except TemplateError as error:
        raise TransformationRefused(str(error)) from error
