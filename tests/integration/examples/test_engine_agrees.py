"""What `signoff.testing` says of a workflow is what the engine does with it: the same log, event for event."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from loan import loan
from publish import publish
from refund import refund
from signoff import Workflow, testing
from signoff.engine import DecisionRequest, Engine
from signoff.identity import Principal
from signoff.ids import new_id
from signoff.model import SYSTEM, Event
from signoff.settings import Settings
from signoff.store.database import Database
from signoff.store.runs import load_events
from signoff_workers.in_hand import InHand
from signoff_workers.runner import Runner

BROKEN = {"order_id": "A-1", "text": "broken", "paid": "640"}
ARTICLE = {"slug": "spring-sale", "title": "Spring sale", "body": "From Monday."}
APPLICATION = {
    "application_id": "L-1",
    "amount": 9_000,
    "duration_months": 36,
    "purpose": "A40",
    "checking": "A11",
    "history": "A32",
    "savings": "A61",
    "employment": "A73",
    "other_plans": "A143",
}

UUIDS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(slots=True)
class Hints:
    """A broker that keeps its messages."""

    sent: list[tuple[UUID, int]] = field(default_factory=list)

    def publish_all(self, messages: Iterable[tuple[UUID, int, str]]) -> bool:
        self.sent += [(run_id, epoch) for run_id, epoch, _ in messages]
        return True

    def backlog(self, queue: str) -> int:
        return len(self.sent)

    def ping(self) -> None:
        """Always there."""

    def close(self) -> None:
        """Nothing to give back."""


@dataclass(slots=True)
class Stack:
    """The engine with one worker, and people who may decide."""

    engine: Engine
    hints: Hints
    runner: Runner

    def start(self, workflow: Workflow, value: Any) -> UUID:
        self.engine.register(workflow.graph, by=SYSTEM)
        requester = Principal(id=new_id(), name="requester", kind="user", roles=frozenset({"requester"}))
        run_id = self.engine.start(workflow=workflow.name, input=value, requester=requester).run_id
        self.work()
        return run_id

    def decide(self, run_id: UUID, group: str, said: dict[str, Any]) -> None:
        person = Principal(id=new_id(), name=said.pop("by"), kind="user", groups=frozenset({group}))
        opened = [event for event in self.log(run_id) if event.type in ("gate.opened", "gate.revised")]
        revision = opened[-1].data.get("revision", 1)
        request = DecisionRequest(revision=revision, **said)
        self.engine.decide(UUID(opened[-1].data["human_task_id"]), request, by=person)
        self.work()

    def work(self) -> None:
        while self.hints.sent:
            run_id, epoch = self.hints.sent.pop(0)
            self.runner.execute(run_id, epoch)

    def log(self, run_id: UUID) -> list[Event]:
        with self.engine.database.transaction() as cursor:
            return [stored.event for stored in load_events(cursor, run_id)]


@pytest.fixture
def stack(database_url: str) -> Iterator[Stack]:
    settings = Settings(database_url=database_url, inline_budget_seconds=0)
    database = Database.connect(database_url, pool_size=2, pool_timeout_seconds=5, statement_timeout_seconds=15)
    hints = Hints()
    engine = Engine(database=database, publisher=hints, settings=settings)
    in_hand = InHand()
    yield Stack(engine=engine, hints=hints, runner=Runner(engine, in_hand))
    in_hand.close()
    engine.close()


def comparable(events: Sequence[Event]) -> list[Any]:
    """A log without times, with ids numbered in the order in which they appear."""
    text = json.dumps([[event.type, event.actor.to_json(), event.data] for event in events], sort_keys=True)
    numbers = {found: f"#{number}" for number, found in enumerate(dict.fromkeys(UUIDS.findall(text)))}
    found: list[Any] = json.loads(UUIDS.sub(lambda match: numbers[match[0]], text))
    return found


@pytest.mark.parametrize(
    ("workflow", "value", "group", "said"),
    [
        (refund, BROKEN | {"paid": "42"}, "support-leads", []),
        (refund, BROKEN, "support-leads", [{"decision": "approve", "patch": {"amount": "40.00"}, "by": "sam"}]),
        (refund, BROKEN, "support-leads", [{"decision": "reject", "note": "no", "reason": "fraud", "by": "sam"}]),
        (
            refund,
            BROKEN,
            "support-leads",
            [{"decision": "request_changes", "note": "offer 40", "by": "sam"}, {"decision": "approve", "by": "ana"}],
        ),
        (loan, APPLICATION, "underwriters", [{"decision": "reject", "note": "no", "by": "uma"}]),
        (publish, ARTICLE, "compliance", [{"decision": "approve", "by": "cleo"}]),
        (publish, ARTICLE, "compliance", [{"decision": "reject", "note": "no", "reason": "unproven", "by": "cleo"}]),
    ],
    ids=["passes", "edited", "rejected", "changed", "declined", "confirmed", "retracted"],
)
def test_the_log_is_the_engines(
    stack: Stack, workflow: Workflow, value: Any, group: str, said: list[dict[str, Any]]
) -> None:
    r = testing.run(workflow, value)
    run_id = stack.start(workflow, value)
    for words in said:
        r.decide(**words)
        stack.decide(run_id, group, dict(words))
    stored = stack.log(run_id)
    assert comparable(stored) == comparable(r.events)
    assert r.status == "completed"
    started = [UUID(e.data["compensation_run_id"]) for e in stored if "compensation_run_id" in e.data]
    assert len(started) == len(r.children)
    for child_id, child in zip(started, r.children, strict=True):
        assert comparable(stack.log(child_id)) == comparable(child.events)
    assert stack.engine.verify().ok
