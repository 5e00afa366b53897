"""The sprig functions that templates may use: upstream's allow-list without its odd corners.

Argument order is sprig's, made for pipelines: the subject comes last. Left out on purpose,
with reasons in README.md: hashes and passwords (crypto), random, dates, semver, URLs.
"""

from __future__ import annotations

import base64
import binascii
import copy
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from standins.common import gojson
from standins.operator.gotemplate.builtins import go_quote, kind_of, truth
from standins.operator.gotemplate.builtins import plain as text_of
from standins.operator.gotemplate.errors import TemplateError


def to_int(value: Any) -> int:
    """sprig's int64: what cannot be read as a number is 0."""
    if isinstance(value, str):
        try:
            return int(value, 0) if value.strip() else 0
        except ValueError:
            return int(to_float(value))
    return int(value) if isinstance(value, (int, float)) else 0


def to_float(value: Any) -> float:
    """sprig's float64: what cannot be read as a number is 0."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return 0.0
    return float(value) if isinstance(value, (int, float)) else 0.0


def _plain_numbers(value: Any) -> Any:
    """What Go's json.Unmarshal gives: numbers are float64."""
    if isinstance(value, gojson.Number):
        return float(value)
    if isinstance(value, list):
        return [_plain_numbers(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain_numbers(item) for key, item in value.items()}
    return value


def _from_json(text: str) -> Any:
    try:
        return _plain_numbers(gojson.loads(text))
    except ValueError:
        return None


def _must_from_json(text: str) -> Any:
    try:
        return _plain_numbers(gojson.loads(text))
    except ValueError:
        raise TemplateError("the text is not JSON") from None


def _decode(text: str, decode: Callable[[bytes], bytes], what: str) -> str:
    try:
        return decode(text.encode()).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise TemplateError(f"illegal {what} data") from None


def _dig(*arguments: Any) -> Any:
    *path, default, value = arguments
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return default
        value = value[key]
    return value


def _dict(*pairs: Any) -> dict[str, Any]:
    padded = [*pairs, ""] if len(pairs) % 2 else list(pairs)
    return {text_of(key): value for key, value in zip(padded[::2], padded[1::2], strict=True)}


def _merge(target: dict[str, Any], *sources: Mapping[str, Any], overwrite: bool) -> Any:
    for source in sources:
        for key, value in source.items():
            mine = target.get(key)
            if isinstance(mine, dict) and isinstance(value, Mapping):
                _merge(mine, value, overwrite=overwrite)
            elif overwrite or not truth(mine):
                target[key] = value
    return target


def _set(target: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    target[key] = value
    return target


def _unset(target: dict[str, Any], key: str) -> dict[str, Any]:
    target.pop(key, None)
    return target


def _fail(message: str) -> Any:
    raise TemplateError(message)


def _unique(items: list[Any]) -> list[Any]:
    result: list[Any] = []
    for item in items:
        if item not in result:
            result.append(item)
    return result


def _pattern(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error:
        raise TemplateError("the regular expression cannot be compiled") from None


def _regex_replace(pattern: str, subject: str, replacement: str) -> str:
    # Go writes groups as $1, ${1} or ${name}.
    groups = re.sub(r"\$(?:\{(\w+)\}|(\w+))", r"\\g<\1\2>", replacement.replace("\\", "\\\\"))
    return _pattern(pattern).sub(groups, subject)


def _words(text: str) -> list[str]:
    return re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", text)


def _substr(start: int, end: int, text: str) -> str:
    return text[:end] if start < 0 else text[start:] if end < 0 else text[start:end]


def _until(stop: int, start: int = 0, step: int = 0) -> list[int]:
    return list(range(start, stop, step or (1 if stop >= start else -1)))


def _split(separator: str, text: str, count: int = -1) -> dict[str, str]:
    return {f"_{at}": part for at, part in enumerate(text.split(separator, count))}


def _each_number(pick: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *values: pick(to_int(value) for value in values)


def _quoted(*values: Any) -> str:
    return " ".join(go_quote(text_of(value)) for value in values if value is not None)


def _indent(count: int, text: str) -> str:
    padding = " " * count
    return padding + text.replace("\n", "\n" + padding)


def _list_of(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TemplateError(f"cannot work on type {kind_of(value)} as a list")
    return value


SPRIG: dict[str, Callable[..., Any]] = {
    # Text
    "trim": lambda s: s.strip(),
    "trimAll": lambda chars, s: s.strip(chars),
    "trimall": lambda chars, s: s.strip(chars),
    "trimPrefix": lambda prefix, s: s.removeprefix(prefix),
    "trimSuffix": lambda suffix, s: s.removesuffix(suffix),
    "upper": lambda s: s.upper(),
    "lower": lambda s: s.lower(),
    "title": lambda s: re.sub(r"(^|\s)(\S)", lambda m: m[1] + m[2].upper(), s),
    "untitle": lambda s: re.sub(r"(^|\s)(\S)", lambda m: m[1] + m[2].lower(), s),
    "swapcase": lambda s: s.swapcase(),
    "repeat": lambda count, s: s * to_int(count),
    "substr": _substr,
    "trunc": lambda count, s: s[:count] if count >= 0 else s[count:],
    "nospace": lambda s: re.sub(r"\s", "", s),
    "contains": lambda part, s: part in s,
    "hasPrefix": lambda prefix, s: s.startswith(prefix),
    "hasSuffix": lambda suffix, s: s.endswith(suffix),
    "quote": _quoted,
    "squote": lambda *v: " ".join(f"'{text_of(item)}'" for item in v if item is not None),
    "cat": lambda *v: " ".join(text_of(item) for item in v if item is not None),
    "indent": _indent,
    "nindent": lambda count, s: "\n" + _indent(count, s),
    "replace": lambda old, new, s: s.replace(old, new),
    "camelcase": lambda s: "".join(word.capitalize() for word in _words(s)),
    "snakecase": lambda s: "_".join(word.lower() for word in _words(s)),
    "kebabcase": lambda s: "-".join(word.lower() for word in _words(s)),
    "toString": text_of,
    "toStrings": lambda v: [text_of(item) for item in _list_of(v)],
    "split": _split,
    "splitn": lambda sep, count, s: _split(sep, s, count - 1),
    "splitList": lambda sep, s: s.split(sep),
    "join": lambda sep, v: sep.join(map(text_of, v if isinstance(v, list) else [v])),
    "sortAlpha": lambda v: sorted(map(text_of, v if isinstance(v, list) else [v])),
    # Encodings
    "b64enc": lambda s: base64.b64encode(s.encode()).decode(),
    "b64dec": lambda s: _decode(s, lambda b: base64.b64decode(b, validate=True), "base64"),
    "b32enc": lambda s: base64.b32encode(s.encode()).decode(),
    "b32dec": lambda s: _decode(s, base64.b32decode, "base32"),
    "toJson": gojson.dumps,
    "mustToJson": gojson.dumps,
    "toPrettyJson": lambda v: gojson.dumps(v, indent=2),
    "mustToPrettyJson": lambda v: gojson.dumps(v, indent=2),
    "toRawJson": lambda v: gojson.dumps(v, escape=False),
    "mustToRawJson": lambda v: gojson.dumps(v, escape=False),
    "fromJson": _from_json,
    "mustFromJson": _must_from_json,
    # Defaults and types
    "default": lambda other, v=None: v if truth(v) else other,
    "empty": lambda v: not truth(v),
    "coalesce": lambda *v: next((item for item in v if truth(item)), None),
    "all": lambda *v: all(truth(item) for item in v),
    "any": lambda *v: any(truth(item) for item in v),
    "ternary": lambda yes, no, test: yes if test else no,
    "fail": _fail,
    "kindOf": kind_of,
    "kindIs": lambda kind, v: kind_of(v) == kind,
    "deepEqual": lambda one, other: one == other,
    "deepCopy": copy.deepcopy,
    "mustDeepCopy": copy.deepcopy,
    # Numbers
    "int": to_int,
    "int64": to_int,
    "float64": to_float,
    "atoi": to_int,
    "toDecimal": lambda v: int(text_of(v), 8),
    "add": lambda *v: sum(map(to_int, v)),
    "add1": lambda v: to_int(v) + 1,
    "sub": lambda a, b: to_int(a) - to_int(b),
    "mul": lambda *v: math.prod(map(to_int, v)),
    "div": lambda a, b: int(to_int(a) / to_int(b)),
    "mod": lambda a, b: int(math.fmod(to_int(a), to_int(b))),
    "max": _each_number(max),
    "biggest": _each_number(max),
    "min": _each_number(min),
    "addf": lambda *v: math.fsum(map(to_float, v)),
    "subf": lambda a, *v: to_float(a) - math.fsum(map(to_float, v)),
    "mulf": lambda *v: math.prod(map(to_float, v)),
    "divf": lambda a, b: to_float(a) / to_float(b),
    "maxf": lambda *v: max(map(to_float, v)),
    "minf": lambda *v: min(map(to_float, v)),
    "ceil": lambda v: float(math.ceil(to_float(v))),
    "floor": lambda v: float(math.floor(to_float(v))),
    "until": _until,
    "untilStep": lambda start, stop, step: _until(stop, start, step),
    # Lists
    "list": lambda *v: list(v),
    "tuple": lambda *v: list(v),
    "first": lambda v: v[0] if v else None,
    "mustFirst": lambda v: v[0] if v else None,
    "last": lambda v: v[-1] if v else None,
    "mustLast": lambda v: v[-1] if v else None,
    "rest": lambda v: v[1:],
    "mustRest": lambda v: v[1:],
    "initial": lambda v: v[:-1],
    "mustInitial": lambda v: v[:-1],
    "append": lambda v, item: [*_list_of(v), item],
    "mustAppend": lambda v, item: [*_list_of(v), item],
    "push": lambda v, item: [*_list_of(v), item],
    "prepend": lambda v, item: [item, *_list_of(v)],
    "mustPrepend": lambda v, item: [item, *_list_of(v)],
    "concat": lambda *v: [item for part in v for item in _list_of(part)],
    "reverse": lambda v: _list_of(v)[::-1],
    "mustReverse": lambda v: _list_of(v)[::-1],
    "uniq": _unique,
    "mustUniq": _unique,
    "without": lambda v, *gone: [item for item in v if item not in gone],
    "mustWithout": lambda v, *gone: [item for item in v if item not in gone],
    "has": lambda item, v: item in (v or []),
    "mustHas": lambda item, v: item in (v or []),
    "compact": lambda v: [item for item in v if truth(item)],
    "mustCompact": lambda v: [item for item in v if truth(item)],
    "chunk": lambda size, v: [v[at : at + size] for at in range(0, len(v), size)],
    "mustChunk": lambda size, v: [v[at : at + size] for at in range(0, len(v), size)],
    # Maps
    "dict": _dict,
    # sprig gives "" for a missing key, unlike a field, which prints <no value>.
    "get": lambda v, key: v.get(key, ""),
    "set": _set,
    "unset": _unset,
    "hasKey": lambda v, key: key in v,
    "pluck": lambda key, *maps: [part[key] for part in maps if key in part],
    "keys": lambda *maps: [key for part in maps for key in sorted(part)],
    "values": lambda v: [v[key] for key in sorted(v)],
    "pick": lambda v, *names: {key: v[key] for key in names if key in v},
    "omit": lambda v, *names: {key: item for key, item in v.items() if key not in names},
    "merge": lambda target, *v: _merge(target, *v, overwrite=False),
    "mergeOverwrite": lambda target, *v: _merge(target, *v, overwrite=True),
    "dig": _dig,
    # Regular expressions (Python's dialect; RE2's differs in corners)
    "regexMatch": lambda pattern, s: bool(_pattern(pattern).search(s)),
    "mustRegexMatch": lambda pattern, s: bool(_pattern(pattern).search(s)),
    "regexFind": lambda pattern, s: m[0] if (m := _pattern(pattern).search(s)) else "",
    "mustRegexFind": lambda pattern, s: m[0] if (m := _pattern(pattern).search(s)) else "",
    "regexFindAll": lambda pattern, s, count: [m[0] for m in _pattern(pattern).finditer(s)][
        : None if count < 0 else count
    ],
    "regexReplaceAll": _regex_replace,
    "mustRegexReplaceAll": _regex_replace,
    "regexReplaceAllLiteral": lambda pattern, s, new: _pattern(pattern).sub(lambda _: new, s),
    "regexSplit": lambda pattern, s, count: _pattern(pattern).split(s, max(count - 1, 0)),
    "regexQuoteMeta": re.escape,
}
