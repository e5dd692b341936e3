"""CSV of the Insights page: exact, and nothing in it is run by a spreadsheet."""

from __future__ import annotations

import csv
import io

import pytest

from signoff_api.inbox.insights_csv import csv_text


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n"])
def test_a_text_that_a_spreadsheet_could_run_is_a_text(start: str) -> None:
    ((name, count),) = csv.reader(io.StringIO(csv_text(iter([(f"{start}cmd|' /C calc'!A0", 1)])), newline=""))
    assert (name, count) == (f"'{start}cmd|' /C calc'!A0", "1")


def test_what_is_no_formula_is_left_as_it_is() -> None:
    row = ("amount", "a=b", 'say "no", twice', -0.5, -3, None, 1 / 3)
    (found,) = csv.reader(io.StringIO(csv_text(iter([row])), newline=""))
    assert found == ["amount", "a=b", 'say "no", twice', "-0.5", "-3", "", "0.333333"]
