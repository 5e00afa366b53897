"""Lab 05: which way meets which need follows from the figures, and from nothing else."""

from __future__ import annotations

from typing import Any

from labs.lab05_five_ways.choose import NEEDS, verdicts
from labs.lab05_five_ways.results import seconds
from labs.lab05_five_ways.search import PLACES
from labs.lab05_five_ways.ways import WAYS


def results(**changes: Any) -> dict[str, Any]:
    figures = {
        "lines_for_vault": 0,
        "secrets_left": ["operator"],
        "change_to_restarted_process_seconds": 3.0,
        "requests_at_start": 0,
        "seen_by_vault": "lab05/shop",
        "tokens_left_by_a_pod": 0,
        "installed": {"webhooks": [], "crds": []},
    }
    nowhere = dict.fromkeys(PLACES, False)
    return {
        "ways": {way.name: figures | changes for way in WAYS},
        "leaks": {way.name: nowhere for way in WAYS},
    }


def test_there_are_ten_needs_of_different_words() -> None:
    assert len({need.words for need in NEEDS}) == 10


def test_each_figure_decides_its_own_need() -> None:
    good = {words: by_way["csi"] for words, by_way in verdicts(results()).items()}
    for changes, lost in (
        ({"lines_for_vault": 11}, "no line of code for Vault"),
        ({"secrets_left": []}, "any chart that knows a Secret"),
        ({"change_to_restarted_process_seconds": None}, "a change restarts the process"),
        ({"requests_at_start": 2}, "a new pod does not ask Vault"),
        ({"seen_by_vault": "nobody"}, "Vault names the workload"),
        ({"tokens_left_by_a_pod": 1}, "no token stays in Vault"),
        ({"installed": {"webhooks": ["one"]}}, "nothing to install"),
    ):
        now = {words: by_way["csi"] for words, by_way in verdicts(results(**changes)).items()}
        assert now == good | {lost: False}, lost
        assert good[lost], lost


def test_the_places_decide_the_others() -> None:
    found = results()
    found["leaks"]["plain"] = dict.fromkeys(PLACES, True)
    plain = {words: by_way["plain"] for words, by_way in verdicts(found).items()}
    assert not plain["no copy in etcd"]
    assert not plain["no value in kubectl get"]
    assert plain["a variable, without a wrapper"]


def test_seconds_are_a_median_with_its_spread() -> None:
    assert seconds([2.0]) == "2.0"
    assert seconds([3.0, 1.0, 2.0]) == "2.0 (1.0–3.0)"
    assert seconds([]) == "–"
