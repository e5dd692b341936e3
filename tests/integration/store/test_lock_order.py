"""Lock order is run, then human task: whoever writes waits at the run's row and holds nothing while they wait."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest
from tests.integration.engine.flows import GATE, GRACE, PAIR, REFUND
from tests.integration.engine.world import ADMIN, ANA, BEN, CLEO, World, shift_clock, together
from tests.mutants import mutate
from tests.servers import eventually

from signoff.engine import BulkItem, DecisionRequest, Engine
from signoff.engine import human_tasks as engine_human_tasks
from signoff.errors import SignoffError, Unavailable
from signoff.model import HumanTask
from signoff.store.identity import create_principal

ROUNDS = 25

Operation = Callable[[World, UUID, HumanTask], Any]


@pytest.fixture(scope="module")
def world(module_database_url: str) -> Iterator[World]:
    shift_clock(module_database_url)
    made = World.on(module_database_url)
    create_principal(made.engine.database, name="ben", kind="user", groups=("leads",))
    yield made
    made.engine.close()


def _said(task: HumanTask, decision: str) -> DecisionRequest:
    return DecisionRequest(decision=decision, payload_sha256=task.payload_sha256)


def _decide_in_bulk(world: World, _run: UUID, task: HumanTask) -> Any:
    item = BulkItem(human_task_id=task.id, payload_sha256=task.payload_sha256)
    return world.engine.decide_in_bulk(decision="reject", note=None, items=[item], by=BEN)


OPERATIONS: dict[str, Operation] = {
    "complete": lambda *_: pytest.fail("made in `_ready`"),
    "claim": lambda world, _, task: world.engine.claim(task.id, by=ANA),
    "keep_claim": lambda world, _, task: world.engine.keep_claim(task.id, by=CLEO),
    "release": lambda world, _, task: world.engine.release(task.id, by=CLEO),
    "assign": lambda world, _, task: world.engine.assign(task.id, assignee="ben", by=ADMIN),
    "comment": lambda world, _, task: world.engine.comment(task.id, text="so", by=ANA),
    "decide": lambda world, _, task: world.engine.decide(task.id, _said(task, "approve"), by=ANA),
    "withdraw": lambda world, _, task: world.engine.withdraw(task.id, by=CLEO),
    "decide_in_bulk": _decide_in_bulk,
    "cancel": lambda world, run, _: world.engine.cancel(run, reason="enough", by=ADMIN),
}
"""Everything that writes to a human task and waits for a run, by the name of its method."""

ELSEWHERE = {
    "sweep": "passes over runs that are locked; below",
    "fail": "a run with a worker has no open human task that ends with it",
    "retry": "a failed run has none that waits",
    "arguments": "reads", "verify": "reads", "anchor": "reads", "close": "no database", "register": "no run",
    "start": "a new run is nobody else's", "claim_run": "a lease", "give_back": "a lease", "renew": "a lease",
    "claim_waiting": "leases", "give_back_all": "leases", "let_go": "leases",
    "complete_together": "waits for no run, and writes to no human task that is there",
    "decide_by_link": "decides, and uses the link up behind it",
    "issue_task_link": "a row of its own", "task_link": "a row of its own",
    "snooze": "a row of its own, behind the run", "unsnooze": "a row of its own, behind the run",
    "delegate": "no run", "end_delegation": "no run", "list_delegations": "reads",
    "set_limit": "no run", "remove_limit": "no run", "list_limits": "reads",
}  # fmt: skip
"""Why the other methods are not in the list."""


def test_every_operation_is_looked_at() -> None:
    methods = {name for name, _ in inspect.getmembers(Engine, inspect.isfunction) if not name.startswith("_")}
    assert methods == OPERATIONS.keys() | ELSEWHERE.keys()


def _ready(world: World, name: str) -> tuple[UUID, HumanTask, Callable[[], Any]]:
    """A run whose human task is as the operation of this name wants it, and the operation."""
    run_id = world.start({"withdraw": GRACE, "complete": REFUND}.get(name, GATE), {"amount": 7})
    if name == "complete":
        world.work(run_id, {"amount": 8})
    task = world.task(run_id)
    if name in ("release", "keep_claim"):
        world.engine.claim(task.id, by=CLEO)
    if name == "withdraw":
        world.decide(run_id, CLEO, "approve")
    if name != "complete":
        return run_id, task, partial(OPERATIONS[name], world, run_id, task)
    # The next draft is shown in the human task whose reviewer asked for it.
    world.decide(run_id, CLEO, "request_changes")
    claimed = world.claim(run_id)
    return run_id, task, partial(world.engine.complete, claimed, {"amount": 9}, worker="w1", go_on=False)


@contextmanager
def _locked(world: World, table: str, row_id: UUID) -> Iterator[psycopg.Connection[Any]]:
    """Another session, which holds this row."""
    with psycopg.connect(world.url) as other:
        other.execute(f"SELECT 1 FROM {table} WHERE id = %s FOR UPDATE", (row_id,))
        yield other


def _is_free(world: World, table: str, row_id: UUID) -> bool:
    with psycopg.connect(world.url) as third:
        try:
            third.execute(f"SELECT 1 FROM {table} WHERE id = %s FOR UPDATE NOWAIT", (row_id,))
        except psycopg.errors.LockNotAvailable:
            return False
    return True


def _free_while_waiting(world: World, call: Callable[[], Any], locked: str, locked_id: UUID, other: str,
                        other_id: UUID) -> bool:  # fmt: skip
    """Whether the row `other` is free when the call has come to the row `locked`, which somebody else holds."""
    ended: list[BaseException | None] = []

    def run() -> None:
        try:
            call()
            ended.append(None)
        except BaseException as error:  # noqa: BLE001  # told below
            ended.append(error)

    thread = threading.Thread(target=run)
    waits = "SELECT 1 FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
    with psycopg.connect(world.url, autocommit=True) as watch, _locked(world, locked, locked_id) as holder:
        thread.start()
        pid = holder.info.backend_pid
        eventually(lambda: watch.execute(waits, (pid,)).fetchone() or ended, why="it comes to the row")
        assert not ended, f"it ended without that row: {ended}"
        free = _is_free(world, other, other_id)
    thread.join(20)
    assert ended == [None]
    return free


@pytest.mark.parametrize("name", OPERATIONS)
def test_it_waits_for_the_run_and_has_not_touched_the_human_task(world: World, name: str) -> None:
    run_id, task, call = _ready(world, name)
    assert _free_while_waiting(world, call, "runs", run_id, "human_tasks", task.id)
    world.check(run_id)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "comment"])  # which is in the log alone
def test_it_holds_the_run_when_it_comes_to_the_human_task(world: World, name: str) -> None:
    run_id, task, call = _ready(world, name)
    assert not _free_while_waiting(world, call, "human_tasks", task.id, "runs", run_id)
    world.check(run_id)


def test_the_sweep_passes_over_a_run_that_is_locked_and_touches_nothing(world: World) -> None:
    run_id, task, _ = _ready(world, "claim")
    world.later(3_601)
    with _locked(world, "runs", run_id):
        world.engine.sweep()
        assert _is_free(world, "human_tasks", task.id)
        assert world.sql("SELECT state FROM human_tasks WHERE id = %s", task.id) == [("open",)]
    assert not _free_while_waiting(world, world.engine.sweep, "human_tasks", task.id, "runs", run_id)
    world.check(run_id)


SWAPPED = (
    "locked = core.lock_by_human_task(cursor, human_task_id)",
    "cursor.execute('SELECT 1 FROM human_tasks WHERE id = %s FOR UPDATE', (human_task_id,))"
    "; locked = core.lock_by_human_task(cursor, human_task_id)",
)


def test_the_other_order_would_be_seen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, engine_human_tasks.lock_human_task, *SWAPPED)
    run_id, task, call = _ready(world, "claim")
    assert not _free_while_waiting(world, call, "runs", run_id, "human_tasks", task.id)


# All at once ------------------------------------------------------------------------------------------------------


def _round(world: World) -> list[Any]:
    """All that can be done to one human task, at once, the clock included; what came of each."""
    run_id = world.start(PAIR, {"amount": 5})
    task = world.task(run_id)
    world.sql("UPDATE human_tasks SET wake_at = revised_at WHERE id = %s", task.id)
    results = together(
        partial(world.engine.decide, task.id, _said(task, "approve"), by=ANA),
        partial(world.engine.decide, task.id, _said(task, "approve"), by=CLEO),
        partial(_decide_in_bulk, world, run_id, task),
        *(partial(OPERATIONS[name], world, run_id, task) for name in ("claim", "comment", "assign", "cancel")),
        world.engine.sweep,
    )
    world.check(run_id)
    return results


def _deadlocks(world: World) -> int:
    with psycopg.connect(world.url, autocommit=True) as other:
        other.execute("SELECT pg_stat_clear_snapshot()")
        row = other.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    assert row is not None
    count: int = row[0]
    return count


def test_opposite_operations_at_once_never_wait_for_each_other_in_a_circle(world: World) -> None:
    for _ in range(ROUNDS):
        for result in _round(world):
            assert not isinstance(result, Unavailable), repr(result.__cause__)
            assert not isinstance(result, BaseException) or isinstance(result, SignoffError), repr(result)
    assert _deadlocks(world) == 0
