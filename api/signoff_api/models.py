"""What requests hold and answers show: the pydantic models that parse the one and describe both.

Every field of a request is bounded, and one that is not listed is refused. Answers are rendered by the views
of `signoff.store`; that they have the form described here is held by tests.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from signoff.model import EventType, PrincipalKind, RunStatus, TaskState
from signoff.store.queries import DEFAULT_LIMIT, MAX_CURSOR, MAX_LIMIT

MAX_LABELS = 32
MAX_LABEL_FILTERS = 8
MAX_NOTE = 10_000
MAX_INTEGER = 2**31 - 1

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_SHA256 = r"^[0-9a-f]{64}$"


def _moment(value: object) -> datetime:
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise ValueError("is not a time by RFC 3339, such as 2026-01-31T09:30:00Z (a + has to be sent as %2B)")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"is not a time: {error}") from error


def _unescaped_digits(value: object) -> object:
    # pydantic would also read " 5", "5.0" and "5_0".
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,10}", value, re.ASCII):
        raise ValueError("is not a whole number")
    return int(value)


Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
Digits: TypeAlias = Annotated[int, BeforeValidator(_unescaped_digits)]
Text: TypeAlias = Annotated[str, StringConstraints(strict=True)]
Name: TypeAlias = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128)]
Sha256: TypeAlias = Annotated[str, StringConstraints(strict=True, pattern=_SHA256)]
Id: TypeAlias = UUID
Json: TypeAlias = Any


class Request(BaseModel):
    """A request; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shown(BaseModel):
    """A part of an answer; clients should ignore fields they don't know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PageQuery(Request):
    limit: Annotated[Digits, Field(ge=1, le=MAX_LIMIT, description="How many to show.")] = DEFAULT_LIMIT
    cursor: Annotated[
        str | None,
        Field(min_length=1, max_length=MAX_CURSOR, description="`next_cursor` of the page before this one."),
    ] = None


class RunListQuery(PageQuery):
    workflow: Annotated[Name | None, Field(description="Only runs of this workflow.")] = None
    status: Annotated[RunStatus | None, Field(description="Only runs of this status.")] = None
    label: Annotated[
        list[Annotated[str, StringConstraints(pattern=r"^[^:]{1,64}:", max_length=321)]],
        Field(max_length=MAX_LABEL_FILTERS, description="`key:value`; a run has to have all that are given."),
    ] = Field(default_factory=list)
    created_after: Annotated[Moment | None, Field(description="Only runs created after this.")] = None


class EventListQuery(Request):
    after: Annotated[Digits, Field(ge=0, le=MAX_INTEGER, description="Only events behind this `seq`.")] = 0
    limit: Annotated[Digits, Field(ge=1, le=MAX_LIMIT, description="How many to show.")] = DEFAULT_LIMIT
    cursor: Annotated[
        str | None, Field(pattern=r"^\d{1,10}$", description="`next_cursor` of the page before this one.")
    ] = None


class HumanTaskListQuery(PageQuery):
    state: Annotated[
        Literal["open", "completed", "canceled", "timed_out", "all"], Field(description="Which to show.")
    ] = "open"
    workflow: Annotated[Name | None, Field(description="Only those of this workflow.")] = None
    gate: Annotated[Name | None, Field(description="Only those of gates of this name.")] = None
    run: Annotated[Id | None, Field(description="Only those of this run.")] = None
    assignee: Annotated[
        Name | None, Field(description="`me`, `none` for those nobody holds, or the name of a person.")
    ] = None
    candidate: Annotated[
        Name | None,
        Field(description="`me`, a person or a group: only those that ask them, by name or by a group."),
    ] = None
    due_before: Annotated[Moment | None, Field(description="Only those due before this.")] = None
    q: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=200,
            pattern="^[^\\x00]*$",
            description="Text in the title, or part of the run's id.",
        ),
    ] = None
    sort: Annotated[
        Literal["due_at", "-due_at", "created_at", "priority"],
        Field(description="`priority` shows the highest first; those without a due time come last."),
    ] = "due_at"


class VerificationQuery(Request):
    run: Annotated[Id | None, Field(description="Only this run; without it all of them.")] = None


class StartRun(Request):
    workflow: Name
    input: Annotated[Json, Field(description="What the first step or gate receives.")]
    version: Annotated[
        int | None, Field(strict=True, ge=1, le=MAX_INTEGER, description="The newest unless one is given.")
    ] = None
    labels: Annotated[
        dict[
            Annotated[str, StringConstraints(strict=True, pattern=r"^[^:]{1,64}$")],
            Annotated[str, StringConstraints(strict=True, max_length=256)],
        ],
        Field(max_length=MAX_LABELS, description="To find the run by; no key has a colon."),
    ] = Field(default_factory=dict)


class CancelRun(Request):
    reason: Annotated[Text, Field(min_length=1, max_length=2_000)]


class RetryRun(Request):
    from_step: Annotated[Name | None, Field(description="The step that failed unless an earlier one is given.")] = None


class Assign(Request):
    assignee: Annotated[Name, Field(description="The name of a person who is a candidate.")]


class AddComment(Request):
    text: Annotated[Text, Field(min_length=1, max_length=4_000)]


class Decide(Request):
    decision: Annotated[Name, Field(description="One of the human task's `options`.")]
    note: Annotated[Text | None, Field(max_length=MAX_NOTE)] = None
    reason: Annotated[Text | None, Field(max_length=200)] = None
    patch: Annotated[Json, Field(description="A JSON merge patch (RFC 7396) on the payload.")] = None
    payload_sha256: Annotated[Sha256 | None, Field(description="The payload you saw; or send `If-Match`.")] = None
    on_behalf_of: Annotated[Text | None, Field(max_length=200)] = None


class BulkItem(Request):
    id: Id
    payload_sha256: Sha256


class DecideInBulk(Request):
    decision: Name
    note: Annotated[Text | None, Field(max_length=MAX_NOTE)] = None
    items: Annotated[list[BulkItem], Field(min_length=1, max_length=200)]


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


class WorkflowDocument(BaseModel):
    """A definition: the keys of the YAML form. The compiler checks what is inside, and lists every fault."""

    model_config = ConfigDict(extra="forbid")
    workflow: Name
    description: str = ""
    input: Annotated[dict[str, Any] | None, Field(description="A JSON Schema of the run's input.")] = None
    steps: list[str | dict[str, Any]]


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
    """A work item. `context` and `comments` are there only where one is read."""

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

    model_config = ConfigDict(extra="allow")
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
    model_config = ConfigDict(extra="allow")


class Verification(Shown):
    ok: bool
    runs: int
    events: int
    first_bad: FirstBad | None
    anchored_at: datetime | None


class Health(Shown):
    status: Literal["ok"]


class Readiness(Shown):
    status: Literal["ok"]
    database: Literal["ok"]
    broker: Literal["ok"]
