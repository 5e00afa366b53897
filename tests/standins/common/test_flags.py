"""The command lines of the stand-ins: Go's rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from standins.common.flags import BadFlag, flag, integer, read, switch


@dataclass(frozen=True)
class Flags:
    """One of each kind."""

    address: str = flag("addr", "none", "an address", variable="T_ADDR")
    count: int = flag("count", 7, "a number", integer, variable="T_COUNT")
    loud: bool = switch("loud", False, "more words", variable="T_LOUD")


@dataclass(frozen=True)
class Strict:
    """A flag without a default."""

    socket: str = flag("socket", ..., "where to listen")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ("none", 7, False)),
        (["-addr", "a", "--count=3", "-loud"], ("a", 3, True)),
        (["--addr=a=b", "-count", "-3", "-loud=false"], ("a=b", -3, False)),
        (["-addr=one", "-addr=two"], ("two", 7, False)),
        (["-addr=", "-loud=T"], ("", 7, True)),
        (["-addr", "-loud"], ("-loud", 7, False)),
        (["-count=0x10", "--"], ("none", 16, False)),
        (["-count=1_000"], ("none", 1000, False)),
        (["-count=010"], ("none", 8, False)),
    ],
)
def test_words_as_go_reads_them(words: list[str], expected: tuple[Any, ...]) -> None:
    found = read(Flags, "test", words)
    assert (found.address, found.count, found.loud) == expected


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["-nonsense"], "flag provided but not defined: -nonsense"),
        (["-addr"], "flag needs an argument: -addr"),
        (["---addr=a"], "bad flag syntax: ---addr=a"),
        (["-=a"], "bad flag syntax: -=a"),
        (["-count=many"], "invalid value 'many' for flag -count: "),
        (["-loud=maybe"], "invalid value 'maybe' for flag -loud: "),
        (["-loud="], "invalid value '' for flag -loud: empty"),
        # Go stops reading here and goes on without the rest.
        (["-loud", "false", "-addr=a"], "unexpected argument 'false'"),
        (["--", "-addr=a"], "unexpected argument '--'"),
        (["-"], "unexpected argument '-'"),
    ],
)
def test_what_cannot_be_read_is_named(words: list[str], problem: str) -> None:
    with pytest.raises(BadFlag) as caught:
        read(Flags, "test", words)
    assert str(caught.value).startswith(problem)


def test_a_variable_sets_what_no_flag_does() -> None:
    environment = {"T_ADDR": "env", "T_COUNT": "5", "T_LOUD": ""}
    assert read(Flags, "test", ["-addr=flag"], environment) == Flags("flag", 5, False)
    first = read(Flags, "test", ["-addr=flag"], environment, variables_first=True)
    assert first == Flags("env", 5, False)
    with pytest.raises(BadFlag, match="invalid value 'x' for T_COUNT: "):
        read(Flags, "test", [], {"T_COUNT": "x"})


def test_a_flag_without_a_default_has_to_be_given() -> None:
    with pytest.raises(BadFlag, match="-socket is missing: where to listen"):
        read(Strict, "test", [])
    assert read(Strict, "test", ["-socket=/s"]).socket == "/s"


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_lists_the_flags(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read(Flags, "test", [word])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith("Usage of test:\n  -addr value\n\tan address; default none; T_ADDR\n")
    assert "  -loud\n\tmore words; T_LOUD\n" in said
