"""Where a run stands in its graph: what became of each node, as a mark, a word and the ways that were gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from signoff.definition.edges import Edge, edges
from signoff.definition.graph import GateNode, Graph, Node, StepNode
from signoff.model import OUTCOMES, RunStatus
from signoff.store.queries_path import NodeFact
from signoff.store.queries_runs import RunView


class Mark(StrEnum):
    """What became of a node; each has a shape and an icon of its own."""

    DONE = "done"
    PASSED = "passed"
    REFUSED = "refused"
    RETURNED = "returned"
    CURRENT = "current"
    BESIDE = "beside"
    FAILED = "failed"
    STOPPED = "stopped"
    AHEAD = "ahead"
    SKIPPED = "skipped"


_OUTCOME_MARKS = {
    "rejected": Mark.REFUSED,
    "timed_out": Mark.REFUSED,
    "changes_requested": Mark.RETURNED,
}
_STANDING = {
    RunStatus.QUEUED: "queued, a worker takes it next",
    RunStatus.RUNNING: "running now",
    RunStatus.WAITING: "waits for a person",
    RunStatus.RETRYING: "failed, is tried again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """One node with what became of it. `word` says it without the mark, `notes` what else is worth a line."""

    name: str
    kind: str
    mark: Mark
    word: str
    notes: tuple[str, ...] = ()
    human_task_id: UUID | None = None

    @property
    def current(self) -> bool:
        return self.mark is Mark.CURRENT


class Path:
    """The graph of a run with what its log says of each node."""

    def __init__(self, graph: Graph, run: RunView, facts: Mapping[str, NodeFact]) -> None:
        self.graph = graph
        self._run = run
        self._facts = facts
        self._status = RunStatus(run.status)
        self._reachable = self._ahead_of(run.node)
        self._elsewhere = self._started_elsewhere()
        self.stops = {name: self._stop(name, node) for name, node in graph.nodes.items()}

    def walked(self, edge: Edge) -> bool:
        """Whether the run, as far as the last visit of its source tells, went this way."""
        fact = self._facts.get(edge.source)
        if fact is None:
            return False
        if fact.type == "gate.decided":
            # A late review (`goes on`) lets the run pass whatever comes of it.
            if edge.label not in (fact.option or "no answer", "goes on"):
                return False
        elif fact.type == "gate.passed":
            if edge.label not in ("approve", "goes on"):
                return False
        elif fact.type != "step.completed" and edge.label != "goes on":
            return False
        if edge.ends:
            return self._status.finished and self._status == edge.target and self._run.node == edge.source
        return edge.target in self._facts or edge.target == self._run.node

    def _stop(self, name: str, node: Node) -> Stop:
        fact = self._facts.get(name)
        mark, word = self._became(name, node, fact)
        notes = []
        if isinstance(node, StepNode) and node.irreversible:
            notes.append("irreversible")
        if isinstance(node, GateNode) and node.mode == "after":
            notes.append("reviewed beside the run")
        if fact is not None and (fact.attempt or 1) > 1:
            notes.append(f"attempt {fact.attempt}")
        return Stop(
            name=name,
            kind=node.kind,
            mark=mark,
            word=word,
            notes=tuple(notes),
            human_task_id=fact.human_task_id if fact is not None else None,
        )

    def _became(self, name: str, node: Node, fact: NodeFact | None) -> tuple[Mark, str]:
        if name == self._run.node and self._status is not RunStatus.COMPLETED:
            return self._position(fact)
        if fact is None:
            return self._not_there(name)
        match fact.type:
            case "step.completed":
                return Mark.DONE, "done"
            case "gate.passed":
                return Mark.PASSED, "passed by policy"
            case "gate.decided":
                return _outcome(fact)
            case "gate.opened" | "gate.revised" if isinstance(node, GateNode) and node.mode == "after":
                return (Mark.STOPPED, "closed undecided") if self._canceled else (Mark.BESIDE, "waits for a person")
        # It was tried or asked, and the run has been set back to an earlier node since.
        mark, word = self._not_there(name)
        return mark, f"begun before, {word}"

    def _position(self, fact: NodeFact | None) -> tuple[Mark, str]:
        decided = _outcome(fact)[1] if fact is not None and fact.type == "gate.decided" else ""
        if self._status is RunStatus.FAILED:
            return Mark.FAILED, f"{decided}, which failed the run" if decided else "failed here"
        if self._status is RunStatus.CANCELED:
            return Mark.STOPPED, f"{decided}, which canceled the run" if decided else "canceled here"
        return Mark.CURRENT, _STANDING[self._status]

    def _not_there(self, name: str) -> tuple[Mark, str]:
        if name in self._elsewhere:
            return Mark.SKIPPED, "in a run of its own"
        if self._status is RunStatus.COMPLETED:
            return Mark.SKIPPED, "not taken"
        if name not in self._reachable:
            return Mark.SKIPPED, "not on the way"
        return (Mark.SKIPPED, "not reached") if self._status.finished else (Mark.AHEAD, "ahead")

    @property
    def _canceled(self) -> bool:
        return self._status is RunStatus.CANCELED

    def _started_elsewhere(self) -> set[str]:
        """The branches that late reviews of this run have started as runs of their own."""
        found: set[str] = set()
        for edge in edges(self.graph):
            source, fact = self.graph.nodes[edge.source], self._facts.get(edge.source)
            late = isinstance(source, GateNode) and source.mode == "after" and edge.target != source.next
            if late and not edge.ends and fact is not None and fact.type == "gate.decided":
                found |= self._ahead_of(edge.target) if edge.label == (fact.option or "no answer") else set()
        return found

    def _ahead_of(self, node: str | None) -> set[str]:
        """The nodes the run may still come to."""
        ways: dict[str, list[str]] = {}
        for edge in edges(self.graph):
            if not edge.ends:
                ways.setdefault(edge.source, []).append(edge.target)
        found: set[str] = set()
        open_ends = [node] if node is not None else []
        while open_ends:
            name = open_ends.pop()
            if name not in found:
                found.add(name)
                open_ends += ways.get(name, [])
        return found


def outcome_word(outcome: str | None) -> str:
    """An outcome as people say it."""
    return (outcome or "decided").replace("_", " ") if outcome in (*OUTCOMES.values(), "timed_out") else str(outcome)


def _outcome(fact: NodeFact) -> tuple[Mark, str]:
    word = outcome_word(fact.outcome)
    if fact.decided_by == "timeout" and fact.outcome != "timed_out":
        word = f"{word}, as nobody answered in time"
    return _OUTCOME_MARKS.get(fact.outcome or "", Mark.DONE), word
