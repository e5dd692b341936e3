"""The model: what an event's hash covers, and that nothing in the log changes on its way through the model."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from signoff import model
from signoff.canonical import sha256_hex
from signoff.model import (
    CHANGES_REQUESTED,
    GENESIS_HASH,
    SYSTEM,
    Actor,
    Candidates,
    Decision,
    Event,
    EventType,
    HumanTask,
    RunError,
    RunState,
    RunStatus,
    TaskState,
    event_hash,
    format_time,
)

RUN = UUID(int=1)
NOW = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)
ANA = Actor(type="user", id="u-1", name="ana")
EVENT = Event(seq=1, type=EventType.RUN_CREATED, at=NOW, actor=ANA, data={"input": {"b": 1, "a": [1.5, None]}})


def _task(number: int = 1, **changes: Any) -> HumanTask:
    values: dict[str, Any] = {
        "id": UUID(int=number), "gate": "ok", "mode": "before", "state": TaskState.OPEN, "revision": 1, "payload": {},
        "payload_sha256": sha256_hex({}), "title": "", "why": "", "candidates": Candidates(), "assignee": None,
        "priority": 50, "opened_at": NOW, "revised_at": NOW, "due_at": None, "not_before": None, "wake_at": None,
    }  # fmt: skip
    return HumanTask(**(values | changes))


def _state(*tasks: HumanTask) -> RunState:
    return RunState(
        run_id=RUN, workflow="w", version=1, status=RunStatus.WAITING, node="ok", value=None, requester=ANA, seq=1,
        created_at=NOW, updated_at=NOW, human_tasks={task.id: task for task in tasks},
    )  # fmt: skip


def test_an_events_hash_is_the_digest_of_all_it_says_where_it_stands() -> None:
    written = {
        "seq": 1,
        "type": "run.created",
        "at": "2026-03-01T12:00:00.000001Z",
        "actor": {"type": "user", "id": "u-1", "name": "ana"},
        "data": {"input": {"a": [1.5, None], "b": 1}},
        "run_id": str(RUN),
        "prev_hash": GENESIS_HASH,
    }
    assert event_hash(RUN, EVENT, GENESIS_HASH) == sha256_hex(written)


CHANGES: list[dict[str, Any]] = [
    {"seq": 2},
    {"type": EventType.RUN_COMPLETED},
    {"at": NOW + timedelta(microseconds=1)},
    {"actor": replace(ANA, type="service")},
    {"actor": replace(ANA, id="u-2")},
    {"actor": replace(ANA, name="max")},
    {"data": {"input": {"b": 1, "a": [1.5]}}},
    {"data": {"input": {"b": True, "a": [1.5, None]}}},
    {"data": {**EVENT.data, "more": None}},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_whatever_is_changed_in_an_event_changes_its_hash(change: dict[str, Any]) -> None:
    assert event_hash(RUN, replace(EVENT, **change), GENESIS_HASH) != event_hash(RUN, EVENT, GENESIS_HASH)


def test_every_field_of_an_event_and_an_actor_is_among_those_changes() -> None:
    assert {key for change in CHANGES for key in change} == {field.name for field in fields(Event)}
    assert EVENT.to_json().keys() == {field.name for field in fields(Event)}
    assert ANA.to_json().keys() == {field.name for field in fields(Actor)}


def test_an_event_is_chained_to_its_run_and_to_the_one_before() -> None:
    own = event_hash(RUN, EVENT, GENESIS_HASH)
    assert event_hash(UUID(int=2), EVENT, GENESIS_HASH) != own
    assert event_hash(RUN, EVENT, own) != own


STORED = [
    ANA,
    SYSTEM,
    Candidates(users=("ana",), groups=("b", "a")),
    RunError(code="c", message="m", step=None, attempt=2),
]


@pytest.mark.parametrize("made", STORED)
def test_what_is_stored_as_json_comes_back_the_same(made: Any) -> None:
    assert type(made).from_json(made.to_json()) == made


def test_a_time_has_the_same_bytes_for_the_same_instant() -> None:
    assert format_time(NOW.replace(microsecond=0)) == "2026-03-01T12:00:00.000000Z"
    assert format_time(datetime(2026, 3, 1, tzinfo=UTC)) < format_time(NOW), "in the order of time"


def test_candidates_are_joined_in_order_each_once_and_admit_by_name_or_group() -> None:
    both = Candidates(users=("b", "a"), groups=("x",)).with_(Candidates(users=("a", "c"), groups=("x", "w")))
    assert both == Candidates(users=("b", "a", "c"), groups=("x", "w"))
    assert both.admit("c", frozenset())
    assert both.admit("z", frozenset({"w"}))
    assert not both.admit("x", frozenset({"a"})), "a group is no user and a user no group"
    assert not Candidates().admit("", frozenset())


def test_decisions_count_on_the_revision_that_is_shown_and_while_they_stand() -> None:
    def said(revision: int, **more: Any) -> Decision:
        return Decision(id=f"{revision}{more}", revision=revision, decision="approve", actor=ANA, at=NOW, **more)

    counts = said(2)
    task = _task(revision=2, decisions=(said(1), counts, said(2, withdrawn=True)))
    assert task.current_decisions == (counts,)


def test_a_new_draft_goes_to_the_newest_human_task_of_its_gate_that_asked_for_it() -> None:
    asked = {"state": TaskState.COMPLETED, "outcome": CHANGES_REQUESTED}
    assert _state().human_task_to_reopen("ok") is None
    assert _state(_task(1, **asked)).human_task_to_reopen("other") is None
    assert _state(_task(1, **asked), _task(2)).human_task_to_reopen("ok") is None
    found = _state(_task(1), _task(2, **asked), _task(3, gate="other")).human_task_to_reopen("ok")
    assert found is not None
    assert found.id == UUID(int=2)


def test_finished_is_what_stands_still() -> None:
    assert {status for status in RunStatus if status.finished} == {"completed", "failed", "canceled"}


def test_everything_in_the_model_is_frozen_and_takes_nothing_it_does_not_know() -> None:
    made = [item for item in vars(model).values() if isinstance(item, type) and is_dataclass(item)]
    assert len(made) >= 7
    for kind in made:
        assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
        assert all(field.kw_only for field in fields(kind))
        assert "__slots__" in vars(kind)
    with pytest.raises(FrozenInstanceError):
        ANA.name = "max"  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError, FrozenInstanceError)):
        EVENT.more = SimpleNamespace()  # type: ignore[attr-defined]
