"""What an operation answers from memory is what it has stored, to the letter."""

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
from signoff.store.idempotency import IdempotencyKey
from signoff.store.made import human_task_made, run_made
from signoff.store.queries_human_task_views import HumanTaskView
from signoff.store.queries_human_tasks import get_human_task
from signoff.store.queries_runs import RunView, get_run

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


class Answered:
    """What `decide` shows of what it is about to commit, for comparison with what is there afterwards."""

    def __init__(self, world: World) -> None:
        self.replayed: list[bool] = []
        self.human_task: HumanTaskView | None = None
        self._world = world
        self._run: RunView | None = None

    def look(self, _cursor: Cursor, decided: Decided, locked: Locked) -> None:
        self.human_task = human_task_made(locked.state, locked.fold.graph, decided.human_task_id)
        status = self._world.engine.core.lease_after(locked).status
        self._run = run_made(locked.state, locked.run_input, status=status)
        self.replayed.append(decided.replayed)

    def check(self, decided: Decided) -> None:
        assert self.human_task is not None
        assert self._run is not None
        with self._world.engine.database.autocommit() as cursor:
            stored = get_human_task(cursor, self._world.engine.core.versions, decided.human_task_id, detail=False)
            run, _ = get_run(cursor, decided.run_id)
        assert self.human_task.to_json() == stored.to_json()
        assert self._run.to_json() == run.to_json()


@pytest.mark.parametrize("key", [None, "once"], ids=["as it was read", "under its lock"])
@pytest.mark.parametrize("name", CASES)
def test_a_decision_is_answered_as_it_is_stored(world: World, name: str, key: str | None) -> None:
    graph, said = CASES[name]
    run_id = _parked(world, graph)
    task = world.task(run_id)
    answered = Answered(world)
    request = DecisionRequest(payload_sha256=task.payload_sha256, **said)
    idempotency = None if key is None else IdempotencyKey(key=f"{key} {run_id}", fingerprint="")
    for _ in range(2):
        answered.check(world.engine.decide(task.id, request, by=ANA, look=answered.look, idempotency=idempotency))
        world.check(run_id)
    assert answered.replayed == [False, True]


def test_a_second_voice_is_answered_as_it_is_stored(world: World) -> None:
    run_id = _parked(world, PAIR)
    task = world.task(run_id)
    world.decide(run_id, BEN, "approve")

    answered = Answered(world)
    said = DecisionRequest(decision="approve", payload_sha256=task.payload_sha256)
    answered.check(world.engine.decide(task.id, said, by=ANA, look=answered.look))
    assert answered.human_task is not None
    assert len(answered.human_task.decisions) == 2
    world.check(run_id)


@pytest.mark.parametrize("graph", [GATE, REFUND], ids=lambda graph: graph.workflow)
def test_a_start_is_answered_as_it_is_stored(world: World, graph: Graph) -> None:
    value: Json = {"amount": 640.5, "order": "Ω"}
    world.engine.register(graph, by=SYSTEM)

    shown: list[RunState] = []

    def look(_cursor: Cursor, _run_id: UUID, made: RunState | None) -> None:
        assert made is not None
        shown.append(made)

    labels = {"z": "1", "team": "x"}
    for _ in ("the newest version is looked up", "it is known"):
        started = world.engine.start(
            workflow=graph.workflow, input=value, requester=REQUESTER, labels=labels, look=look
        )
        with world.engine.database.autocommit() as cursor:
            run, _facts = get_run(cursor, started.run_id)
        assert run_made(shown[-1], value, status=shown[-1].status).to_json() == run.to_json()
        assert world.row(started.run_id).state.labels == labels
    assert len(shown) == 2


def _parked(world: World, graph: Graph) -> UUID:
    """A run of the graph whose human task is open; one whose review is late is with its worker."""
    run_id = world.start(graph, {"amount": 640})
    if graph is BESIDE:
        world.work(run_id, {"amount": 640})
        world.claim(run_id)
    return run_id
