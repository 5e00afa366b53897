"""The three questions at the end of a lab, with answers that a reader opens after thinking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# So many at the end of each lab: enough to notice a gap, few enough to answer.
COUNT = 3


@dataclass(frozen=True)
class Question:
    """`asked` is one or two sentences, `answer` some more; both in Markdown without a heading."""

    asked: str
    answer: str


def folded_answer(answer: str) -> str:
    """Markdown with one folded answer."""
    return f"<details><summary>Answer</summary>\n\n{answer}\n\n</details>"


def folded(questions: Sequence[Question]) -> str:
    """Markdown with folded answers: <details> opens in JupyterLab and on a code host alike."""
    return "\n\n".join(
        # Inside <summary> Markdown is not read by everybody, so that the question stands before it.
        f"{number}. {one.asked}\n\n   <details><summary>Answer</summary>\n\n   {one.answer}\n\n"
        "   </details>"
        for number, one in enumerate(questions, start=1)
    )
