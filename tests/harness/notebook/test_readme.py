"""What `./lab render` writes into the READMEs of the labs, and what each of them refers to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.base.paths import CHECKOUT
from harness.lab.catalog import all_labs
from harness.lab.picture import Arrow, Box, Picture
from harness.lab.questions import COUNT, Question
from harness.lab.steps import Lab
from harness.notebook.readme import filled, readmes
from harness.notebook.render import NOTEBOOKS, picture_path, render
from tests.fakes.toylab import toy

BOXES = (Box("a", "A", 20, 20, 90, 60), Box("b", "B", 200, 20, 90, 60))
# What an author adds begins without a picture and without questions.
COURSE = [lab for lab in all_labs() if lab.number <= "06"]
PICTURE = Picture("Who asks whom", BOXES, (Arrow("a", "b", "A asks B."),))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab with a picture."""
    monkeypatch.setattr(toy, "picture", PICTURE)
    return toy


def test_a_readme_gets_its_picture_and_keeps_the_rest(drawn: Lab) -> None:
    folder = CHECKOUT / "labs" / "lab90_toy"
    text = "# A\n\n<!-- picture, by ./lab render -->\nold\n<!-- end of picture -->\n\nB\\1\n"
    once = filled(drawn, text, folder)
    assert "![Who asks whom](../../notebooks/pictures/" in once
    assert "old" not in once
    assert once.startswith("# A\n\n<!-- picture")
    assert once.endswith("-->\n\nB\\1\n")
    assert filled(drawn, once, folder) == once


def test_the_notebook_and_the_exercise_show_the_picture(drawn: Lab) -> None:
    for exercise, folder in ((False, NOTEBOOKS), (True, NOTEBOOKS / "exercises")):
        opening = render(drawn, exercise=exercise)["cells"][0]["source"]
        path = opening.split("![Who asks whom](")[1].split(")")[0]
        assert Path(os.path.normpath(folder / path)) == NOTEBOOKS / picture_path(drawn)


def test_the_committed_readmes_are_what_the_labs_render() -> None:
    differing = [str(file) for file, text, wanted in readmes() if text != wanted]
    assert differing == [], "run: ./lab render"


def test_the_questions_are_folded_in_readme_and_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "questions", (Question("Why?", "Because."), Question("Who?", "You.")))
    text = "<!-- questions, by ./lab render -->\n<!-- end of questions -->"
    for shown in (filled(toy, text, CHECKOUT), render(toy)["cells"][-1]["source"]):
        assert "1. Why?" in shown
        assert shown.index("2. Who?") < shown.rindex("<details>") < shown.index("You.")


@pytest.mark.parametrize("lab", COURSE, ids=lambda lab: lab.number)
def test_each_lab_of_the_course_asks_three_questions(lab: Lab) -> None:
    assert len({one.asked for one in lab.questions}) == COUNT
    assert all(one.asked.endswith("?") and one.answer.endswith(".") for one in lab.questions)
    text = (lab.source / "README.md").read_text(encoding="utf-8")
    assert all(one.asked in text and one.answer in text for one in lab.questions)


@pytest.mark.parametrize("lab", COURSE, ids=lambda lab: lab.number)
def test_each_readme_shows_the_picture_of_its_lab(lab: Lab) -> None:
    text = (lab.source / "README.md").read_text(encoding="utf-8")
    assert f"](../../notebooks/{picture_path(lab).as_posix()})" in text
    assert (NOTEBOOKS / picture_path(lab)).is_file()
