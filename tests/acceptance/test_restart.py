"""A parked run is rows and nothing else: it holds nothing, and it is there after everything was stopped."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.caller import Caller
from tests.acceptance.stack import Stack, asked, command_line, queued, session_of, stack
from tests.servers import eventually

pytestmark = [
    pytest.mark.xdist_group("acceptance-restart"),
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
]

PARKED = 100
PARKING = """
workflow: parking
steps:
  - step: tests.acceptance.flows:look
  - gate: check
    reviewers: support-leads
  - step: tests.acceptance.flows:look
    name: after
"""
LONG_TRANSACTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE state LIKE 'idle in transaction%' AND xact_start < now() - interval '1 second'
"""
SLOW = "workflow: slow\nsteps:\n  - step: tests.acceptance.flows:slow\n"


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("restart")) as found:
        found.as_("admin").register(PARKING)
        found.as_("admin").register(SLOW)
        yield found


def park(requester: Caller, count: int, batch: str) -> dict[str, Any]:
    """So many runs at their gate, by id."""
    for at in range(count):
        requester.start("parking", {"at": at}, labels={"batch": batch})
    return {run["id"]: run for run in requester.until_labelled(f"batch:{batch}", count, "waiting")}


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_at_a_gate_nothing_is_held(restarted: Stack) -> None:
    assert restarted.state is not None
    requester = restarted.as_("requester")
    park(requester, 10, "early")
    workers = [restarted.pid("worker"), *session_of(restarted.pid("worker"))]
    assert len(workers) == 3, "the worker and its pool of two"
    before = sum(map(open_files, workers))

    park(requester, PARKED, "first")

    database_url = restarted.state.database_url
    # Sweeps pass through the broker all the time; the queues of runs stay empty.
    waiting = {name: count for name, count in queued(restarted.state.broker_url).items() if name != "signoff.control"}
    assert set(waiting.values()) <= {0}
    assert asked(database_url, "SELECT count(*) FROM runs WHERE status <> 'waiting'") == 0
    assert asked(database_url, "SELECT count(*) FROM runs WHERE due_at IS NOT NULL OR worker IS NOT NULL") == 0
    assert asked(database_url, "SELECT count(*) FROM human_tasks WHERE state = 'open'") == PARKED + 10
    assert asked(database_url, LONG_TRANSACTIONS) == 0
    # No socket, no connection, no file for a parked run; a few more may be open because a pool was busier.
    assert sum(map(open_files, workers)) < before + PARKED / 10
    # And the whole pool is free for others.
    for run in [requester.start("refund", {"order_id": f"A-{at}", "text": "late", "paid": "9"}) for at in range(4)]:
        requester.until(run, "completed")


def test_after_a_restart_every_parked_run_can_be_decided_and_goes_on(restarted: Stack, tmp_path: Path) -> None:
    assert restarted.state is not None
    assert restarted.process is not None
    requester = restarted.as_("requester")
    parked = park(requester, PARKED, "second")
    busy = requester.start("slow", {"folder": str(tmp_path)})
    eventually((tmp_path / "slow").exists, why="a step runs")
    keys = restarted.state.keys
    left = dict(session_of(restarted.process.pid))
    # PostgreSQL, its own processes, the broker, two API workers, the pool …
    assert len(left) > 10
    (tmp_path / "go").touch()

    assert restarted.stop() == 0

    assert {pid: line for pid, line in left.items() if command_line(pid) == line} == {}
    assert not (restarted.home / "dev.json").exists()

    state = restarted.start()
    assert state.keys == keys
    requester, ana, admin = (restarted.as_(name) for name in ("requester", "ana", "admin"))
    assert requester.until(busy, "completed")["output"] == {"folder": str(tmp_path)}
    again = {run["id"]: run for run in requester.labelled("batch:second")}
    assert again == parked
    tasks = [task for task in ana.inbox(workflow="parking") if task["run_id"] in parked]
    assert len(tasks) == PARKED
    for task in tasks:
        ana.decide(task, ("approve", "reject")[task["payload"]["at"] % 2], note="after the restart").ok(201)
    for run in requester.until_labelled("batch:second", PARKED, "completed"):
        at = run["input"]["at"]
        assert (run["outcome"], run["output"]) == (("approved", {"at": at}), ("rejected", None))[at % 2]
    assert admin.get("/audit/verification").ok()["ok"] is True


def test_a_killed_supervisor_takes_everything_with_it_and_the_next_start_finds_all(restarted: Stack) -> None:
    assert restarted.process is not None
    requester: Caller = restarted.as_("requester")
    run = requester.until(requester.start("parking", {"at": "last"}), "waiting")
    left = dict(session_of(restarted.process.pid))

    restarted.process.send_signal(signal.SIGKILL)
    restarted.process.wait(30)

    def gone() -> bool:
        return not {pid for pid, line in left.items() if command_line(pid) == line}

    eventually(gone, seconds=30, why="processes of a killed signoff dev")
    restarted.start()
    ana = restarted.as_("ana")
    ana.decide(ana.task(run), "approve").ok(201)
    assert restarted.as_("requester").until(run, "completed")["outcome"] == "approved"
