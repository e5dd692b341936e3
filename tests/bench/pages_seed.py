"""Many human tasks in a database: a few are made by the engine, the others are copies of their rows.

What the copies change is what lists look at: ids, titles, who is asked, who holds it, until when. The logs of the
copies are therefore those of their originals, hashes too: enough to decide on them, nothing for an audit.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg import Cursor

from signoff.definition.document import compile_document, parse_yaml
from signoff.engine import DecisionRequest, Engine
from signoff.identity import Principal
from signoff.ids import new_id
from signoff.model import SYSTEM
from signoff.store.schema import decisions, events, human_tasks, runs

DOCUMENT = """
workflow: {name}
input:
  type: object
  properties:
    order: {{type: string, title: Order}}
    amount: {{type: string, format: decimal, title: Amount}}
    reply: {{type: string, title: Reply, maxLength: 4000}}
    confidence: {{type: number, title: Confidence}}
  required: [order, amount, reply]
steps:
  - gate: approve-{name}
    reviewers: support-leads
    title: "{name} {{amount}} for {{order}}"
    review_if: amount > 100.0 || confidence < 0.85
    recommend: reply
    score: confidence
    editable: [amount, reply]
    options: [approve, reject]
    consequences: {{approve: "Pays {{amount}} now.", reject: "Nothing is paid."}}
    due: 4h
"""
WORKFLOWS = ("refund", "invoice", "claim")
SHARES = {"support-leads": 0.40, "finance": 0.25, "legal": 0.20, "operations": 0.15}
"""Which part of the human tasks asks which group."""

RARE, ASKED_RARELY = "fraud", 20
"""A group that is asked so seldom that a list has to find what is for it: this many times among all."""

REPLY = "We are sorry that it arrived broken, and pay back what it cost. It takes up to three working days. " * 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A run that the engine made, and its human task."""

    run_id: UUID
    human_task_id: UUID
    workflow: str


def seed(engine: Engine, count: int, *, requester: Principal, reviewer: Principal, people: tuple[str, ...]) -> None:
    """`count` open human tasks, and a tenth as many that are done. A third of the open ones is held by somebody."""
    chance = random.Random(count)
    opened = [_original(engine, name, requester) for name in WORKFLOWS]
    done = [_original(engine, name, requester) for name in WORKFLOWS]
    for each in done:
        engine.decide(each.human_task_id, DecisionRequest(decision="approve", revision=1), by=reviewer)
    rows = _rows(chance, opened, count, people, finished=False)
    rows += _rows(chance, done, max(count // 10, ASKED_RARELY), people, finished=True)
    with engine.database.transaction() as cursor:
        cursor.execute(_SEEDS)
        with cursor.copy("COPY seeds FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        _copy_rows(cursor)
        _remove(cursor, [each.run_id for each in [*opened, *done]])
    with engine.database.autocommit() as cursor:
        cursor.execute("VACUUM ANALYZE")


_SEEDS = """
CREATE TEMP TABLE seeds (
    from_run uuid, from_task uuid, run_id uuid, task_id uuid, title text, users text[], groups text[],
    assignee text, priority smallint, due_at timestamptz, at timestamptz, finished boolean
) ON COMMIT DROP
"""


def _original(engine: Engine, workflow: str, requester: Principal) -> Original:
    engine.register(compile_document(parse_yaml(DOCUMENT.format(name=workflow))).graph, by=SYSTEM)
    value = {"order": "A-1", "amount": "640.00", "reply": REPLY, "confidence": 0.62}
    run_id = engine.start(workflow=workflow, input=value, requester=requester).run_id
    with engine.database.transaction() as cursor:
        row = cursor.execute("SELECT id FROM human_tasks WHERE run_id = %s", (run_id,)).fetchone()
    assert row is not None
    return Original(run_id=run_id, human_task_id=row[0], workflow=workflow)


def _rows(
    chance: random.Random, originals: list[Original], count: int, people: tuple[str, ...], *, finished: bool
) -> list[tuple[Any, ...]]:
    rare = set(chance.sample(range(count), ASKED_RARELY))
    groups = chance.choices(list(SHARES), list(SHARES.values()), k=count)
    return [
        _row(chance, chance.choice(originals), number, RARE if number in rare else group, people, finished=finished)
        for number, group in enumerate(groups)
    ]


def _row(
    chance: random.Random, original: Original, number: int, group: str, people: tuple[str, ...], *, finished: bool
) -> tuple[Any, ...]:
    now = datetime.now(UTC)
    # One in a hundred asks a person by name and no group.
    by_name = group != RARE and chance.random() < 0.01
    # One in twenty is overdue, one in ten has no due time.
    minutes = chance.uniform(-60, 0) if chance.random() < 0.05 else chance.uniform(1, 10_000)
    return (
        original.run_id,
        original.human_task_id,
        new_id(),
        new_id(),
        f"{original.workflow.capitalize()} {chance.uniform(1, 5000):.2f} for {chance.choice('ABCDEF')}-{number}",
        [chance.choice(people)] if by_name else [],
        [] if by_name else [group],
        chance.choice(people) if chance.random() < 1 / 3 and not finished else None,
        chance.choice([50] * 8 + [80, 20]),
        now + timedelta(minutes=minutes) if chance.random() < 0.9 else None,
        now - timedelta(minutes=chance.uniform(1, 60)),
        finished,
    )


def _copy_rows(cursor: Cursor[Any]) -> None:
    moved = {"created_at": "s.at", "updated_at": "s.at"}
    insert_copies(cursor, runs, "t.id = s.from_run", {"id": "s.run_id", **moved})
    task_id = "replace(t.data::text, s.from_task::text, s.task_id::text)::json"
    insert_copies(cursor, events, "t.run_id = s.from_run", {"run_id": "s.run_id", "data": task_id})
    asked = {"title": "s.title", "candidate_users": "s.users", "candidate_groups": "s.groups"}
    held = {"assignee": "s.assignee", "priority": "s.priority", "due_at": "s.due_at", "wake_at": "s.due_at"}
    at = {"created_at": "s.at", "revised_at": "s.at", "changed_at": "s.at"}
    at["completed_at"] = "CASE WHEN s.finished THEN s.at END"
    ids = {"id": "s.task_id", "run_id": "s.run_id"}
    insert_copies(cursor, human_tasks, "t.id = s.from_task", ids | asked | held | at)
    said = {"id": "gen_random_uuid()", "human_task_id": "s.task_id", "run_id": "s.run_id"}
    insert_copies(cursor, decisions, "t.human_task_id = s.from_task", said)


def insert_copies(cursor: Cursor[Any], table: sa.Table, on: str, changed: dict[str, str]) -> None:
    """A row for each row of `seeds` joined to the table by `on`: the same, but for the columns that are `changed`."""
    names = table.columns.keys()
    values = ", ".join(changed.get(name, f't."{name}"') for name in names)
    columns = ", ".join(f'"{name}"' for name in names)
    cursor.execute(
        f"INSERT INTO {table.name} ({columns}) SELECT {values} FROM seeds s JOIN {table.name} t ON {on}".encode()
    )


def _remove(cursor: Cursor[Any], run_ids: list[UUID]) -> None:
    """The originals are in nobody's way; only their human tasks are made over to nobody."""
    cursor.execute(
        "UPDATE human_tasks SET candidate_groups = '{}', completed_at = coalesce(completed_at, now()),"
        " state = CASE state WHEN 'open' THEN 'canceled' ELSE state END WHERE run_id = ANY(%s)",
        (run_ids,),
    )
