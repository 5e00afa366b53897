"""Rendering labs as notebooks: what the cells hold, what is refused, what is committed."""

from __future__ import annotations

import ast
import importlib
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from harness.base.errors import UsageError
from harness.lab.catalog import all_labs
from harness.lab.gaps import GAP, require_filled
from harness.lab.steps import Lab
from harness.notebook.render import (
    NOTEBOOKS,
    STEP_COMMENT,
    differing,
    render,
    set_up,
    write_all,
)
from harness.notebook.source import grouped_imports, source_of
from tests.fakes.toylab import put_letter, toy


def cells(*, exercise: bool = False) -> dict[str, str]:
    return {cell["id"]: cell["source"] for cell in render(toy, exercise=exercise)["cells"]}


def test_a_step_is_a_why_its_code_and_its_check() -> None:
    found = cells()
    assert list(found) == [
        "title", "set-up",
        "90-1-why", "90-1-do", "90-1-check",
        "90-2-why", "90-2-do",
        "90-3-why", "90-3-do", "90-3-check",
        "end",
    ]  # fmt: skip
    assert found["90-1-why"].startswith("## Step 1: Put a book on the shelf\n\nA shelf is")
    assert found["90-1-do"].splitlines() == [
        "# Step 90.1",
        "# A comment that belongs to the code.",
        'book = shelf(lab) / "book"',
        "book.write_text(GREETING)",
        'lab.notes["title"] = json.dumps({"title": GREETING})',
    ]
    assert found["90-1-check"] == 'lab.check("put_book")'


def test_the_set_up_cell_imports_what_the_steps_use_and_no_more() -> None:
    assert cells()["set-up"].splitlines() == [
        "import json",
        "",
        "from tests.fakes.toylab import GREETING, shelf",
        "",
        "from harness.lab.steps import expect",
        "from labs import open_lab",
        "",
        'lab = open_lab("90")',
    ]


def test_an_exercise_gives_what_is_needed_and_not_the_solution() -> None:
    found = cells(exercise=True)
    assert "write_text" not in found["90-1-do"]
    assert found["90-1-do"].startswith(f"{STEP_COMMENT}90.1\n")
    assert 'lab.hint("put_book")' in found["90-1-do"]
    assert found["90-1-check"].splitlines() == [
        'lab.check("put_book")',
        '# lab.solve("put_book")  # does this step for you',
    ]
    assert "`GREETING`, imported above" in found["90-1-why"]
    assert 'Later steps read `lab.notes["title"]`' in found["90-1-why"]
    assert '`lab.notes["title"]`, left by an earlier step' in found["90-3-why"]
    # There is nothing to solve in a step that only looks.
    assert found["90-2-do"] == cells()["90-2-do"]


lab93 = Lab("93", "Gaps", minutes=1, goal="g")


@lab93.step("Fill", minutes=3, goals=["a pod runs"], further=True)
def fill(lab: Any) -> None:
    """Why."""
    title = "a"  # ? which letter?
    lab.kubectl_apply("""
kind: Pod
name: web  #? whose name?
""")
    lab.say(title)


@fill.check
def _(lab: Any) -> None:
    lab.say("checked")


@lab93.step("Look", observe=True)
def look_around(lab: Any) -> None:
    """Why."""
    lab.say("look")


@look_around.check
def _(lab: Any) -> None:
    lab.say("checked")


def test_a_step_with_gaps_shows_its_own_code_and_its_goals() -> None:
    solution, exercise = (
        {cell["id"]: cell["source"] for cell in render(lab93, exercise=exercise)["cells"]}
        for exercise in (False, True)
    )
    assert solution["93-1-do"].splitlines() == [
        "# Step 93.1",
        'title = "a"',
        'lab.kubectl_apply("""',
        "kind: Pod",
        "name: web",
        '""")',
        "lab.say(title)",
    ]
    assert exercise["93-1-do"].splitlines() == [
        "# Step 93.1",
        '# Fill the gaps, or work in a terminal. Stuck? lab.hint("fill")',
        "title = ____  # which letter?",
        'lab.kubectl_apply("""',
        "kind: Pod",
        "name: ____  # whose name?",
        '""")',
        "lab.say(title)",
    ]
    assert "*About 3 minutes. Further: no later step needs it." in solution["93-1-why"]
    assert exercise["93-1-why"].endswith("**The check looks for**\n\n- a pod runs")
    assert "Given" not in exercise["93-1-why"]


def test_a_step_that_looks_and_has_a_check_is_no_exercise_but_is_checked() -> None:
    found = {cell["id"]: cell["source"] for cell in render(lab93, exercise=True)["cells"]}
    assert found["93-2-do"] == '# Step 93.2\nlab.say("look")'
    assert found["93-2-check"] == 'lab.check("look_around")'


def test_every_rendered_cell_is_python_with_no_tag_that_hides_a_failure() -> None:
    for exercise in (False, True):
        for cell in render(toy, exercise=exercise)["cells"]:
            assert cell["metadata"] == {}
            if cell["cell_type"] == "code":
                ast.parse(cell["source"])
                assert cell["outputs"] == []
                assert cell["execution_count"] is None
                assert "NBVAL" not in cell["source"]


def test_the_last_cell_says_what_to_remember_and_what_comes_next() -> None:
    following = Lab("92", "More", minutes=1, goal="Go on.", steps=list(toy.steps))
    text = render(toy, following=following)["cells"][-1]["source"]
    for part in (
        "Files are not secrets.",
        "`lab.reset()`",
        f"[Lab 92: More]({toy.notebook}). Go on.",
    ):
        assert part in text
    assert "`./lab up 92`" in text
    assert "last lab" in cells()["end"]


def test_a_string_moves_to_the_margin_when_all_of_it_can() -> None:
    assert 'write_text(f"""\n  about {title}\n""")' in source_of(put_letter).code


def test_a_string_that_starts_left_of_the_code_stays_as_it_is(steps_module: Any) -> None:
    lab = steps_module(
        """
        lab.say('''
  left of the code
            right of it
''')
        lab.say("after")
        """
    )
    code = source_of(lab.steps[0]).code
    assert code.splitlines() == [
        "lab.say('''",
        "  left of the code",
        "            right of it",
        "''')",
        'lab.say("after")',
    ]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("        return\n", "has a return"),
        ("        yield 1\n", "has a yield"),
        ("        lab.say(nowhere)\n", "uses nowhere"),
        ("", "does nothing"),
    ],
)
def test_a_body_that_cannot_be_a_cell_is_refused(
    steps_module: Any, body: str, complaint: str
) -> None:
    with pytest.raises(TypeError, match=complaint):
        source_of(steps_module(body).steps[0])


def test_names_bound_in_the_body_are_not_looked_for_in_the_module(steps_module: Any) -> None:
    lab = steps_module(
        """
        import json
        def inner(one):
            return json.dumps(one)
        for two in [inner(three) for three in "ab"]:
            lab.say(two)
        try:
            lab.say(TABLE)
        except ValueError as error:
            lab.say(str(error))
        """
    )
    source = source_of(lab.steps[0])
    assert source.imports == {"TABLE": f"from {lab.steps[0].do.__module__} import TABLE"}
    assert "    return json.dumps(one)" in source.code


def test_imports_are_grouped_and_joined_like_in_a_module() -> None:
    statements = [
        "from labs.x import y",
        "import yaml",
        "from base64 import b64encode",
        "from base64 import b64decode",
        "import json",
    ]
    assert grouped_imports(statements) == [
        "import json",
        "from base64 import b64decode, b64encode",
        "",
        "import yaml",
        "",
        "from labs.x import y",
    ]
    assert grouped_imports(statements[2:4], width=36) == [
        "from base64 import (\n    b64decode,\n    b64encode,\n)"
    ]


def test_a_name_that_would_be_two_things_in_one_notebook_is_refused(steps_module: Any) -> None:
    one, other = (steps_module(f"        lab.say(TABLE)  # {n}") for n in (1, 2))
    with pytest.raises(TypeError, match="TABLE would be two things"):
        set_up(one, [source_of(lab.steps[0]) for lab in (one, other)])


def test_writing_is_deterministic_and_a_difference_is_told(tmp_path: Path) -> None:
    named = toy.notebook
    written = write_all(tmp_path, (toy,))
    assert [file.relative_to(tmp_path) for file in written] == [
        Path(named),
        Path("exercises", named),
    ]
    nbformat.validate(json.loads(written[0].read_text()))
    assert write_all(tmp_path, (toy,)) == []
    assert differing(tmp_path, (toy,)) == []
    content = json.loads(written[0].read_text())
    content["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x"}]
    written[0].write_text(json.dumps(content))
    written[1].unlink()
    (tmp_path / "99_stray.ipynb").write_text("{}")
    assert differing(tmp_path, (toy,)) == [
        f"{named} differs from what its lab renders",
        f"exercises/{named} is missing",
        "99_stray.ipynb belongs to no lab",
    ]


@pytest.mark.parametrize("lab", all_labs(), ids=lambda lab: lab.number)
def test_no_gap_of_an_exercise_runs_unfilled(lab: Lab) -> None:
    """A gap that is glued to a word would be taken for a name, and reach the shell."""
    for step in lab.steps:
        for line in source_of(step).exercise.splitlines():
            if GAP in line:
                with pytest.raises(UsageError):
                    require_filled(line)


def test_the_committed_notebooks_are_what_the_labs_render() -> None:
    assert all_labs()
    assert differing(NOTEBOOKS) == [], "run: ./lab render"


@pytest.fixture
def steps_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a module with one lab of one step, whose body is given (indented by eight)."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(body: str) -> Lab:
        name = f"steps_{len(list(tmp_path.iterdir()))}_{abs(hash(body))}"
        (tmp_path / f"{name}.py").write_text(
            "from harness.lab.steps import Lab\n"
            "TABLE = 'a'\n"
            "lab91 = Lab('91', 'One', minutes=1, goal='g')\n"
            "@lab91.step('only')\n"
            "def only(lab):\n"
            '        """Why."""\n' + body.strip("\n") + "\n"
        )
        found: Lab = importlib.import_module(name).lab91
        return found

    return make


@pytest.mark.parametrize("lab", all_labs(), ids=lambda lab: lab.number)
def test_no_cell_takes_a_name_away_from_a_later_one(lab: Lab) -> None:
    # All cells share one namespace, and what the steps import is imported once, at the top.
    imported = {name for step in lab.steps for name in source_of(step).imports}
    for step in lab.steps:
        bound = {
            node.id
            for node in ast.walk(ast.parse(source_of(step).code))
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        assert not bound & imported, step.id
