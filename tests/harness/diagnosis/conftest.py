"""A lab whose way is whole, for all tests of the diagnosis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.diagnosis import reviewer
from tests.fakes.chain import FakeLab, tls_server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    folder = tmp_path_factory.mktemp("vault")
    with tls_server(folder) as port:
        yield folder, port


@pytest.fixture
def lab(served: tuple[Path, int], monkeypatch: pytest.MonkeyPatch) -> FakeLab:
    monkeypatch.setattr(reviewer, "may_review", lambda *_: True)
    return FakeLab(*served)
