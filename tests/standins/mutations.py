"""Random changes of JSON values and texts, the same for the same seed.

FUZZ_SECONDS in the environment makes each kind go on for so long (`./lab test --fuzz`: five
minutes); FUZZ_SEED makes another run.
"""

from __future__ import annotations

import copy
import json
import os
import random
import time
from collections.abc import Iterator
from typing import Any

ROUNDS = 300
SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**30, 0.5, 1e300, "", " ", "x",
    "true", "0", "\0", "\n", "é", "\ud800", "\U0001f600", "x" * 5000, "../..", "{{", "${x}", "%s",
    [], [None], [[]], {}, {"": None}, {"a": {"b": [1]}},
)  # fmt: skip
# What JSON has not, or what its readers differ about.
RAW = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 400, "-0", "01", "+1", ".5", "1.",
    '"\\ud800"', '"\\x00"', "tru", "[", "}", ",", "//", "\ufeff", "\x00",
)  # fmt: skip


def chances(name: str) -> random.Random:
    """A source of chance for one test."""
    return random.Random(f"{SEED}/{name}")  # noqa: S311 - nothing secret hangs on it


def rounds(share: int = 1) -> Iterator[int]:
    """The numbers of the rounds: 300, or the share of a test of several; or until time is up."""
    end, number = time.monotonic() + SECONDS / share, 0
    while time.monotonic() < end if SECONDS else number < ROUNDS // share:
        yield number
        number += 1


def changed(value: Any, chance: random.Random) -> Any:
    """A copy with one to three places changed."""
    result = copy.deepcopy(value)
    for _ in range(chance.randint(1, 3)):
        places = list(_places(result))
        if not places:
            return chance.choice(ODD)
        parent, key = chance.choice(places)
        match chance.randint(0, 4):
            case 0:
                del parent[key]
            case 1:
                parent[key] = copy.deepcopy(parent[chance.choice(_keys(parent))])
            case 2 if isinstance(parent, dict):
                parent[changed_text(str(key), chance)] = parent.pop(key)
            case 3 if isinstance(parent[key], str):
                parent[key] = changed_text(parent[key], chance)
            case _:
                parent[key] = chance.choice(ODD)
    return result


def changed_text(text: str, chance: random.Random) -> str:
    """A text with something put in, taken out or repeated."""
    start = chance.randint(0, len(text))
    end = min(len(text), start + chance.choice((0, 1, 1, 2, 5, 40)))
    put = chance.choice((*RAW, *(each for each in ODD if isinstance(each, str)), text[start:end]))
    return text[:start] + put + text[end:]


def changed_json(value: Any, chance: random.Random) -> str:
    """The JSON text of a changed value; of some, the text itself is changed."""
    text = json.dumps(changed(value, chance))
    if chance.random() < 0.3:
        text = changed_text(text, chance)
    if chance.random() < 0.2:
        text = text.replace("null", chance.choice(RAW), 1).replace('"x"', chance.choice(RAW), 1)
    return text


def changed_bytes(data: bytes, chance: random.Random) -> bytes:
    """Bytes with some flipped, put in or cut off."""
    result = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randint(0, max(0, len(result) - 1))
        match chance.randint(0, 3):
            case 0 if result:
                result[place] ^= 1 << chance.randint(0, 7)
            case 1:
                result[place:place] = bytes(chance.randrange(256) for _ in range(3))
            case 2:
                del result[place : place + chance.randint(1, 4)]
            case _:
                result[place:place] = result[:place]
    return bytes(result[:20_000])


def _keys(parent: Any) -> list[Any]:
    return list(parent) if isinstance(parent, dict) else list(range(len(parent)))


def _places(value: Any) -> Any:
    if isinstance(value, dict | list):
        for key in _keys(value):
            yield value, key
            yield from _places(value[key])
