"""Reading applications from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

import loan_batch
from loan_batch import BadFile, read_rows, summary

GOOD = "A14 12 A34 A43 2400 A65 A75 2 A93 A101 3 A121 40 A143 A152 2 A173 1 A192 A201 1"
BAD = "A11 36 A32 A40 9000 A61 A72 4 A92 A101 2 A124 23 A141 A151 1 A172 1 A191 A201 2"


def write(path: Path, *lines: str) -> Path:
    file = path / "applications.data"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_a_line_becomes_an_application_without_what_may_not_be_considered(tmp_path: Path) -> None:
    (row,) = read_rows(write(tmp_path, GOOD))
    assert row.outcome == "good"
    assert row.application.model_dump() == {
        "application_id": "applications-1",
        "amount": 2400,
        "duration_months": 12,
        "purpose": "A43",
        "checking": "A14",
        "history": "A34",
        "savings": "A65",
        "employment": "A75",
        "other_plans": "A143",
    }


def test_the_summary_counts_outcomes_on_both_sides(tmp_path: Path) -> None:
    text = summary(read_rows(write(tmp_path, GOOD, GOOD, GOOD[:-1] + "2", BAD, "")))
    assert "4 applications" in text
    assert "3 (75.0%) pass by policy (85 points or more): 1 not paid back (33.3%)" in text
    assert "1 (25.0%) wait for an underwriter: 1 not paid back (100.0%)" in text


def test_a_limit_takes_the_first_lines(tmp_path: Path) -> None:
    assert len(read_rows(write(tmp_path, GOOD, BAD, "nonsense"), limit=2)) == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (GOOD + " 1", "22 columns"),
        (GOOD.replace("A14 ", "A19 "), r"attribute 1 \(checking\) is 'A19'"),
        (GOOD.replace("2400", "many"), r"attribute 5 \(amount\) is 'many'"),
        (GOOD[:-1] + "3", "the outcome is '3'"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_used(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(BadFile, match=f"line 2: {words}"):
        read_rows(write(tmp_path, GOOD, line))


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="No such file"):
        read_rows(tmp_path / "none")
    with pytest.raises(BadFile, match="no applications"):
        read_rows(write(tmp_path, ""))


def test_a_dry_run_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert loan_batch.main([str(write(tmp_path, GOOD)), "--dry-run"]) == 0
    assert "1 applications" in capsys.readouterr().out


def test_without_a_server_the_missing_address_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SIGNOFF_API_URL", raising=False)
    monkeypatch.delenv("SIGNOFF_API_KEY", raising=False)
    monkeypatch.setenv("SIGNOFF_HOME", str(tmp_path))
    assert loan_batch.main([str(write(tmp_path, GOOD))]) == 1
    assert "SIGNOFF_API_KEY" in capsys.readouterr().err


def test_a_stored_key_is_not_sent_to_another_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dev.json").write_text('{"api_url": "http://127.0.0.1:1", "keys": {"requester": "secret"}}')
    monkeypatch.setenv("SIGNOFF_HOME", str(tmp_path))
    assert loan_batch.find_api(None, None).key == "secret"
    with pytest.raises(loan_batch.Refused):
        loan_batch.find_api("http://127.0.0.2:1", None)
