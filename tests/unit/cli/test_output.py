"""Answers fit the terminal; errors say code, what, and what to do."""

from __future__ import annotations

import json

import pytest

from signoff.cli.client import ApiProblem
from signoff.cli.output import Listing, Output, describe
from signoff.errors import Conflict, FieldError, InvalidInput, SignoffError, StaleView

RUN = "01a2030f-55f0-7139-87c3-5a64fd02dfd8"


def lines(rows: Listing, width: int) -> list[str]:
    return [line.plain for line in rows.lines(width)]


class TestListing:
    def test_the_flexible_column_is_cut_and_the_id_never_is(self) -> None:
        rows = Listing("RUN", "TITLE", "DUE", flexible=1)
        rows.add(RUN, "a very long title " * 10, "in 4 h")

        heading, row = lines(rows, 80)

        assert row.startswith(f"{RUN}  a very long title")
        assert row.endswith("…  in 4 h")
        assert len(row) == 80
        assert heading.index("DUE") == row.index("in 4 h")

    def test_wide_characters_count_as_two_columns(self) -> None:
        rows = Listing("RUN", "TITLE", "DUE", flexible=1)
        rows.add("1", "返金" * 20, "x")

        assert all(line.cell_len <= 40 for line in rows.lines(40))

    def test_what_fits_is_not_cut(self) -> None:
        rows = Listing("A", "B", flexible=0)
        rows.add("one", "two")

        assert lines(rows, 80) == ["A    B", "one  two"]

    def test_a_terminal_that_is_too_narrow_keeps_a_little_of_it(self) -> None:
        rows = Listing("RUN", "TITLE", flexible=1)
        rows.add(RUN, "a very long title")

        assert lines(rows, 20)[1] == f"{RUN}  a very …"


class TestErrors:
    def shown(self, error: SignoffError, capsys: pytest.CaptureFixture[str], *, as_json: bool = False) -> str:
        Output(as_json=as_json).error(error)
        captured = capsys.readouterr()
        assert captured.out == ""
        return captured.err

    def test_code_what_and_fix_go_to_standard_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        shown = self.shown(SignoffError("it broke", code="broken", fix="mend it"), capsys)

        assert shown == "error[broken] it broke\n  fix     mend it\n"

    def test_each_bad_field_has_a_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        errors = [FieldError(path="/a", message="is missing"), FieldError(path="/b", message="is wrong", fix="do x")]

        shown = self.shown(InvalidInput(errors=errors), capsys)

        assert "  field   /a: is missing\n" in shown
        assert "  field   /b: is wrong (do x)\n" in shown
        assert shown.count("is missing") == 1

    def test_who_was_first_is_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        winner = {"by": {"name": "sam"}, "decision": "approve", "outcome": "approved", "at": "2026-01-01T00:00:00Z"}
        problem = {"status": 409, "code": "already_decided", "detail": "too late", "winner": winner}

        shown = self.shown(ApiProblem(409, problem), capsys)

        assert "winner  sam, said approve, outcome approved, at 2026-01-01T00:00:00Z" in shown

    def test_what_it_is_now_is_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        problem = {"code": "stale_view", "detail": "changed", "current": {"revision": 2, "payload_sha256": "ab"}}

        assert "current revision 2, payload ab" in self.shown(ApiProblem(412, problem), capsys)

    def test_an_answer_without_the_usual_members_is_still_shown(self, capsys: pytest.CaptureFixture[str]) -> None:
        shown = self.shown(ApiProblem(418, {"errors": "x", "winner": 3, "current": None}), capsys)

        assert "error[http_418]" in shown

    def test_escape_sequences_in_an_error_are_made_visible(self, capsys: pytest.CaptureFixture[str]) -> None:
        shown = self.shown(ApiProblem(404, {"code": "x\x1b", "detail": "no \x1b[2J", "fix": "\u202e"}), capsys)

        assert "\x1b" not in shown
        assert "␛[2J" in shown

    def test_markup_in_an_error_is_text(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "[bold]x[/bold]" in self.shown(SignoffError("[bold]x[/bold]"), capsys)

    def test_with_json_it_is_one_object(self, capsys: pytest.CaptureFixture[str]) -> None:
        shown = self.shown(SignoffError("it broke", code="broken", fix="mend it"), capsys, as_json=True)

        assert json.loads(shown) == {"code": "broken", "detail": "it broke", "fix": "mend it"}

    def test_a_problem_of_the_api_stays_as_it_came(self) -> None:
        problem = {"type": "/docs#x", "code": "x", "detail": "d", "extra": [1]}

        assert describe(ApiProblem(400, problem)) == problem

    def test_the_engines_own_errors_are_described_alike(self) -> None:
        assert describe(Conflict("late"))["code"] == "conflict"
        assert describe(StaleView(current={"revision": 1}))["fix"]
