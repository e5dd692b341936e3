"""Numbers as a page says them."""

from __future__ import annotations

from signoff.insights.intervals import Share


def per_cent(share: float | None) -> str:
    """`62 %`; what is not quite none or all is never rounded to it."""
    if share is None:
        return "–"
    if 0 < share < 0.005:
        return "<1 %"
    if 0.995 <= share < 1:
        return ">99 %"
    return f"{100 * share:.0f} %"


def interval(share: Share) -> str:
    """`55–68 %`, the 95 % interval of a share; a dash where nothing was counted."""
    if not share.total:
        return "–"
    return f"{100 * share.low:.0f}–{100 * share.high:.0f} %"


def compact(number: int) -> str:
    """`950`, `1.2k`, `34k`: as it fits below a column."""
    if number < 1_000:
        return str(number)
    if number < 9_950:
        return f"{number / 1_000:.1f}k"
    return f"{number / 1_000:.0f}k" if number < 999_500 else f"{number / 1_000_000:.1f}M"


def score_text(score: float) -> str:
    """A score, or the edge of a bucket of scores, in at most four digits that matter."""
    return f"{score:.4g}"


def comparison(operator: str) -> str:
    """`<` and its like as words."""
    return {"<": "is below", "<=": "is at most", ">": "is above", ">=": "is at least"}[operator]


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 run`, `1,200 runs`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def took(milliseconds: float | None) -> str:
    """How long something took: `0.4 s`, `45 s`, `3 min`, `2 h 5 min`."""
    from signoff_api.inbox.text import duration

    if milliseconds is None:
        return "–"
    seconds = milliseconds / 1_000
    return f"{seconds:.1f} s" if 0 < seconds < 10 else duration(seconds)
