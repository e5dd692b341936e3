"""`signoff.testing`: what a test of a workflow sees is what production would do."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.unit.refunds import BROKEN, Receipt, Resolution, draft, pay, refund, types

from signoff import Feedback, Gate, RunContext, Workflow, step, testing
from signoff.engine.core import outputs_of
from signoff.engine.execution import Claimed
from signoff.errors import Conflict, InvalidInput, TooLarge
from signoff.settings import Settings
from signoff.testing.simulation import MAX_PAYLOAD_BYTES

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


def test_who_stands_in_and_whom_they_stand_in_for_are_one_of_a_quorum() -> None:
    flow = Workflow("pair", [Gate("ok", reviewers=["user:ana", "user:sam"], approvals=2)])
    r = testing.run(flow, {}, people={"ana": [], "ben": [], "sam": []}, away={"ana": "ben"})
    r.decide("approve", by="ben")
    with pytest.raises(Conflict):
        r.decide("approve", by="ana")
    assert r.decide("approve", by="sam").status == "completed"
