"""What bounds a step: its time, its lease, its retries and the pool; in processes and in threads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from tests.integration.workers import flows
from tests.integration.workers.site import Process, Site, lines
from tests.servers import eventually

from signoff.definition.authoring import Workflow
from signoff.model import RunStatus

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("workers-limits")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    kind: str
    worker: Process
    site: Site

    def until_timed_out(self, workflow: Workflow, folder: Path) -> UUID:
        """A run of this workflow that has failed by its step's time limit."""
        run = self.site.start(workflow, folder)
        failed = self.site.until(run, RunStatus.FAILED, sweeping=True)
        assert failed.error is not None
        assert (failed.error.code, failed.error.attempt) == ("step_timeout", 1)
        assert "took longer than 0.5 s" in failed.error.message
        return run

    def seconds(self, run: UUID) -> float:
        """From the run's start to its newest event."""
        log = self.site.log(run)
        return (log[-1].at - log[0].at).total_seconds()


@pytest.fixture(scope="module", params=["prefork", "threads"])
def pool(request: pytest.FixtureRequest, module_site: Site) -> Iterator[Pool]:
    """A worker of two processes or threads, without a beat: the tests sweep."""
    worker = module_site.worker(SIGNOFF_POOL=request.param)
    yield Pool(kind=request.param, worker=worker, site=module_site)
    assert worker.process.poll() is None, worker.said
    worker.kill()


def test_a_step_that_computes_is_ended_at_its_limit(pool: Pool, tmp_path: Path) -> None:
    run = pool.until_timed_out(flows.looped, tmp_path)
    assert 0.5 <= pool.seconds(run) < 2


def test_a_step_that_sleeps_is_ended_or_at_least_given_up(pool: Pool, tmp_path: Path) -> None:
    run = pool.until_timed_out(flows.sleeping, tmp_path)
    # An alarm interrupts a system call. A thread is given two seconds more, and then up.
    assert 0.5 <= pool.seconds(run) < (2 if pool.kind == "prefork" else flows.SLEEP_SECONDS)


def test_a_step_that_ignores_its_limit_is_given_up_and_its_word_refused(pool: Pool, tmp_path: Path) -> None:
    run = pool.until_timed_out(flows.hearing, tmp_path)
    assert pool.seconds(run) < 5

    (tmp_path / "go").touch()
    eventually(lambda: lines(tmp_path, "ended"), why="it ends by itself")

    eventually(lambda: f"run_id={run}" in refusals(pool.worker), why="what it says is refused")
    assert pool.site.kinds(run) == ["run.created", "step.failed", "run.failed"]


def refusals(worker: Process) -> str:
    kinds = ("result_refused", "failure_not_recorded")
    return "\n".join(line for line in worker.said.splitlines() if any(kind in line for kind in kinds))


def test_a_step_that_is_longer_than_its_lease_keeps_it(pool: Pool, tmp_path: Path) -> None:
    run = pool.site.start(flows.stopped, tmp_path)
    eventually(lambda: lines(tmp_path, "begun"), why="the step begins")
    began = pool.site.ask("SELECT clock_timestamp()")

    def two_leases_later() -> bool:
        pool.site.engine.sweep()
        return bool(pool.site.ask("SELECT clock_timestamp() > %s + interval '2 seconds'", began))

    eventually(two_leases_later)
    assert pool.site.ask("SELECT due_at > clock_timestamp() FROM runs WHERE id = %s", run)
    (tmp_path / "go").touch()

    pool.site.until(run, RunStatus.COMPLETED, sweeping=True)
    assert len(lines(tmp_path, "begun")) == 1
    assert "step.retry_scheduled" not in pool.site.kinds(run)


def test_a_retry_waits_in_its_row_and_longer_each_time(pool: Pool, tmp_path: Path) -> None:
    run = pool.site.start(flows.retried, tmp_path)

    pool.site.until(run, RunStatus.RETRYING)
    assert pool.site.ask("SELECT worker IS NULL AND due_at > clock_timestamp() FROM runs WHERE id = %s", run)

    pool.site.until(run, RunStatus.COMPLETED, sweeping=True)
    first, second, third = (float(line) for line in lines(tmp_path, "tried"))
    # That neither wait is longer than it has to be is for the unit tests: this machine may be busy.
    assert second - first >= 0.4
    assert third - second >= 0.8


def test_so_many_steps_run_at_once_and_no_more(pool: Pool, tmp_path: Path) -> None:
    runs = [pool.site.start(flows.met, tmp_path) for _ in range(3)]
    eventually(lambda: len(lines(tmp_path, "here")) == 2, why="two at once")
    assert len(set(lines(tmp_path, "here"))) == 2, "in two processes, or in two threads"
    assert len({line.split()[0] for line in lines(tmp_path, "here")}) == (2 if pool.kind == "prefork" else 1)
    assert sorted(pool.site.row_status(run) for run in runs) == ["queued", "running", "running"]

    (tmp_path / "go").touch()

    for run in runs:
        pool.site.until(run, RunStatus.COMPLETED, sweeping=True)
