"""Marks of gaps: what the solution shows, what the exercise leaves open, what is refused."""

from __future__ import annotations

import pytest

from harness.base.errors import UsageError
from harness.lab.gaps import opened, require_filled, solved


@pytest.mark.parametrize(
    ("marked", "exercise"),
    [
        # YAML: the value of a key, in a list, an element.
        ("  roleName: app  #? who?", "  roleName: ____  # who?"),
        ("- name: web  #? which?", "- name: ____  # which?"),
        ("    - app-data   #? the path", "    - ____  # the path"),
        # Python: what is assigned, an argument. A formatter puts a blank into the mark.
        ('role = "app"  # ? who?', "role = ____  # who?"),
        ('role = "app"  #? who?', "role = ____  # who?"),
        ('    audience="vault",  #? for whom?', "    audience=____,  # for whom?"),
        # Shell: behind the last =, otherwise the last word; a pipe stays.
        ("vault write a role=x ttl=5m  #? how long?", "vault write a role=x ttl=____  # how long?"),
        ("kubectl get pods |  #? all", "kubectl get ____ |  # all"),
        ("ls /secrets  #? where", "ls ____  # where"),
        # The author names the value, or a mistake; without words there is no comment.
        ("kubectl get pod web  #?(get pod) what?", "kubectl ____ web  # what?"),
        ("echo $(date) now  #?($(date)) when?", "echo ____ now  # when?"),
        ("  name: app  #?(app -> web) wrong", "  name: web  # wrong"),
        ("  name: app  #?", "  name: ____"),
    ],
)
def test_a_marked_line(marked: str, exercise: str) -> None:
    assert opened(marked) == exercise
    assert solved(marked) == marked.partition("#")[0].rstrip()


def test_a_line_without_a_mark_stays_and_alone_makes_no_exercise() -> None:
    text = "curl 'https://x/#?a=b'\n# a comment: what?\n"
    assert solved(text) == text
    assert opened(text) == ""


def test_a_continued_line_has_its_words_above_the_command() -> None:
    text = "\n".join(
        [
            "vault list auth",
            "  vault write auth/x/role/app \\",
            "    audience=vault \\  #? for whom?",
            "    ttl=5m  #? how long?",
        ]
    )
    assert opened(text).splitlines() == [
        "vault list auth",
        "    # for whom?",
        "  vault write auth/x/role/app \\",
        "    audience=____ \\",
        "    ttl=____  # how long?",
    ]
    assert solved(text).splitlines()[2] == "    audience=vault \\"


def test_a_value_that_the_line_has_not_is_refused() -> None:
    with pytest.raises(TypeError, match=r"#\?\(web\) names what its line has not: name: app"):
        opened("  name: app  #?(web) which?")


def test_a_gap_that_is_still_open_is_shown_with_its_line() -> None:
    require_filled("my____name: a_____b\n")
    with pytest.raises(UsageError, match="still a gap in `roleName: ____  # who") as caught:
        require_filled("kind: x\n  roleName: ____  # who?\n")
    assert "____" in caught.value.hint
