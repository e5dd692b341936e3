"""What the Insights page says of one gate in one period, put together from what was decided."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from signoff.definition.cel_scope import Scope
from signoff.definition.fields import split_path
from signoff.definition.graph import GateNode
from signoff.insights import summary
from signoff.insights.intervals import Share
from signoff.insights.selection import Comparable
from signoff.insights.thresholds import NoThreshold, Threshold, find_threshold, read_threshold, show_threshold
from signoff.insights.whatif import MAX_NAMES, WhatIf, names_of, replay
from signoff.store.queries_insights import Decided, Period, decided_at, find_gate, openings

if TYPE_CHECKING:
    from signoff.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One gate, one period, and another threshold as it was typed; "" for none."""

    workflow: str
    gate: str
    period: Period
    threshold: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The what-if: the threshold there is or why there is none, and what another one would have done.

    `refused` says what is wrong with the one that was asked for. `left_out` runs were decided under another condition.
    """

    threshold: Threshold | None = None
    unfit: str | None = None
    asked: Decimal | None = None
    refused: str | None = None
    found: WhatIf | None = None
    left_out: int = 0
    sample: float = 0.0

    @property
    def condition_then(self) -> str:
        """The condition with the threshold that was asked for."""
        assert self.threshold is not None
        assert self.asked is not None
        return self.threshold.rewritten(self.asked)

    @property
    def now(self) -> str:
        """The threshold there is, as people write it."""
        assert self.threshold is not None
        return show_threshold(self.threshold.value)

    @property
    def then(self) -> str:
        assert self.asked is not None
        return show_threshold(self.asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything the page shows. `buckets` is None where the gate names no score."""

    decided: Decided
    shares: summary.Shares
    buckets: summary.Buckets | None
    times: summary.Times
    late: Share
    edits: tuple[summary.Edit, ...]
    replay: Replay

    @property
    def node(self) -> GateNode:
        return self.decided.node


def report_on(engine: Engine, question: Question) -> Report:
    """The report. Raises NotFound for a gate that is not there."""
    node = find_gate(engine.database, engine.core.versions, question.workflow, question.gate)
    asked = _asked(node, question.threshold.strip())
    names = _names(asked, node)
    decided = decided_at(
        engine.database,
        engine.core.versions,
        workflow=question.workflow,
        gate=question.gate,
        period=question.period,
        fields=[path[0] for path in names],
        with_values=bool(names),
    )
    tasks = decided.reviewed
    return Report(
        decided=decided,
        shares=summary.shares(tasks, len(decided.passed)),
        buckets=summary.buckets(tasks, split_path(node.score)) if node.score else None,
        times=summary.times(tasks),
        late=summary.decided_late(tasks),
        edits=summary.edits(tasks),
        replay=_replayed(engine, asked, decided) if names else asked,
    )


def _asked(node: GateNode, typed: str) -> Replay:
    """The threshold of the gate, and the other one if it is one."""
    try:
        threshold = find_threshold(node.review_if, node.score)
    except NoThreshold as reason:
        return Replay(unfit=str(reason))
    plain = Replay(threshold=threshold, sample=node.sample)
    if not typed:
        return plain
    value = read_threshold(typed)
    if value is None:
        problem = "Type a number, such as 0.7, with at most 12 places."
        return Replay(threshold=threshold, sample=node.sample, refused=problem)
    try:
        condition = threshold.compiled(value, Scope.of(node.payload_schema))
    except NoThreshold as reason:
        return Replay(threshold=threshold, sample=node.sample, refused=f"That can't be a threshold: {reason}.")
    if names_of(condition) is None:
        unfit = f"The condition reads the whole payload or more than {MAX_NAMES} fields: not all of it is kept."
        return Replay(unfit=unfit)
    return Replay(threshold=threshold, sample=node.sample, asked=value)


def _names(asked: Replay, node: GateNode) -> tuple[tuple[str, ...], ...]:
    if asked.threshold is None or asked.asked is None:
        return ()
    return names_of(asked.threshold.compiled(asked.asked, Scope.of(node.payload_schema))) or ()


def _replayed(engine: Engine, asked: Replay, decided: Decided) -> Replay:
    assert asked.threshold is not None
    assert asked.asked is not None
    node = decided.node
    scope = Scope.of(node.payload_schema)
    now = asked.threshold.compiled(asked.threshold.value, scope)
    comparable = Comparable.of(node, decided.graphs, decided.reviewed, decided.passed)
    opened = openings(engine.database, node.name, comparable.to_look_up())
    cases = comparable.cases(opened, names_of(now) or ())
    return Replay(
        threshold=asked.threshold,
        asked=asked.asked,
        sample=node.sample,
        found=replay(cases, asked.threshold.moved(asked.asked), now, asked.threshold.compiled(asked.asked, scope)),
        left_out=comparable.left_out,
    )
