"""The parts of the Insights page that need no database: CSV, charts, words."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from signoff.insights.intervals import Share
from signoff.insights.summary import Bucket, Edit
from signoff_api.inbox import charts
from signoff_api.inbox.insights_csv import Cell, csv_text
from signoff_api.inbox.insights_words import compact, interval, per_cent, plural, took


class TestCsv:
    @pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '=HYPERLINK("x")'])
    def test_no_text_is_run_by_a_spreadsheet(self, text: str) -> None:
        (row,) = csv.reader(io.StringIO(csv_text(iter([(text, 1)])), newline=""))
        assert row == ["'" + text, "1"]

    def test_numbers_stay_numbers(self) -> None:
        assert csv_text(iter([(-1, -0.5, 0.1234567890, None, "a,b")])) == '-1,-0.5,0.123457,,"a,b"\r\n'

    @given(st.lists(st.text(max_size=20) | st.integers() | st.none(), min_size=1, max_size=5))
    def test_whatever_is_written_is_read_back_and_begins_with_nothing_that_runs(self, cells: Sequence[Cell]) -> None:
        (row,) = csv.reader(io.StringIO(csv_text(iter([cells])), newline=""))
        for given_cell, read in zip(cells, row, strict=True):
            if isinstance(given_cell, str):
                assert read.removeprefix("'") == given_cell.removeprefix("'") or read == given_cell
                assert not read.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def bucket(low: float, count: int, total: int) -> Bucket:
    return Bucket(low=low, high=low + 0.1, approved=Share(count=count, total=total))


EVERY = {
    "columns": charts.columns([bucket(0, 0, 0), bucket(0.1, 0, 3), bucket(0.2, 3, 3)], "Approved"),
    "no columns": charts.columns([], "Approved"),
    "stacks": charts.stacks(
        [
            charts.Stack(
                caption="10 runs",
                parts=[
                    charts.Part(fill="people", name="people", count=9),
                    charts.Part(fill="policy", name="", count=1),
                ],
            ),
            charts.Stack(caption="none", parts=[charts.Part(fill="timeout", name="timeout", count=0)]),
        ],
        "Who",
        "by",
    ),
    "ranges": charts.ranges([charts.Range(name="All", p50=0, p95=0, says="at once")], "Times"),
    "no ranges": charts.ranges([], "Times"),
    "counts": charts.counts([Edit(field="a" * 90 + "\u202e", decisions=Share(count=1, total=3))], "Edits"),
    "swatch": charts.swatch("policy", "key"),
}


class TestCharts:
    @pytest.mark.parametrize("name", list(EVERY))
    def test_each_is_well_formed_and_keeps_within_its_width(self, name: str) -> None:
        drawn = ET.fromstring(EVERY[name])
        for shape in drawn.iter():
            assert "style" not in shape.attrib
            for key in ("x", "width", "x1", "x2"):
                value = shape.get(key, "0")
                if value.endswith("%"):
                    assert -0.01 <= float(value[:-1]) <= 100.01
            x, width = shape.get("x", "0"), shape.get("width", "0")
            if x.endswith("%") and width.endswith("%"):
                assert float(x[:-1]) + float(width[:-1]) <= 100.02

    def test_what_others_wrote_is_text(self) -> None:
        evil = "<script>alert(1)</script>"
        drawn = charts.counts([Edit(field=evil, decisions=Share(count=1, total=1))], '"><b>')
        assert "<script" not in drawn
        assert "<b>" not in drawn
        assert "⟦U+202E⟧" in charts.counts([Edit(field="a\u202eb", decisions=Share(count=1, total=1))], "x")

    def test_a_column_is_as_high_as_its_share_and_its_line_as_long_as_its_interval(self) -> None:
        share = Share(count=3, total=4)
        drawn = ET.fromstring(charts.columns([Bucket(low=0, high=1, approved=share)], "x"))
        bar = next(shape for shape in drawn.iter("rect") if shape.get("class") == "bar")
        line = next(shape for shape in drawn.iter("line") if shape.get("class") == "whisker")
        whole = 250 - 14
        assert float(bar.attrib["height"]) == pytest.approx(0.75 * whole, abs=0.1)
        assert float(line.attrib["y1"]) == pytest.approx(250 - share.low * whole, abs=0.1)
        assert float(line.attrib["y2"]) == pytest.approx(250 - share.high * whole, abs=0.1)

    def test_every_pattern_that_is_used_is_there_once(self) -> None:
        page = Markup("").join(EVERY.values())
        ids = re.findall(r'<pattern id="([^"]+)"', page)
        assert len(ids) == len(set(ids))
        assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)


@pytest.mark.parametrize(
    ("share", "said"),
    [(None, "–"), (0, "0 %"), (0.001, "<1 %"), (0.5, "50 %"), (0.996, ">99 %"), (1, "100 %")],
)
def test_a_share_is_never_rounded_to_none_or_all(share: float | None, said: str) -> None:
    assert per_cent(share) == said


def test_numbers_are_said_as_people_say_them() -> None:
    assert [compact(n) for n in (0, 999, 1_000, 9_949, 9_950, 34_400, 999_499, 999_500)] == [
        *("0", "999", "1.0k", "9.9k", "10k", "34k", "999k", "1.0M"),
    ]
    assert (plural(1, "run"), plural(1_200, "run")) == ("1 run", "1,200 runs")
    assert interval(Share(count=0, total=0)) == "–"
    assert interval(Share(count=5, total=10)) == "24–76 %"
    assert [took(ms) for ms in (None, 0, 400, 45_000, 180_000, 7_500_000)] == [
        *("–", "0 s", "0.4 s", "45 s", "3 min", "2 h 5 min"),
    ]
