"""What a run is: its events, and the state they add up to.

A run's log of events is the truth; `RunState` is what the log comes to, and nothing in it is found anywhere else.
The row in the database carries the same facts plus the lease (`running`, epoch), which is how a worker holds a run
and not part of its history: in the log's eyes a running run is still `queued`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias
from uuid import UUID

from signoff.canonical import Json, sha256_hex

GENESIS_HASH = "0" * 64
"""What the first event of a run names as the hash before it."""


class RunStatus(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def finished(self) -> bool:
        """Whether the run stands still for good (a failed one until it is retried by hand)."""
        return self in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELED)


class TaskState(StrEnum):
    """Where a human task stands."""

    OPEN = "open"
    COMPLETED = "completed"
    CANCELED = "canceled"
    TIMED_OUT = "timed_out"


class DecidedBy(StrEnum):
    """What decided a gate."""

    HUMAN = "human"
    POLICY = "policy"
    TIMEOUT = "timeout"


APPROVED = "approved"
REJECTED = "rejected"
CHANGES_REQUESTED = "changes_requested"
TIMED_OUT = "timed_out"

OUTCOMES: Mapping[str, str] = {
    "approve": APPROVED,
    "reject": REJECTED,
    "request_changes": CHANGES_REQUESTED,
}
"""What a gate concludes from each built-in decision; an option of the gate's own is its own outcome."""


PrincipalKind: TypeAlias = Literal["user", "service", "agent", "system"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who did something, as the log names them."""

    type: PrincipalKind
    id: str
    name: str

    def to_json(self) -> dict[str, str]:
        return {"type": self.type, "id": self.id, "name": self.name}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Actor:
        return cls(type=stored["type"], id=stored["id"], name=stored["name"])


SYSTEM = Actor(type="system", id="system", name="signoff")
"""The engine itself: workers, sweeps and policies act as this."""
SOMEBODY = Actor(type="user", id="", name="a reviewer")
"""Stands for whoever a blind gate does not name yet."""


class EventType(StrEnum):
    """The closed list of facts a log may hold (api.md of the contract fixes the names)."""

    RUN_CREATED = "run.created"
    STEP_COMPLETED = "step.completed"
    STEP_FAILED = "step.failed"
    STEP_RETRY_SCHEDULED = "step.retry_scheduled"
    GATE_OPENED = "gate.opened"
    GATE_PASSED = "gate.passed"
    GATE_REVISED = "gate.revised"
    HUMAN_TASK_CLAIMED = "human_task.claimed"
    HUMAN_TASK_RELEASED = "human_task.released"
    HUMAN_TASK_ASSIGNED = "human_task.assigned"
    HUMAN_TASK_COMMENTED = "human_task.commented"
    DECISION_RECORDED = "decision.recorded"
    GATE_DECIDED = "gate.decided"
    GATE_REMINDED = "gate.reminded"
    GATE_ESCALATED = "gate.escalated"
    GATE_TIMED_OUT = "gate.timed_out"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    RUN_CANCELED = "run.canceled"
    RUN_RETRIED = "run.retried"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact. `data` is JSON; `at` is the database's clock in UTC."""

    seq: int
    type: EventType
    at: datetime
    actor: Actor
    data: Mapping[str, Json]

    def to_json(self) -> dict[str, Any]:
        """The form that is hashed and shown, without the two hashes."""
        return {
            "seq": self.seq,
            "type": str(self.type),
            "at": format_time(self.at),
            "actor": self.actor.to_json(),
            "data": dict(self.data),
        }


def event_hash(run_id: UUID, event: Event, prev_hash: str) -> str:
    """The hash that chains `event` to the one before it: SHA-256 over the RFC 8785 form of all it says."""
    return sha256_hex(event.to_json() | {"run_id": str(run_id), "prev_hash": prev_hash})


def format_time(at: datetime) -> str:
    """RFC 3339 in UTC with microseconds, the same bytes for the same instant."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Who may decide a human task."""

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def to_json(self) -> dict[str, list[str]]:
        return {"users": list(self.users), "groups": list(self.groups)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Candidates:
        return cls(users=tuple(stored["users"]), groups=tuple(stored["groups"]))

    def with_(self, other: Candidates) -> Candidates:
        """Both, each name once, in the order they came."""
        return Candidates(
            users=tuple(dict.fromkeys(self.users + other.users)),
            groups=tuple(dict.fromkeys(self.groups + other.groups)),
        )

    def admit(self, name: str, groups: frozenset[str]) -> bool:
        """Whether the user of this name and these groups is among them."""
        return name in self.users or not groups.isdisjoint(self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one person said of one revision.

    `surface` is where they said it (`api`, `inbox`), `reading_ms` how long what they decided on was before their eyes,
    as their browser counted it, `authenticated` how they were recognised (`signoff.identity.Authentication`), each None
    where nobody knows. `on_behalf_of` is only what they said, unless `delegation_id` names the mandate by which they
    decided in the stead of the principal whose id is `acts_for`.
    """

    id: str
    revision: int
    decision: str
    actor: Actor
    at: datetime
    note: str | None = None
    reason: str | None = None
    patch: Json | None = None
    payload_sha256: str = ""
    on_behalf_of: str | None = None
    bulk_id: str | None = None
    surface: str | None = None
    reading_ms: int | None = None
    authenticated: Mapping[str, Json] | None = None
    withdrawn: bool = False
    delegation_id: str | None = None
    acts_for: str | None = None

    @property
    def seats(self) -> frozenset[str]:
        """The ids of the people whose voice it is: who said it, and for whom by their mandate."""
        return frozenset({self.actor.id} if self.acts_for is None else {self.actor.id, self.acts_for})


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanTask:
    """The work item one gate opened for one run.

    `payload` is what is shown. `revised_at` is when its clock last started: at opening and at each new draft.
    `wake_at` is the next moment at which somebody must look: the next rung of the ladder, the due time, or the
    release of a decision in grace.
    `ladder_ms` are the moments of the rungs after `revised_at` where a business calendar counts them; None for the
    gate's own.
    `rung` counts the rungs already taken. `decisions` has all of them, those of earlier revisions too. `pending` is
    the decision that waits for `release_at` while it can still be taken back.
    """

    id: UUID
    gate: str
    mode: Literal["before", "after"]
    state: TaskState
    revision: int
    payload: Json
    payload_sha256: str
    title: str
    why: str
    candidates: Candidates
    assignee: str | None
    priority: int
    opened_at: datetime
    revised_at: datetime
    due_at: datetime | None
    not_before: datetime | None
    wake_at: datetime | None
    ladder_ms: tuple[int, ...] | None = None
    rung: int = 0
    decisions: tuple[Decision, ...] = ()
    release_at: datetime | None = None
    pending: str | None = None
    outcome: str | None = None
    decided_by: DecidedBy | None = None
    completed_at: datetime | None = None

    @property
    def current_decisions(self) -> tuple[Decision, ...]:
        """The decisions that count: those on the revision that is shown now."""
        return tuple(
            decision for decision in self.decisions if decision.revision == self.revision and not decision.withdrawn
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunError:
    """Why a run failed, without a stack trace: that is in the log."""

    code: str
    message: str
    step: str | None
    attempt: int | None

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "step": self.step, "attempt": self.attempt}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> RunError:
        return cls(**{key: stored[key] for key in ("code", "message", "step", "attempt")})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """What a run's log comes to.

    `node` is the cursor: the step to run next or the gate it waits at; a finished run keeps the last one. `value` is
    what the node receives. `outputs` maps each step and gate that left a value to the number of the event that holds
    it: values live in the log once. `ending` is set between the event that leads out of the graph and the one that
    ends the run, both of one transaction, so it is never stored. `attempt` counts the tries at the current node,
    `lost` the leases that ended without a word from the worker. `feedback` is what the last `request_changes` or
    `reject` said. `human_tasks` are those it opened, by id, oldest first.
    """

    run_id: UUID
    workflow: str
    version: int
    status: RunStatus
    node: str | None
    value: Json
    requester: Actor
    seq: int
    created_at: datetime
    updated_at: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, int] = field(default_factory=dict)
    attempt: int = 1
    lost: int = 0
    feedback: Mapping[str, Json] | None = None
    outcome: str | None = None
    error: RunError | None = None
    ending: Literal["completed", "failed", "canceled"] | None = None
    retry_at: datetime | None = None
    finished_at: datetime | None = None
    human_tasks: Mapping[UUID, HumanTask] = field(default_factory=dict)

    def human_task_to_reopen(self, gate: str) -> HumanTask | None:
        """The human task of `gate` whose reviewer asked for the draft that now arrives, if there is one."""
        latest = next((task for task in reversed(list(self.human_tasks.values())) if task.gate == gate), None)
        if latest is not None and latest.outcome == CHANGES_REQUESTED:
            return latest
        return None
