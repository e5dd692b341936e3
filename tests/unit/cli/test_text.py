"""What other people wrote is shown as it is, and never reaches the terminal raw."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.cli.text import ago, compact, json_text, shortened, span, until, visible, visible_lines
from signoff.hidden_text import split_hidden

DANGEROUS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class TestVisible:
    def test_escape_sequences_become_signs(self) -> None:
        assert visible("\x1b[31mred\x1b]0;title\x07") == "␛[31mred␛]0;title␇"

    def test_eight_bit_controls_are_shown_by_their_number(self) -> None:
        assert visible("\x9b31m\x7f") == "⟨U+009B⟩31m␡"

    def test_characters_that_turn_the_direction_of_writing_are_shown(self) -> None:
        assert visible("pay \u202e00.1\u202c") == "pay ⟨U+202E⟩00.1⟨U+202C⟩"

    @pytest.mark.parametrize("hidden", ["\u200b", "\ufeff", "\u00ad", "\u2060", "\u3164", "\U000e0041"])
    def test_characters_that_show_nothing_are_shown(self, hidden: str) -> None:
        assert visible(f"a{hidden}b") != f"a{hidden}b"
        assert "U+" in visible(hidden)

    @pytest.mark.parametrize("text", ["Überweisung", "返金", "שלום", "👩\u200d🚒", "é", "नमस्ते"])
    def test_every_script_is_left_as_it_is(self, text: str) -> None:
        assert visible(text) == text

    def test_all_is_shown_that_pages_show_but_for_the_joiners_that_scripts_need(self) -> None:
        differing = [
            character
            for character in map(chr, range(0x20, sys.maxunicode + 1))
            if (visible(character) != character) != any(hidden for _, hidden in split_hidden(character))
        ]
        assert differing == ["\u200c", "\u200d"]

    def test_one_line_stays_one_line(self) -> None:
        assert visible("a\nb\r\nc") == "a↵b␍↵c"
        assert visible_lines("a\nb\r\nc\x1b") == "a\nb\nc␛"

    @given(st.text())
    def test_nothing_dangerous_is_left(self, text: str) -> None:
        assert not DANGEROUS.search(visible(text))
        assert "\n" not in visible(text)
        assert not DANGEROUS.search(visible_lines(text))


class TestJsonText:
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=10,
        )
    )
    def test_it_reads_back_equal_and_holds_nothing_dangerous(self, value: object) -> None:
        written = json_text(value)

        assert json.loads(written) == value
        assert not DANGEROUS.search(written)

    def test_letters_stay_letters(self) -> None:
        assert json_text({"note": "schön"}, indent=None) == '{"note": "schön"}'

    def test_what_is_cut_says_so(self) -> None:
        assert compact({"a": "b" * 100}, 12) == '{"a": "bbbb…'
        assert shortened("abc", 3) == "abc"


class TestTimes:
    @pytest.mark.parametrize(
        ("seconds", "shown"),
        [
            (0.04, "0.0 s"),
            (9.94, "9.9 s"),
            (12, "12 s"),
            (200, "3 min 20 s"),
            (180, "3 min"),
            (3600, "1 h"),
            (187_200, "2 d 4 h"),
            (-5, "0.0 s"),
        ],
    )
    def test_a_span_has_two_units_at_most(self, seconds: float, shown: str) -> None:
        assert span(timedelta(seconds=seconds)) == shown

    def test_an_age_has_one(self) -> None:
        assert ago(NOW - timedelta(minutes=3, seconds=50), NOW) == "3 min ago"
        assert ago(NOW + timedelta(seconds=1), NOW) == "0 s ago"
        assert ago(None) == ""

    def test_a_due_time_that_has_passed_is_overdue(self) -> None:
        assert until(NOW + timedelta(hours=4), NOW) == "in 4 h"
        assert until(NOW - timedelta(hours=4), NOW) == "overdue 4 h"
        assert until(None) == ""
