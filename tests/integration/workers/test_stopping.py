"""SIGTERM: the step in hand is finished and recorded, nothing is begun after it, and a long step is handed over."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.integration.workers import flows
from tests.integration.workers.site import ADMIN, Process, Site, lines
from tests.servers import eventually

from signoff.model import RunStatus

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("workers-stopping")]

POOLS = pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
HEARD = {"prefork": "worker: Hitting Ctrl+C again", "threads": "worker: Warm shutdown", "solo": "worker: Warm shutdown"}


def told_to_stop(worker: Process, pool: str) -> None:
    worker.process.terminate()
    eventually(lambda: HEARD[pool] in worker.said, seconds=10, why="it hears the signal")


@POOLS
def test_a_step_in_hand_is_recorded_and_nothing_is_begun_after_it(module_site: Site, pool: str, tmp_path: Path) -> None:
    site = module_site
    run = site.start(flows.stopped, tmp_path)
    worker = site.worker(SIGNOFF_POOL=pool)
    eventually(lambda: lines(tmp_path, "begun"), seconds=10, why="the step begins")

    told_to_stop(worker, pool)
    # The second process or thread of the pool has nothing to do, and is not to begin this either.
    late = site.start(flows.noted, tmp_path)
    assert worker.process.poll() is None
    (tmp_path / "go").touch()
    before = time.monotonic()

    # A second signal would mean at once.
    assert worker.process.wait(20) == 0
    # It may take 20 seconds, and takes none that it does not need.
    assert time.monotonic() - before < 5
    assert site.kinds(run) == ["run.created", "step.completed"]
    assert (site.row_status(run), site.state(run).node) == (RunStatus.QUEUED, "after")
    assert (site.row_status(late), lines(tmp_path, "first")) == (RunStatus.QUEUED, [])
    for left in (run, late):
        site.engine.cancel(left, reason="the test is over", by=ADMIN)


@POOLS
def test_a_step_that_takes_too_long_is_handed_over_by_its_lease_and_recorded_once(
    module_site: Site, pool: str, tmp_path: Path
) -> None:
    site = module_site
    run = site.start(flows.stopped, tmp_path)
    worker = site.worker(SIGNOFF_POOL=pool, SIGNOFF_SOFT_SHUTDOWN_SECONDS="0.3")
    eventually(lambda: lines(tmp_path, "begun"), seconds=10, why="the step begins")

    assert worker.stop(10) == 0
    assert "stopped_mid_step" in worker.said
    assert site.row_status(run) is RunStatus.RUNNING
    successor = site.worker(SIGNOFF_POOL="solo")
    (tmp_path / "go").touch()

    site.until(run, RunStatus.COMPLETED, sweeping=True)
    assert len(lines(tmp_path, "begun")) == 2
    kinds = ["run.created", "step.retry_scheduled", "step.completed", "step.completed", "run.completed"]
    assert site.kinds(run) == kinds
    assert successor.stop() == 0


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_that_is_cut_off_lets_go_of_its_runs_and_of_nobody_elses(
    module_site: Site, pool: str, tmp_path: Path
) -> None:
    site = module_site
    lease = {"SIGNOFF_LEASE_SECONDS": "60"}
    run = site.start(flows.stopped, tmp_path / "one")
    worker = site.worker(SIGNOFF_POOL=pool, SIGNOFF_SOFT_SHUTDOWN_SECONDS="0.3", **lease)
    eventually(lambda: lines(tmp_path / "one", "begun"), seconds=10, why="the step begins")
    other = site.worker(SIGNOFF_POOL="solo", **lease)
    kept = [site.start(flows.stopped, tmp_path / "two") for _ in range(2)]
    # One by what is left of the first worker's pool, one by the other worker.
    eventually(lambda: len(lines(tmp_path / "two", "begun")) == 2, seconds=10, why="both begin")

    assert worker.stop(10) == 0

    eventually(lambda: site.engine.sweep().leases_expired, seconds=10, why="its lease ends, and not in a minute")
    for folder in ("one", "two"):
        (tmp_path / folder / "go").touch()
    for found in (run, *kept):
        site.until(found, RunStatus.COMPLETED, sweeping=True)
    by_itself = ["run.created", "step.completed", "step.completed", "run.completed"]
    assert site.kinds(run) == [*by_itself[:1], "step.retry_scheduled", *by_itself[1:]]
    assert [site.kinds(found) == by_itself for found in kept].count(True) == 1
    assert other.stop() == 0


def test_an_idle_worker_and_a_beat_end_at_once(module_site: Site) -> None:
    worker, beat = module_site.worker(), module_site.beat()
    eventually(lambda: module_site.ask("SELECT 1"), seconds=5)
    before = time.monotonic()

    assert worker.stop() == 0
    assert beat.stop() == 0

    assert time.monotonic() - before < 5
