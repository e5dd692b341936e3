"""`signoff.testing`: what a test of a workflow sees is what production would do."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from signoff import Feedback, Gate, Retry, RunContext, Workflow, step, testing
from signoff.engine.core import outputs_of
from signoff.engine.execution import Claimed
from signoff.errors import Conflict, Forbidden, InvalidInput, NotFound, StaleView, TooLarge
from signoff.settings import Settings
from signoff.testing.simulation import MAX_PAYLOAD_BYTES

BROKEN = {"order_id": "A-1", "text": "broken", "paid": "640"}


class Complaint(BaseModel):
    order_id: str
    text: str
    paid: Decimal


class Resolution(BaseModel):
    order_id: str
    amount: Decimal = Field(ge=0, le=5000)
    reply: str = "sorry"
    confidence: float = 0.9


class Receipt(BaseModel):
    payment_id: str


@step
def draft(complaint: Complaint, *, feedback: Feedback | None = None) -> Resolution:
    amount = Decimal(feedback.note) if feedback is not None and feedback.note else complaint.paid
    return Resolution(order_id=complaint.order_id, amount=amount)


@step(irreversible=True, retry=Retry(attempts=3, backoff="10s", jitter=0.5))
def pay(resolution: Resolution, *, idempotency_key: str) -> Receipt:
    return Receipt(payment_id=f"pay_{resolution.order_id}_{resolution.amount}")


@step
def apologise(resolution: Resolution, *, feedback: Feedback) -> None: ...


def refund(**changes: Any) -> Workflow:
    """The refund of the documentation, its gate changed."""
    keys: dict[str, Any] = {
        "reviewers": "support-leads",
        "title": "Refund {amount} for {order_id}",
        "review_if": "amount > 100.0 || confidence < 0.85",
        "editable": ["amount", "reply"],
        "options": ["approve", "reject", "request_changes"],
        "due": "4h",
        "remind": ["1h"],
        "escalate": [("2h", "support-managers")],
        "on_timeout": "reject",
        "on_reject": apologise,
    }
    return Workflow("refund", [draft, Gate("approve-refund", **(keys | changes)), pay])


def types(r: testing.Run) -> list[str]:
    return [str(event.type) for event in r.events]


# The documentation's example ----------------------------------------------------------------------------------------


def test_the_example_of_the_documentation_holds() -> None:
    r = testing.run(refund(), BROKEN)
    r.skip("2h")
    assert "support-managers" in r.task.candidates.groups
    r.decide("approve", patch={"amount": "40.00"}, by="sam")
    assert r.output["payment_id"] == "pay_A-1_40.00"
    assert (r.status, r.outcome, r.error) == ("completed", "approved", None)


def test_what_needs_no_person_runs_to_its_end() -> None:
    r = testing.run(refund(), BROKEN | {"paid": "42"})
    assert r.status == "completed"
    assert r.tasks == []
    assert types(r) == ["run.created", "step.completed", "gate.passed", "step.completed", "run.completed"]


def test_a_graph_runs_by_its_references() -> None:
    r = testing.run(refund().graph, BROKEN, steps={"draft": draft, "pay": pay})
    assert r.decide("approve").output == {"payment_id": "pay_A-1_640"}


def test_a_graph_whose_steps_cannot_be_found_fails_as_it_would_in_a_worker() -> None:
    r = testing.run(workflow_of_lost_steps().graph, {})
    assert r.error is not None
    assert r.error.code == "step_not_found"


def workflow_of_lost_steps() -> Workflow:
    @step
    def lost(value: dict[str, int]) -> None: ...

    return Workflow("lost", [lost])


# Time ---------------------------------------------------------------------------------------------------------------


def test_no_timer_fires_early() -> None:
    r = testing.run(refund(), BROKEN).skip(timedelta(hours=1) - timedelta(milliseconds=1))
    assert types(r)[-1] == "gate.opened"
    assert types(r.skip("1ms"))[-1] == "gate.reminded"
    assert r.task.candidates.groups == ("support-leads",)


def test_all_that_comes_due_happens_in_order_and_each_at_its_own_moment() -> None:
    r = testing.run(refund(), BROKEN).skip("30d")
    told = [(str(event.type), event.at - testing.START) for event in r.events[3:]]
    assert told == [
        ("gate.reminded", timedelta(hours=1)),
        ("gate.escalated", timedelta(hours=2)),
        ("gate.timed_out", timedelta(hours=4)),
        ("gate.decided", timedelta(hours=4)),
        ("step.completed", timedelta(hours=4)),
        ("run.completed", timedelta(hours=4)),
    ]
    assert r.now == testing.START + timedelta(days=30)
    assert (r.status, r.outcome, r.output) == ("completed", "rejected", None)


def test_skipping_in_pieces_comes_to_the_same_as_at_once() -> None:
    once, pieces = testing.run(refund(), BROKEN), testing.run(refund(), BROKEN)
    once.skip("5h")
    for _ in range(300):
        pieces.skip("1m")
    assert [(event.type, event.at) for event in once.events] == [(event.type, event.at) for event in pieces.events]


def test_a_late_decision_is_refused_and_told_who_won() -> None:
    r = testing.run(refund(), BROKEN).skip("4h")
    with pytest.raises(Conflict) as refused:
        r.decide("approve", by="sam")
    assert refused.value.code == "already_decided"
    assert refused.value.winner is not None
    assert refused.value.winner["decided_by"] == "timeout"


def test_the_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="back"):
        testing.run(refund(), BROKEN).skip(timedelta(seconds=-1))


# Retries ------------------------------------------------------------------------------------------------------------


class Flaky:
    """Fails so many times, then pays; keeps the keys it was given."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.keys: list[str] = []

    def __call__(self, resolution: Resolution, *, idempotency_key: str) -> Receipt:
        self.keys.append(idempotency_key)
        if len(self.keys) <= self.failures:
            raise ConnectionError("the bank is away")
        return Receipt(payment_id="pay_1")


def test_retries_are_made_at_once_with_the_clock_moved_on_to_them() -> None:
    bank = Flaky(2)
    r = testing.run(refund(review_if="false"), BROKEN, steps={"pay": bank})
    assert r.output == {"payment_id": "pay_1"}
    # The full backoff, 10 s and then 20 s: no retry comes earlier than production could make it.
    assert r.now - testing.START == timedelta(seconds=30)


def test_without_auto_retry_the_test_moves_the_clock() -> None:
    r = testing.run(refund(review_if="false"), BROKEN, steps={"pay": Flaky(2)}, auto_retry=False)
    assert (r.status, r.state.attempt) == ("retrying", 2)
    assert r.skip("9s").state.attempt == 2
    assert r.skip("1s").state.attempt == 3
    assert r.skip("20s").status == "completed"


def test_every_try_at_one_visit_has_the_same_idempotency_key() -> None:
    bank = Flaky(2)
    testing.run(refund(review_if="false"), BROKEN, steps={"pay": bank})
    assert len(bank.keys) == 3
    assert len(set(bank.keys)) == 1


def test_a_step_that_keeps_failing_fails_the_run_and_can_be_retried_by_hand() -> None:
    bank = Flaky(4)
    r = testing.run(refund(), BROKEN, steps={"pay": bank}).decide("approve", by="sam")
    assert r.error is not None
    assert (r.error.code, r.error.step, r.error.attempt) == ("step_raised", "pay", 3)
    assert r.error.message == "ConnectionError: the bank is away"
    assert r.retry().status == "completed"
    assert len(set(bank.keys)) == 1


def test_a_run_that_has_not_failed_is_not_retried() -> None:
    with pytest.raises(Conflict):
        testing.run(refund(), BROKEN).retry()


# Steps --------------------------------------------------------------------------------------------------------------


def test_steps_get_what_a_worker_would_give_them() -> None:
    seen: dict[str, Any] = {}

    @step
    def first(order: dict[str, int]) -> int:
        return order["n"] + 1

    @step
    def second(n: int, *, input: dict[str, int], first: int, run: RunContext, feedback: Feedback | None = None) -> int:
        seen.update(n=n, input=input, first=first, run=run, feedback=feedback)
        return n + 1

    r = testing.run(Workflow("sum", [first, second]), {"n": 1}, labels={"team": "a"})
    assert (r.output, r.outputs, r.outcome) == (3, {"first": 2, "second": 3}, "completed")
    assert (seen["n"], seen["input"], seen["first"], seen["feedback"]) == (2, {"n": 1}, 2, None)
    context = seen["run"]
    assert (context.run_id, context.step, context.attempt, context.labels) == (r.id, "second", 1, {"team": "a"})


def test_the_key_and_the_outputs_are_those_of_the_engine() -> None:
    bank = Flaky(0)
    r = testing.run(refund(), BROKEN, steps={"pay": bank}, auto_retry=False)
    before = r.state
    r.decide("approve", patch={"amount": "40"})
    claimed = Claimed(run_id=r.id, epoch=1, graph=refund().graph, step=refund().graph.step("pay"), state=before)
    assert bank.keys == [claimed.idempotency_key]
    stored = {event.seq: event.data for event in r.events}
    assert r.outputs == outputs_of(stored, r.state.outputs)
    assert set(r.outputs) == {"draft", "approve-refund", "pay"}


def test_the_limit_on_payloads_is_the_engines() -> None:
    assert Settings.model_fields["max_payload_bytes"].default == MAX_PAYLOAD_BYTES
    with pytest.raises(TooLarge):
        testing.run(refund(), BROKEN | {"text": "x" * MAX_PAYLOAD_BYTES})


def test_a_step_that_returns_too_much_fails_the_run() -> None:
    r = testing.run(refund(), BROKEN, steps={"draft": lambda c: Resolution(order_id="x" * 300_000, amount=Decimal(1))})
    assert r.error is not None
    assert r.error.code == "output_invalid"


def test_an_input_that_does_not_fit_names_the_field() -> None:
    with pytest.raises(InvalidInput) as refused:
        testing.run(refund(), {"order_id": "A-1", "text": "broken"})
    assert [error.path for error in refused.value.errors] == ["/input/paid"]


def test_a_stand_in_takes_its_types_from_the_step() -> None:
    def fake(complaint, *, feedback=None):  # type: ignore[no-untyped-def]
        return {"order_id": complaint.order_id, "amount": complaint.paid / 2}

    r = testing.run(refund(), BROKEN, steps={"draft": fake})
    assert r.task.payload == {"order_id": "A-1", "amount": "320", "reply": "sorry", "confidence": 0.9}


def test_a_stand_in_may_take_less_than_the_step() -> None:
    r = testing.run(refund(review_if="false"), BROKEN, steps={"pay": lambda: Receipt(payment_id="p")})
    assert r.output == {"payment_id": "p"}


def test_a_stand_in_has_to_return_what_the_step_returns() -> None:
    r = testing.run(refund(), BROKEN, steps={"draft": lambda complaint: {"amount": "1"}})
    assert r.error is not None
    assert r.error.code == "output_invalid"
    assert "/order_id" in r.error.message


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ({"drat": lambda: None}, "did you mean 'draft'"),
        ({"approve-refund": lambda: None}, "no such step"),
        ({"draft": 1}, "no function"),
        ({"draft": lambda *a: None}, "takes *a"),
    ],
)
def test_a_stand_in_that_fits_nothing_is_refused(steps: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        testing.run(refund(), BROKEN, steps=steps)
    (error,) = refused.value.errors
    assert words in f"{error.message} {error.fix}"


def test_what_a_step_or_a_test_changes_in_its_hands_changes_nothing_in_the_run() -> None:
    @step
    def keep(value):  # type: ignore[no-untyped-def]
        value["list"].append(9)
        return value

    given: dict[str, Any] = {"list": [1]}
    r = testing.run(Workflow("keep", [keep, Gate("look", reviewers="leads")]), given)
    given["list"].append(2)
    r.task.payload["list"].append(3)
    r.outputs["keep"]["list"].append(4)
    assert r.task.payload == {"list": [1, 9]}
    assert r.events[0].data["input"] == {"list": [1]}
    r.check()


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
