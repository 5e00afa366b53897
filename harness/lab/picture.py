"""The picture of a lab: who talks to whom, with numbered arrows, as an SVG.

A lab describes boxes, frames around them, and arrows; every arrow is horizontal or vertical
and has a sentence below the drawing. The SVG brings its own background and follows the
browser's dark scheme, so it can be read on a code host and in JupyterLab, light or dark.
The text is the same on every machine: `./lab render` writes it and a test compares.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 860
MARGIN = 20
TITLE_SIZE, LINE_SIZE, TEXT_SIZE = 14, 12, 13
LINE_HEIGHT = 17
# A sentence below the drawing is wrapped: this many characters fit even in a wide font.
COLUMNS = 104
RADIUS = 10

_STYLE = """
  text { font-family: "Helvetica Neue", Helvetica, Arial, "DejaVu Sans", sans-serif; fill: #1f2933 }
  .paper { fill: #ffffff; stroke: #cbd2d9 }
  .frame { fill: #f5f7fa; stroke: #9aa5b1; stroke-dasharray: 5 4 }
  .box { fill: #e3eefb; stroke: #3e6fa8 }
  .store { fill: #fdf0d5; stroke: #b7791f }
  .vault { fill: #e6f4ea; stroke: #2f855a }
  .name { font-size: 14px; font-weight: bold }
  .line { font-size: 12px }
  .label { font-size: 12px; font-style: italic }
  .text { font-size: 13px }
  .arrow { stroke: #1f2933; stroke-width: 1.6; fill: none }
  .head { fill: #1f2933 }
  .disc { fill: #1f2933 }
  .number { font-size: 11px; font-weight: bold; fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4e7eb }
    .paper { fill: #161b22; stroke: #3e4c59 }
    .frame { fill: #1f2630; stroke: #7b8794 }
    .box { fill: #1d3557; stroke: #7fb2ec }
    .store { fill: #4a3611; stroke: #e0b354 }
    .vault { fill: #16402c; stroke: #6fcf97 }
    .arrow { stroke: #e4e7eb }
    .head, .disc { fill: #e4e7eb }
    .number { fill: #161b22 }
  }
"""


@dataclass(frozen=True)
class Box:
    """A part that talks or holds something. `kind` is its colour: box, store or vault."""

    key: str
    name: str
    x: int
    y: int
    width: int
    height: int
    lines: tuple[str, ...] = ()
    kind: str = "box"

    @property
    def right(self) -> int:
        """The x of its right side."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The y of its lower side."""
        return self.y + self.height


@dataclass(frozen=True)
class Arrow:
    """One message; its number is its place. `at` is where it runs (y, or x when vertical).

    Without `at`, the arrows between two boxes share the side at which the boxes face each
    other. `along` (0 to 1) is where the number sits between start and end.
    """

    start: str
    end: str
    text: str
    at: int | None = None
    along: float = 0.5


@dataclass(frozen=True)
class Line:
    """An arrow with its place: from (x1, y1) to (x2, y2), its number at (x, y)."""

    number: int
    x1: float
    y1: float
    x2: float
    y2: float
    x: float
    y: float


@dataclass(frozen=True)
class Picture:
    """Boxes and arrows. A frame is a box of the kind frame; arrows may end at it, too."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    frames: tuple[Box, ...] = ()

    def lines(self) -> list[Line]:
        """Where each arrow runs. Raises ValueError for boxes that do not face each other."""
        known = {box.key: box for box in (*self.frames, *self.boxes)}
        pairs = [frozenset((arrow.start, arrow.end)) for arrow in self.arrows]
        lines = []
        for number, (arrow, pair) in enumerate(zip(self.arrows, pairs, strict=True), start=1):
            among, place = pairs.count(pair), pairs[: number - 1].count(pair)
            share = (place + 1) / (among + 1)
            lines.append(_line(number, arrow, known[arrow.start], known[arrow.end], share))
        return lines

    def sentences(self) -> list[list[str]]:
        """The text of each arrow, wrapped."""
        return [textwrap.wrap(arrow.text, COLUMNS) for arrow in self.arrows]

    @property
    def floor(self) -> int:
        """The y below the lowest box: the sentences begin there."""
        return max(box.bottom for box in (*self.frames, *self.boxes)) + MARGIN

    @property
    def height(self) -> int:
        """The height of the whole picture."""
        rows = sum(len(sentence) for sentence in self.sentences())
        return self.floor + rows * LINE_HEIGHT + 5 * len(self.arrows) + MARGIN

    def svg(self) -> str:
        """The picture as a file's text."""
        size = f'width="{WIDTH}" height="{self.height}" viewBox="0 0 {WIDTH} {self.height}"'
        paper = f'x="0.5" y="0.5" width="{WIDTH - 1}" height="{self.height - 1}" rx="8"'
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>{escape(self.title)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="paper" {paper}/>',
            *(part for frame in self.frames for part in _frame(frame)),
            *(part for box in self.boxes for part in _box(box)),
            *(part for line in self.lines() for part in _arrow(line)),
            *self._below(),
            "</svg>",
        ]
        return "\n".join(parts) + "\n"

    def _below(self) -> Iterator[str]:
        y = self.floor + TEXT_SIZE
        for number, sentence in enumerate(self.sentences(), start=1):
            yield from _number(number, MARGIN + RADIUS, y - 4)
            for words in sentence:
                yield _text("text", MARGIN + 3 * RADIUS, y, words)
                y += LINE_HEIGHT
            y += 5


def _line(number: int, arrow: Arrow, start: Box, end: Box, share: float) -> Line:
    left, right = max(start.x, end.x), min(start.right, end.right)
    top, bottom = max(start.y, end.y), min(start.bottom, end.bottom)
    if left < right:
        x = left + (right - left) * share if arrow.at is None else arrow.at
        y1, y2 = (start.bottom, end.y) if start.bottom <= end.y else (start.y, end.bottom)
        return Line(number, x, y1, x, y2, x, y1 + (y2 - y1) * arrow.along)
    if top < bottom:
        y = top + (bottom - top) * share if arrow.at is None else arrow.at
        x1, x2 = (start.right, end.x) if start.right <= end.x else (start.x, end.right)
        return Line(number, x1, y, x2, y, x1 + (x2 - x1) * arrow.along, y)
    raise ValueError(f"{arrow.start} and {arrow.end} do not face each other: arrow {number}")


def _frame(frame: Box) -> Iterator[str]:
    yield _rect("frame", frame)
    yield _text("label", frame.x + 12, frame.y + 18, frame.name)


def _box(box: Box) -> Iterator[str]:
    yield _rect(box.kind, box)
    block = TITLE_SIZE + LINE_HEIGHT * len(box.lines)
    y = box.y + (box.height - block) / 2 + TITLE_SIZE - 2
    middle = box.x + box.width / 2
    yield _text("name", middle, y, box.name, "middle")
    for number, words in enumerate(box.lines, start=1):
        yield _text("line", middle, y + number * LINE_HEIGHT, words, "middle")


def _rect(kind: str, box: Box) -> str:
    size = f'x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}"'
    return f'<rect class="{kind}" {size} rx="6"/>'


def _text(kind: str, x: float, y: float, words: str, anchor: str = "start") -> str:
    place = f'x="{x:g}" y="{y:g}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place} xml:space="preserve">{escape(words)}</text>'


def _arrow(line: Line) -> Iterator[str]:
    across, down = _sign(line.x2 - line.x1), _sign(line.y2 - line.y1)
    # The line ends inside the head, so that its blunt end is not seen.
    x, y = line.x2 - 6 * across, line.y2 - 6 * down
    yield f'<path class="arrow" d="M{line.x1:g} {line.y1:g} L{x:g} {y:g}"/>'
    back = (line.x2 - 9 * across, line.y2 - 9 * down)
    sides = [(back[0] + side * 5 * down, back[1] + side * 5 * across) for side in (1, -1)]
    points = " ".join(f"{px:g},{py:g}" for px, py in [(line.x2, line.y2), *sides])
    yield f'<polygon class="head" points="{points}"/>'
    yield from _number(line.number, line.x, line.y)


def _number(number: int, x: float, y: float) -> Iterator[str]:
    yield f'<circle class="disc" cx="{x:g}" cy="{y:g}" r="{RADIUS}"/>'
    yield _text("number", x, y + 4, str(number), "middle")


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
