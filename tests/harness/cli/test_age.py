"""End of life: parts that nobody mends any more are named, by status and by doctor."""

from __future__ import annotations

from datetime import date

import pytest

from harness.cli import doctor, status
from harness.supply.base import Part, Provided, all_parts, find_part, is_past

# When versions.toml was last gone through.
PINNED = date(2026, 11, 27)
OLD = Part(
    name="old",
    version="1.0",
    kind="image",
    licence="MIT",
    about="a part of two versions",
    online={"version": "2.0", "eol": ""},
    offline={"recipe": "old"},
    eol="2020-01-31",
)


@pytest.mark.parametrize(
    ("eol", "past"),
    [("", False), ("2026-11-26", True), ("2026-11-27", False), ("2026-11-28", False)],
)
def test_the_last_day_still_counts(eol: str, past: bool) -> None:
    assert is_past(eol, today=PINNED) is past


def test_every_end_of_life_is_a_day() -> None:
    for part in all_parts().values():
        for supply in ("online", "offline"):
            is_past(part.at(supply).eol)


def test_a_supply_may_have_another_version_with_another_end() -> None:
    assert (OLD.at("online").version, OLD.at("online").eol) == ("2.0", "")
    assert (OLD.at("offline").version, OLD.at("offline").eol) == ("1.0", "2020-01-31")


def test_doctor_names_what_is_past_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "all_parts", lambda: {"old": OLD})
    (finding,) = doctor._age()
    assert finding.level == "note"
    assert finding.seen == "offline: old 1.0 (2020-01-31)"
    assert "--supply online" in finding.help


def test_what_is_pinned_online_was_alive_when_it_was_pinned() -> None:
    online = [part.at("online") for part in all_parts().values() if part.online]
    assert [part.name for part in online if is_past(part.eol, PINNED)] == []


def test_status_tells_licence_and_end_of_a_part_as_it_was_provided() -> None:
    part = find_part("node").at("offline")
    given = Provided("node", part.version, "the cache", True, "sha256:0")
    assert status._about(given, "offline") == {"licence": part.licence, "eol": part.eol}


@pytest.mark.parametrize(
    ("name", "supply"), [("node", "offline"), ("gone", "offline"), ("node", "")]
)
def test_status_says_nothing_of_what_is_not_pinned_any_more(name: str, supply: str) -> None:
    given = Provided(name, "1.0", "the cache", True, "sha256:0")
    assert status._about(given, supply) == {"licence": "", "eol": ""}


def test_an_end_that_is_over_is_marked() -> None:
    assert status._shown_end("2020-01-31") == "[yellow]2020-01-31, past[/]"
    assert status._shown_end("") == ""
