"""Shares with their intervals, and percentiles, of what may be nothing at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_Z = 1.959963984540054
"""The 97.5 % point of the normal distribution: both tails together leave 5 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """`count` of `total`, with Wilson's 95 % interval: between 0 and 1, and (0, 1) of nothing, which says nothing.

    The interval is for the share behind the counts, as if they were drawn at random from all cases of their kind. It
    stays inside of 0 and 1 and does not shrink to a point at "none of them" or "all of them".
    """

    count: int
    total: int

    @property
    def value(self) -> float | None:
        """The share itself, None of nothing."""
        return self.count / self.total if self.total else None

    @property
    def low(self) -> float:
        return self._bounds[0]

    @property
    def high(self) -> float:
        return self._bounds[1]

    @property
    def _bounds(self) -> tuple[float, float]:
        if not self.total:
            return 0.0, 1.0
        n, p = self.total, self.count / self.total
        scale = 1 + _Z * _Z / n
        middle = (p + _Z * _Z / (2 * n)) / scale
        half = _Z * math.sqrt(p * (1 - p) / n + _Z * _Z / (4 * n * n)) / scale
        # At none and at all one end is 0 or 1 exactly; rounding would put it a hair beside.
        low = 0.0 if self.count == 0 else max(0.0, middle - half)
        high = 1.0 if self.count == self.total else min(1.0, middle + half)
        return low, high


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How long something took, in milliseconds, over `count` cases; None over none."""

    count: int
    p50: float | None
    p95: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        ordered = sorted(values)
        return cls(count=len(ordered), p50=percentile(ordered, 0.5), p95=percentile(ordered, 0.95))


def percentile(ordered: Sequence[float], q: float) -> float | None:
    """The value below which the share `q` lies, interpolated between neighbours; `ordered` ascends."""
    if not ordered:
        return None
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
