"""What requests hold: the pydantic models that parse them and describe them.

Every field is bounded, and one that is not listed is refused.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from signoff.ids import parse_id
from signoff.model import RunStatus
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


def _identifier(value: object) -> UUID:
    # pydantic would also read braces, "urn:uuid:" and no hyphens, which no path does.
    found = parse_id(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("is not an id, such as 01a20c5e-2059-7652-b3bd-a95970281583")
    return found


def _unescaped_digits(value: object) -> object:
    # pydantic would also read " 5", "5.0" and "5_0".
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,10}", value, re.ASCII):
        raise ValueError("is not a whole number")
    return int(value)


Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
# The bounds stand before the validator: behind it pydantic would hold them and describe them by no JSON Schema keyword.
Limit: TypeAlias = Annotated[int, Field(ge=1, le=MAX_LIMIT), BeforeValidator(_unescaped_digits)]
Seq: TypeAlias = Annotated[int, Field(ge=0, le=MAX_INTEGER), BeforeValidator(_unescaped_digits)]
Text: TypeAlias = Annotated[str, StringConstraints(strict=True)]
Name: TypeAlias = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128)]
Sha256: TypeAlias = Annotated[str, StringConstraints(strict=True, pattern=_SHA256)]
Id: TypeAlias = Annotated[UUID, BeforeValidator(_identifier)]
Json: TypeAlias = Any


class Request(BaseModel):
    """A request; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PageQuery(Request):
    limit: Annotated[Limit, Field(description="How many to show.")] = DEFAULT_LIMIT
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
    after: Annotated[Seq, Field(description="Only events behind this `seq`.")] = 0
    limit: Annotated[Limit, Field(description="How many to show.")] = DEFAULT_LIMIT
    cursor: Annotated[
        Seq | None,
        Field(description="`next_cursor` of the page before this one; the same as `after`."),
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
            description="Text in the title, or part of the run's id. No index serves it: where it takes too long, the "
            "answer asks for a narrower list.",
        ),
    ] = None
    snoozed: Annotated[
        Literal["hide", "only", "show"], Field(description="What to do with those that you have put off.")
    ] = "hide"
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


class WorkflowDocument(BaseModel):
    """A definition: the keys of the YAML form. The compiler checks what is inside, and lists every fault."""

    model_config = ConfigDict(extra="forbid")
    workflow: Name
    description: str = ""
    input: Annotated[dict[str, Any] | None, Field(description="A JSON Schema of the run's input.")] = None
    steps: list[str | dict[str, Any]]
