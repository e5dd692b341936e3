"""`signoff.testing`: who may decide in a test is who may in production."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from tests.unit.refunds import BROKEN, refund, types

from signoff import Feedback, Gate, Workflow, step, testing
from signoff.errors import Conflict, Forbidden, InvalidInput, NotFound, StaleView

# People -------------------------------------------------------------------------------------------------------------


def test_whoever_decides_is_taken_to_be_in_the_groups_that_are_asked() -> None:
    assert testing.run(refund(), BROKEN).decide("approve", by="anybody").status == "completed"


def test_a_gate_that_asks_for_one_person_wants_that_one() -> None:
    r = testing.run(refund(reviewers="user:ana", escalate=[]), BROKEN)
    with pytest.raises(Forbidden) as refused:
        r.decide("approve", by="sam")
    assert refused.value.code == "not_candidate"
    assert r.decide("approve", by="ana").status == "completed"


def test_people_who_are_listed_have_their_groups_and_no_others() -> None:
    people = {"sam": ["support-leads"], "max": ["support-managers"]}
    r = testing.run(refund(), BROKEN, people=people)
    for name in ("max", "stranger"):
        with pytest.raises(Forbidden):
            r.decide("approve", by=name)
    r.skip("2h")
    assert r.decide("approve", by="max").status == "completed"


def test_people_are_given_groups_as_lists() -> None:
    with pytest.raises(TypeError, match="write a list"):
        testing.run(refund(), BROKEN, people={"sam": "support-leads"})


@pytest.mark.parametrize("people", [None, {"sam": ["support-leads"]}])
def test_who_started_a_run_may_not_decide_it(people: dict[str, list[str]] | None) -> None:
    r = testing.run(refund(), BROKEN, requester="sam", people=people)
    with pytest.raises(Forbidden) as refused:
        r.decide("approve", by="sam")
    assert refused.value.code == "four_eyes"
    r = testing.run(refund(four_eyes=False), BROKEN, requester="sam", people=people)
    assert r.decide("approve", by="sam").status == "completed"


def test_a_quorum_needs_distinct_people() -> None:
    r = testing.run(refund(approvals=2), BROKEN).decide("approve", by="ana")
    assert r.status == "waiting"
    assert r.decide("approve", by="ana").status == "waiting"
    with pytest.raises(Conflict):
        r.decide("reject", note="no", by="ana")
    assert r.decide("approve", by="sam").status == "completed"


def test_saying_the_same_again_does_nothing() -> None:
    r = testing.run(refund(), BROKEN).decide("approve", by="sam")
    before = types(r)
    assert types(r.decide("approve", by="sam")) == before


def test_a_decision_on_what_is_no_longer_shown_is_refused() -> None:
    r = testing.run(refund(approvals=2), BROKEN)
    seen = r.task.payload_sha256
    r.decide("approve", patch={"amount": "50"}, by="ana")
    assert r.task.revision == 2
    with pytest.raises(StaleView):
        r.decide("approve", by="sam", payload_sha256=seen)
    with pytest.raises(StaleView):
        r.decide("approve", by="sam", revision=1)
    assert r.decide("approve", by="sam").output == {"payment_id": "pay_A-1_50"}


def test_a_refused_decision_leaves_no_trace() -> None:
    r = testing.run(refund(), BROKEN)
    before = types(r)
    for bad in ({"decision": "nonsense"}, {"decision": "reject"}, {"decision": "approve", "patch": {"order_id": "B"}}):
        with pytest.raises(InvalidInput):
            r.decide(**bad)
    assert types(r) == before


def test_a_new_draft_comes_to_the_same_human_task() -> None:
    r = testing.run(refund(), BROKEN)
    first = r.task
    r.decide("request_changes", note="40", by="ana")
    assert (r.task.id, r.task.revision, r.task.payload["amount"]) == (first.id, 2, "40")
    assert r.decide("approve", by="ana").output == {"payment_id": "pay_A-1_40"}


def test_claiming_assigning_and_commenting_are_the_engines() -> None:
    r = testing.run(refund(), BROKEN, people={"ana": ["support-leads"], "sam": ["support-leads"], "zoe": []})
    assert r.claim(by="ana").task.assignee == "ana"
    with pytest.raises(Conflict):
        r.claim(by="sam")
    with pytest.raises(Conflict):
        r.release(by="sam")
    assert r.release(by="ana").task.assignee is None
    assert r.assign("sam", by="ana").task.assignee == "sam"
    for nobody in ("zoe", "unknown"):
        with pytest.raises(InvalidInput):
            r.assign(nobody, by="ana")
    with pytest.raises(NotFound):
        r.comment("hello", by="zoe")
    assert r.comment("hello", by="ana").events[-1].data["text"] == "hello"


def test_a_decision_in_grace_can_be_taken_back() -> None:
    r = testing.run(refund(grace="10s"), BROKEN).decide("approve", by="ana")
    assert r.status == "waiting"
    r.withdraw(by="ana").skip("1m")
    assert r.status == "waiting"
    r.decide("approve", by="sam").skip("10s")
    assert r.status == "completed"


def test_canceling_ends_the_run_and_its_human_tasks() -> None:
    r = testing.run(refund(), BROKEN).cancel("not needed any more")
    assert r.status == "canceled"
    assert [str(task.state) for task in r.tasks] == ["canceled"]
    with pytest.raises(Conflict):
        r.cancel("again")


def test_a_reviewer_may_not_cancel_what_another_started() -> None:
    with pytest.raises(Forbidden):
        testing.run(refund(), BROKEN).cancel("no", by="sam")
    with pytest.raises(NotFound):
        testing.run(refund(), BROKEN, people={}).cancel("no", by="stranger")


# Looking ------------------------------------------------------------------------------------------------------------


def test_asking_for_a_human_task_where_none_is_open_says_how_the_run_stands() -> None:
    r = testing.run(refund(), BROKEN, steps={"draft": lambda: 1 / 0})
    with pytest.raises(NotFound, match="failed: ZeroDivisionError"):
        _ = r.task
    with pytest.raises(NotFound, match="gate 'other'"):
        testing.run(refund(), BROKEN).decide("approve", gate="other")


def test_several_reviews_beside_a_run_are_decided_by_gate() -> None:
    gates = [Gate(name, mode="after", reviewers="leads") for name in ("first", "second")]
    r = testing.run(Workflow("late", gates), {"n": 1})
    assert (r.status, len(r.tasks)) == ("completed", 2)
    with pytest.raises(NotFound, match="first, second"):
        _ = r.task
    assert r.decide("approve", gate="second").task.gate == "first"


def test_a_late_rejection_starts_a_child_on_the_same_clock() -> None:
    @step
    def publish(page: dict[str, str]) -> dict[str, str]:
        return page | {"url": "/1"}

    @step
    def retract(page: dict[str, str], *, feedback: Feedback, publish: dict[str, str]) -> str:
        return f"{publish['url']} {feedback.note}"

    gate = Gate("review", mode="after", reviewers="compliance", on_reject=retract)
    r = testing.run(Workflow("publish", [publish, gate]), {"title": "t"}, labels={"a": "b"})
    assert r.status == "completed"
    r.skip("1d").decide("reject", note="wrong", by="cleo")
    (child,) = r.children
    assert (child.status, child.output) == ("completed", "/1 wrong")
    assert child.state.labels == {"a": "b", "compensates": str(r.id)}
    assert child.now == r.now == testing.START + timedelta(days=1)
    r.check()


def test_a_fixed_run_id_fixes_the_sample() -> None:
    sampled = refund(review_if="amount > 1000.0", sample=0.5)
    statuses = {}
    for n in range(8):
        first, again = (testing.run(sampled, BROKEN, run_id=UUID(int=n)) for _ in range(2))
        assert first.status == again.status
        statuses[n] = first.status
    assert set(statuses.values()) == {"waiting", "completed"}


def test_a_state_that_its_log_does_not_come_to_is_found() -> None:
    r = testing.run(refund(), BROKEN)
    r.check()
    record = r._simulation.records[r.id]
    record.log.pop()
    with pytest.raises(AssertionError, match="its log comes to"):
        r.check()
