"""What an operation answers from memory is what is stored in its transaction, to the letter."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from tests.integration.engine.flows import BESIDE, GATE, GRACE, PAIR, REFUND
from tests.integration.engine.world import ANA, BEN, REQUESTER, World

from signoff.canonical import Json
from signoff.definition.graph import Graph
from signoff.engine import Decided, DecisionRequest
from signoff.engine.core import Locked
from signoff.model import SYSTEM, RunState
from signoff.store.database import Cursor
from signoff.store.made import human_task_made, run_made
from signoff.store.queries_human_tasks import get_human_task
from signoff.store.queries_runs import get_run

EDIT = {"amount": 1e17}
CASES: dict[str, tuple[Graph, dict[str, Any]]] = {
    "approved": (GATE, {"decision": "approve", "note": "fine ✓"}),
    "rejected": (GATE, {"decision": "reject", "note": "no", "reason": "fraud"}),
    "edited": (GATE, {"decision": "approve", "patch": EDIT}),
    "one of two": (PAIR, {"decision": "approve", "on_behalf_of": "the board"}),
    "revised": (PAIR, {"decision": "approve", "patch": EDIT}),
    "in grace": (GRACE, {"decision": "approve", "reading_ms": 12}),
    "beside the run": (BESIDE, {"decision": "approve"}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_decision_is_answered_as_it_is_stored(world: World, name: str) -> None:
    graph, said = CASES[name]
    run_id = _parked(world, graph)
    task = world.task(run_id)
    seen: list[bool] = []

    def look(cursor: Cursor, decided: Decided, locked: Locked) -> None:
        stored = get_human_task(cursor, world.engine.core.versions, decided.human_task_id, detail=False)
        made = human_task_made(locked.state, locked.fold.graph, decided.human_task_id)
        assert made.to_json() == stored.to_json()
        run, _ = get_run(cursor, decided.run_id)
        status = world.engine.core.lease_after(locked).status
        assert run_made(locked.state, run.input, status=status).to_json() == run.to_json()
        seen.append(decided.replayed)

    request = DecisionRequest(payload_sha256=task.payload_sha256, **said)
    for _ in range(2):
        world.engine.decide(task.id, request, by=ANA, look=look)
        world.check(run_id)
    assert seen == [False, True]


def test_a_second_voice_is_answered_as_it_is_stored(world: World) -> None:
    run_id = _parked(world, PAIR)
    task = world.task(run_id)
    world.decide(run_id, BEN, "approve")

    def look(cursor: Cursor, decided: Decided, locked: Locked) -> None:
        stored = get_human_task(cursor, world.engine.core.versions, decided.human_task_id, detail=False)
        made = human_task_made(locked.state, locked.fold.graph, decided.human_task_id)
        assert len(made.decisions) == 2
        assert made.to_json() == stored.to_json()

    said = DecisionRequest(decision="approve", payload_sha256=task.payload_sha256)
    world.engine.decide(task.id, said, by=ANA, look=look)
    world.check(run_id)


@pytest.mark.parametrize("graph", [GATE, REFUND], ids=lambda graph: graph.workflow)
def test_a_start_is_answered_as_it_is_stored(world: World, graph: Graph) -> None:
    value: Json = {"amount": 640.5, "order": "Ω"}
    world.engine.register(graph, by=SYSTEM)

    def look(cursor: Cursor, run_id: UUID, made: RunState | None) -> None:
        assert made is not None
        run, _ = get_run(cursor, run_id)
        assert run_made(made, value, status=made.status).to_json() == run.to_json()

    labels = {"z": "1", "team": "x"}
    started = world.engine.start(workflow=graph.workflow, input=value, requester=REQUESTER, labels=labels, look=look)
    assert world.row(started.run_id).state.labels == labels


def _parked(world: World, graph: Graph) -> UUID:
    """A run of the graph whose human task is open; one whose review is late is with its worker."""
    run_id = world.start(graph, {"amount": 640})
    if graph is BESIDE:
        world.work(run_id, {"amount": 640})
        world.claim(run_id)
    return run_id
