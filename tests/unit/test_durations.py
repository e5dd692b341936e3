from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.durations import MAX_DURATION_MS, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90s", 90_000),
        ("4h", 14_400_000),
        ("1h30m", 5_400_000),
        ("2d", 172_800_000),
        ("1w", 604_800_000),
        ("250ms", 250),
        ("1.5h", 5_400_000),
        (" 5m ", 300_000),
        ("0s", 0),
        ("PT4H", 14_400_000),
        ("p2d", 172_800_000),
        ("P1DT12H", 129_600_000),
        ("PT0.5S", 500),
    ],
)
def test_a_duration_is_read_in_milliseconds(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not a duration"),
        ("4", "is not a duration"),
        ("four hours", "is not a duration"),
        ("4h later", "is not a duration"),
        ("-4h", "is not a duration"),
        ("P1M", "years or months"),
        ("P1Y", "years or months"),
        ("PX", "ISO 8601"),
        ("-PT4H", "is not a duration"),
        ("99999d", "out of range"),
        ("P9999999D", "out of range"),
        ("9" * 400 + "h", "range"),
    ],
)
def test_what_is_no_duration_is_refused_with_the_forms(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_duration(text)


@given(st.integers(0, MAX_DURATION_MS))
def test_what_is_written_is_read_back(ms: int) -> None:
    assert parse_duration(format_duration(ms)) == ms
