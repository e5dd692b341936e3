"""Decisions on a real database: raced for, late, edited, in grace, in bulk, by those who may."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
from tests.integration.engine.flows import BESIDE, GATE, GRACE, PAIR, REFUND
from tests.integration.engine.races import race
from tests.integration.engine.world import ADMIN, ANA, BEN, CLEO, REQUESTER, World, principal, together
from tests.unit.transitions.graphs import gate, graph, pay

from signoff.engine import BulkItem, Decided, DecisionRequest
from signoff.errors import Conflict, Forbidden, InvalidInput, NotFound, PreconditionRequired, StaleView, TooLarge
from signoff.ids import new_id
from signoff.model import RunStatus, TaskState
from signoff.store.identity import create_principal

ROUNDS = int(os.environ.get("SIGNOFF_TEST_RACES", "50"))


def test_of_an_approval_a_rejection_a_cancel_and_the_clock_exactly_one_wins(own_world: World) -> None:
    winners = Counter(race(own_world) for _ in range(ROUNDS))
    assert len(winners) > 1, f"a race in which one always wins is none: {winners}"


def test_a_quorum_at_once_is_counted_once(world: World) -> None:
    for _ in range(10):
        run_id = world.start(PAIR, {"amount": 5})
        task = world.task(run_id)
        request = DecisionRequest(decision="approve", payload_sha256=task.payload_sha256)
        results = together(*[partial(world.engine.decide, task.id, request, by=who) for who in (ANA, BEN, CLEO)])
        stood = [result for result in results if isinstance(result, Decided)]
        assert len(stood) == 2, results
        world.check(run_id)
        assert world.state(run_id).node == "pay"


def test_one_person_who_answers_twice_at_once_has_one_voice(world: World) -> None:
    for _ in range(10):
        run_id = world.start(PAIR, {"amount": 5})
        task = world.task(run_id)
        request = DecisionRequest(decision="approve", payload_sha256=task.payload_sha256)
        results = together(*[partial(world.engine.decide, task.id, request, by=ANA)] * 4)
        assert all(isinstance(result, Decided) for result in results), results
        assert len({result.decision_id for result in results}) == 1
        assert sorted(result.replayed for result in results) == [False, True, True, True]
        assert world.state(run_id).status is RunStatus.WAITING


def test_a_decision_resumes_the_run_in_the_same_moment(world: World) -> None:
    run_id = world.start(REFUND, {})
    world.work(run_id, {"amount": 9})
    assert world.row(run_id).row_status is RunStatus.WAITING
    decided = world.decide(run_id, ANA, "approve", note="fine", patch={"amount": 8})
    row = world.row(run_id)
    assert (row.row_status, row.state.node, row.state.value) == (RunStatus.QUEUED, "pay", {"amount": 8})
    assert not decided.replayed
    claimed = world.claim(run_id)
    assert claimed.state.value == {"amount": 8}
    assert world.engine.arguments(claimed, {"ok", "draft"}) == {"ok": {"amount": 8}, "draft": {"amount": 9}}


def test_changes_go_round_until_somebody_approves(world: World) -> None:
    run_id = world.start(REFUND, {"order": 1})
    world.work(run_id, {"amount": 9})
    first = world.task(run_id)
    world.decide(run_id, ANA, "request_changes", note="less")
    claimed = world.claim(run_id)
    assert (claimed.step.name, claimed.state.value) == ("draft", {"order": 1})
    assert claimed.state.feedback is not None
    assert claimed.state.feedback["note"] == "less"
    world.engine.complete(claimed, {"amount": 3}, worker="w", go_on=False)
    world.check(run_id)
    again = world.task(run_id)
    assert (again.id, again.revision, again.payload) == (first.id, 2, {"amount": 3})
    with pytest.raises(StaleView) as caught:
        world.decide(run_id, BEN, "approve", payload_sha256=first.payload_sha256)
    assert caught.value.current["revision"] == 2
    world.decide(run_id, BEN, "approve", revision=2)
    assert world.state(run_id).node == "pay"


def test_the_same_bytes_shown_again_are_a_new_question(world: World) -> None:
    run_id = world.start(REFUND, {})
    world.work(run_id, {"amount": 9})
    world.decide(run_id, ANA, "request_changes", note="once")
    world.work(run_id, {"amount": 9})
    assert world.decide(run_id, ANA, "request_changes", note="and once more").replayed is False
    assert world.state(run_id).node == "draft"


def test_an_edit_in_a_quorum_is_a_new_revision_for_the_others(world: World) -> None:
    run_id = world.start(PAIR, {"amount": 5})
    world.decide(run_id, ANA, "approve")
    world.decide(run_id, BEN, "approve", patch={"amount": 4})
    task = world.task(run_id)
    assert (task.revision, task.payload) == (2, {"amount": 4})
    assert [decision.actor.name for decision in task.current_decisions] == ["ben"]
    world.decide(run_id, ANA, "approve")
    assert (world.state(run_id).node, world.state(run_id).value) == ("pay", {"amount": 4})


def test_a_decision_in_grace_is_released_by_the_sweep_or_taken_back(own_world: World) -> None:
    world = own_world
    run_id, other = world.start(GRACE, {}), world.start(GRACE, {})
    world.decide(run_id, ANA, "approve")
    world.decide(other, ANA, "approve")
    world.later(9)
    assert world.engine.sweep().human_tasks == 0
    world.engine.withdraw(world.task(other).id, by=ANA)
    world.check(other)
    world.later(2)
    world.publisher.taken()
    assert world.engine.sweep().human_tasks == 1
    assert world.publisher.taken() == [(run_id, 0, "signoff.resume")]
    world.check(run_id)
    assert world.state(other).status is RunStatus.WAITING
    world.decide(other, ANA, "reject")
    with pytest.raises(Conflict):
        world.decide(other, BEN, "approve")


def test_who_may_not_decide_is_refused_and_leaves_no_trace(world: World) -> None:
    run_id = world.start(GATE, {"amount": 5}, by=principal("sam", "leads", roles=("requester",)))
    before = world.kinds(run_id)
    for who, code in (
        (principal("zoe", "others"), "not_candidate"),
        (principal("bot", "leads", kind="service"), "not_human"),
        (principal("agent", "leads", kind="agent"), "not_human"),
        (principal("sam", "leads"), "four_eyes"),
        (ADMIN, "not_candidate"),
    ):
        with pytest.raises(Forbidden) as caught:
            world.decide(run_id, who, "approve")
        assert caught.value.code == code
    with pytest.raises(NotFound):
        world.engine.decide(new_id(), DecisionRequest(decision="approve", revision=1), by=ANA)
    with pytest.raises(PreconditionRequired):
        world.decide(run_id, ANA, "approve", payload_sha256=None)
    with pytest.raises(InvalidInput):
        world.decide(run_id, ANA, "dance")
    assert world.kinds(run_id) == before


def test_words_that_are_too_long_or_can_not_be_stored_are_refused(world: World) -> None:
    run_id = world.start(GATE, {"amount": 5})
    for said in ({"note": "x" * 10_001}, {"note": "\0"}, {"reason": "\ud800"}, {"on_behalf_of": "x" * 201}):
        with pytest.raises(InvalidInput):
            world.decide(run_id, ANA, "approve", **said)
    for patch in ({"amount": float("nan")}, {"amount": "\ud800"}, {"amount": 2**60}):
        with pytest.raises(InvalidInput):
            world.decide(run_id, ANA, "approve", patch=patch)
    with pytest.raises(TooLarge):
        world.decide(run_id, ANA, "approve", patch={"amount": "x" * 262_144})
    with pytest.raises(InvalidInput):
        world.engine.comment(world.task(run_id).id, text="\ud800", by=ANA)
    with pytest.raises(InvalidInput):
        world.engine.cancel(run_id, reason="\0", by=ADMIN)
    world.check(run_id)


def test_a_task_that_is_over_is_a_conflict_whatever_the_decision_looks_like(world: World) -> None:
    run_id = world.start(GATE, {"amount": 5})
    task = world.task(run_id)
    world.decide(run_id, ANA, "approve")
    for said in ({"patch": {"amount": "x" * 262_144}}, {"patch": {"nobody": 1}}, {}):
        with pytest.raises(Conflict) as caught:
            world.decide(run_id, BEN, "approve", task=task, **said)
        assert caught.value.winner is not None
        assert caught.value.winner["by"]["name"] == "ana"


def test_one_bad_item_of_a_bulk_decision_leaves_the_others_standing(world: World) -> None:
    runs = [world.start(GATE, {"amount": n}) for n in range(3)]
    tasks = [world.task(run_id) for run_id in runs]
    world.engine.cancel(runs[1], reason="x", by=ADMIN)
    items = [BulkItem(human_task_id=task.id, payload_sha256=task.payload_sha256) for task in tasks]
    items.append(BulkItem(human_task_id=new_id(), payload_sha256="0" * 64))
    outcome = world.engine.decide_in_bulk(decision="reject", note="all of them", items=items, by=ANA)
    errors = [type(result.error) for result in outcome.results]
    assert errors == [type(None), Conflict, type(None), NotFound]
    for run_id in runs:
        world.check(run_id)
    (decision,) = next(iter(world.state(runs[0]).human_tasks.values())).decisions
    assert decision.bulk_id == str(outcome.bulk_id)
    with pytest.raises(InvalidInput):
        world.engine.decide_in_bulk(decision="reject", note=None, items=[], by=ANA)
    with pytest.raises(InvalidInput):
        world.engine.decide_in_bulk(decision="reject", note=None, items=items[:1] * 21, by=ANA)


def test_approving_in_bulk_is_for_gates_that_say_so(world: World) -> None:
    bulk = graph(gate("ok", "pay", bulk=True), pay(), name="bulk")
    for flow, error in ((GATE, Conflict), (bulk, type(None))):
        run_id = world.start(flow, {"amount": 1})
        task = world.task(run_id)
        items = [BulkItem(human_task_id=task.id, payload_sha256=task.payload_sha256)]
        (result,) = world.engine.decide_in_bulk(decision="approve", note=None, items=items, by=ANA).results
        assert isinstance(result.error, error)


def test_claims_assignments_and_comments_are_kept(world: World) -> None:
    for name in ("sam", "tom"):
        create_principal(world.engine.database, name=name, kind="user", groups=("leads",) if name == "sam" else ())
    run_id = world.start(GATE, {"amount": 5})
    task = world.task(run_id)
    world.engine.claim(task.id, by=ANA)
    world.engine.claim(task.id, by=ANA)
    with pytest.raises(Conflict):
        world.engine.claim(task.id, by=BEN)
    with pytest.raises(Conflict):
        world.engine.release(task.id, by=BEN)
    world.engine.release(task.id, by=ANA)
    for nobody in ("tom", "nobody", "", "Robert'); DROP TABLE runs;--"):
        with pytest.raises(InvalidInput):
            world.engine.assign(task.id, assignee=nobody, by=ADMIN)
    world.engine.assign(task.id, assignee="sam", by=BEN)
    assert world.task(run_id).assignee == "sam"
    event = world.engine.comment(task.id, text="look", by=REQUESTER)
    assert event.data["text"] == "look"
    with pytest.raises(NotFound):
        world.engine.comment(task.id, text="look", by=principal("zoe", "others"))
    world.check(run_id)
    kinds = [kind.split(".")[1] for kind in world.kinds(run_id)[2:]]
    assert kinds == ["claimed", "released", "assigned", "commented"]


def test_a_review_beside_the_run_ends_with_a_cancel_and_stays_after_a_failure(world: World) -> None:
    canceled, failed = world.start(BESIDE, {}), world.start(BESIDE, {})
    for run_id in (canceled, failed):
        world.work(run_id, {"amount": 5})
    world.engine.cancel(canceled, reason="x", by=ADMIN)
    world.check(canceled)
    (task,) = world.state(canceled).human_tasks.values()
    assert task.state is TaskState.CANCELED
    world.fail(failed)
    world.decide(failed, ANA, "approve")
    assert world.state(failed).status is RunStatus.FAILED


def test_a_gate_that_names_nobody_can_be_decided_by_nobody(world: World) -> None:
    run_id = world.start(graph(gate("ok", "pay", reviewers=("{amount.lead}",)), pay(), name="nobody"), {"amount": 5})
    with pytest.raises(Forbidden):
        world.decide(run_id, ANA, "approve")
    assert world.log(run_id)[-1].data["alarm"] == "reviewers names nobody"


def test_without_four_eyes_the_requester_may_decide(world: World) -> None:
    relaxed = replace(GATE, workflow="relaxed", nodes=GATE.nodes | {"ok": replace(GATE.gate("ok"), four_eyes=False)})
    sam = principal("sam", "leads", roles=("requester",))
    run_id = world.start(relaxed, {"amount": 5}, by=sam)
    world.decide(run_id, sam, "approve")
    assert world.state(run_id).node == "pay"
