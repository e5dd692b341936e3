"""docs/chaos.json keeps each promise as it was last played in full, and says of which commit."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.lanes import keep, play_in_lanes
from tests.chaos.registry import Outcome, Scenario, Size, Tier
from tests.chaos.table import Results


def outcome(promise: int, title: str = "one", **different: Any) -> Outcome:
    usual: dict[str, Any] = {"tried": 10, "injected": 2, "lost": 0, "doubled": 0, "worst_recovery_s": 1.25}
    return Outcome(promise=promise, title=title, problems=(), seconds=1.0, **usual | different)


def stored(path: Path) -> dict[int, dict[str, Any]]:
    return {row["promise"]: row for row in json.loads(path.read_text())["promises"]}


def test_the_scenarios_of_a_promise_are_one_row_once_all_were_played(tmp_path: Path) -> None:
    path = tmp_path / "chaos.json"
    results = Results(commit="a" * 40, expected=Counter({2: 2}), path=path)
    assert not results.add(outcome(2, worst_recovery_s=None))
    assert not path.exists()
    assert results.add(outcome(2, "two", tried=5, lost=1))
    row = stored(path)[2]
    assert (row["tried"], row["injected"], row["lost"], row["worst_recovery_s"]) == (15, 4, 1, 1.2)
    assert (row["commit"], row["mutants"]) == ("a" * 40, {"caught": 0, "missed": 0})


def test_a_promise_that_is_played_again_leaves_the_others_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "chaos.json"
    first = Results(commit="a" * 40, expected=Counter({2: 1, 9: 1}), path=path)
    first.add(outcome(9))
    first.add(outcome(2))
    first.add_mutants({2: (3, 0), 9: (1, 1)})
    Results(commit="b" * 40, expected=Counter({9: 1}), path=path).add(outcome(9, tried=99))
    rows = stored(path)
    assert list(rows) == [2, 9]
    assert [rows[2]["commit"], rows[9]["commit"]] == ["a" * 40, "b" * 40]
    assert rows[9]["tried"] == 99
    assert rows[9]["mutants"] == {"caught": 1, "missed": 1}
    assert json.loads(path.read_text())["commit"] == "b" * 40


def test_an_outcome_comes_from_its_lane_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = outcome(2, lost=1)
    scenarios = [Scenario(promise=2, title=title, sizes={Tier.CI: Size(tries=1)}, play=_never) for title in ("a", "b")]

    def run(command: list[str], **_: object) -> Any:
        # The process of the second ends without a word.
        if command[command.index("--only") + 1] == "a":
            keep(made, Path(command[-1]))
        return type("Done", (), {"returncode": 1})

    monkeypatch.setattr("tests.chaos.lanes.subprocess.run", run)
    found: dict[str, Outcome] = {}
    play_in_lanes(scenarios, tier=Tier.CI, seed=1, lanes=2, done=lambda one, each: found.update({one.title: each}))
    assert found["a"] == made
    assert found["b"].problems == ("its process ended with 1, and left no outcome",)


def _never(_arena: object) -> Outcome:
    raise AssertionError
