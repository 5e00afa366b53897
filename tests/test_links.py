"""The links of the pages: files that exist, pages of upstream that docs/links.md lists once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from harness.base.paths import CHECKOUT

LINKS = CHECKOUT / "docs" / "links.md"
PAGES = [
    CHECKOUT / "README.md",
    *sorted((CHECKOUT / "docs").rglob("*.md")),
    *sorted((CHECKOUT / "labs").rglob("*.md")),
    *sorted((CHECKOUT / "standins").rglob("*.md")),
]
# Hosts that publish documentation; all else in a text is an address inside a lab.
UPSTREAM = re.compile(
    r"https?://(?:developer\.hashicorp\.com|kubernetes\.io|openbao\.org|github\.com"
    r"|secrets-store-csi-driver\.sigs\.k8s\.io)(?:/[^\s)>\"'`\]]*)?"
)
MARKDOWN = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def targets(text: str) -> list[str]:
    """Where the links and pictures of a page lead; code blocks have none."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    return [one or other for one, other in MARKDOWN.findall(prose)]


def named_in_labs() -> set[str]:
    """The pages of upstream that the labs' texts name."""
    files = [*(CHECKOUT / "labs").rglob("*.md"), *(CHECKOUT / "labs").rglob("*.py")]
    found = {url for file in files for url in UPSTREAM.findall(file.read_text("utf-8"))}
    return {url.rstrip(".,;") for url in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_each_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in targets(page.read_text(encoding="utf-8")):
        if target.startswith("#"):
            continue
        if re.match(r"\w+:", target):
            assert target.startswith("https://"), target
        else:
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_each_page_of_upstream_is_listed_once() -> None:
    listed = Counter(targets(LINKS.read_text(encoding="utf-8")))
    assert [url for url, times in listed.items() if times > 1] == []
    assert named_in_labs() - set(listed) == set()
    assert len(named_in_labs()) >= 8


def test_a_link_in_code_is_no_link() -> None:
    assert targets("[a](b.md) `[c](d.md)` ![e](f.svg)\n```\n[g](h)\n```") == ["b.md", "f.svg"]
