"""What the decided cases of one gate come to: approvals by score, times, shares, edits."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from signoff.insights.cases import Reviewed, number_at
from signoff.insights.intervals import Share, Spread
from signoff.model import APPROVED, DecidedBy

BUCKETS = 10
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """The decisions on scores from `low` up to `high`, which belongs to the next one; in the last it is included."""

    low: float
    high: float
    approved: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """Approvals by people over the score; `unscored` decisions had no number there."""

    rows: tuple[Bucket, ...]
    unscored: int

    @property
    def scored(self) -> int:
        return sum(row.approved.total for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Time to decision by people. Waiting and reading are known only where the reader's browser counted."""

    total: Spread
    waiting: Spread
    reading: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What decided, of all that was decided."""

    people: Share
    policy: Share
    timeout: Share

    @property
    def total(self) -> int:
        return self.people.total


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """How many decisions changed one field, of all decisions."""

    field: str
    decisions: Share


def buckets(tasks: Sequence[Reviewed], score: tuple[str, ...]) -> Buckets:
    """Approvals by people in ten equal buckets over the range of the score: 0 to 1 where all lie in it."""
    decided = [task for task in tasks if task.by_people]
    found = [(number_at(task.shown, score), task.outcome == APPROVED) for task in decided]
    scored = [(number, approved) for number, approved in found if number is not None]
    unscored = len(found) - len(scored)
    if not scored:
        return Buckets(rows=(), unscored=unscored)
    edges = _edges([number for number, _ in scored])
    totals, approvals = [0] * (len(edges) - 1), [0] * (len(edges) - 1)
    for number, approved in scored:
        at = min(bisect_right(edges, number) - 1, len(totals) - 1)
        totals[at] += 1
        approvals[at] += approved
    rows = (
        Bucket(low=edges[at], high=edges[at + 1], approved=Share(count=approvals[at], total=totals[at]))
        for at in range(len(totals))
    )
    return Buckets(rows=tuple(rows), unscored=unscored)


def _edges(numbers: Sequence[float]) -> list[float]:
    low, high = min(numbers), max(numbers)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    if low == high:
        return [low, high]
    # Each end is weighted by itself: their difference may be more than a double holds.
    inner = (low * ((BUCKETS - at) / BUCKETS) + high * (at / BUCKETS) for at in range(1, BUCKETS))
    return [low, *inner, high]


def times(tasks: Sequence[Reviewed]) -> Times:
    """How long decisions by people took, from the newest draft's opening to the word that decided it."""
    total: list[float] = []
    waiting: list[float] = []
    reading: list[float] = []
    for task in tasks:
        said = task.deciding
        if said is None:
            continue
        took = max(0.0, (said.at - task.since) / _MS)
        total.append(took)
        if said.reading_ms is not None:
            # A browser's clock is not ours: nobody reads for longer than the human task was open.
            read = min(float(said.reading_ms), took)
            reading.append(read)
            waiting.append(took - read)
    return Times(total=Spread.of(total), waiting=Spread.of(waiting), reading=Spread.of(reading))


def decided_late(tasks: Sequence[Reviewed]) -> Share:
    """Decisions by people that came after the due time, of those that had one."""
    due = [(task, said) for task in tasks if (said := task.deciding) is not None and task.due_at is not None]
    late = sum(task.due_at is not None and said.at > task.due_at for task, said in due)
    return Share(count=late, total=len(due))


def shares(tasks: Sequence[Reviewed], passed: int) -> Shares:
    """Who decided: people, the policy, or the clock."""
    people = sum(task.by_people for task in tasks)
    timeout = sum(task.decided_by == DecidedBy.TIMEOUT for task in tasks)
    total = people + timeout + passed
    return Shares(
        people=Share(count=people, total=total),
        policy=Share(count=passed, total=total),
        timeout=Share(count=timeout, total=total),
    )


def edits(tasks: Sequence[Reviewed]) -> tuple[Edit, ...]:
    """Which fields people changed, the most frequent first."""
    decisions = [said for task in tasks if task.by_people for said in task.said]
    counted = Counter(field for said in decisions for field in said.edited)
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Edit(field=field, decisions=Share(count=count, total=len(decisions))) for field, count in ordered)
