"""JSON into Go structures: what Go 1.26's encoding/json takes, drops and refuses."""

from __future__ import annotations

from typing import Any

import pytest

from standins.common import gojson
from standins.common.gotyped import Decoder, TypeMismatch

TYPES = Decoder(
    {
        "Outer": {
            "name": "string",
            "count,omitempty": "int32",
            "big,omitempty": "*int64",
            "flag,omitempty": "bool",
            "names,omitempty": "[]string",
            "labels,omitempty": "map[string]string",
            "inner,omitempty": "Inner",
            "other,omitempty": "*Inner",
            "list,omitempty": "[]Inner",
            "free,omitempty": "any",
        },
        "Inner": {"key,omitempty": "string"},
    },
    package="v1",
)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("null", '{"name":"","inner":{}}'),
        ("{}", '{"name":"","inner":{}}'),
        ('{"unknown":[1],"name":"x"}', '{"name":"x","inner":{}}'),
        ('{"NAME":"x","coUnt":3}', '{"name":"x","count":3,"inner":{}}'),
        ('{"na\\u006de":"x"}', '{"name":"x","inner":{}}'),
        ('{"\\u017fize":1,"name":null}', '{"name":"","inner":{}}'),
        ('{"big":0,"count":0,"flag":false}', '{"name":"","big":0,"inner":{}}'),
        ('{"big":null,"names":null,"labels":null}', '{"name":"","inner":{}}'),
        ('{"names":[],"labels":{},"list":[]}', '{"name":"","inner":{}}'),
        ('{"names":["a",null]}', '{"name":"","names":["a",""],"inner":{}}'),
        ('{"labels":{"b":"1","a":null}}', '{"name":"","labels":{"a":"","b":"1"},"inner":{}}'),
        ('{"other":{},"inner":{"KEY":"k"}}', '{"name":"","inner":{"key":"k"},"other":{}}'),
        ('{"list":[null,{"key":"k","x":1}]}', '{"name":"","inner":{},"list":[{},{"key":"k"}]}'),
        ('{"big":-9223372036854775808}', '{"name":"","big":-9223372036854775808,"inner":{}}'),
        ('{"free":{"b":[1.0],"a":null}}', '{"name":"","inner":{},"free":{"a":null,"b":[1.0]}}'),
    ],
)
def test_what_is_written_again(given: str, written: str) -> None:
    assert gojson.dumps(TYPES.decode("Outer", gojson.loads(given))) == written


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("[]", "array into Go value of type v1.Outer"),
        ("5", "number into Go value of type v1.Outer"),
        ('{"name":5}', "number into Go struct field Outer.name of type string"),
        ('{"count":"5"}', "string into Go struct field Outer.count of type int32"),
        (
            '{"count":2147483648}',
            "number 2147483648 into Go struct field Outer.count of type",
        ),
        ('{"count":1.0}', "number 1.0 into Go struct field Outer.count of type int32"),
        ('{"count":1e2}', "number 1e2 into Go struct field Outer.count of type int32"),
        (
            '{"big":9223372036854775808}',
            "number 9223372036854775808 into Go struct field Outer.",
        ),
        ('{"flag":0}', "number into Go struct field Outer.flag of type bool"),
        ('{"names":{}}', "object into Go struct field Outer.names of type []string"),
        ('{"names":[true]}', "bool into Go struct field Outer.names of type string"),
        ('{"labels":{"a":1}}', "number into Go struct field Outer.labels of type string"),
        ('{"inner":[]}', "array into Go struct field Outer.inner of type v1.Inner"),
        ('{"list":[{"key":[]}]}', "array into Go struct field Inner.list.key of type string"),
        ('{"list":["x"]}', "string into Go struct field Outer.list of type v1.Inner"),
    ],
)
def test_what_is_refused(given: str, message: str) -> None:
    with pytest.raises(TypeMismatch) as caught:
        TYPES.decode("Outer", gojson.loads(given))
    assert str(caught.value).startswith(f"json: cannot unmarshal {message}")


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("420", 420), ("4294967295", 2**32 - 1), ("null", 0)]
)
def test_numbers_without_a_sign(text: str, value: int) -> None:
    assert TYPES.decode("uint32", gojson.loads(text)) == value


@pytest.mark.parametrize("text", ["-1", "-0", "4294967296", "1.0", '"1"', "true", "9" * 5000])
def test_what_is_no_number_without_a_sign(text: str) -> None:
    with pytest.raises(TypeMismatch) as caught:
        TYPES.decode("uint32", gojson.loads(text))
    assert len(str(caught.value)) < 200


def test_a_type_that_parses_itself() -> None:
    def even(value: Any) -> int:
        if int(value or 0) % 2:
            raise ValueError("odd")
        return int(value or 0)

    own = Decoder({"Outer": {"even": "Even", "list,omitempty": "[]Even"}}, {"Even": even})
    assert own.decode("Outer", gojson.loads('{"list":[2,null]}')) == {"even": 0, "list": [2, 0]}
    with pytest.raises(TypeMismatch, match="odd"):
        own.decode("Outer", gojson.loads('{"even":3}'))
