"""What answers show, as pydantic models for the OpenAPI document.

Answers are rendered by the views of `signoff.store`; that they have the form described here is held by tests.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, StringConstraints

from signoff.model import EventType, PrincipalKind, RunStatus, TaskState

Sha256: TypeAlias = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Id: TypeAlias = UUID
Json: TypeAlias = Any


class Shown(BaseModel):
    """A part of an answer; clients should ignore fields they don't know."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Actor(Shown):
    type: PrincipalKind
    id: str
    name: str


class Version(Shown):
    """A version of a workflow. `graph` is there only where one is read."""

    name: str
    version: int
    sha256: Sha256
    description: str
    created_by: Actor
    created_at: datetime
    graph: dict[str, Any] | None = None


class DefinitionFault(Shown):
    """One fault of a definition: `where` names the node, `fix` says what would be right."""

    code: str
    where: str
    what: str
    fix: str
    severity: Literal["error", "warning"]


class Registered(Version):
    """A version as it was registered, with what is dubious about it."""

    warnings: list[DefinitionFault]


class RunError(Shown):
    code: str
    message: str
    step: str | None
    attempt: int | None


class Run(Shown):
    """One execution of a workflow version. `output` is null unless the run has completed."""

    id: Id
    workflow: str
    version: int
    status: RunStatus
    current_node: str | None
    input: Json
    output: Json
    outcome: str | None
    error: RunError | None
    labels: dict[str, str]
    requester: Actor
    human_tasks: list[Id]
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class Event(Shown):
    """One fact of a run's log, chained to the one before it by `prev_hash`.

    `withheld` is true where a blind gate is still open and keeps what others said from a candidate.
    """

    seq: int
    type: EventType
    at: datetime
    actor: Actor
    data: dict[str, Any]
    prev_hash: Sha256
    hash: Sha256
    withheld: bool | None = None


class Candidates(Shown):
    users: list[str]
    groups: list[str]


class Recommendation(Shown):
    value: Json
    score: Json


class Quorum(Shown):
    required: int
    approvals: int


class Decision(Shown):
    id: Id
    human_task_id: Id
    decision: str
    note: str | None
    reason: str | None
    patch: Json
    by: Actor
    revision: int
    payload_sha256: Sha256
    bulk_id: Id | None
    on_behalf_of: str | None
    delegation_id: Id | None
    withdrawn: bool
    at: datetime


class Comment(Shown):
    id: str
    text: str
    by: Actor
    at: datetime


class Context(Shown):
    """The run's input, and the latest output of each step that came before."""

    input: Json
    outputs: dict[str, Any]


class HumanTask(Shown):
    """A work item. `context` and `comments` are null, or left out of a pack, except where one is read.

    `acting_for` are those for whom you may decide it, by their delegations, where you are not asked yourself.
    """

    id: Id
    run_id: Id
    workflow: str
    version: int
    gate: str
    mode: Literal["before", "after"]
    state: TaskState
    revision: int
    title: str
    why: str
    payload: Json
    payload_schema: dict[str, Any] | None
    payload_sha256: Sha256
    editable: list[str]
    form: dict[str, Any] | None
    options: list[str]
    require_note: list[str]
    consequences: dict[str, str]
    recommendation: Recommendation | None
    context: Context | None = None
    candidates: Candidates
    assignee: str | None
    acting_for: list[str]
    priority: int
    due_at: datetime | None
    not_before_at: datetime | None
    release_at: datetime | None
    quorum: Quorum
    decisions: list[Decision]
    comments: list[Comment] | None = None
    outcome: str | None
    decided_by: Literal["human", "policy", "timeout"] | None
    created_at: datetime
    completed_at: datetime | None


class VersionPage(Shown):
    items: list[Version]
    next_cursor: str | None


class RunPage(Shown):
    items: list[Run]
    next_cursor: str | None


class EventPage(Shown):
    items: list[Event]
    next_cursor: str | None


class HumanTaskPage(Shown):
    items: list[HumanTask]
    next_cursor: str | None


class Decided(Shown):
    """A decision that stands, and what its human task and its run have become."""

    decision: Decision
    human_task: HumanTask
    run: Run


class FieldFault(Shown):
    """One bad field, or one fault of a definition (`code`, `where`, `what`)."""

    path: str | None = None
    message: str | None = None
    fix: str | None = None
    code: str | None = None
    where: str | None = None
    what: str | None = None
    severity: str | None = None


class Winner(BaseModel):
    """Who was first: a person, or what the engine did."""

    model_config = ConfigDict(extra="allow", defer_build=True)
    by: dict[str, Any]


class Current(Shown):
    revision: int
    payload_sha256: Sha256


class Problem(Shown):
    """What went wrong, by RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    fix: str | None = None
    errors: list[FieldFault] | None = None
    winner: Winner | None = None
    current: Current | None = None
    reference: str | None = None


class BulkResult(Shown):
    """What became of one item: `status` as if it had been decided on its own."""

    id: Id
    status: int
    decision: Decision | None
    problem: Problem | None


class BulkDecided(Shown):
    bulk_id: Id
    items: list[BulkResult]


class Definition(Shown):
    workflow: str
    version: int
    sha256: Sha256
    graph: dict[str, Any]


class Head(Shown):
    seq: int
    hash: Sha256


class AuditPack(Shown):
    """Everything stored of a run; `verify` says how to check it without this server."""

    format: int
    verify: str
    run: Run
    definition: Definition
    human_tasks: list[HumanTask]
    decisions: list[Decision]
    head: Head
    anchors: list[dict[str, Any]]
    events: list[Event]


class FirstBad(BaseModel):
    model_config = ConfigDict(extra="allow", defer_build=True)


class Verification(Shown):
    ok: bool
    runs: int
    events: int
    first_bad: FirstBad | None
    anchored_at: datetime | None
    unanchored: int | None


class Health(Shown):
    status: Literal["ok"]


class Readiness(Shown):
    status: Literal["ok"]
    database: Literal["ok"]
    broker: Literal["ok"]
