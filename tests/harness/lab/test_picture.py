"""The pictures of the labs: text fits its box, nothing lies over anything else."""

from __future__ import annotations

from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from harness.lab.catalog import all_labs
from harness.lab.picture import (
    LINE_HEIGHT,
    LINE_SIZE,
    MARGIN,
    RADIUS,
    TEXT_SIZE,
    TITLE_SIZE,
    WIDTH,
    Arrow,
    Box,
    Line,
    Picture,
)
from harness.lab.steps import Lab

PICTURES = [lab for lab in all_labs() if lab.picture]
# Wider than Arial and Helvetica: what fits in it fits in those.
WIDE, BOLD = (FontProperties(family="DejaVu Sans", weight=weight) for weight in ("normal", "bold"))


def width(words: str, size: int, font: FontProperties = WIDE) -> float:
    """Pixels that the words take."""
    measured: Any = TextToPath().get_text_width_height_descent(words, font, ismath=False)
    return float(measured[0]) * size / font.get_size_in_points()


def picture_of(lab: Lab) -> Picture:
    assert lab.picture
    return lab.picture


@pytest.mark.parametrize("lab", PICTURES, ids=lambda lab: lab.number)
def test_every_text_fits(lab: Lab) -> None:
    picture = picture_of(lab)
    for box in picture.boxes:
        assert width(box.name, TITLE_SIZE, BOLD) <= box.width - 8, box.name
        for words in box.lines:
            assert width(words, LINE_SIZE) <= box.width - 8, words
        assert TITLE_SIZE + LINE_HEIGHT * len(box.lines) <= box.height, box.name
    for words in [words for sentence in picture.sentences() for words in sentence]:
        assert width(words, TEXT_SIZE) <= WIDTH - 2 * MARGIN - 3 * RADIUS, words


@pytest.mark.parametrize("lab", PICTURES, ids=lambda lab: lab.number)
def test_nothing_lies_over_anything_else(lab: Lab) -> None:
    picture = picture_of(lab)
    for one, other in combinations(picture.boxes, 2):
        assert apart(area(one), area(other)), f"{one.key} lies over {other.key}"
    for line in picture.lines():
        ends = {picture.arrows[line.number - 1].start, picture.arrows[line.number - 1].end}
        for box in picture.boxes:
            crossed = not apart(stroke(line), area(box)) and box.key not in ends
            assert not crossed, f"arrow {line.number} runs through {box.key}"
            assert apart(disc(line), area(box)), f"number {line.number} lies over {box.key}"
    for first, second in combinations(picture.lines(), 2):
        assert apart(disc(first), disc(second)), f"{first.number} lies over {second.number}"
        for line, number in ((first, second), (second, first)):
            assert apart(stroke(line), disc(number)), f"{line.number} runs through {number.number}"


@pytest.mark.parametrize("lab", PICTURES, ids=lambda lab: lab.number)
def test_all_of_it_is_on_the_paper(lab: Lab) -> None:
    picture = picture_of(lab)
    for box in (*picture.frames, *picture.boxes):
        assert min(box.x, box.y, WIDTH - box.right) >= MARGIN, box.key
    for line in picture.lines():
        left, top, right, bottom = stroke(line)
        assert left >= MARGIN
        assert top >= MARGIN
        assert right <= WIDTH
        assert bottom <= picture.floor


@pytest.mark.parametrize("lab", PICTURES, ids=lambda lab: lab.number)
def test_it_is_one_well_formed_file_that_fetches_nothing_and_knows_the_dark(lab: Lab) -> None:
    text = picture_of(lab).svg()
    root = ElementTree.fromstring(text)  # noqa: S314 - our own text, made a line before
    assert root.find("{http://www.w3.org/2000/svg}title") is not None
    assert text.count("http") == 1, "the namespace alone is an address"
    assert "prefers-color-scheme: dark" in text
    assert '<rect class="paper"' in text, "its own background, for a page that is not its colour"


def test_an_arrow_needs_boxes_that_face_each_other() -> None:
    boxes = (Box("a", "A", 20, 20, 50, 50), Box("b", "B", 200, 200, 50, 50))
    with pytest.raises(ValueError, match="a and b do not face each other"):
        Picture("P", boxes, (Arrow("a", "b", "no way"),)).lines()


def test_two_arrows_between_two_boxes_share_the_side() -> None:
    boxes = (Box("a", "A", 20, 20, 50, 60), Box("b", "B", 200, 20, 50, 60))
    there, back = Picture("P", boxes, (Arrow("a", "b", "1"), Arrow("b", "a", "2"))).lines()
    assert (there.x1, there.x2, there.y1) == (70, 200, 40)
    assert (back.x1, back.x2, back.y1) == (200, 70, 60)


Area = tuple[float, float, float, float]


def area(box: Box) -> Area:
    return box.x, box.y, box.right, box.bottom


def stroke(line: Line) -> Area:
    """What the arrow covers, without its very ends: these touch its boxes."""
    xs, ys = sorted((line.x1, line.x2)), sorted((line.y1, line.y2))
    if xs[0] == xs[1]:
        return xs[0] - 2, ys[0] + 1, xs[1] + 2, ys[1] - 1
    return xs[0] + 1, ys[0] - 2, xs[1] - 1, ys[1] + 2


def disc(line: Line) -> Area:
    return line.x - RADIUS, line.y - RADIUS, line.x + RADIUS, line.y + RADIUS


def apart(one: Area, other: Area) -> bool:
    """Whether two areas have nothing in common."""
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
