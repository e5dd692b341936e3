"""What a worker says of a step: retries and their waits, lost workers, results that come too late."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.transitions.desk import Desk
from tests.unit.transitions.graphs import gate, graph, pay, step

from signoff.canonical import canonical
from signoff.definition.graph import RetryPolicy
from signoff.errors import LeaseLost
from signoff.model import EventType, RunStatus
from signoff.transitions import steps
from signoff.transitions.steps import MAX_MESSAGE, MAX_TRACE, Failure, backoff_ms

POLICY = RetryPolicy(attempts=4, backoff_ms=2_000, factor=2.0, max_backoff_ms=5_000, jitter=0.5)


def test_the_wait_grows_by_the_factor_up_to_its_longest() -> None:
    assert [backoff_ms(POLICY, attempt, 0.0) for attempt in (1, 2, 3, 4)] == [2_000, 4_000, 5_000, 5_000]


def test_jitter_shortens_the_wait_by_at_most_its_share() -> None:
    assert backoff_ms(POLICY, 1, 0.0) == 2_000
    assert backoff_ms(POLICY, 1, 1.0) == 1_000


@given(
    attempt=st.integers(1, 100),
    random=st.floats(0, 1),
    backoff=st.integers(0, 86_400_000),
    factor=st.floats(1, 10),
    jitter=st.floats(0, 1),
)
def test_every_wait_is_positive_and_bounded(
    attempt: int, random: float, backoff: int, factor: float, jitter: float
) -> None:
    policy = RetryPolicy(attempts=100, backoff_ms=backoff, factor=factor, max_backoff_ms=60_000, jitter=jitter)
    wait = backoff_ms(policy, attempt, random)
    assert isinstance(wait, int)
    assert 1 <= wait <= 60_000


def test_a_step_is_tried_as_often_as_its_policy_says_and_no_oftener() -> None:
    desk = Desk.opened(graph(step("draft", retry=POLICY)), {})
    waits = []
    for attempt in (1, 2, 3):
        assert desk.state.attempt == attempt
        desk = desk.fail()
        assert desk.status is RunStatus.RETRYING
        waits.append((desk.state.retry_at - desk.now).total_seconds())
        desk = desk.at(desk.state.retry_at)
    assert waits == [2.0, 4.0, 5.0]
    desk = desk.fail()
    assert desk.status is RunStatus.FAILED
    assert (desk.state.error.step, desk.state.error.attempt, desk.state.error.code) == ("draft", 4, "step_raised")


def test_a_failure_that_would_come_again_is_not_retried() -> None:
    desk = Desk.opened(graph(step("draft", retry=POLICY)), {}).fail(retryable=False, code="output_invalid")
    assert desk.status is RunStatus.FAILED
    assert desk.state.error.code == "output_invalid"
    assert [event.type for event in desk.log[1:]] == [EventType.STEP_FAILED, EventType.RUN_FAILED]


def test_the_next_step_begins_with_its_first_attempt() -> None:
    desk = Desk.opened(graph(step("draft", "send", retry=POLICY), step("send")), {}).fail()
    desk = desk.at(desk.state.retry_at).complete({"a": 1})
    assert (desk.state.node, desk.state.attempt, desk.state.retry_at, desk.state.lost) == ("send", 1, None, 0)


def test_a_lost_worker_costs_no_attempt_and_is_followed_at_once() -> None:
    desk = Desk.opened(graph(step("draft")), {}).lose_worker(max_lost=3)
    assert (desk.status, desk.state.attempt, desk.state.lost) == (RunStatus.QUEUED, 1, 1)


def test_a_step_that_loses_every_worker_is_taken_to_be_the_reason() -> None:
    desk = Desk.opened(graph(step("draft")), {}).lose_worker(max_lost=3).lose_worker(max_lost=3)
    desk = desk.lose_worker(max_lost=3)
    assert desk.status is RunStatus.FAILED
    assert desk.state.error.code == "worker_lost"


def test_lost_workers_are_counted_for_each_step_anew() -> None:
    desk = Desk.opened(graph(step("draft", "send"), step("send")), {}).lose_worker(max_lost=2).complete({})
    assert desk.lose_worker(max_lost=2).status is RunStatus.QUEUED


@pytest.mark.parametrize(
    ("takes", "status"),
    [
        (("idempotency_key",), RunStatus.QUEUED),
        (("feedback",), RunStatus.FAILED),
        ((), RunStatus.FAILED),
        (None, RunStatus.FAILED),
    ],
)
def test_an_irreversible_step_is_tried_again_after_a_lost_worker_only_with_a_key(
    takes: tuple[str, ...] | None, status: RunStatus
) -> None:
    desk = Desk.opened(graph(pay(takes=takes)), {}).lose_worker(max_lost=5)
    assert desk.status is status
    if status is RunStatus.FAILED:
        assert desk.state.error.code == "outcome_unknown"


def test_a_result_for_a_step_the_run_has_left_is_refused() -> None:
    desk = Desk.opened(graph(step("draft", "send"), step("send")), {}).complete({})
    with pytest.raises(LeaseLost):
        desk.complete({}, step="draft")


def test_a_result_for_a_run_that_waits_is_refused() -> None:
    desk = Desk.opened(graph(step("draft", "ok"), gate("ok", "pay"), pay()), {}).complete({})
    with pytest.raises(LeaseLost):
        desk.complete({}, step="draft")
    with pytest.raises(LeaseLost):
        desk.complete({}, step="ok")


def test_a_message_of_any_length_and_any_characters_can_be_logged() -> None:
    desk = Desk.opened(graph(step("draft")), {})
    failure = Failure(code="step_raised", message="\udcff" * 5_000, trace="x\udcff" * 9_000, retryable=False)
    desk = desk.do(lambda fold, _: steps.failed(fold, step="draft", failure=failure, random=0.0))
    failed = desk.events(EventType.STEP_FAILED)[0]
    canonical(dict(failed.data))
    assert len(failed.data["message"]) == MAX_MESSAGE
    assert len(failed.data["trace"]) == MAX_TRACE
