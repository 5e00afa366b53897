"""From Vault's answer to the data of a Kubernetes Secret.

`gather` collects a destination's templates and filters, with those of the SecretTransformations
it refers to; `build` applies them. Rendered keys win over Vault's, filters touch only Vault's
(excludes first, then includes), and `_raw` holds the whole answer unless it is excluded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from standins.common import gojson
from standins.operator import model
from standins.operator.gotemplate import Template, TemplateEngine, TemplateError
from standins.operator.model import Obj
from standins.operator.store import Store

RAW = "_raw"
_KIND = f"{model.API_VERSION}, Kind={model.TRANSFORMATION}"


class TransformationRefused(Exception):
    """Templates, filters or the data do not go together. Never quotes a value."""


@dataclass
class Transformation:
    """Everything that `build` needs besides the data."""

    templates: list[Template] = field(default_factory=list)
    includes: list[str] = field(default_factory=list)
    excludes: list[str] = field(default_factory=list)
    exclude_raw: bool = False
    # None and {} differ in a template: `toJson` prints null for the one.
    annotations: Mapping[str, str] | None = None
    labels: Mapping[str, str] | None = None


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
            gathered.faults.append(f'SecretTransformation.{model.GROUP} "{where[1]}" not found')
        elif not model.status(shared).get("valid"):
            gathered.faults.append(f"{label} is in an invalid state, {_KIND}")
        else:
            gathered.take(model.spec(shared), ref, label)
    if gathered.faults:
        raise TransformationRefused("\n".join(gathered.faults))
    return Transformation(
        templates=sorted(gathered.templates, key=lambda entry: entry.key + "0" + entry.name),
        includes=sorted(set(gathered.includes)),
        excludes=sorted(set(gathered.excludes)),
        exclude_raw=exclude_raw or bool(block.get("excludeRaw")),
        annotations=model.meta(obj).get("annotations"),
        labels=model.meta(obj).get("labels"),
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
        if not name:
            self.faults.append("template name empty")
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
            if name in self._names:
                self.faults.append(f'duplicate template name "{name}"')
            elif name not in templates:
                self.faults.append(f'template "{name}" not found in object {label}, {_KIND}')
            else:
                # By reference a template is called by its own name only, never by its key.
                found = templates[name]
                key = entry.get("keyOverride") or name
                self.add(key, found.get("name", ""), found.get("text", ""))
        for at, source in enumerate(spec.get("sourceTemplates") or []):
            self.add("", source.get("name") or f"{label}/{at}", source.get("text", ""))
        if not chosen:
            for key, entry in templates.items():
                if key not in self._names:
                    self.add(key, entry.get("name") or f"{label}/{key}", entry.get("text", ""))


async def check(engine: TemplateEngine, spec: Mapping[str, Any], label: str) -> list[str]:
    """The faults of a SecretTransformation by itself: names, template syntax, patterns.

    TemplateError when the engine cannot say.
    """
    gathered = _Gathered()
    gathered.take(spec, {}, label)
    patterns = [*(spec.get("excludes") or []), *(spec.get("includes") or [])]
    return gathered.faults + await engine.faults(gathered.templates, patterns)


def _bytes(value: Any) -> bytes:
    plain = isinstance(value, str) and not isinstance(value, gojson.Number)
    return (value if plain else gojson.dumps(value)).encode()


async def build(
    engine: TemplateEngine,
    values: Mapping[str, Any],
    answer: Mapping[str, Any],
    transformation: Transformation,
    wrapped: Mapping[str, Any] | None = None,
) -> dict[str, bytes]:
    """The Secret's data from Vault's `values`; `answer` is what `_raw` holds.

    For KV v2 `values` is the inner `data`, `answer` holds `data` and `metadata`. `wrapped` is
    the wrapping information of an answer that has some.
    """
    result: dict[str, bytes] = {}
    try:
        rendered = await _render(engine, values, answer, transformation, wrapped)
        if not transformation.exclude_raw:
            if RAW in values or RAW in rendered:
                raise TransformationRefused(f"key '{RAW}' not permitted in Secret data")
            result[RAW] = gojson.dumps(answer).encode()
        kept = await engine.kept(
            values, excludes=transformation.excludes, includes=transformation.includes
        )
    except TemplateError as error:
        raise TransformationRefused(str(error)) from error
    result |= {key: _bytes(value) for key, value in values.items() if key in kept}
    return result | rendered


async def _render(
    engine: TemplateEngine,
    values: Mapping[str, Any],
    answer: Mapping[str, Any],
    transformation: Transformation,
    wrapped: Mapping[str, Any] | None,
) -> dict[str, bytes]:
    if not transformation.templates:
        return {}
    metadata = answer.get("metadata")
    data = {
        "Secrets": values,
        "Metadata": metadata if isinstance(metadata, dict) else {},
        "Annotations": transformation.annotations,
        "Labels": transformation.labels,
        "WrapData": wrapped,
    }
    return await engine.render(transformation.templates, data)
