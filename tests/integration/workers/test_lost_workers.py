"""SIGKILL: a step whose process is gone is taken over when its lease ends, under the same key or not at all."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.workers import flows
from tests.integration.workers.site import Process, Site, lines
from tests.servers import eventually

from signoff.model import RunStatus

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("workers-lost")]


@pytest.fixture(scope="module")
def worker(module_site: Site) -> Iterator[Process]:
    """A worker of two processes, which loses some of them."""
    found = module_site.worker()
    yield found
    assert found.stop() == 0, "it has outlived its children"


def at_work(folder: Path, name: str, times: int = 1) -> list[str]:
    """The first word of each line, which is a process id, once there are so many."""
    eventually(lambda: len(lines(folder, name)) >= times, seconds=15, why=f"the step begins: {name}")
    return [line.split()[0] for line in lines(folder, name)]


def test_a_killed_child_of_the_pool_is_succeeded_under_the_same_key(
    module_site: Site, worker: Process, tmp_path: Path
) -> None:
    run = module_site.start(flows.paid, tmp_path)
    (victim,) = at_work(tmp_path, "paid")
    assert int(victim) in worker.pool()

    os.kill(int(victim), signal.SIGKILL)
    eventually(lambda: module_site.engine.sweep().leases_expired, seconds=10, why="its lease ends")
    first, second = at_work(tmp_path, "paid", 2)
    (tmp_path / "go").touch()

    module_site.until(run, RunStatus.COMPLETED, sweeping=True)
    assert first != second
    assert {line.split()[1] for line in lines(tmp_path, "paid")} == {f"{run}:pay:0"}
    kinds = ["run.created", "step.retry_scheduled", "step.completed", "run.completed"]
    assert module_site.kinds(run) == kinds
    assert module_site.log(run)[1].data["code"] == "worker_lost"
    eventually(lambda: len(worker.pool()) == 2, seconds=10, why="the pool is whole again")


def test_an_irreversible_step_without_a_key_is_not_repeated(module_site: Site, worker: Process, tmp_path: Path) -> None:
    run = module_site.start(flows.paid_blindly, tmp_path)
    (victim,) = at_work(tmp_path, "paid")

    os.kill(int(victim), signal.SIGKILL)

    failed = module_site.until(run, RunStatus.FAILED, sweeping=True)
    assert failed.error is not None
    assert (failed.error.code, failed.error.step) == ("outcome_unknown", "pay_blindly")
    assert len(lines(tmp_path, "paid")) == 1


def test_another_worker_takes_over_from_one_that_is_gone_as_a_whole(
    module_site: Site, worker: Process, tmp_path: Path
) -> None:
    # Nobody else may be quicker: the one that stays is busy until the other is gone.
    busy = [module_site.start(flows.stopped, tmp_path / "busy") for _ in range(2)]
    at_work(tmp_path / "busy", "begun", 2)
    victim = module_site.worker()
    run = module_site.start(flows.paid, tmp_path)
    (first,) = at_work(tmp_path, "paid")
    children = victim.pool()
    assert int(first) in children

    # The parent alone: its pool must not live on without anybody who could stop it.
    victim.process.kill()
    eventually(lambda: not any(map(is_alive, children)), seconds=10, why="no process is left behind")
    (tmp_path / "busy" / "go").touch()

    eventually(lambda: module_site.engine.sweep().leases_expired, seconds=10, why="its lease ends")
    _, second = at_work(tmp_path, "paid", 2)
    assert int(second) in worker.pool()
    (tmp_path / "go").touch()
    module_site.until(run, RunStatus.COMPLETED, sweeping=True)
    assert len({line.split()[1] for line in lines(tmp_path, "paid")}) == 1
    assert module_site.kinds(run).count("step.completed") == 1
    for left in busy:
        module_site.until(left, RunStatus.COMPLETED, sweeping=True)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
