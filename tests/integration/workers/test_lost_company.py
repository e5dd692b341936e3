"""SIGKILL in company: each of the runs taken together is found again, and only the one to blame fails."""

from __future__ import annotations

import os
import signal

import pytest
from tests.integration.workers import short
from tests.integration.workers.site import REQUESTER, Site
from tests.servers import eventually

from signoff.model import SYSTEM, RunStatus

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("workers-lost-company")]

POISON = 7


def test_a_step_that_kills_its_process_fails_alone(module_site: Site) -> None:
    site = module_site
    site.engine.register(short.killing.graph, by=SYSTEM)

    def start(value: object) -> object:
        return site.engine.start(workflow="killing", input=value, requester=REQUESTER).run_id

    worker = site.worker(SIGNOFF_MODULES="tests.integration.workers.short", SIGNOFF_CONCURRENCY="1")
    for _ in range(15):  # until it has seen how short the steps are
        site.until(start("warm"), RunStatus.COMPLETED, sweeping=True)  # type: ignore[arg-type]
    os.killpg(worker.pid, signal.SIGSTOP)
    runs = [start("poison" if number == POISON else number) for number in range(30)]
    os.killpg(worker.pid, signal.SIGCONT)

    def ended() -> bool:
        site.engine.sweep()
        return not site.ask("SELECT count(*) FROM runs WHERE finished_at IS NULL")

    eventually(ended, seconds=90, why="all end")
    poisoned = runs.pop(POISON)
    assert site.ask("SELECT error->>'code' FROM runs WHERE id = %s", poisoned) == "worker_lost"
    assert {site.row_status(run) for run in runs} == {RunStatus.COMPLETED}  # type: ignore[arg-type]
    lost = [
        site.ask("SELECT count(*) FROM events WHERE run_id = %s AND data->>'code' = 'worker_lost'", run) for run in runs
    ]
    assert sum(lost) >= 5, "it had company when it first died"
    assert max(lost) == 1, "and none the next time"
    for run in runs:
        kinds = [kind for kind in site.kinds(run) if kind != "step.retry_scheduled"]  # type: ignore[arg-type]
        assert kinds == ["run.created", *["step.completed"] * 3, "run.completed"]
    assert site.engine.verify().ok
    assert worker.stop() == 0
