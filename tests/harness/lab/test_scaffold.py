"""`lab new`: what it makes passes lint and types as it is, what it refuses leaves nothing.

The sample in labs/README.md is what it makes. Its proof needs a Vault: tests/live/test_new_lab.py.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.base.errors import UsageError
from harness.base.paths import CHECKOUT
from harness.lab import scaffold
from harness.lab.scaffold import new_lab


@pytest.fixture
def labs(tmp_path: Path) -> Path:
    """A folder like labs/, with one lab in it."""
    folder = tmp_path / "labs"
    (folder / "lab01_first").mkdir(parents=True)
    shutil.copy(CHECKOUT / "labs" / "__init__.py", folder)
    return folder


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def tool(labs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run one of the developers' tools in the folder above `labs`, with this project's rules."""
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=labs.parent,
        env={**os.environ, "MYPYPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("title", "folder"),
    [
        ("My topic", "lab07_my_topic"),
        ('Say "no", 2 times: it\'s {{number}} \\ $HOME', "lab07_say_no_2_times_it_s_number_home"),
        ("a" * scaffold.TITLE_LENGTH, "lab07_" + "a" * scaffold.TITLE_LENGTH),
    ],
)
def test_a_new_lab_passes_lint_as_it_is(labs: Path, title: str, folder: str) -> None:
    made = new_lab(labs, "07", title)
    assert made == labs / folder
    assert entries(made) == sorted(scaffold.FILES)
    # A lab stands beside the others: harness and labs are this project's own.
    own = f"src = ['{CHECKOUT}']"
    rules = ("--config", str(CHECKOUT / "pyproject.toml"), "--config", own)
    for words in (("ruff", "check", *rules), ("ruff", "format", "--check", *rules)):
        result = tool(labs, *words, "--no-cache", str(made))
        assert result.returncode == 0, result.stdout + result.stderr
    (call,) = (
        node
        for node in ast.walk(ast.parse((made / "lab.py").read_text()))
        if isinstance(node, ast.Call)
    )
    assert [ast.literal_eval(argument) for argument in call.args] == ["07", title]
    assert f"# Lab 07: {title}\n" in (made / "README.md").read_text()


def test_a_new_lab_passes_the_type_check_as_it_is(labs: Path) -> None:
    made = new_lab(labs, "07", "My topic")
    rules = ("--config-file", str(CHECKOUT / "pyproject.toml"))
    cache = ("--cache-dir", str(CHECKOUT / ".mypy_cache"))
    result = tool(labs, "mypy", *rules, *cache, f"labs/{made.name}")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_sample_in_the_readme_is_what_a_new_lab_is(labs: Path) -> None:
    made = new_lab(labs, "07", "My topic")
    readme = (CHECKOUT / "labs" / "README.md").read_text(encoding="utf-8")
    samples = re.findall(r"```python\n# labs/lab07_my_topic/(\w+\.py)\n(.*?)```", readme, re.DOTALL)
    assert [name for name, _ in samples] == ["lab.py", "engine.py", "steps.py"]
    for name, text in samples:
        assert text == (made / name).read_text(encoding="utf-8"), name


@pytest.mark.parametrize(
    ("number", "title", "says"),
    [
        ("01", "Another", "there is a lab 01 already"),
        ("7", "My topic", "'7' cannot number a lab"),
        ("007", "My topic", "'007' cannot number a lab"),
        ("٠٧", "My topic", "cannot number a lab"),
        ("../x", "My topic", "cannot number a lab"),
        ("07", "", "no folder can be named after the title ''"),
        ("07", "?!", "no folder can be named after"),
        ("07", "one\ntwo", "no folder can be named after"),
        ("07", "long " * 20, "a title has at most 50 characters, this one 100"),
    ],
)
def test_what_cannot_be_a_lab_is_refused_and_leaves_nothing(
    labs: Path, number: str, title: str, says: str
) -> None:
    before = entries(labs)
    with pytest.raises(UsageError, match=re.escape(says)) as caught:
        new_lab(labs, number, title)
    assert caught.value.exit_code == 2
    assert entries(labs) == before


def test_a_file_in_the_way_is_refused_like_a_folder(labs: Path) -> None:
    (labs / "lab07_my_topic").symlink_to("nowhere")
    with pytest.raises(UsageError, match="there is a lab 07 already"):
        new_lab(labs, "07", "My topic")


def test_an_interrupt_or_a_full_disk_leaves_nothing(
    labs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = entries(labs)
    for error, raised in (
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(28, "No space left on device"), UsageError),
    ):

        def write(self: Path, *_: object, error: BaseException = error, **__: object) -> int:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_text", write)
            with pytest.raises(raised):
                new_lab(labs, "07", "My topic")
        assert entries(labs) == before
