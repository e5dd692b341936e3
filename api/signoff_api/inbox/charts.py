"""Charts as SVG made here: places across in per cent, so that a chart is as wide as its card and its letters stay.

Looks come from classes; nothing has a style of its own. What belongs to different kinds differs by pattern as well
as by colour, and each chart says in words what it shows: the numbers are in the table beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from markupsafe import Markup

from signoff.insights.intervals import Share
from signoff.insights.summary import Bucket, Edit
from signoff_api.inbox.insights_words import compact, per_cent, score_text
from signoff_api.inbox.text import shown_plain

Fill: TypeAlias = Literal["people", "policy", "timeout"]

_GUTTER = 11.0
"""Per cent of the width that the scale at the left takes."""
_TOP, _BOTTOM = 14, 250
_NAMED = 28
"""Per cent of the width from which on a part of a stacked bar has room for its name."""
_MAX_NAME = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One piece of a stacked bar."""

    fill: Fill
    name: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One stacked bar with the sentence above it."""

    caption: str
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """One row of a chart of times: the median and the 95th percentile, in any one unit."""

    name: str
    p50: float
    p95: float
    says: str


def columns(rows: Sequence[Bucket], label: str) -> Markup:
    """The share that was approved in each bucket of the score, with its interval and how many there were."""
    wide = (100 - _GUTTER) / max(len(rows), 1)
    body = [_scale(level) for level in (0, 0.5, 1)]
    for at, row in enumerate(rows):
        left = _GUTTER + at * wide
        body += [_column(row.approved, left, wide), _tick(left, score_text(row.low), at)]
    if rows:
        body.append(_tick(100, score_text(rows[-1].high), len(rows)))
    return _svg(Markup("").join(body), _BOTTOM + 48, label)


def stacks(bars: Sequence[Stack], label: str, key: str) -> Markup:
    """Stacked bars over the whole width, each part as wide as its share; `key` keeps this chart's patterns apart."""
    body = [_patterns(key)]
    for at, bar in enumerate(bars):
        top = at * 84
        total = sum(part.count for part in bar.parts)
        body.append(_text("0", top + 15, bar.caption, "name"))
        body.append(Markup('<rect class="track" x="0" y="{}" width="100%" height="30" rx="4"/>').format(top + 24))
        left = 0.0
        for part in bar.parts:
            share = 100 * part.count / total if total else 0.0
            if share > 0:
                body.append(
                    Markup('<rect class="part {}" x="{}" y="{}" width="{}" height="30" fill="{}"/>').format(
                        part.fill, _pc(left), top + 24, _pc(share), f"url(#{key}-{part.fill})"
                    )
                )
            if share >= _NAMED:
                body.append(_text(_pc(left), top + 69, f"{part.name} {per_cent(share / 100)}", "says"))
            left += share
    return _svg(Markup("").join(body), 84 * len(bars) - 8, label)


def swatch(fill: Fill, key: str) -> Markup:
    """The small square that names a part in a table."""
    return Markup(
        '<svg class="chart swatch" width="16" height="16" aria-hidden="true">{}'
        '<rect class="part {}" x="1" y="1" width="14" height="14" rx="3" fill="{}"/></svg>'
    ).format(_patterns(key), fill, f"url(#{key}-{fill})")


def ranges(rows: Sequence[Range], label: str) -> Markup:
    """For each row a bar up to the median inside of one up to the 95th percentile."""
    longest = max((row.p95 for row in rows), default=0.0)
    body = []
    for at, row in enumerate(rows):
        top = at * 66
        body.append(_text("0", top + 15, row.name, "name"))
        for value, kind, inset in ((row.p95, "outer", 0), (row.p50, "inner", 3)):
            share = 100 * value / longest if longest else 0.0
            body.append(
                Markup('<rect class="{}" x="0" y="{}" width="{}" height="{}" rx="3"/>').format(
                    kind, top + 23 + inset, _pc(max(share, 0.4)), 18 - 2 * inset
                )
            )
        body.append(_text("0", top + 55, row.says, "says"))
    return _svg(Markup("").join(body), 66 * len(rows) - 4, label)


def counts(rows: Sequence[Edit], label: str) -> Markup:
    """One bar for each field, as long as its share of the decisions."""
    body = []
    for at, row in enumerate(rows):
        top = at * 46
        share = row.decisions.value or 0.0
        name = shown_plain(row.field)
        name = name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"
        body.append(_text("0", top + 15, name, "name"))
        body.append(_text("100%", top + 15, f"{row.decisions.count:,} · {per_cent(share)}", "says", anchor="end"))
        body.append(Markup('<rect class="track" x="0" y="{}" width="100%" height="12" rx="3"/>').format(top + 22))
        body.append(
            Markup('<rect class="inner" x="0" y="{}" width="{}" height="12" rx="3"/>').format(
                top + 22, _pc(max(100 * share, 0.4))
            )
        )
    return _svg(Markup("").join(body), 46 * len(rows) - 8, label)


def _column(share: Share, left: float, wide: float) -> Markup:
    middle = left + wide / 2
    if share.value is None:
        return _text(_pc(middle), _BOTTOM - 6, "–", "none", anchor="middle")
    top = _height(share.value)
    low, high = _height(share.low), _height(share.high)
    cap = wide * 0.14
    parts = [
        Markup('<rect class="bar" x="{}" y="{}" width="{}" height="{}"/>').format(
            _pc(left + wide * 0.17), f"{top:.1f}", _pc(wide * 0.66), f"{_BOTTOM - top:.1f}"
        ),
        Markup('<line class="whisker" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(
            _pc(middle), f"{low:.1f}", f"{high:.1f}"
        ),
    ]
    for end in (low, high):
        parts.append(
            Markup('<line class="whisker" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>').format(
                _pc(middle - cap), _pc(middle + cap), f"{end:.1f}"
            )
        )
    parts.append(_text(_pc(middle), _BOTTOM + 40, compact(share.total), "count", anchor="middle"))
    return Markup("").join(parts)


def _scale(level: float) -> Markup:
    y = _height(level)
    line = Markup('<line class="grid" x1="{0}" x2="100%" y1="{1}" y2="{1}"/>').format(_pc(_GUTTER), f"{y:.1f}")
    return line + _text(_pc(_GUTTER - 1.5), y + 4, per_cent(level), "tick", anchor="end")


def _tick(x: float, text: str, at: int) -> Markup:
    # On a narrow screen every second one is hidden.
    kind = "tick" if at % 2 == 0 else "tick odd"
    return _text(_pc(x), _BOTTOM + 19, text, kind, anchor="end" if x >= 100 else "middle")


def _height(share: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * share


def _text(x: str, y: float, text: str, kind: str, *, anchor: str = "start") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(kind, x, f"{y:g}", anchor, text)


def _patterns(key: str) -> Markup:
    """A solid, a hatched and a dotted fill: who decided is told apart without colour, too."""
    return Markup(
        '<defs><pattern id="{0}-people" width="8" height="8" patternUnits="userSpaceOnUse">'
        '<rect class="ground people" width="8" height="8"/></pattern>'
        '<pattern id="{0}-policy" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect class="ground policy" width="8" height="8"/><rect class="figure policy" width="3" height="8"/></pattern>'
        '<pattern id="{0}-timeout" width="8" height="8" patternUnits="userSpaceOnUse">'
        '<rect class="ground timeout" width="8" height="8"/><circle class="figure timeout" cx="4" cy="4" r="1.8"/>'
        "</pattern></defs>"
    ).format(key)


def _svg(body: Markup, height: int, label: str) -> Markup:
    return Markup('<svg class="chart" width="100%" height="{}" role="img" aria-label="{}">{}</svg>').format(
        height, label, body
    )


def _pc(share: float) -> str:
    return f"{share:.2f}%"
