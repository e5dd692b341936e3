"""What measurements come to: rows of minimum, median and maximum, and the loops that make them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

WARM_UP = 10
"""Samples of a latency that are left out: they warm caches, connections and prepared statements."""

ROUNDS = 5
"""In how many parts the runs are parked whose memory is measured; the median part counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measure of one setting of one system, over so many repeats."""

    who: str
    setting: str
    workers: int
    measure: str
    unit: str
    minimum: float
    median: float
    maximum: float
    repeats: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """Something that was asked for and not measured, and why."""

    who: str
    why: str


@dataclass(slots=True, kw_only=True)
class Found:
    """Everything one run of the tool has come to so far."""

    rows: list[Row] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)
    growth: list[dict[str, float]] = field(default_factory=list)

    def of(self, who: str, measure: str, *, setting: str | None = None, workers: int | None = None) -> Row | None:
        """The row of this measure; without a setting or a number of workers, the one with the best median."""
        fitting = [
            row
            for row in self.rows
            if (row.who, row.measure) == (who, measure)
            and setting in (None, row.setting)
            and workers in (None, row.workers)
        ]
        best = min if measure in LESS_IS_MORE else max
        return best(fitting, key=lambda row: row.median) if fitting else None


WITHOUT = "signoff without"
"""Who the rows of Signoff without one of its optimisations are about."""

LESS_IS_MORE = frozenset(
    {"hop p50", "hop p95", "answer p50", "answer p95", "load p50", "load p99", "cpu", "disk", "memory", "startup",
     "second startup"}
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Subject:
    """Collects the values of one setting of one system."""

    who: str
    setting: str
    workers: int
    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def add(self, measure: str, unit: str, *values: float) -> None:
        self.values.setdefault((measure, unit), []).extend(values)

    def last(self, measure: str) -> float:
        """The value that was added last."""
        return next(values[-1] for (name, _), values in self.values.items() if name == measure)

    def rows(self) -> list[Row]:
        return [
            Row(
                who=self.who,
                setting=self.setting,
                workers=self.workers,
                measure=measure,
                unit=unit,
                minimum=min(values),
                median=statistics.median(values),
                maximum=max(values),
                repeats=len(values),
            )
            for (measure, unit), values in self.values.items()
        ]

    def say(self) -> None:
        """What was found so far, on one line."""
        told = ", ".join(f"{row.measure} {row.median:,.4g} {row.unit}" for row in self.rows())
        say(f"  {self.who} {self.setting} ×{self.workers}: {told}")


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share (0 to 1) of the others lies, by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def sized(rate: float, seconds: float, *, least: int, most: int) -> int:
    """How many units keep something that does `rate` a second busy for this long, within bounds."""
    return max(least, min(most, int(rate * seconds)))


def until(condition: Callable[[], object], seconds: float, why: str, *, every: float = 0.01) -> None:
    """Wait until the condition holds. Ends the whole tool after `seconds`: nothing here waits without a bound."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds:.0f} s: {why}")
        time.sleep(every)


def say(line: str) -> None:
    """A line of progress."""
    print(line, flush=True)
