"""What must hold of every run, read from its log alone and not from the state the log came to.

The transition function keeps counts, revisions and cursors; this reading keeps its own, in the plainest way, so that
a mistake in one is not repeated in the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from signoff.canonical import Json, canonical, sha256_hex
from signoff.definition.graph import GateNode, Graph, StepNode
from signoff.model import Event, EventType, HumanTask, RunState, RunStatus, TaskState
from signoff.transitions.human_task_events import next_rung


@dataclass(slots=True)
class TaskReading:
    """One human task as its events tell it. `votes` has who said what of the revision that is shown."""

    gate: GateNode
    payload: Json
    sha256: str
    revision: int = 1
    votes: dict[str, tuple[str, str]] = field(default_factory=dict)
    patches: dict[str, Json] = field(default_factory=dict)
    outcomes: list[tuple[int, str]] = field(default_factory=list)
    grace: bool = False

    def enough(self, option: str) -> bool:
        """Whether as many distinct people as the gate wants have said `option` of what is shown."""
        said = sum(decision == option for _, decision in self.votes.values())
        if option == "request_changes":
            return said >= 1
        return said >= (self.gate.reject_after if option == "reject" else self.gate.approvals)


@dataclass(slots=True)
class Ledger:
    """A reading of one log. `approved` is the hash that may go into the next irreversible step, None for none."""

    graph: Graph
    value: Json = None
    received: dict[str, Json] = field(default_factory=dict)
    tasks: dict[str, TaskReading] = field(default_factory=dict)
    approved: str | None = None
    approvals_for: dict[str, list[str]] = field(default_factory=dict)
    executions: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, graph: Graph, log: Iterable[Event]) -> Ledger:
        """Read a whole log. Raises AssertionError where an event breaks a promise."""
        ledger = cls(graph)
        for event in log:
            ledger.add(event)
        return ledger

    def add(self, event: Event) -> None:
        data: Mapping[str, Any] = event.data
        canonical(dict(data))
        match event.type:
            case EventType.RUN_CREATED:
                self.value = data.get("value", data["input"])
            case EventType.STEP_COMPLETED:
                self._executed(data["step"])
                self.received[data["step"]] = self.value
                self.value, self.approved = data["output"], None
            case EventType.GATE_PASSED:
                self._passed(self.graph.gate(data["gate"]), data["payload_sha256"])
            case EventType.GATE_OPENED:
                self._opened(self.graph.gate(data["gate"]), data)
            case EventType.GATE_REVISED:
                self._revised(self.tasks[data["human_task_id"]], data)
            case EventType.DECISION_RECORDED:
                self._recorded(self.tasks[data["human_task_id"]], event)
            case EventType.GATE_DECIDED:
                self._decided(self.tasks[data["human_task_id"]], data)
            case EventType.RUN_CANCELED | EventType.RUN_FAILED:
                for task in self.tasks.values():
                    task.grace = task.grace and event.type is EventType.RUN_FAILED and task.gate.mode == "after"
            case EventType.RUN_RETRIED:
                self.value = data.get("value", self.value)
                earlier = self.approvals_for.get(data["from_step"])
                self.approved = earlier[-1] if earlier else None
            case _:
                pass

    def _passed(self, gate: GateNode, sha256: str) -> None:
        # The one condition of these scenes, spelled out.
        assert gate.review_if == "amount > 5", "a gate without a condition is always reviewed"
        assert self.value["amount"] <= 5, "a condition that holds asks for a person"
        assert not self._waits_for_a_draft(gate), "who asked for changes sees the new draft"
        if gate.mode == "before":
            self._approve(gate.name, sha256)

    def _opened(self, gate: GateNode, data: Mapping[str, Any]) -> None:
        assert data["human_task_id"] not in self.tasks, "a human task is opened once"
        assert not self._waits_for_a_draft(gate), "the same human task shows the new draft"
        self.tasks[data["human_task_id"]] = TaskReading(gate, self.value, data["payload_sha256"])

    def _waits_for_a_draft(self, gate: GateNode) -> bool:
        earlier = [task for task in self.tasks.values() if task.gate.name == gate.name]
        return bool(earlier and earlier[-1].outcomes and earlier[-1].outcomes[-1][1] == "changes_requested")

    def _executed(self, name: str) -> None:
        if name in guarded(self.graph):
            self.executions[name] = self.executions.get(name, 0) + 1
            given = len(self.approvals_for.get(name, ()))
            assert self.executions[name] <= given, f"{name} ran {self.executions[name]} times on {given} approvals"

    def _approve(self, gate: str, sha256: str) -> None:
        self.approved = sha256
        following = self.graph.gate(gate).next
        if following is not None:
            self.approvals_for.setdefault(following, []).append(sha256)

    def _revised(self, task: TaskReading, data: Mapping[str, Any]) -> None:
        assert data["revision"] == task.revision + 1, "revisions count up"
        kept = {who: vote for who, vote in task.votes.items() if vote[0] in data["carried"]}
        assert len(kept) <= 1, "at most the editor's own word is carried over"
        shown = self.value
        if "payload" in data:
            (patch,) = [task.patches[decision_id] for decision_id, _ in kept.values()]
            shown = task.payload | patch
            assert same(shown, data["payload"]), "the new revision is the old one with the edit"
        task.revision, task.payload, task.sha256, task.votes = data["revision"], shown, sha256_hex(shown), kept
        if task.gate.mode == "before":
            self.value, self.approved = shown, None

    def _recorded(self, task: TaskReading, event: Event) -> None:
        data = event.data
        who = event.actor.id
        if data["decision"] == "withdraw":
            assert task.votes[who][0] == data["withdraws"], "one takes back one's own word"
            if task.grace and task.enough(task.votes[who][1]):
                task.grace = False
            del task.votes[who]
            return
        assert who not in task.votes, "one person, one voice per revision"
        assert data["payload_sha256"] == task.sha256, "what is decided on is what is shown"
        task.votes[who] = (data["decision_id"], data["decision"])
        task.patches[data["decision_id"]] = data["patch"]
        task.grace = data["release_ms"] is not None

    def _decided(self, task: TaskReading, data: Mapping[str, Any]) -> None:
        assert data["revision"] == task.revision
        assert data["payload_sha256"] == task.sha256
        assert all(revision < task.revision for revision, _ in task.outcomes), "one outcome per gate visit"
        task.outcomes.append((task.revision, data["outcome"]))
        task.grace = False
        option = data["option"]
        if data["decided_by"] == "human":
            assert task.enough(option), f"{option} was concluded from {task.votes}"
            counted = {vote[0] for vote in task.votes.values() if vote[1] == option}
            assert set(data["decision_ids"]) == counted
            patches = [task.patches[each] for each in counted if task.patches[each]]
            if task.gate.approvals == 1 and patches:
                assert same(data.get("output", task.payload), task.payload | patches[0])
            else:
                assert "output" not in data, "what several people approve is what all of them saw"
        else:
            assert data["decided_by"] == "timeout"
            assert not data["decision_ids"], "silence is nobody's decision"
        if task.gate.mode == "before":
            self.value, self.approved = data.get("output", self.value), None
            if option == "request_changes":
                self.value = data["value"]
                assert same(self.value, self.received[str(task.gate.changes_to)]), "it drafts from what it had before"
            if data["outcome"] == "approved":
                self._approve(task.gate.name, data.get("output_sha256", task.sha256))


def guarded(graph: Graph) -> set[str]:
    """The irreversible steps right after a gate that the run stops at."""
    after = {node.next for node in graph.nodes.values() if isinstance(node, GateNode) and node.mode == "before"}
    return {node.name for node in graph.nodes.values() if node.name in after and getattr(node, "irreversible", False)}


def check_head(graph: Graph, state: RunState, ledger: Ledger) -> None:
    """That the state at rest is what the ledger allows. Raises AssertionError."""
    _check_run(state)
    waiting_for = [
        task for task in state.human_tasks.values() if task.state is TaskState.OPEN and task.mode == "before"
    ]
    assert (state.status is RunStatus.WAITING) == bool(waiting_for), "an open task in mode before and a waiting run"
    assert len(waiting_for) <= 1, "a run stands at one gate"
    for task in waiting_for:
        assert state.node == task.gate
        assert same(state.value, task.payload), "what is shown is what the next step receives"
    for task in state.human_tasks.values():
        _check_task(graph.gate(task.gate), task, ledger.tasks[str(task.id)])
    node = graph.nodes.get(state.node or "")
    active = state.status in (RunStatus.QUEUED, RunStatus.RETRYING)
    if active:
        assert isinstance(node, StepNode), "nothing but a step waits for a worker"
    if active and node is not None and node.name in guarded(graph):
        assert ledger.approved == sha256_hex(state.value), f"{node.name} would run on bytes that nobody approved"


def _check_run(state: RunState) -> None:
    assert state.status is not RunStatus.RUNNING, "the log knows no leases"
    assert state.ending is None, "a run that leaves the graph ends in the same batch"
    assert (state.finished_at is not None) == state.status.finished
    assert (state.error is not None) == (state.status is RunStatus.FAILED)
    assert (state.retry_at is not None) == (state.status is RunStatus.RETRYING)


def _check_task(gate: GateNode, task: HumanTask, reading: TaskReading) -> None:
    assert task.payload_sha256 == reading.sha256 == sha256_hex(task.payload)
    assert task.revision == reading.revision
    votes = {decision.actor.id: (decision.id, decision.decision) for decision in task.current_decisions}
    assert votes == reading.votes
    assert (task.pending is not None) == (task.release_at is not None) == reading.grace
    if task.state is not TaskState.OPEN:
        assert task.wake_at is None, "nothing wakes a human task that is over"
        assert task.completed_at is not None
        assert task.pending is None
        assert (task.outcome is None) == (task.state is TaskState.CANCELED)
        return
    assert task.outcome is None
    assert task.completed_at is None
    if reading.grace:
        assert task.wake_at == task.release_at
        return
    stuck = [option for option in gate.options if reading.enough(option)]
    assert not stuck, f"the decisions are enough for {stuck}, and nothing will conclude the gate"
    coming = next_rung(gate, task)
    assert task.wake_at == (coming[0] if coming else None)
    if task.due_at is not None and gate.on_timeout is not None:
        assert task.wake_at is not None, "a gate that times out is looked at until it has"


def same(one: Json, other: Json) -> bool:
    """Whether two JSON values have the same canonical bytes."""
    return canonical(one) == canonical(other)
