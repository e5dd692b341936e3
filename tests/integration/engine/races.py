"""A gate at which a person approves, one rejects, one cancels and the clock strikes, all at once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.integration.engine.flows import GATE
from tests.integration.engine.world import ADMIN, ANA, BEN, World, together

from signoff.engine import DecisionRequest
from signoff.errors import Conflict
from signoff.model import EventType, RunStatus, TaskState

ALLOWED = {
    EventType.GATE_DECIDED: (RunStatus.QUEUED, RunStatus.COMPLETED),
    EventType.RUN_CANCELED: (RunStatus.CANCELED,),
}


def race(world: World) -> str:
    """One round; what won. Raises AssertionError when more than one did, or nobody."""
    run_id = world.start(GATE, {"amount": 5})
    task = world.task(run_id)

    def decide(who: Any, decision: str) -> Any:
        request = DecisionRequest(decision=decision, payload_sha256=task.payload_sha256)
        return world.engine.decide(task.id, request, by=who)

    # The due time has passed when they start, so that the sweep has its chance too.
    world.sql("UPDATE human_tasks SET wake_at = revised_at, due_at = revised_at WHERE id = %s", task.id)
    results = together(
        lambda: decide(ANA, "approve"),
        lambda: decide(BEN, "reject"),
        lambda: world.engine.cancel(run_id, reason="enough", by=ADMIN),
        world.engine.sweep,
    )
    return _judge(world, run_id, results)


def _judge(world: World, run_id: UUID, results: list[Any]) -> str:
    log = world.log(run_id)
    ends = [event for event in log if event.type in (EventType.GATE_DECIDED, EventType.RUN_CANCELED)]
    decided = [event for event in ends if event.type is EventType.GATE_DECIDED]
    assert len(decided) <= 1, f"{len(decided)} outcomes"
    (task,) = world.state(run_id).human_tasks.values()
    approve, reject, cancel, swept = results
    assert not isinstance(swept, BaseException), repr(swept)
    for result in (approve, reject, cancel):
        assert not isinstance(result, BaseException) or isinstance(result, Conflict), repr(result)
    stood = [result for result in (approve, reject) if not isinstance(result, Conflict)]
    by_people = [event for event in decided if event.data["decided_by"] == "human"]
    assert len(stood) == len(by_people), "whoever was told that it stands is the one who decided"
    if stood:
        assert by_people[0].data["decision_ids"] == [str(stood[0].decision_id)]
    for refused in (result for result in (approve, reject) if isinstance(result, Conflict)):
        assert refused.winner is not None
        assert refused.winner["outcome"] == task.outcome
        assert refused.winner["state"] == str(task.state)
    # An approved run stands at its next step and may still be canceled; whatever came first ended the gate.
    if isinstance(cancel, Conflict):
        assert decided
        assert world.state(run_id).status is RunStatus.COMPLETED
    else:
        assert world.state(run_id).status is RunStatus.CANCELED
    assert world.state(run_id).status in ALLOWED[ends[-1].type]
    if task.state is TaskState.CANCELED:
        return "cancel"
    return str(decided[0].data["decided_by"]) + " " + str(task.outcome)
