"""What a human task showed at each revision is found again in the log."""

from __future__ import annotations

from uuid import UUID

from tests.unit.transitions.desk import RUN_ID, Desk
from tests.unit.transitions.graphs import STANDARD, gate, graph, pay, step

from signoff.canonical import sha256_hex
from signoff.transitions.revisions import Revision, revisions

DRAFTED = graph(
    step("draft", "ok", takes=("feedback",)),
    gate("ok", "pay", options=STANDARD, changes_to="draft", editable=("amount",), approvals=2),
    pay(),
)


def _of(desk: Desk, task: UUID) -> tuple[Revision, ...]:
    return revisions(desk.graph, RUN_ID, desk.log, task)


def test_each_draft_and_each_edit_is_a_revision_with_who_made_it() -> None:
    desk = Desk.opened(DRAFTED, {"order": 1}).complete({"amount": 1})
    task = desk.task.id
    desk = desk.later(1_000).decide("ana", "request_changes", note="too little").complete({"amount": 2})
    desk = desk.later(1_000).decide("ana", "approve", patch={"amount": 3})
    found = _of(desk, task)
    assert [(each.number, each.payload, each.by.name) for each in found] == [
        (1, {"amount": 1}, "signoff"),
        (2, {"amount": 2}, "signoff"),
        (3, {"amount": 3}, "ana"),
    ]
    assert [each.payload_sha256 for each in found] == [sha256_hex(each.payload) for each in found]
    assert found[0].at < found[1].at < found[2].at
    assert found[-1].payload_sha256 == desk.task.payload_sha256
    assert found[-1].number == desk.task.revision


def test_what_happens_beside_the_payload_is_no_revision() -> None:
    desk = Desk.opened(DRAFTED, {}).complete({"amount": 1})
    task = desk.task.id
    desk = desk.decide("ana", "approve").decide("ben", "approve")
    assert [each.number for each in _of(desk, task)] == [1]


def test_two_gates_of_one_run_do_not_mix() -> None:
    both = graph(gate("one", "two"), gate("two", "pay"), pay())
    desk = Desk.opened(both, {"a": 1})
    first = desk.task.id
    desk = desk.decide("ana", "approve")
    second = desk.task.id
    assert first != second
    assert [each.number for each in _of(desk, first)] == [1]
    assert [each.number for each in _of(desk, second)] == [1]
    assert _of(desk, UUID(int=5)) == ()
