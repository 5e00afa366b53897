"""JSON Patch with the rules of the library that upstream uses, and bounds of our own.

go_patches.json has what evanphx/json-patch 5.9.11 itself made of a few hundred patches.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from standins.injector import jsonpatch

GOLDEN = json.loads(Path(__file__).with_name("go_patches.json").read_text())


def outcome(patch: str, document: Any) -> Any:
    """The patched document, or None where the patch is refused."""
    try:
        return json.loads(jsonpatch.apply(document, jsonpatch.decode(patch)))
    except jsonpatch.PatchError:
        return None


def difference(result: Any) -> Any:
    """What a patched document has other than the golden one, as go_patches.json writes it."""
    if not isinstance(result, dict):
        return None if result is None else {"whole": result}
    # As text, because Python finds 1 and true equal.
    before = {key: json.dumps(value) for key, value in GOLDEN["document"].items()}
    return {
        "set": {
            key: value for key, value in result.items() if before.get(key) != json.dumps(value)
        },
        "gone": sorted(key for key in before if key not in result),
    }


def test_patches_end_as_with_the_library() -> None:
    document = GOLDEN["document"]
    found = {patch: difference(outcome(patch, document)) for patch, _ in GOLDEN["patches"]}
    assert found == dict(GOLDEN["patches"])
    applied = [result for _, result in GOLDEN["patches"] if result is not None]
    assert len(applied) > 80
    assert len(GOLDEN["patches"]) - len(applied) > 200


@pytest.mark.parametrize("patch", GOLDEN["panics"])
def test_patch_that_upstream_dies_of_is_refused(patch: str) -> None:
    assert outcome(patch, GOLDEN["document"]) is None


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (
            '{"op": "add", "path": "/no/where", "value": 1}',
            'add operation does not apply: doc is missing path: "/no/where": missing value',
        ),
        (
            '{"op": "remove", "path": "/nothing"}',
            "error in remove for path: '/nothing': Unable to remove nonexistent key: nothing:"
            " missing value",
        ),
        ('{"op": "test", "path": "/a", "value": 2}', "testing value /a failed: test failed"),
        ('{"op": "spin"}', "Unexpected kind: spin"),
    ],
)
def test_reasons_are_the_librarys(patch: str, message: str) -> None:
    with pytest.raises(jsonpatch.PatchError) as caught:
        jsonpatch.apply({"a": 1}, jsonpatch.decode(f"[{patch}]"))
    assert str(caught.value) == message


def test_the_document_stays_as_it_is() -> None:
    document = {"a": {"b": [1]}}
    assert outcome('[{"op": "add", "path": "/a/b/-", "value": 2}]', document)["a"] == {"b": [1, 2]}
    assert document == {"a": {"b": [1]}}


@pytest.mark.parametrize(
    "double",
    [
        '{"op": "copy", "from": "/a", "path": "/a/NUMBER"}',
        '{"op": "copy", "from": "/b", "path": "/a/NUMBER"}',
    ],
)
def test_patch_cannot_grow_without_bound(double: str) -> None:
    patch = ",".join(double.replace("NUMBER", str(number)) for number in range(60))
    with pytest.raises(jsonpatch.PatchError, match="larger than"):
        jsonpatch.apply({"a": {"x": "y" * 100}, "b": "z" * 9000}, jsonpatch.decode(f"[{patch}]"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" + ",".join(['{"op":"remove","path":"/a"}'] * 500) + "]", "more than 200 operations"),
        ("[" * 100_000, "not JSON"),
        (" " * 300_000 + "[]", "longer than"),
        (
            '[{"op":"add","path":"/x","value":' + '{"a":' * 3000 + "1" + "}" * 3000 + "}]",
            "not JSON",
        ),
    ],
)
def test_patch_out_of_all_proportion(text: str, message: str) -> None:
    with pytest.raises(jsonpatch.PatchError, match=message):
        jsonpatch.decode(text)
