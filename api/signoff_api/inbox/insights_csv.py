"""The tables of the Insights page as CSV, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from signoff.insights.cases import Label
from signoff.insights.intervals import Share, Spread
from signoff.insights.whatif import Estimate, Labels, WhatIf
from signoff_api.inbox.insights_report import Report

Cell: TypeAlias = str | int | float | None
Row: TypeAlias = Sequence[Cell]

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")
"""What a spreadsheet may take for the beginning of a formula, or skip on its way to one."""


def csv_text(rows: Iterator[Row]) -> str:
    """The rows as RFC 4180 has them. A text that a spreadsheet could run begins with a quote."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerows([_cell(cell) for cell in row] for row in rows)
    return out.getvalue()


def _cell(cell: Cell) -> Cell:
    if cell is None:
        return ""
    if isinstance(cell, str) and cell.startswith(_FORMULA):
        return "'" + cell
    return round(cell, 6) if isinstance(cell, float) else cell


def _share(share: Share) -> Row:
    if not share.total:
        return (share.count, share.total, None, None, None)
    return (share.count, share.total, share.value, share.low, share.high)


def _buckets(report: Report) -> Iterator[Row]:
    yield ("score_from", "score_to", "approved", "decisions", "share", "low_95", "high_95")
    for row in report.buckets.rows if report.buckets else ():
        yield (row.low, row.high, *_share(row.approved))


def _times(report: Report) -> Iterator[Row]:
    yield ("part", "decisions", "p50_seconds", "p95_seconds")
    times = report.times
    parts: tuple[tuple[str, Spread], ...] = (
        ("total", times.total),
        ("waiting", times.waiting),
        ("reading", times.reading),
    )
    for name, spread in parts:
        yield (name, spread.count, _seconds(spread.p50), _seconds(spread.p95))


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1_000


def _shares(report: Report) -> Iterator[Row]:
    yield ("decided_by", "count", "total", "share")
    for name, share in (
        ("people", report.shares.people),
        ("policy", report.shares.policy),
        ("timeout", report.shares.timeout),
    ):
        yield (name, share.count, share.total, share.value)


def _edits(report: Report) -> Iterator[Row]:
    yield ("field", "edited", "decisions", "share")
    for row in report.edits:
        yield (row.field, row.decisions.count, row.decisions.total, row.decisions.value)


def _whatif(report: Report) -> Iterator[Row]:
    yield ("measure", "value", "low_95", "high_95")
    found = report.replay.found
    if found is None:
        return
    yield ("threshold_now", report.replay.now, None, None)
    yield ("threshold_then", report.replay.then, None, None)
    yield from _counts(found, report.replay.left_out)
    yield from _labels("spared", found.spared_labels)
    for name, estimate in (("passed_by_policy", found.passed), ("added", found.caught)):
        yield from _estimate(name, estimate)


def _counts(found: WhatIf, left_out: int) -> Iterator[Row]:
    for name, count in (
        ("runs_replayed", found.runs),
        ("runs_not_replayed", found.unknown),
        ("runs_under_another_condition", left_out),
        ("reviewed", found.did),
        ("would_be_reviewed", found.would),
        ("spared", found.spared),
        ("added", found.added),
    ):
        yield (name, count, None, None)


def _labels(name: str, labels: Labels) -> Iterator[Row]:
    yield (f"{name}_decisions_by_people", labels.total, None, None)
    for label in Label:
        yield (f"{name}_{label}", labels.by_kind.get(label, 0), None, None)
    share = labels.share
    if share is not None:
        yield (f"{name}_objection_share", share.value, share.low, share.high)


def _estimate(name: str, estimate: Estimate) -> Iterator[Row]:
    yield (f"{name}_runs", estimate.runs, None, None)
    yield (f"{name}_sampled_decisions", estimate.labels.total, None, None)
    yield (f"{name}_sampled_objections", estimate.labels.objections, None, None)
    if estimate.expected is not None:
        low, middle, high = estimate.expected
        yield (f"{name}_expected_objections", middle, low, high)


PARTS: Mapping[str, Callable[[Report], Iterator[Row]]] = MappingProxyType(
    {"buckets": _buckets, "times": _times, "shares": _shares, "edits": _edits, "whatif": _whatif}
)
