"""Who serves which queue, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import servers
from tests.integration.workers import flows
from tests.integration.workers.brokers import rabbit
from tests.integration.workers.site import Site, lines, site
from tests.servers import eventually

from signoff.model import RunStatus

pytestmark = pytest.mark.long

BEHIND = 12


@pytest.fixture(
    params=[
        pytest.param("valkey", marks=pytest.mark.xdist_group("workers-valkey")),
        pytest.param("rabbitmq", marks=pytest.mark.rabbitmq),
    ],
)
def either(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Iterator[Site]:
    """A site on either broker."""
    if request.param == "valkey":
        url = request.getfixturevalue("valkey_url")
        servers.flush(url)
        with site(database_url, url, tmp_path) as made:
            yield made
        return
    with rabbit(request.getfixturevalue("rabbitmq_server")) as broker, site(database_url, broker.url, tmp_path) as made:
        yield made


def test_a_worker_does_the_steps_of_its_own_queues(either: Site, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    general = either.worker(SIGNOFF_QUEUES="default", SIGNOFF_POOL="threads")
    run = either.start(flows.asked, folder)
    eventually(lambda: lines(folder, "first"), why="the step before")
    # It has had its chance: what was queued after this run is done.
    either.until(either.start(flows.noted, tmp_path / "later"), RunStatus.COMPLETED, sweeping=True)
    assert (either.row_status(run), either.state(run).node) == (RunStatus.QUEUED, "ask")

    special = either.worker(SIGNOFF_QUEUES="llm", SIGNOFF_POOL="threads")

    either.until(run, RunStatus.COMPLETED, sweeping=True)
    assert lines(folder, "asked") == [str(special.pid)]
    # And the special one leaves the general one's work alone, even where that is the only work.
    general.kill()
    left = either.start(flows.asked, folder)
    either.engine.sweep()
    before = len(lines(folder, "asked"))
    assert (either.row_status(left), before) == (RunStatus.QUEUED, 1)


def test_a_continuation_of_a_decision_is_served_before_runs_that_waited_longer(either: Site, tmp_path: Path) -> None:
    parked = either.start(flows.parking, tmp_path / "parked")
    either.worker(SIGNOFF_CONCURRENCY="1")
    either.until(parked, RunStatus.WAITING, sweeping=True)
    busy = either.start(flows.stopped, tmp_path / "busy")
    eventually(lambda: lines(tmp_path / "busy", "begun"), why="the only process is busy")
    behind = [either.start(flows.noted, tmp_path / "behind", at=at) for at in range(BEHIND)]

    either.decide(parked)
    (tmp_path / "busy" / "go").touch()

    for run in (busy, parked, *behind):
        either.until(run, RunStatus.COMPLETED, sweeping=True)
    decided = either.log(parked)[-1].at
    served_before = [run for run in behind if either.log(run)[-1].at < decided]
    # One was handed to the process before the decision was there.
    assert len(served_before) <= 1
