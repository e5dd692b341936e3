"""docs/guarantees.md says what docs/chaos.json says, of every promise that there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.chaos import page
from tests.chaos.registry import Tier, scenarios

RESULTS = {
    "commit": "0123456789abcdef",
    "promises": [
        {
            "promise": 9,
            "tried": 1_000_000,
            "injected": 1,
            "lost": 0,
            "doubled": 0,
            "worst_recovery_s": None,
            "mutants": {"caught": 2, "missed": 0},
            "commit": "fedcba9876543210",
            "problems": ["a sweep takes 300 ms"],
            "reduced_from": [],
            "skipped": ["two releases at once: there is no git"],
        }
    ],
}


def test_the_table_on_the_page_is_that_of_the_last_full_run() -> None:
    written = page.between_marks(page.PAGE.read_text())

    assert written == page.measured(), "run: python -m tests.chaos.page"


def test_the_page_explains_every_promise_by_its_number_and_name() -> None:
    text = page.PAGE.read_text()
    explained = dict(re.findall(r"^\| (\d+) \| ([^|]+?) \|", text, flags=re.MULTILINE))

    assert explained == {str(number): name for number, name in page.PROMISES.items()}


def test_every_scenario_is_of_a_promise_that_the_page_names() -> None:
    played = {one.promise for tier in Tier for one in scenarios(tier=tier)}

    assert played <= set(page.PROMISES)


def test_what_was_measured_is_written_with_what_was_left_out(tmp_path: Path) -> None:
    results, made = tmp_path / "chaos.json", tmp_path / "page.md"
    made.write_text(f"above\n\n{page.BEGIN}\n{page.END}\n\nbelow\n")
    results.write_text(json.dumps(RESULTS))

    page.write(made, results)

    text = made.read_text()
    assert "| 9 parking is cheap and long | 1,000,000 | 1 | 0 | 0 | – | 2 of 2 | `fedcba9` |" in text
    assert "- Promise 9: left out, two releases at once: there is no git." in text
    assert "- Promise 9: **not kept**, a sweep takes 300 ms." in text
    assert text.startswith("above\n\n")
    assert text.endswith("\n\nbelow\n")
    page.write(made, results)
    assert made.read_text() == text
