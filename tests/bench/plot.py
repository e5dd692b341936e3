"""The plots: bars beside the peers', and curves of growth. Plain SVG that is legible on light and on dark."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from html import escape

from tests.bench.figures import LESS_IS_MORE, WITHOUT, Found, Row

PANELS = (
    ("steps", "durable steps a second, four a run", "steps/s"),
    ("park", "refunds parked a second", "runs/s"),
    ("decide", "refunds decided and done a second", "runs/s"),
    ("cpu", "CPU of one refund, all processes (less is better)", "ms"),
    ("hop p50", "idle, decision sent to next step, p50 (less is better)", "ms"),
)
CURVES = (
    "decide p50", "decide p99", "HTTP decide p50", "inbox page p95", "claim p50", "empty sweep p50",
)  # fmt: skip
WIDTH, LABEL, BAR, GAP, TOP = 860, 240, 18, 6, 34
HUES = ("#3b82c4", "#c2571a", "#2f9e62", "#a254b8", "#b58a00", "#d1495b")

_STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.title { font-weight: 600; }
.axis { stroke: #8b949e; stroke-width: 1; }
.ours { fill: #3b82c4; } .theirs { fill: #9aa4af; } .span { stroke: #57606a; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .theirs { fill: #6e7681; } .span { stroke: #c9d1d9; } }
</style>"""


def bars(found: Found) -> str:
    """A panel a measure; in it, for each setting, the median of its best number of processes, minimum to maximum."""
    y, parts = 0, []
    for measure, title, unit in PANELS:
        best = _best(found, measure)
        if best:
            parts.append(_panel(y, title, unit, best))
            y += TOP + len(best) * (BAR + GAP) + 16
    return _svg(max(y, 40), parts, "Signoff beside bare Celery chains and other systems")


def curves(grown: Sequence[dict[str, float]]) -> str:
    """Milliseconds over parked runs, both axes logarithmic: a flat line does not depend on how many are parked."""
    height, left, bottom, right = 360, 70, 320, 620
    drawn = [name for name in CURVES if any(name in each for each in grown)]
    values = [each[name] for each in grown for name in drawn if each.get(name, 0) > 0]
    if not values or len(grown) < 2:
        return _svg(40, [], "growth")
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    first, last = (math.log10(grown[index]["parked"]) for index in (0, -1))

    def x(parked: float) -> float:
        return left + (math.log10(parked) - first) / (last - first) * (right - left)

    def y(value: float) -> float:
        return bottom - (math.log10(value) - low) / max(1, high - low) * (bottom - 30)

    parts = ['<text class="title" x="0" y="16">ms, over parked runs</text>']
    for power in range(low, high + 1):
        at = f"{y(10.0**power):.1f}"
        parts.append(f'<line class="axis" opacity=".35" x1="{left}" x2="{right}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{left - 8}" y="{at}" dy="4" text-anchor="end">{10.0**power:g}</text>')
    for each in grown:
        parts.append(
            f'<text x="{x(each["parked"]):.1f}" y="{bottom + 22}" text-anchor="middle">{int(each["parked"]):,}</text>'
        )
    ends = _spread([y(grown[-1][name]) for name in drawn])
    for name, hue, end in zip(drawn, HUES, ends, strict=False):
        points = " ".join(f"{x(each['parked']):.1f},{y(each[name]):.1f}" for each in grown if each.get(name, 0) > 0)
        parts.append(f'<polyline fill="none" stroke="{hue}" stroke-width="2.5" points="{points}"/>')
        parts.append(
            f'<text x="{right + 12}" y="{end + 4:.1f}" style="fill:{hue}">{escape(name)} {grown[-1][name]:.3g}</text>'
        )
    return _svg(height, parts, "growth")


def _best(found: Found, measure: str) -> list[Row]:
    settings = dict.fromkeys(
        (row.who, row.setting) for row in found.rows if row.measure == measure and row.who != WITHOUT
    )
    rows = [found.of(who, measure, setting=setting) for who, setting in settings]
    return sorted((row for row in rows if row), key=lambda row: row.median, reverse=measure not in LESS_IS_MORE)


def _panel(top: int, title: str, unit: str, rows: list[Row]) -> str:
    most = max(row.maximum for row in rows) or 1.0
    scale = (WIDTH - LABEL - 110) / most
    parts = [f'<text class="title" x="0" y="{top + 20}">{escape(title)}</text>']
    for number, row in enumerate(rows):
        y = top + TOP + number * (BAR + GAP)
        middle = y + BAR / 2
        name = f"{row.who}, {row.setting}, {row.workers}"
        parts.append(f'<text x="{LABEL - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        kind = "ours" if row.who == "signoff" else "theirs"
        parts.append(
            f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{row.median * scale:.1f}" height="{BAR}" rx="2"/>'
        )
        if row.repeats > 1:
            low, high = LABEL + row.minimum * scale, LABEL + row.maximum * scale
            parts.append(f'<line class="span" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>')
        value = f"{row.median:,.0f}" if row.median >= 100 else f"{row.median:.3g}"
        parts.append(
            f'<text x="{LABEL + row.maximum * scale + 8:.1f}" y="{middle + 4:.1f}">{value} {escape(unit)}</text>'
        )
    return "\n".join(parts)


def _spread(heights: list[float]) -> list[float]:
    """The same heights, moved apart where labels would lie on each other."""
    placed = list(heights)
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    for before, after in itertools.pairwise(order):
        placed[after] = max(placed[after], placed[before] + 16)
    return placed


def _svg(height: int, parts: list[str], title: str) -> str:
    size = f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    return "\n".join([head, _STYLE, *parts, "</svg>"]) + "\n"
