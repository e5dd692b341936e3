"""Several runs in one statement: each is claimed, fenced and recorded as it would be alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from tests.integration.engine.flows import BESIDE, CHAIN, REFUND
from tests.integration.engine.world import ADMIN, REQUESTER, World, together

from signoff.engine import Claimed
from signoff.engine.execution import LEASE_KEPT, in_same_queue
from signoff.model import RunStatus
from signoff.store.together import step_key

FIRST = step_key("chain", 1, "one")


def never(_claimed: Claimed, _following: Any) -> bool:
    return False


def take(world: World, limit: int, *, steps: tuple[str, ...] = (FIRST,), worker: str = "w1") -> list[Claimed]:
    return world.engine.claim_waiting("default", steps=steps, limit=limit, worker=worker)


def chains(world: World, count: int) -> list[UUID]:
    return [world.start(CHAIN, {"n": number}) for number in range(count)]


def test_waiting_runs_are_taken_oldest_first_each_by_one(own_world: World) -> None:
    runs = chains(own_world, 40)
    taken = together(*[lambda n=n: take(own_world, 10, worker=f"w{n}") for n in range(4)])
    found = [claimed.run_id for some in taken for claimed in some]
    assert sorted(found) == sorted(set(found)) == runs
    assert all(some == sorted(some, key=lambda each: each.run_id) for some in taken)
    assert {own_world.row(run).row_status for run in runs} == {RunStatus.RUNNING}
    assert take(own_world, 10) == []
    assert own_world.engine.claim_run(runs[0], epoch=0, worker="w") is None, "its own message comes too late"


def test_only_what_a_worker_would_begin_is_taken(own_world: World) -> None:
    other_step, lost, other_queue = chains(own_world, 3)
    own_world.work(other_step, {})
    own_world.sql("UPDATE runs SET lost = 1 WHERE id = %s", lost)
    own_world.sql("UPDATE runs SET queue = 'gpu' WHERE id = %s", other_queue)
    (plain,) = chains(own_world, 1)
    assert [claimed.run_id for claimed in take(own_world, 10)] == [plain]
    assert own_world.sql("SELECT count(*) FROM runs WHERE status = 'queued'") == [(3,)]


def test_whoever_lost_a_worker_in_company_is_next_taken_alone(own_world: World) -> None:
    runs = chains(own_world, 50)
    assert len(take(own_world, 50)) == 50
    own_world.later(21)
    assert own_world.engine.sweep().leases_expired == 50
    assert {run for run, _, _ in own_world.publisher.taken()} == set(runs)
    assert take(own_world, 50) == []
    for run in runs[:3]:
        own_world.work(run, {})
        assert own_world.state(run).lost == 0, "and with the next step it begins anew"


def test_steps_recorded_together_give_the_log_that_they_give_alone(own_world: World) -> None:
    values: list[Any] = [
        {"a": 1},
        "text",
        None,
        [1, 1e17, 0.1],
        'quo"te\\ \n',
        "\u00fc\u2028",
        {"b": {"c": [None]}},
        True,
    ]
    runs = chains(own_world, len(values))
    done = [(claimed, values[runs.index(claimed.run_id)]) for claimed in take(own_world, 20)]
    for _ in range(3):
        recorded = own_world.engine.complete_together(done, worker="w1", go_on=in_same_queue)
        assert recorded.left == []
        for run in runs:
            own_world.check(run)
        done = [(claimed, claimed.state.value) for claimed in recorded.following]
    assert done == []
    for run, value in zip(runs, values, strict=True):
        state = own_world.state(run)
        assert (state.status, state.value) == (RunStatus.COMPLETED, value)
        assert own_world.kinds(run) == ["run.created", *["step.completed"] * 3, "run.completed"]


def test_gates_open_together(own_world: World) -> None:
    runs = [own_world.start(REFUND, {}) for _ in range(3)]
    taken = take(own_world, 5, steps=(step_key(REFUND.workflow, 1, "draft"),))
    done = [(claimed, {"amount": 6}) for claimed in taken[:2]] + [(taken[2], None)]
    recorded = own_world.engine.complete_together(done, worker="w1", go_on=never)
    assert recorded.left in ([], [(taken[2], None)])
    for claimed, output in recorded.left:
        own_world.engine.complete(claimed, output, worker="w1", go_on=False)
    for run in runs:
        own_world.check(run)
        assert own_world.state(run).status is RunStatus.WAITING
    assert [own_world.task(run).payload for run in runs] == [{"amount": 6}, {"amount": 6}, None]


@pytest.mark.parametrize("touched", ["epoch = epoch + 1", "seq = seq + 1", "status = 'queued'", "status = 'canceled'"])
def test_what_was_touched_is_left_and_the_others_are_written(own_world: World, touched: str) -> None:
    runs = chains(own_world, 3)
    done = [(claimed, {}) for claimed in take(own_world, 3)]
    own_world.sql(f"UPDATE runs SET {touched} WHERE id = %s", runs[1])
    recorded = own_world.engine.complete_together(done, worker="w1", go_on=never)
    assert [claimed.run_id for claimed, _ in recorded.left] == [runs[1]]
    assert own_world.kinds(runs[1]) == ["run.created"]
    for run in (runs[0], runs[2]):
        own_world.check(run)
        assert own_world.kinds(run) == ["run.created", "step.completed"]


def test_recording_again_writes_nothing_twice(own_world: World) -> None:
    runs = chains(own_world, 3)
    done = [(claimed, {}) for claimed in take(own_world, 3)]
    answers = together(*[lambda: own_world.engine.complete_together(done, worker="w1", go_on=in_same_queue)] * 4)
    assert sorted(len(answer.following) for answer in answers) == [0, 0, 0, 3]
    for run in runs:
        assert own_world.kinds(run) == ["run.created", "step.completed"]


def test_an_output_that_is_refused_is_left(own_world: World) -> None:
    chains(own_world, 2)
    good, bad = take(own_world, 2)
    outputs: list[tuple[Claimed, Any]] = [(good, {}), (bad, float("nan"))]
    recorded = own_world.engine.complete_together(outputs, worker="w1", go_on=never)
    assert [claimed.run_id for claimed, _ in recorded.left] == [bad.run_id]
    assert own_world.kinds(good.run_id)[-1] == "step.completed"


def test_a_run_with_a_human_task_beside_it_is_left(own_world: World) -> None:
    run = own_world.start(BESIDE, {})
    following = own_world.engine.complete(own_world.claim(run), {"amount": 6}, worker="w1", go_on=True)
    assert following is not None
    recorded = own_world.engine.complete_together([(following, {})], worker="w1", go_on=never)
    assert [claimed.run_id for claimed, _ in recorded.left] == [run]


def test_what_goes_on_to_another_worker_has_its_message_sent(own_world: World) -> None:
    runs = chains(own_world, 2)
    done = [(claimed, {}) for claimed in take(own_world, 2)]
    own_world.publisher.taken()
    own_world.engine.complete_together(done, worker="w1", go_on=never)
    assert sorted(own_world.publisher.taken()) == [(run, 1, "signoff.default") for run in runs]


def test_what_was_not_begun_is_given_back_unless_it_is_no_longer_ours(own_world: World) -> None:
    runs = chains(own_world, 3)
    taken = take(own_world, 3)
    own_world.engine.cancel(runs[0], reason="no", by=ADMIN)
    own_world.publisher.taken()
    own_world.engine.give_back_all(taken)
    assert sorted(own_world.publisher.taken()) == [(run, 1, "signoff.default") for run in runs[1:]]
    assert [own_world.row(run).row_status for run in runs] == [RunStatus.CANCELED, RunStatus.QUEUED, RunStatus.QUEUED]
    for run in runs:
        own_world.check(run)


def test_leases_are_renewed_past_a_run_that_is_being_written(own_world: World) -> None:
    chains(own_world, 3)
    held = [(claimed.run_id, claimed.epoch) for claimed in take(own_world, 3)]
    with own_world.engine.database.transaction() as cursor:
        cursor.execute("SELECT 1 FROM runs WHERE id = %s FOR NO KEY UPDATE", (held[1][0],))
        assert own_world.engine.renew(held) == {held[0][0], held[2][0]}
    assert own_world.engine.renew(held) == {run for run, _ in held}


def test_a_fresh_lease_goes_on_to_the_next_inline_step_as_it_is(own_world: World) -> None:
    run = own_world.start(CHAIN, {})
    claimed = own_world.claim(run)
    due_at = own_world.row(run).due_at
    following = own_world.engine.complete(claimed, {}, worker="w1", go_on=True)
    assert following is not None
    assert own_world.row(run).due_at == due_at
    assert due_at is not None
    assert following.row is not None
    lease = own_world.engine.settings.lease_seconds
    stale = replace(following.row, due_at=own_world.now() + timedelta(seconds=lease * LEASE_KEPT - 1))
    assert own_world.engine.complete(replace(following, row=stale), {}, worker="w1", go_on=True) is not None
    renewed = own_world.row(run).due_at
    assert renewed is not None
    assert (renewed - own_world.now()).total_seconds() > lease * 0.95


def test_what_endpoints_ask_for_is_told_of_each_run_that_was_written(own_world: World) -> None:
    own_world.sql(
        "INSERT INTO webhook_endpoints (id, url, events, include_payload, secret, created_by, created_at, failures,"
        " next_at)"
        " VALUES (gen_random_uuid(), 'https://a.example', '{run.completed}', false, 's', '{}', now(), 0, now())"
    )
    runs = chains(own_world, 3)
    done = [(claimed, {}) for claimed in take(own_world, 3)]
    own_world.engine.cancel(runs[0], reason="no", by=REQUESTER)
    for _ in range(3):
        recorded = own_world.engine.complete_together(done, worker="w1", go_on=in_same_queue)
        done = [(claimed, {}) for claimed in recorded.following]
    told = own_world.sql("SELECT run_id, type FROM webhook_deliveries ORDER BY run_id")
    assert told == [(run, "run.completed") for run in runs[1:]]
